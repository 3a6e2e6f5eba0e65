"""Masks of files: read, prepared as for training, predicted in batches over files, written as they came."""

import errno
import time
from collections import deque
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kseg.data.read import read_case, write_mask, write_probabilities
from kseg.inference.listing import list_files, plan_jobs
from kseg.inference.overlays import picture_of, save_overlay
from kseg.inference.sliding import bands, class_ids
from kseg.inference.trained import Trained, open_trained

UNREADABLE = (ValueError, OSError, MemoryError)  # what a bad file raises
OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class Prediction(NamedTuple):
    """What came of one file.

    `mask` is the file of its mask, `shape` (n, H, W) its slices and their size, `shares` of each class in its
    pixels, `seconds` since the file before was done, `remarks` what was lost in reading. Where `error` tells why there
    is no mask, the others are None or empty.
    """

    path: Path
    mask: Path | None
    shape: tuple
    shares: tuple
    seconds: float
    remarks: tuple = ()
    error: str | None = None


def predict_files(
    trained, files, output, *, threshold=0.5, probabilities=False, overlays=False, overlap=0.5, batch_size=16,
    overwrite=False, watch=None,
):  # fmt: skip
    """Write the masks of files, each in the format that it came in; a bad file does not stop the others.

    Args:
        trained: `Trained`, or a run folder or `.keras` file that `open_trained` takes.
        files: paths, folders, patterns; see `list_files`.
        output: folder, made if it is not there; gets a mask for each file, of the values that those of training had, or
            class ids where the preprocessing does not tell them.
        threshold: above it a pixel is foreground, for models of one channel.
        probabilities: also write the probabilities of each class, to a folder of that name in `output`.
        overlays: also draw the outlines over the images, to a folder of that name.
        overlap: of windows, where images are larger than those of training; see `predict_probabilities`.
        batch_size: images or windows a batch, of one file or several.
        overwrite: replace files of the same names.
        watch: called as `watch(path, share)` with the share of a file that is done.

    Returns:
        Iterator over `Prediction`, in the order of the files. Files are read and written as it goes on.

    Raises:
        ValueError, FileNotFoundError, FileExistsError: at once, before anything is written: no such files or model,
            or files of the same names in `output`.

    Example:
        >>> import tempfile
        >>> import keras
        >>> from kseg.data.preprocess import Preprocessing
        >>> folder, pixel = Path(tempfile.mkdtemp()), keras.Input((None, None, 1))
        >>> model = keras.Model(pixel, keras.layers.Identity()(pixel))
        >>> bright = Trained(model, ("dark", "bright"), Preprocessing(channels=1))
        >>> np.save(folder / "image.npy", np.array([[0.1, 0.9, 0.2, 0.3]]))
        >>> [result] = predict_files(bright, [folder / "image.npy"], folder / "masks")
        >>> np.load(result.mask).tolist(), result.shares
        ([[0, 1, 0, 0]], (0.75, 0.25))
    """
    if not isinstance(trained, Trained):
        trained = open_trained(trained)
    trained.check()
    jobs = plan_jobs(list_files(files)[0], output, probabilities=probabilities, overlays=overlays)
    for target in (target for job in jobs for target in job.written):
        if target.exists() and not overwrite:
            raise FileExistsError(f"{target} exists. Expected a new file; choose another folder, or overwrite.")
    for folder in {target.parent for job in jobs for target in job.written}:
        folder.mkdir(parents=True, exist_ok=True)
    seen = {"window": trained.preprocessing.window, "overlap": overlap, "batch_size": batch_size}
    return _predicted(trained, jobs, threshold, seen, watch or (lambda path, share: None))


class _Work:
    """A file under way: what its results need of it, and the results as far as they are."""

    def __init__(self, job, trained, threshold):
        self.job, self.trained, self.threshold, self.error = job, trained, threshold, None
        self.done, self.p, self.ids, self.remarks = 0, None, None, ()

    def read(self):
        """The images `[n, h, w, C]` of the file as the model sees them, or None and the reason in `error`."""
        rules, path = self.trained.preprocessing, self.job.path
        try:
            return self._read(read_case(path, axis=rules.axis, orientation=rules.orientation))
        except UNREADABLE as error:
            self.ids, self.error = None, _reason(error, path)
            return None

    def _read(self, case):
        rules = self.trained.preprocessing
        images = rules.images(case.pixels)
        self.origin, self.remarks, self.total = (
            case.origin,
            (*case.remarks, *_colours(case.pixels, rules)),
            len(images) * images.shape[1],
        )
        self.ids = np.empty(images.shape[:3], np.uint8)
        if self.job.probabilities is not None or rules.resizes:
            self.p = np.empty((*images.shape[:3], self.trained.model.output_shape[-1]), np.float32)
        self.picture = None if self.job.overlay is None else picture_of(case)
        return images

    def take(self, number, row, p):
        """Rows of a slice from the model; returns whether the slice is whole."""
        place = slice(row, row + len(p))
        self.ids[number, place] = class_ids(p, self.threshold)
        if self.p is not None:
            self.p[number, place] = p
        if not np.isfinite(p).all():
            self.error = "gives NaN in the model. Expected finite values; look for extreme pixels, or train again."
        self.done += len(p)
        return place.stop == self.ids.shape[1]

    def _ids(self, size):
        """Class ids in the original size; what was resized goes back as probabilities, whose borders are smooth."""
        rules = self.trained.preprocessing
        if not rules.resizes:
            return rules.labels_back(self.ids, size)
        slices = (rules.probabilities_back(self.p[i : i + 1], size)[0] for i in range(len(self.p)))
        return np.stack([class_ids(p, self.threshold) for p in slices])

    def write(self):
        """Write the results in the original size; returns (n, H, W) and the share of each class."""
        rules, size = self.trained.preprocessing, self.origin.size
        ids = self._ids(size)
        if self.job.probabilities is not None:
            write_probabilities(self.job.probabilities, rules.probabilities_back(self.p, size), self.origin)
        if self.picture is not None:
            save_overlay(self.job.overlay, self.picture, ids, self.trained.classes, self.job.path.name)
        write_mask(self.job.mask, rules.mask(ids), self.origin)  # last: where it is, the others are
        counts = np.bincount(ids.ravel(), minlength=len(self.trained.classes))
        return ids.shape, tuple((counts / ids.size).tolist())


def _predicted(trained, jobs, threshold, seen, watch):
    waiting, slices, began = deque(), deque(), time.monotonic()

    def images():
        for job in jobs:
            work = _Work(job, trained, threshold)
            prepared = work.read()
            waiting.append(work)
            for number in range(0 if prepared is None else len(prepared)):
                slices.append((work, number))
                yield prepared[number]

    def finished():
        nonlocal began
        while waiting and (waiting[0].ids is None or waiting[0].done == waiting[0].total):
            result = _result(waiting.popleft())
            yield result._replace(seconds=time.monotonic() - began)
            began = time.monotonic()

    for _, row, p in bands(trained.model, images(), **seen):
        work, number = slices[0]
        if work.take(number, row, p):
            slices.popleft()
        watch(work.job.path, work.done / work.total)
        yield from finished()
    yield from finished()


def _colours(pixels, rules):
    """What is said of images whose colours are not those of training."""
    if pixels.shape[-1] == rules.channels:
        return ()
    if rules.channels == 3:
        return ("gray, of which three equal channels were made",)
    return ("colours became gray",) if (pixels[..., :1] != pixels).any() else ()


def _reason(error, path):
    return (" ".join(str(error).split()) or type(error).__name__).removeprefix(f"{path} ")


def _result(work):
    if work.error is not None:
        return Prediction(work.job.path, None, (), (), 0.0, work.remarks, work.error)
    try:
        shape, shares = work.write()
    except UNREADABLE as error:
        if getattr(error, "errno", None) in OF_THE_DISK:  # the next file would not be written either
            raise
        return Prediction(work.job.path, None, (), (), 0.0, work.remarks, _reason(error, work.job.path))
    return Prediction(work.job.path, work.job.mask, shape, shares, 0.0, work.remarks)
