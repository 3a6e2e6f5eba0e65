"""Time the toy study's runs as one program beside the same runs one after the other.

    python scripts/bench_toy.py
    python scripts/bench_toy.py --runs 108 --iterations 251 --rounds 5
    python scripts/bench_toy.py --all

The runs are the first of the published sweep (108 runs: 3 losses, Adam and SGD, with and without batch normalisation,
3 thresholds, 3 seeds), half of them with batch normalisation. "stacked" trains all of them as `toy_stack` does,
"one by one" some of them as `toy_alone` does, in this process, in turns. Both log every iteration. The time of
tracing and compiling is in neither; it is printed. The ratio is the median over rounds. `--all` runs the published
length of 10001 iterations stacked, once, and measures instead of projecting. Run nothing else meanwhile.
"""

import argparse
import os
import platform
import resource
import sys
import time
from itertools import product
from statistics import median

BOUND, AIM, MINUTES, PUBLISHED, LENGTH = 3.5, 6.0, 8.0, 108, 10001


def conditions(count):
    """The first runs of the published sweep, without and with batch normalisation."""
    from kseg.studies.toy_runs import Condition

    losses, thresholds = ("cce", "dicefg", "dice"), (0.05, 0.5, 0.95)
    grid = product(range(3), ("adam", "sgd"), thresholds, losses)
    rows = [(loss, optimizer, threshold, seed) for seed, optimizer, threshold, loss in grid]
    each = {False: rows[: count // 2], True: rows[: count - count // 2]}
    return {
        bn: [Condition(loss, optimizer, bn, threshold, seed) for loss, optimizer, threshold, seed in rows]
        for bn, rows in each.items()
        if rows
    }


class Clock:
    """Seconds of wall clock and of processor per iteration, from the second return to Python to the last."""

    def __init__(self):
        self.marks = []

    def __call__(self, done):
        self.marks.append((done, time.perf_counter(), time.process_time()))

    def per_iteration(self):
        (first, *start), (last, *end) = self.marks[0], self.marks[-1]
        return [(b - a) / (last - first) for a, b in zip(start, end, strict=True)]


def measure(train, iterations):
    """(wall, processor) seconds per iteration of `train(iterations=, progress=)`, and the seconds up to the first."""
    clock, start = Clock(), time.perf_counter()
    train(iterations=iterations, progress=clock)
    return clock.per_iteration(), clock.marks[0][1] - start


def main():
    """Print every figure; exit code 1 when the ratio misses its bound, 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=PUBLISHED, metavar="N", help="runs at once, 2 to 108 (108)")
    parser.add_argument("--iterations", type=int, default=251, metavar="N", help="timed iterations (251)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="how often each takes its turn (3)")
    parser.add_argument("--all", action="store_true", help="10001 iterations, stacked only")
    options = parser.parse_args()
    for name, low, high in (("runs", 2, PUBLISHED), ("iterations", 2, LENGTH), ("rounds", 1, 1000)):
        if not low <= getattr(options, name) <= high:
            parser.error(f"argument --{name}: expected {low} to {high}. Received {getattr(options, name)}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    from kseg.studies import toy_alone, toy_stack

    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, TensorFlow {tf.__version__}")
    sweep = conditions(options.runs)
    iterations = LENGTH if options.all else options.iterations
    begun, rounds = time.perf_counter(), []
    for number in range(1 if options.all else options.rounds):
        together, alone, waits = [0.0, 0.0], [0.0, 0.0], 0.0
        for runs in sweep.values():
            share = len(runs) / options.runs
            times, wait = measure(lambda runs=runs, **how: toy_stack.train(runs, **how), iterations)
            together = [total + t / options.runs for total, t in zip(together, times, strict=True)]
            waits += wait
            if not options.all:
                run = runs[number % len(runs)]
                times, _ = measure(lambda run=run, **how: toy_alone.train(run, **how), iterations)
                alone = [total + t * share for total, t in zip(alone, times, strict=True)]
        rounds.append((together, alone))
        line = f"round {number + 1}: stacked {1e3 * together[0]:.3f} ms per run and iteration"
        if not options.all:
            line += f", one by one {1e3 * alone[0]:.3f}, ratio {alone[0] / together[0]:.2f}"
            line += f" (processor {alone[1] / together[1]:.2f})"
        print(f"{line}; up to the first iteration {waits:.0f} s", flush=True)
    own = median(together[0] for together, _ in rounds)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {memory:.2f} GiB")
    if options.all:
        print(f"{options.runs} runs of {LENGTH} iterations: {(time.perf_counter() - begun) / 60:.1f} minutes")
        return 0
    minutes = own * PUBLISHED * LENGTH / 60
    ratio = median(alone[0] / together[0] for together, alone in rounds)
    print(f"{PUBLISHED} runs of {LENGTH} iterations: {minutes:.1f} minutes projected   aim {MINUTES:g}")
    print(f"ratio {ratio:.2f}   bound {BOUND:g}   aim {AIM:g}   {'met' if ratio >= BOUND else 'MISSED'}")
    return 0 if ratio >= BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
