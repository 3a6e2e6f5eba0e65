"""Time loss + gradient with respect to the logits, for kseg and for the losses of other Keras libraries.

    python scripts/bench_losses.py
    python scripts/bench_losses.py --only cce,dice --size 8x256x256x6 --rounds 20
    python scripts/bench_losses.py --markdown docs/loss_speed.md

"graph" is what an uncompiled `fit` runs, a tf.function around the loss and its gradient; "XLA" is the same function
with jit_compile=True. A loss that takes probabilities gets in front of it the softmax or sigmoid that such a model ends
in. Labels are one-hot float32, or class ids in uint8 as kseg's pipeline gives them. Contenders take turns in random
order; times are in milliseconds, the median and the least. "ratio" is the median over rounds of the time over that of
the fastest peer in the same round: of those on the same kind of labels, if there is one. "floor"
is the time over that of one compiled pass that reads logits and labels and writes an array like the gradient. "temp"
is the scratch memory under XLA in units of the logits' size: the `preallocated-temp` bytes of XLA's buffer assignment
(--xla_dump_to), which hold neither arguments nor outputs. "collection" is keras-unet-collection, "models" is
segmentation_models, whose losses that sum over fixed axes run in 2-D only.

Peers that are not installed are named and left out: pip install medicai keras-unet-collection segmentation_models.
Run nothing else meanwhile.
"""

import argparse
import contextlib
import importlib
import inspect
import io
import os
import platform
import random
import re
import sys
import tempfile
import time
from ast import literal_eval
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

import kseg
from kseg.files import write_text

LEGEND = __doc__.split("\n\n")[2]
SIZES, MODES = ("8x256x256x6", "2x512x512x2", "1x64x128x128x3"), ("graph", "XLA")
MORE = ("8x256x256x1", "8x256x256x8", "4x256x256x21")  # when asked for by --size; the bounds are for those above
BOUNDS = {"graph": 0.6, "XLA": 1.0, "temp": 3.0}
SECONDS, FEWEST = 15.0, 3  # slow losses stop after so many seconds, but not before so many rounds
LIBRARIES = {
    "keras": "keras.losses",
    "medicai": "medicai.losses",
    "collection": "keras_unet_collection.losses",
    "models": "segmentation_models.losses",
}
# Peers that do the job of a kseg loss, or the nearest that Keras has. "axis": one ratio per class, as in kseg, and not
# one over all classes; "1:": without the background; "*": Categorical and Sparse.
CCE = "keras.CategoricalCrossentropy keras.SparseCategoricalCrossentropy "
DICE, DICEFG, TVERSKY = "keras.Dice keras.Dice(axis) ", "keras.Dice(axis,1:) ", "keras.Tversky keras.Tversky(axis) "
FIXED_AXES = ("CategoricalCELoss", "DiceLoss", "JaccardLoss")  # of segmentation_models
JOBS = {
    "cce": CCE + "models.CategoricalCELoss",
    "bce": "keras.BinaryCrossentropy models.BinaryCELoss",
    "mse": "keras.MeanSquaredError",
    "focal": "keras.CategoricalFocalCrossentropy models.CategoricalFocalLoss",
    "focal(head='sigmoid')": "keras.BinaryFocalCrossentropy(apply_class_balancing=True) models.BinaryFocalLoss",
    "dice": DICE + "medicai.*DiceLoss collection.dice models.DiceLoss",
    "dicefg": DICEFG + "medicai.*DiceLoss(1:) models.DiceLoss(1:)",
    **dict.fromkeys(("dice_square", "log_dice", "log_cosh_dice"), DICE),
    "weighted_cce": CCE,
    "dicefg_square": DICEFG,
    "asymmetric": TVERSKY,
    "generalized_dice": DICE + "medicai.*GeneralizedDiceLoss",
    "jaccard": "keras.Tversky(axis,alpha=1,beta=1) medicai.*IoULoss collection.iou_seg models.JaccardLoss",
    "tversky": TVERSKY + "medicai.*TverskyLoss collection.tversky",
    "focal_tversky": TVERSKY + "collection.focal_tversky",
    "dice_bce": "medicai.BinaryDiceCELoss",
    "cldice": "medicai.*CenterlineDiceLoss(1:,iters=10,memory_efficient_skeleton=False)",
}


@dataclass
class Contender:
    """A loss of logits on one kind of labels, and what was measured of it."""

    library: str
    title: str
    labels: str
    loss: object
    times: dict = field(default_factory=dict)  # mode -> seconds, round by round
    temp: float = float("nan")

    def ratio(self, other, mode):
        """Median over rounds of the ratio of two times."""
        return median(a / b for a, b in zip(self.times[mode], other.times[mode], strict=True))

    def rival(self, contenders, mode):
        """The fastest peer on labels of the same kind, or None."""
        peers = [c for c in contenders if c.library in LIBRARIES and mode in c.times and c.labels == self.labels]
        return min(peers, key=lambda c: median(c.times[mode]), default=None)


@contextlib.contextmanager
def leave_out(what):
    """Go on after an error, whatever a peer dies of, with a line that says so."""
    try:
        yield
    except Exception as error:
        print(f"{what} is left out: {type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:120]}")


def peer(library, module, name, words, classes, rank):
    """The Contender of an entry of `JOBS`: on logits where the loss takes them, else behind a softmax or sigmoid."""
    import tensorflow as tf

    loss = getattr(module, name)
    takes = inspect.signature(loss).parameters
    options = {"from_logits": True, "num_classes": classes}
    if "1:" in words:
        options |= dict.fromkeys(("target_class_ids", "class_indexes"), list(range(1, classes)))
    options = {option: value for option, value in options.items() if option in takes}
    options |= {"axis": tuple(range(rank - 1))} if "axis" in words else {}
    options |= {option: literal_eval(value) for option, value in re.findall(r"(\w+)=(\w+)", words)}
    loss = loss(**options) if inspect.isclass(loss) else loss
    head = tf.sigmoid if classes == 1 or name.startswith("Binary") else tf.nn.softmax
    first = 1 if "1:" in words and library == "keras" else 0  # Keras has no option for it
    ours = loss if "from_logits" in takes else lambda y, x: loss(y[..., first:], head(x)[..., first:])
    title = f"{library}.{name}({words})".removesuffix("()")
    return Contender(library, title, "ids" if name.startswith("Sparse") else "one-hot", ours)


def contenders_for(name, classes, rank, libraries):
    """A kseg loss on both kinds of labels, its peers, and the memory floor."""
    import tensorflow as tf

    found = [Contender("kseg", name, labels, kseg.losses.get(name, from_logits=True)) for labels in ("one-hot", "ids")]
    for library, starred, words in re.findall(r"(\w+)\.([*\w]+)(?:\((.*?)\))?", JOBS.get(name, "")):
        if library in libraries and (rank == 4 or starred not in FIXED_AXES):
            for form in ("Categorical", "Sparse") if "*" in starred else ("",):
                with leave_out(f"{library}.{starred}"):
                    found.append(peer(library, libraries[library], starred.replace("*", form), words, classes, rank))
    found.append(Contender("floor", "memory floor", "one-hot", lambda y, x: 2.0 * x + y))
    return [*found, Contender("floor", "memory floor", "ids", lambda y, x: 2.0 * x + tf.cast(y, x.dtype)[..., None])]


def step_of(contender, mode, name):
    """The function that is timed; its compilation is found by `name`."""
    import tensorflow as tf

    def step(labels, logits):
        if contender.library == "floor":
            return (contender.loss(labels, logits),)
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = tf.reduce_mean(contender.loss(labels, logits))
        return value, tape.gradient(value, logits)

    step.__name__ = name
    return tf.function(step, jit_compile=mode == "XLA" or contender.library == "floor" or None, autograph=False)


def measure(contenders, mode, rounds, logits, labels, folder):
    """Fill in `times[mode]` and `temp` of those that run."""
    import tensorflow as tf

    steps = {}
    for number, contender in enumerate(contenders):
        step = step_of(contender, mode, f"bench{number}{mode}")
        with leave_out(f"{contender.title} on {contender.labels} in {mode} mode"):
            gradient = step(labels[contender.labels], logits)[-1]
            if not tf.math.is_finite(tf.reduce_sum(gradient)):
                raise FloatingPointError("its gradient is not finite")
            steps[number], contender.times[mode] = step, []
        if mode == "XLA":
            contender.temp = round(scratch_bytes(folder, f"bench{number}{mode}") / (4 * int(tf.size(logits))), 2)
    order, end = list(steps), time.perf_counter() + SECONDS
    for turn in range(rounds + 1):
        random.shuffle(order)
        for number in order:
            contender = contenders[number]
            start = time.perf_counter()
            result = steps[number](labels[contender.labels], logits)
            tf.test.experimental.sync_devices()
            if turn:  # the first round warms up
                contender.times[mode].append(time.perf_counter() - start)
            del result
        if turn >= FEWEST and time.perf_counter() > end:
            break


def scratch_bytes(folder, name):
    """Bytes of temporaries of the compiled function `name`; empties the folder of dumps."""
    size = float("nan")
    for path in Path(folder).iterdir():
        if f"_{name}_" in path.name and path.name.endswith("buffer-assignment.txt"):
            size = sum(map(int, re.findall(r"size (\d+), preallocated-temp", path.read_text())))
        path.unlink()
    return size


def results(size, contenders, name, add):
    """Call `add` with the cells of each row; (what, value, bound) of the kseg rows, nan for what did not run."""
    lean = name in kseg.losses.names() and kseg.losses.facts(name)["category"] in ("distribution", "region")
    found = []
    for c in contenders:
        floor = next(f for f in contenders if f.library == "floor" and f.labels == c.labels)
        what, cells, ours = f"{size} {c.title}, {c.labels}", [c.title, c.labels], c.library == "kseg"
        for mode in MODES:
            times, other = c.times.get(mode), c.rival(contenders, mode) if ours else None
            value = c.ratio(other, mode) if times and other else float("nan")
            cells += [f"{1e3 * which(times):.2f}" for which in (median, min)] if times else ["", ""]
            cells += [f"{c.ratio(floor, mode):.1f}" if times else "", f"{value:.2f}" if times and other else ""]
            if other or (ours and not times):
                against = f"{other.title}, {other.labels}" if other else "none"
                found.append((f"{what}, {mode} / {against}", value, BOUNDS[mode]))
        add([*cells, "" if c is floor else f"{c.temp:.2f}"])
        if ours and lean:
            found.append((f"{what}, temporaries", c.temp, BOUNDS["temp"]))
    return found


def data(size):
    """Logits that lean towards a map of blocks, and the map as {kind of labels: tensor}."""
    import tensorflow as tf

    rng, (*shape, classes) = np.random.default_rng(0), map(int, size.split("x"))
    ids = rng.integers(0, max(classes, 2), [shape[0], *(length // 16 for length in shape[1:])], dtype=np.uint8)
    for axis in range(1, ids.ndim):
        ids = ids.repeat(16, axis)
    one_hot = np.eye(max(classes, 2), dtype=np.float32)[ids][..., -classes:]  # of one channel, the foreground
    logits = 2.0 * one_hot + rng.normal(size=one_hot.shape).astype(np.float32)
    return tf.constant(logits), {"one-hot": tf.constant(one_hot), "ids": tf.constant(ids)}


def compare(names, sizes, rounds, folder):
    """Measure and print; the table as lines of Markdown, and the list of (what, value, bound)."""
    import tensorflow as tf

    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    processor = next(iter(re.findall(r"model name\s*: (.+)", info)), platform.processor() or platform.machine())
    machine = f"{processor}, {os.cpu_count()} cores, TensorFlow {tf.__version__}, Keras {tf.keras.__version__}."
    page = ["# Speed of the losses", "", f"Measured by `scripts/bench_losses.py` on {machine}", "", LEGEND]
    print(machine)
    libraries, found = {}, []
    os.environ.setdefault("SM_FRAMEWORK", "tf.keras")
    for library, module in LIBRARIES.items():
        with leave_out(module), contextlib.redirect_stdout(io.StringIO()):
            libraries[library] = importlib.import_module(module)

    def add(cells):
        page.append("| " + " | ".join([f"{cells[0]:<56}", *(f"{cell:>7}" for cell in cells[1:])]) + " |")
        print(page[-1], flush=True)

    for size in sizes:
        logits, labels = data(size)
        page.append("")
        add([size, "labels", *(cell for mode in MODES for cell in (mode, "least", "floor", "ratio")), "temp"])
        add(["---"] * 11)
        for name in names:
            contenders = contenders_for(name, logits.shape[-1], logits.shape.rank, libraries)
            for mode in MODES:
                measure(contenders, mode, rounds, logits, labels, folder)
            found += results(size, contenders, name.partition("(")[0], add)
    return page, found


def main():
    """Print every figure beside its bound; exit code 1 when one is missed, 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES + MORE, help="one size only: batch, space, classes")
    parser.add_argument("--only", metavar="LOSSES", help="kseg losses, separated by commas: cce, 'bce + dice'")
    parser.add_argument("--rounds", type=int, default=30, metavar="N", help="how often each takes its turn (30)")
    parser.add_argument("--markdown", metavar="FILE", help="write the table there too")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error(f"argument --rounds: expected at least 1. Received {options.rounds}")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_dump_to={folder} --xla_dump_hlo_as_text"
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import tensorflow as tf

        tf.get_logger().setLevel("ERROR")  # "retracing": every contender is a function of its own
        names = [*kseg.losses.names(), *(name for name in JOBS if "(" in name)]
        names = re.split(r", *(?![^(]*\))", options.only) if options.only else names
        try:
            _ = [kseg.losses.get(name, from_logits=True) for name in names]
        except ValueError as error:
            parser.error(f"argument --only: {error}")
        page, found = compare(names, [options.size] if options.size else SIZES, options.rounds, folder)
        if options.markdown:
            write_text(options.markdown, "\n".join([*page, ""]))
    print()
    for what, value, bound in found:
        print(f"{what:<100}{value:>9.3f}   bound {bound:<6g}{'met' if value <= bound else 'MISSED'}")
    return 0 if all(value <= bound for _, value, bound in found) else 1


if __name__ == "__main__":
    sys.exit(main())
