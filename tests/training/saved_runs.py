"""What files of training runs hold, to be compared bit for bit."""

import io
import zipfile

import h5py


def contents(path):
    """{name: (type, shape, bytes)} of the arrays of a `.keras` file, and the text of its training.json, if any."""
    found = {}

    def keep(name, part):
        if isinstance(part, h5py.Dataset):
            array = part[()]
            found[name] = (str(array.dtype), array.shape, array.tobytes())

    with zipfile.ZipFile(path) as archive:
        with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
            file.visititems(keep)
        if "training.json" in archive.namelist():
            found["training.json"] = archive.read("training.json").decode()
    assert len(found) > 4
    return found


def differences(one, other):
    """What of two run folders is not the same: names of files, and of arrays within."""
    found = []
    for name in ("model.keras", "state/last.keras"):
        parts, others = contents(one / name), contents(other / name)
        found += [f"{name}: {part}" for part in sorted(parts.keys() | others) if parts.get(part) != others.get(part)]
    if (one / "history.csv").read_bytes() != (other / "history.csv").read_bytes():
        found.append("history.csv")
    return found
