"""Time methods one and two of document D4 (S4.7), or hold the two anchors of method one beside each other (S4.4).

    python scripts/bench_d4.py
    python scripts/bench_d4.py --rounds 5 --filters 8
    python scripts/bench_d4.py --anchors runs/kandinsky --data "kandinsky(size=64)"

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


def anchors(options):
    """Print what each anchor, and PGD to the last class, leaves of the predictions for images with many classes."""
    import numpy as np
    from scipy import ndimage

    from kseg.attacks import Attacker
    from kseg.data import open_data
    from kseg.inference import load_model, predict_masks

    data, model = open_data(options.data), load_model(options.anchors)
    images, masks = data.read("test")
    many = [i for i, mask in enumerate(masks) if len(np.unique(mask)) >= 4][:16]
    if not many:
        raise ValueError(f"data {options.data!r} have no test image of four classes. Expected some.")
    images, masks = images[many], masks[many]
    last = np.array([mask.max() for mask in masks])
    goal = np.broadcast_to(last[:, None, None], masks.shape)

    def tell(name, changed):
        ids = predict_masks(model, changed)
        kinds = np.mean([(np.bincount(each.ravel()) > 0.005 * each.size).sum() for each in ids])
        pieces = np.mean([sum(ndimage.label(each == k)[1] for k in np.unique(each)) for each in ids])
        size = np.abs(changed - images).max(axis=(1, 2, 3)).mean() / (data.value_range[1] - data.value_range[0])
        print(f"  {name:<26} classes {kinds:4.1f}  background {(ids == 0).mean():.3f}  "
              f"last {(ids == goal).mean():.3f}  pieces {pieces:6.1f}  change {size:.3f}", flush=True)  # fmt: skip

    print(f"{len(many)} images with at least four classes, {options.steps} steps a pass")
    tell("as they are", images)
    shared = {"steps": options.steps, "value_range": data.value_range}
    ways = {f"anchor {name}": Attacker(model, "layered", anchor=name, **shared) for name in ("pass", "input")}
    pgd = Attacker(model, "pgd", direction="target", keep="last", **shared)
    for eps in options.eps:
        budget = eps * (data.value_range[1] - data.value_range[0])
        for name, attacker in ways.items():
            tell(f"{eps:g}: {name}", attacker(images, masks, budget=budget, batch_size=16).images)
        tell(f"{eps:g}: PGD to the last class", pgd(images, goal, budget=budget, batch_size=16).images)


def main():
    """Print the tables; exit code 0, 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="how often each takes its turn (3)")
    parser.add_argument("--filters", type=int, default=16, metavar="N", help="of the U-Net (16)")
    parser.add_argument("--anchors", metavar="RUN", help="a trained model: compare the anchors on it, and time nothing")
    parser.add_argument("--data", default="kandinsky", help="of that model (kandinsky)")
    parser.add_argument("--steps", type=int, default=50, metavar="N", help="of each pass with --anchors (50)")
    parser.add_argument("--eps", type=float, nargs="+", default=[0.05, 0.1], help="budgets with --anchors (0.05 0.1)")
    options = parser.parse_args()
    if not all(0 < eps <= 1 for eps in options.eps):
        parser.error(f"argument --eps: expected above 0 and at most 1. Received {options.eps}")
    for name in ("rounds", "filters", "steps"):
        if getattr(options, name) < 1:
            parser.error(f"argument --{name}: expected at least 1. Received {getattr(options, name)}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "true")
    if options.anchors:
        try:
            anchors(options)
        except (ValueError, FileNotFoundError) as error:
            parser.error(" ".join(str(error).split()))
        return 0
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
