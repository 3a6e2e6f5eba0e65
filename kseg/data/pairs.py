"""Images and masks in folders: which belong together, and what is left over."""

import re
import shlex
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from kseg.data.read import READABLE, ending

WITHOUT_MASK, WITHOUT_IMAGE = "image without mask", "mask without image"
TRIED, SHORTEST = 5, 20  # cases and patterns, in looking for one that fits
NOT_READ = f"of no kind that is read ({', '.join(READABLE)})"


class Pair(NamedTuple):
    """An image, its mask and the folder of the images."""

    case: str
    image: Path
    mask: Path
    folder: Path

    @property
    def name(self):
        """Of the image, with the folders that it lies in."""
        return self.image.relative_to(self.folder).as_posix()


def find_pairs(images, masks, image_pattern="{name}", mask_pattern="{name}"):
    """The images of a folder and their masks, by name.

    Args:
        images, masks: folders, whose subfolders are looked into and count as part of a case's name; may be the same
            one. Hidden files are not seen.
        image_pattern, mask_pattern: the names of files without their ending, where {name} is what both have.

    Returns:
        (list of `Pair` in the order of their cases, {why: names of files that are left out}).

    Raises:
        FileNotFoundError, NotADirectoryError, ValueError: no such folder, no pair in it, two files of one name.
    """
    images, masks, left_out = Path(images), Path(masks), {}
    pictures, labels = (_by_name(*folders, left_out) for folders in ((images, masks), (masks, images)))
    same = images.resolve() == masks.resolve()
    if same and image_pattern == mask_pattern:
        raise ValueError(
            f"{images} is the folder of the images and of the masks, and names are equal. Expected two folders, or "
            "--mask-pattern such as {name}_mask."
        )
    cases = {name: case for name in pictures if (case := _case(name, image_pattern)) is not None}
    wanted = {name: _mask_of(case, mask_pattern) for name, case in cases.items()}
    seen = pictures, labels
    if same:  # masks are no images, and images no masks
        taken = set(wanted.values()) & set(labels)
        pictures = {name: path for name, path in pictures.items() if name not in taken}
        labels = {name: path for name, path in labels.items() if name not in pictures}
    other = [name for name in pictures if name not in cases]
    found = {name: labels[wanted[name]] for name in pictures if name in cases and wanted[name] in labels}
    if not found:
        _complain(images, masks, *seen, cases, wanted)
    lonely = [name for name in pictures if name in cases and name not in found]
    used = set(found.values())
    left_out |= {
        f"image of another name than {image_pattern}": [str(pictures[name].relative_to(images)) for name in other],
        WITHOUT_MASK: [str(pictures[name].relative_to(images)) for name in lonely],
        WITHOUT_IMAGE: [str(path.relative_to(masks)) for path in labels.values() if path not in used],
    }
    pairs = sorted(Pair(cases[name], pictures[name], mask, images) for name, mask in found.items())
    return pairs, {why: names for why, names in left_out.items() if names}


def _case(name, pattern):
    """The case of an image of this name, folders included; None where the pattern does not fit."""
    folder, _, last = name.rpartition("/")
    found = re.fullmatch(re.escape(pattern).replace(re.escape("{name}"), "(.+)", 1), last)
    return None if found is None else f"{folder}/{found[1]}".lstrip("/")


def _mask_of(case, pattern):
    """The name of the mask of a case, folders included."""
    folder, _, last = case.rpartition("/")
    return f"{folder}/{pattern.replace('{name}', last)}".lstrip("/")


def _by_name(folder, other, left_out):
    """{path in the folder without the ending: file} of the files that are read and not in the other folder, if that
    lies in this one; files of other kinds are left out."""
    if not folder.exists():
        raise FileNotFoundError(f"folder {folder} does not exist. Expected one of images or masks.")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file. Expected a folder of images or masks.")
    found, others = {}, left_out.setdefault(NOT_READ, [])
    for path in _files(folder, other):
        inside = path.relative_to(folder)
        if not path.name.lower().endswith(READABLE):
            others.extend([] if str(inside) in others else [str(inside)])
            continue
        name = inside.as_posix()[: -len(ending(path))]
        if name in found:
            raise ValueError(
                f"{folder} holds {found[name].name} and {path.name}. Expected one file of each name; move the other."
            )
        found[name] = path
    return found


def _files(folder, other):
    """The files of a folder and those in it, sorted, without hidden ones and those of the other folder, if that lies
    in this one."""
    within = other != folder and other.is_relative_to(folder)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and not (within and path.is_relative_to(other)):
            yield path


def _complain(images, masks, pictures, labels, cases, wanted):
    """Raise ValueError: why there is no pair."""
    for folder, other, found in ((images, masks, pictures), (masks, images, labels)):
        if not found:
            kinds = Counter(path.suffix for path in _files(folder, other)).most_common(4)
            seen = ", ".join(f"{count} {kind or 'without ending'}" for kind, count in kinds) or "no file"
            fix = "convert them" if kinds else "look whether this is the folder"
            raise ValueError(f"{folder} holds {seen}. Expected files of {', '.join(READABLE)}; {fix}.")
    first = next((name for name in pictures if name in wanted), None)
    if first is None:
        raise ValueError(
            f"no file of {images} has a name as --image-pattern tells; there is such as "
            f"{next(iter(pictures.values())).name}. Expected another pattern, with {{name}} for what differs."
        )
    same = images.resolve() == masks.resolve()
    pattern = _pattern_that_fits(cases, set(labels), same)
    other = next((path for name, path in labels.items() if not same or name != first), pictures[first])
    fix = "--image-pattern and --mask-pattern to tell them, such as {name}_0000 and {name}_mask"
    if pattern is not None:
        fix = f"--mask-pattern {shlex.quote(pattern)}, which fits"
    raise ValueError(
        f"no image of {images} has a mask in {masks}: for {pictures[first].name} a file {wanted[first]} with one of "
        f"the endings was looked for; there is such as {other.name}. Expected equal names, or {fix}."
    )


def _pattern_that_fits(cases, labels, same):
    """The one pattern of masks that at least half of the images have; None if there is none.

    Args:
        cases: {name of an image: case}.
        labels: names of masks; of images too if `same`.
    """
    patterns = set()
    for last in [case.rpartition("/")[2] for case in cases.values()][:TRIED]:
        for name in (label.rpartition("/")[2] for label in labels):
            found = re.finditer(re.escape(last), name)
            patterns |= {f"{name[: place.start()]}{{name}}{name[place.end() :]}" for place in found}
    fits = Counter()
    for pattern in sorted(patterns, key=lambda pattern: (len(pattern), pattern))[:SHORTEST]:
        found = {name: _mask_of(case, pattern) for name, case in cases.items()}
        fits[pattern] = sum(mask in labels and not (same and mask == name) for name, mask in found.items())
    (best, count), (_, second) = [*fits.most_common(2), ("", 0), ("", 0)][:2]
    return best if 2 * count >= len(cases) - same * count and count > second else None
