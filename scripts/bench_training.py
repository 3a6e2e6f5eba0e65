"""Measure the main job: training against a bare train step, the input pipeline, start-up, preparation.

    python scripts/bench_training.py hippocampus.h5
    python scripts/bench_training.py hippocampus.h5 --source Task04_Hippocampus

Figures are medians over rounds; what is compared takes turns in one run. Run nothing else meanwhile.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROUNDS, EPOCHS, BATCH = 5, 6, 32
SCRIPTS = Path(__file__).parent


def seconds(action):
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def process_seconds(*words):
    """Median wall-clock seconds of a Python process."""
    run = lambda: subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)  # noqa: E731
    run()
    return median(seconds(run) for _ in range(ROUNDS))


def start_up():
    """(what, seconds, limit) of the import and of every script's help."""
    code = "import time; t = time.perf_counter(); import kseg; print(time.perf_counter() - t)"
    runs = [subprocess.run([sys.executable, "-c", code], check=True, capture_output=True) for _ in range(ROUNDS)]
    yield "import kseg", median(float(run.stdout) for run in runs), 0.1
    for script in sorted(SCRIPTS.glob("*.py")):
        yield f"{script.name} --help", process_seconds(str(script), "--help"), 1.0


def preparation(source):
    """(what, seconds, limit) of preparing the volumes, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        script = str(SCRIPTS / "prepare_hippocampus.py")
        command = [sys.executable, script, source, f"{folder}/set.h5"]
        yield "prepare the volumes", seconds(lambda: subprocess.run(command, check=True)), 20.0


def training(path):
    """(what, ratio, at least) of `fit` against a bare step, and of the pipeline against `fit`."""
    import tensorflow as tf
    from rich.console import Console

    from kseg import losses, models
    from kseg.data import load, open_data
    from kseg.training import compile_model, fit
    from kseg.training.callbacks import ShowProgress

    data = open_data(path)
    train = load(data, "train", BATCH, drop_remainder=True)
    batches = list(train)
    loss = losses.get("bce + dice", from_logits=True)

    def network():
        model = models.unet(data.shape, 1, depth=3, bn=True)
        compile_model(model, loss)
        return model

    bare, ours = network(), network()
    bare.optimizer.build(bare.trainable_variables)

    @tf.function
    def step(images, masks):
        with tf.GradientTape() as tape:
            value = loss(masks, bare(images, training=True))
        gradients = tape.gradient(value, bare.trainable_variables)
        bare.optimizer.apply_gradients(zip(gradients, bare.trainable_variables, strict=True))
        return value

    def bare_epoch():
        for images, masks in batches:
            value = step(images, masks)
        float(value)

    with tempfile.TemporaryDirectory() as folder:

        def fit_epoch():
            fit(ours, train, None, epochs=1, folder=Path(folder), callbacks=[ShowProgress(Console(quiet=True))])

        bare_epoch(), fit_epoch()
        pairs = []
        for turn in range(EPOCHS):  # who goes first takes turns too: a machine that slows down favours the first
            order = (bare_epoch, fit_epoch) if turn % 2 else (fit_epoch, bare_epoch)
            taken = {epoch: seconds(epoch) for epoch in order}
            pairs.append((taken[bare_epoch], taken[fit_epoch]))
    images = len(batches) * BATCH
    bare_time, fit_time = (median(column) for column in zip(*pairs, strict=True))
    print("fit / bare step, epoch by epoch:", *(f"{b / f:.3f}" for b, f in pairs))
    print(f"bare step {images / bare_time:.0f} images/s, fit {images / fit_time:.0f} images/s")
    yield "fit / bare step, images per second", median(b / f for b, f in pairs), 0.95
    for name, in_memory in (("in memory", True), ("streamed", False)):
        whole = load(data, "train", BATCH, in_memory=in_memory)
        rate = data.sizes["train"] / min(seconds(lambda: [None for _ in whole]) for _ in range(3))  # noqa: B023
        print(f"pipeline {name} {rate:.0f} images/s")
        yield f"pipeline {name} / fit, images per second", rate * fit_time / images, 10.0


def main():
    """Print every figure beside its bound; exit code 1 when one is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="toy", help="prepared HDF5 file, or 'toy'")
    parser.add_argument("--source", help="folder Task04_Hippocampus, to time its preparation")
    options = parser.parse_args()
    rows = [(what, value, bound, value <= bound) for what, value, bound in start_up()]
    if options.source:
        rows += [(what, value, bound, value <= bound) for what, value, bound in preparation(options.source)]
    rows += [(what, value, bound, value >= bound) for what, value, bound in training(options.data)]
    for what, value, bound, met in rows:
        print(f"{what:<46}{value:>9.3f}   bound {bound:<6g}{'met' if met else 'MISSED'}")
    return 0 if all(met for *_, met in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
