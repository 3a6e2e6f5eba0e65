"""The training sets of D4's models: perturbed by methods one and two, and all of them together (S4.10)."""

from typing import NamedTuple

import numpy as np

from kseg.data import DataFile, open_data, save
from kseg.data.hdf5 import SPLITS
from kseg.data.recipe import source_entry
from kseg.data.writer import Writer
from kseg.inference import cases_of
from kseg.studies import measures_file
from kseg.training.perturbed import step_size

RECORD = "kseg perturbations 1"
BLOCK = 256  # images that are perturbed together, or a few more to end with a case
MOST = 7  # classes of which method two looks at all choices, 2187 an image: a second of a small network
METHODS = {"method one": "layered", "method two": "selective"}


class Method(NamedTuple):
    """A method of the document: its `name`, the `attack` and what of `Attacker` it takes."""

    name: str
    attack: str
    options: dict


def methods(config, value_range):
    """{name: `Method`} of methods one and two, budgets in units of the images' values."""
    low, high = value_range
    budget = config.budget * (high - low)
    shared = {"budget": budget, "value_range": (float(low), float(high)), "jit": config.jit}
    own = {
        "method one": {"steps": config.steps, "step_size": step_size(budget, config.steps)},
        "method two": {"search": config.search},
    }
    return {name: Method(name, attack, shared | own[name]) for name, attack in METHODS.items()}


def perturb(data, attacker, method, model_file, path, batch_size=16, tell=lambda *_: None, facts=None):
    """Write the data with every image of the training split perturbed for a model; validation and test stay.

    Beside the file goes one of records (`records_of`): for each training image the losses and agreements before and
    after, the largest change, the PSNR, and what the attack tells (choices of method two, passes of method one).

    Args:
        data: an open data set.
        attacker: `kseg.attacks.Attacker` of the method on the model.
        method: Method.
        model_file: Path of the model.keras that is attacked, for the sources.
        path: of the HDF5 file to write.
        batch_size: images a step.
        tell: called with the share that is done.
        facts: {name: value} to keep with the records.
    """
    attributes = data.attributes()
    told = ", ".join(f"{name}={value!r}" for name, value in attacker.settings.items() if name != "method")
    attributes |= {
        "name": f"{attributes['name']}, {method.name}",
        "command": f"kseg.attacks.Attacker(model, {method.attack!r}, {told}) on the training split of: "
        + attributes["command"],
        "sources": [*attributes["sources"], source_entry(model_file, model_file.parents[1])],
    }
    records = []
    with Writer(path, overwrite=True, **attributes) as writer:
        for split in SPLITS:
            rows, index = data.sizes[split], data.index(split) if data.sizes[split] else None
            for start, stop, parts in _blocks(index, rows):
                images, masks = data.read(split, start, stop)
                if split == "train":
                    found = attacker(
                        images, masks, batch_size=batch_size, rows=np.arange(start, stop),
                        tell=lambda done, start=start, rows=rows: tell((start + done) / rows),
                    )  # fmt: skip
                    records.append(record_of(found, images, attacker.high - attacker.low))
                    images = found.images
                for name, part in parts:
                    within = slice(part.start - start, part.stop - start)
                    writer.add(
                        split, name, images[within], masks[within], slices=index["slice"][part],
                        box=tuple(index["box"][part.start]), spacing=tuple(index["spacing"][part.start]),
                    )  # fmt: skip
        joined = {name: np.concatenate([record[name] for record in records]) for name in records[0]}
        measures_file.save(records_of(path), RECORD, joined, **(facts or {}))


def records_of(path):
    """The file of records beside a perturbed data file."""
    return path.with_name(f"{path.stem}_records.h5")


def record_of(found, images, width):
    """{name: `[n]` or more} of an `Attacked`: what it was for each image."""
    extra = {name: value for name, value in found.extra.items() if name in ("choices", "passes", "total_budget")}
    return {
        "loss_before": found.loss_before, "loss_after": found.loss_after,
        "agreement_before": found.agreement_before, "agreement_after": found.agreement_after,
        **likeness(found.images, images, width), **extra,
    }  # fmt: skip


def likeness(changed, images, width):
    """How alike images are: {"largest": largest change as a share of the range, "psnr": in dB} `[n]` (S4.15).

    The PSNR of an image that did not change is infinite. Padding counts as any pixel does.

    Args:
        changed, images: `[n, *S, C]`.
        width: of the range of values.
    """
    change = (changed.astype(np.float64) - images).reshape(len(images), -1) / width
    with np.errstate(divide="ignore"):
        return {"largest": np.abs(change).max(axis=1), "psnr": -10 * np.log10(np.square(change).mean(axis=1))}


def _blocks(index, rows):
    """(start, stop, [(case, rows of it)]) of successive whole cases, at least `BLOCK` images but for the last."""
    parts = []
    for name, part in cases_of(index) if rows else ():
        parts.append((name, part))
        if part.stop - parts[0][1].start >= BLOCK:
            yield parts[0][1].start, part.stop, parts
            parts = []
    if parts:
        yield parts[0][1].start, parts[-1][1].stop, parts


class Union:
    """Training splits of several data sets in one; validation and test are those of the first.

    Args:
        sets: {prefix of the cases: open data set}, prefixes in ascending order.
        told: the name of the result.
    """

    def __init__(self, sets, told):
        self._sets, self._first, self._told = sets, next(iter(sets.values())), told
        self.sizes = dict(self._first.sizes) | {"train": sum(data.sizes["train"] for data in sets.values())}

    def attributes(self):
        """Those of the first set, with the sources of all."""
        every = [data.attributes() for data in self._sets.values()]
        sources = {source["file"]: source for attributes in every for source in attributes["sources"]}
        commands = "; ".join(attributes["command"] for attributes in every)
        return every[0] | {"name": self._told, "command": commands, "sources": list(sources.values())}

    def index(self, split):
        if split != "train":
            return self._first.index(split)
        parts = {prefix: data.index("train") for prefix, data in self._sets.items()}
        joined = {name: np.concatenate([part[name] for part in parts.values()]) for name in ("slice", "box", "spacing")}
        cases = [f"{prefix}, {case}" for prefix, part in parts.items() for case in part["case"]]
        return {"case": np.array(cases, dtype=object), **joined}

    def read(self, split, start=0, stop=None):
        if split != "train":
            return self._first.read(split, start, stop)
        wanted, found, first = range(self.sizes["train"])[start:stop], [], 0
        for data in self._sets.values():
            last = first + data.sizes["train"]
            low, high = max(wanted.start, first), min(wanted.stop, last)
            if low < high:
                found.append(data.read("train", low - first, high - first))
            first = last
        return tuple(np.concatenate(part) for part in zip(*found, strict=True))


def unite(source, files, path):
    """Write the training splits of the data and of perturbed files, {prefix: path}, to one file."""
    opened = {prefix: DataFile(file) for prefix, file in files.items()}
    try:
        save(Union({"0 original": open_data(source), **opened}, "original, method one and method two"), path,
             overwrite=True)  # fmt: skip
    finally:
        for data in opened.values():
            data.close()
