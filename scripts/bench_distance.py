"""Time the distance transform of masks beside scipy.ndimage.distance_transform_edt.

    python scripts/bench_distance.py
    python scripts/bench_distance.py --rounds 40

On 8 masks of 256 x 256: blocks, a disk, and one single pixel outside the object, the worst case. "graph" is a
tf.function as an uncompiled `fit` runs it, "XLA" the same with jit_compile=True. The ratio is the median over rounds,
in which all take turns in random order. Run nothing else meanwhile.
"""

import argparse
import os
import random
import sys
import time
from statistics import median

import numpy as np

BOUND, SHAPE = 3.0, (8, 256, 256)


def masks():
    """{name: `[B, H, W]` of bool}."""
    rng, (count, height, width) = np.random.default_rng(0), SHAPE
    blocks = rng.integers(0, 2, [count, height // 16, width // 16]).repeat(16, 1).repeat(16, 2) > 0
    y, x = np.ogrid[:height, :width]
    disk = np.hypot(y - height / 2, x - width / 2) < 0.3 * width
    single = np.ones(SHAPE, bool)
    single[np.arange(count), rng.integers(0, height, count), rng.integers(0, width, count)] = False
    return {"blocks": blocks, "disk": np.broadcast_to(disk, SHAPE), "single pixel": single}


def measure(mask, rounds):
    """{contender: seconds, round by round}."""
    import tensorflow as tf
    from scipy.ndimage import distance_transform_edt

    from kseg.ops.distance import distance_transform

    tensor = tf.constant(mask)
    graph, compiled = tf.function(distance_transform), tf.function(distance_transform, jit_compile=True)
    runs = {
        "scipy": lambda: np.stack([distance_transform_edt(image) for image in mask]),
        "graph": lambda: graph(tensor),
        "XLA": lambda: compiled(tensor),
    }
    expected = runs["scipy"]()
    for name in ("graph", "XLA"):
        np.testing.assert_allclose(runs[name]().numpy(), expected, rtol=1e-5)
    times, order = {name: [] for name in runs}, list(runs)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            start = time.perf_counter()
            runs[name]()
            tf.test.experimental.sync_devices()
            times[name].append(time.perf_counter() - start)
    return times


def main():
    """Print every figure beside its bound; exit code 1 when one is missed, 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="how often each takes its turn (20)")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error(f"argument --rounds: expected at least 1. Received {options.rounds}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    met = True
    for name, mask in masks().items():
        times = measure(mask, options.rounds)
        for mode in ("graph", "XLA"):
            value = median(a / b for a, b in zip(times[mode], times["scipy"], strict=True))
            ours, scipys = (1e3 * median(times[who]) for who in (mode, "scipy"))
            met &= value <= BOUND
            what = f"{name}, {mode}: {ours:.1f} ms / scipy {scipys:.1f} ms"
            print(f"{what:<54}{value:>7.2f}   bound {BOUND:<6g}{'met' if value <= BOUND else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
