"""Time the pixel attack as one program beside a loop over images, draws and counts, and beside plain inference.

    python scripts/bench_pixels.py
    python scripts/bench_pixels.py --images 32 --draws 20 --rounds 5
    python scripts/bench_pixels.py --jit --chunk 64

A U-Net (16 filters, depth 3, images of 48x64, trained for a moment on bright discs) is attacked at 0 to 50 pixels, by a
constant and by random values. "program" is `kseg.attacks.PixelSweep` on all images, "loop" replaces the pixels in NumPy
and calls `model.predict` for each image, draw and count, on some of the images; both must count the same hits. "plain"
puts as many images as the program attacks through the model, in batches of several sizes, and nothing else. All take
turns; times are per forward pass, ratios medians over rounds. Tracing is in none of them. Run nothing else meanwhile.
"""

import argparse
import os
import platform
import sys
import time
from statistics import median

LOOP, PLAIN = 8.0, 0.9  # bounds of the ratios
SHAPE, COUNTS, LEVEL = (48, 64, 1), (0, 1, 5, 20, 50), 0.2
BATCHES = (8, 16, 32, 64)


def prepare(count, steps):
    """Images of discs brighter than the noise around them, their masks, and a model that has seen some."""
    import keras
    import numpy as np

    from kseg.models import unet, with_probabilities

    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    cy, cx, radius = (rng.uniform(low, high, (count, 1, 1)) for low, high in ((12, 36), (12, 52), (4, 10)))
    masks = ((y - cy) ** 2 + (x - cx) ** 2 < radius**2).astype(np.uint8)
    images = (0.1 * rng.uniform(size=(count, *SHAPE)) + 0.1 * masks[..., None]).astype(np.float32)
    model = with_probabilities(unet(SHAPE, 1, filters=16, depth=3, bn=True), "sigmoid")
    model.compile("adam", "binary_crossentropy")
    model.fit(images, masks[..., None], batch_size=16, epochs=max(1, steps * 16 // count), verbose=0)
    return model, images, masks


def plans(model, images, masks, options):
    """{way: (function, passes)}: what takes turns; the first two return hits `[images, settings, 3]`."""
    import numpy as np
    import tensorflow as tf

    from kseg.attacks import PixelSweep, draw_values, rank_pixels, settings_of

    with tf.GradientTape() as tape:
        clean = tf.constant(images)
        tape.watch(clean)
        total = tf.reduce_sum(model(clean, training=False))
    ranked = rank_pixels(tape.gradient(total, clean), max(COUNTS)).numpy()
    settings = [*settings_of(COUNTS, levels=[LEVEL]), *settings_of(COUNTS, draws=range(options.draws))]
    sweep, rows = PixelSweep(model, chunk=options.chunk, jit=options.jit), np.arange(len(images))
    values = {draw: draw_values(rows, max(COUNTS), draw).numpy() for draw in range(options.draws)}

    def program():
        hits = sweep(images, masks, ranked, settings)
        return np.concatenate([hits.tp, hits.fp, hits.fn], axis=-1)

    def loop():
        return np.array([[one(i, setting) for setting in settings] for i in range(options.looped)])

    def one(i, setting):
        image, true, pixels = images[i].copy(), masks[i] > 0, ranked[i, : setting.count]
        new = LEVEL if setting.draw is None else values[setting.draw][i, : setting.count]
        image.reshape(-1)[pixels] = new
        found = model.predict(image[None], verbose=0)[0, ..., 0] > 0.5
        return (found & true).sum(), (found & ~true).sum(), (~found & true).sum()

    forward = tf.function(lambda x: model(x, training=False), input_signature=[tf.TensorSpec((None, *SHAPE))])
    passes = len(images) * len({setting.key for setting in settings})
    repeated = tf.constant(np.resize(images, (passes, *SHAPE)))

    def plain(size):
        for start in range(0, passes, size):
            forward(repeated[start : start + size])

    ways = {"program": (program, passes), "loop": (loop, options.looped * len(settings))}
    return ways | {f"plain {size}": (lambda size=size: plain(size), passes) for size in BATCHES}


def timed(function, passes):
    """Milliseconds of wall clock and of processor per pass, and what the function returned."""
    wall, processor = time.perf_counter(), time.process_time()
    result = function()
    times = time.perf_counter() - wall, time.process_time() - processor
    return [1e3 * seconds / passes for seconds in times], result


def main():
    """Print every figure; exit code 1 when a bound is missed or hits differ, 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=8, metavar="N", help="images to attack (8)")
    parser.add_argument("--looped", type=int, default=1, metavar="N", help="how many of them the loop takes (1)")
    parser.add_argument("--draws", type=int, default=4, metavar="N", help="random replacements of each count (4)")
    parser.add_argument("--rounds", type=int, default=9, metavar="N", help="how often each takes its turn (9)")
    parser.add_argument("--chunk", type=int, default=32, metavar="N", help="passes at a time of the program (32)")
    parser.add_argument("--steps", type=int, default=30, metavar="N", help="training steps (30)")
    parser.add_argument("--jit", action="store_true", help="XLA compiles what is done with a chunk")
    options = parser.parse_args()
    for name in ("images", "looped", "draws", "rounds", "chunk", "steps"):
        if getattr(options, name) < 1:
            parser.error(f"argument --{name}: expected at least 1. Received {getattr(options, name)}")
    if options.looped > options.images:
        parser.error(f"argument --looped: expected at most --images {options.images}. Received {options.looped}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    from kseg.metrics.counts import Counts, dice

    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, TensorFlow {tf.__version__}")
    ways = plans(*prepare(options.images, options.steps), options)
    hits = {name: function() for name, (function, _) in ways.items()}  # traces, and is not timed
    looped = hits["program"][: options.looped]
    same = (looped == hits["loop"]).all()
    score = dice(Counts(*looped.reshape(-1, 3).T, 0), empty="one")
    print(f"{looped.size // 3} Dice scores of both, {score.min():.3f} to {score.max():.3f}: ", end="")
    print("identical" if same else f"{(looped != hits['loop']).any(axis=-1).sum()} DIFFER")
    rounds = []
    for number in range(options.rounds):
        turn = list(ways)[number % len(ways) :] + list(ways)[: number % len(ways)]
        rounds.append({name: timed(*ways[name])[0] for name in turn})
        print(f"round {number + 1}, ms per pass: " + ", ".join(f"{n} {rounds[-1][n][0]:.2f}" for n in ways), flush=True)
    middle = {name: median(times[name][0] for times in rounds) for name in ways}
    best = min((name for name in ways if name.startswith("plain")), key=middle.get)
    met = bool(same)
    for name, words, bound in (("loop", "loop / program", LOOP), (best, f"{best} / program", PLAIN)):
        wall, processor = (median(times[name][i] / times["program"][i] for times in rounds) for i in range(2))
        met &= wall >= bound
        verdict = "met" if wall >= bound else "MISSED"
        print(f"{words}: {wall:.2f}, by processor time {processor:.2f}   bound {bound:g}   {verdict}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
