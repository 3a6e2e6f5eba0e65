"""Time methods one and two of document D4 against the number of classes and of steps (S4.7).

    python scripts/bench_d4.py
    python scripts/bench_d4.py --rounds 5 --filters 8

An untrained U-Net of depth 3 on images of 64x64x3. "layered" (method one): a full pass of PGD towards each class, so
its time should rise in a straight line with classes times steps. "selective" (method two): 3^K choices, so its time
should rise threefold a class as soon as the choices and not the K gradients cost most. All times are medians over
rounds, in which everything takes its turn; tracing is in none. Run nothing else meanwhile.
"""

import argparse
import os
import sys
import time
from statistics import median

SIZE, CLASSES, STEPS, BATCH, IMAGES = 64, (2, 3, 4, 5, 6), (5, 10, 20), 8, 2


def attackers(filters):
    """{(method, classes, steps or None): function} of all that is timed."""
    import keras
    import numpy as np

    from kseg.attacks import Attacker
    from kseg.models import unet

    rng, calls = np.random.default_rng(0), {}
    images = rng.uniform(size=(BATCH, SIZE, SIZE, 3)).astype(np.float32)
    for classes in CLASSES:
        keras.utils.set_random_seed(0)
        model = unet((SIZE, SIZE, 3), classes, filters=filters, depth=3, bn=True)
        masks = rng.integers(0, classes, (BATCH, SIZE, SIZE))
        for steps in STEPS:
            layered = Attacker(model, "layered", steps=steps, classes="all")
            calls["layered", classes, steps] = lambda a=layered, m=masks: a(images, m, batch_size=BATCH)
        selective = Attacker(model, "selective")
        calls["selective", classes, None] = lambda a=selective, m=masks: a(images[:IMAGES], m[:IMAGES])
    return calls


def measure(calls, rounds):
    """{key: median seconds}; each is called once before."""
    times = {key: [] for key in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for key, call in calls.items():
            began = time.perf_counter()
            call()
            times[key].append(time.perf_counter() - began)
    return {key: median(values) for key, values in times.items()}


def main():
    """Print both tables; exit code 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="how often each takes its turn (3)")
    parser.add_argument("--filters", type=int, default=16, metavar="N", help="of the U-Net (16)")
    options = parser.parse_args()
    for name in ("rounds", "filters"):
        if getattr(options, name) < 1:
            parser.error(f"argument --{name}: expected at least 1. Received {getattr(options, name)}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "true")
    import numpy as np

    times = measure(attackers(options.filters), options.rounds)
    print(f"layered: seconds for a batch of {BATCH} images, by steps a pass (columns) and classes (rows)")
    print("  classes" + "".join(f"{steps:>9}" for steps in STEPS))
    for classes in CLASSES:
        print(f"  {classes:>7}" + "".join(f"{times['layered', classes, steps]:9.2f}" for steps in STEPS))
    work = np.array([classes * steps for classes in CLASSES for steps in STEPS], float)
    taken = np.array([times["layered", classes, steps] for classes in CLASSES for steps in STEPS])
    slope, offset = np.polyfit(work, taken, 1)
    print(f"  line: {1e3 * slope:.1f} ms a class and step and {1e3 * offset:.0f} ms; correlation "
          f"{np.corrcoef(work, taken)[0, 1]:.4f}")  # fmt: skip
    print(f"selective: seconds for {IMAGES} images, and how many times those of a class less")
    before = None
    for classes in CLASSES:
        now = times["selective", classes, None]
        print(
            f"  {classes} classes, {3**classes:>3} choices {now:8.2f}" + (f"   x {now / before:.2f}" if before else "")
        )
        before = now
    return 0


if __name__ == "__main__":
    sys.exit(main())
