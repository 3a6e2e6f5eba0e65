"""Which files to predict, and what is written of each."""

import glob
from pathlib import Path
from typing import NamedTuple

from kseg.data.read import READABLE, ending, mask_name, probabilities_name, stem

OVERLAYS, PROBABILITIES = "overlays", "probabilities"  # folders


class Job(NamedTuple):
    """A file and what is written of it: the mask, and its probabilities and overlay or None."""

    path: Path
    mask: Path
    probabilities: Path | None
    overlay: Path | None

    @property
    def written(self):
        return [path for path in self[1:] if path is not None]


def list_files(words):
    """The files that words of the command line name.

    Args:
        words: one, or several: paths of files; of folders, of which all files that can be read are taken, hidden ones
            left out; or patterns such as "scans/*.png" ("**" goes into folders).

    Returns:
        (list of Paths in the order of the words, sorted within each; number of files left out because they are of no
        kind that is read).

    Raises:
        FileNotFoundError, ValueError: nothing there, a file of no kind that is read, a file named twice.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("b.png", "a.nii.gz", "notes.txt", ".hidden.png"):
        ...     (folder / name).touch()
        >>> files, left_out = list_files([folder])
        >>> [path.name for path in files], left_out
        (['a.nii.gz', 'b.png'], 1)
    """
    files, left_out = [], 0
    for word in map(str, [words] if isinstance(words, (str, Path)) else words):
        path = Path(word)
        if path.is_file():
            ending(path)
            files.append(path)
            continue
        if path.is_dir():
            found = [each for each in path.iterdir() if each.is_file() and not each.name.startswith(".")]
        else:
            found = [Path(each) for each in glob.glob(word, recursive=True) if Path(each).is_file()]
            if not found:
                raise FileNotFoundError(f"{word!r} does not exist. Expected a file, a folder, or a pattern of files.")
        readable = sorted(each for each in found if each.name.lower().endswith(READABLE))
        if not readable:
            raise FileNotFoundError(f"{word!r} holds no file that is read. Expected {', '.join(READABLE)}.")
        files += readable
        left_out += len(found) - len(readable)
    _check_once(files)
    return files, left_out


def plan_jobs(files, output, *, probabilities=False, overlays=False):
    """What is written of each file: list of `Job`.

    Raises:
        ValueError: two files would have the same mask, or a result would take the place of a file to be read.
    """
    output, jobs = Path(output), []
    for path in files:
        jobs.append(
            Job(
                path,
                output / mask_name(path),
                output / PROBABILITIES / probabilities_name(path) if probabilities else None,
                output / OVERLAYS / f"{stem(path)}.png" if overlays else None,
            )
        )
    owners, sources = {}, {path.resolve(): path for path in files}
    for job in jobs:
        for target in job.written:
            other = owners.setdefault(str(target).casefold(), job.path)
            if other is not job.path:
                raise ValueError(
                    f"{other} and {job.path} would both be written to {target}. Expected names that differ; predict "
                    "them one after the other, into two folders."
                )
            if target.resolve() in sources:
                raise ValueError(f"{target} is one of the files to read. Expected another folder to write to.")
    return jobs


def _check_once(files):
    seen = {}
    for path in files:
        other = seen.setdefault(path.resolve(), path)
        if other is not path:
            raise ValueError(f"{path} is given twice{f', also as {other}' * (other != path)}. Expected each file once.")
