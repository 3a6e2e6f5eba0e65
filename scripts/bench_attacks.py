"""Time attacks beside plain loops and other libraries, and compare how strong they are at equal gradient calls.

    python scripts/bench_attacks.py
    python scripts/bench_attacks.py --model runs/kandinsky --data "kandinsky(size=64)" --rounds 9
    python scripts/bench_attacks.py --only speed

A U-Net (16 filters, depth 3, 64x64x3, six classes), trained on Kandinsky figures unless a run folder is given. "speed":
PGD of 20 steps on a batch of 16 beside a graph loop of as many forward and backward passes, plain and compiled by XLA,
and beside ART, cleverhans and foolbox where installed. "selective": exact method two (729 choices) beside one eager
and one compiled call a choice, on one image. "strength": the ensemble beside attacks on one loss, at equal gradient
calls. All that is compared takes turns; ratios are of medians. Tracing is in none. Run nothing else meanwhile.
"""

import argparse
import os
import platform
import sys
import time
from importlib.util import find_spec
from statistics import median

SIZE, CLASSES, BATCH, STEPS, BUDGET = 64, 6, 16, 20, 0.03
DATA = "kandinsky(shapes=('circle','square','triangle','cross','ring'), counts=(1600,16,32))"
LIMITS = {"graph": 0.95, "XLA": 0.75, "eager": 12.0, "compiled": 1.5, "strength": 0.05}
PARTS = ("speed", "selective", "strength")


def prepare(options):
    """(model, images, masks) of the test split."""
    import keras

    from kseg import inference, models
    from kseg.data import load, open_data
    from kseg.training import compile_model

    data = open_data(options.data)
    images, masks = data.read("test")
    if options.model:
        return inference.load_model(options.model), images, masks
    keras.utils.set_random_seed(0)
    model = models.unet(data.shape, len(data.classes), filters=16, depth=3, bn=True)
    compile_model(model, "cce + dicefg", learning_rate=2e-3, jit=True)
    model.fit(load(data, "train", batch_size=BATCH), epochs=options.epochs, verbose=0, shuffle=False)
    return models.with_probabilities(model, "softmax"), images, masks


def seconds(action):
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def taking_turns(ways, rounds):
    """{way: [seconds of each round]}; each is called once before."""
    for action in ways.values():
        action()
    times = {name: [] for name in ways}
    for number in range(rounds):
        for name in [*ways][number % len(ways) :] + [*ways][: number % len(ways)]:
            times[name].append(seconds(ways[name]))
    return times


def ratio(times, one, other):
    """Median time of one by that of the other."""
    return median(times[one]) / median(times[other])


def plain_loop(model, x, y, jit):
    """As many forward and backward passes as PGD has, in a graph loop, and nothing else."""
    import tensorflow as tf

    from kseg.models import with_logits

    logits, _ = with_logits(model)

    def passes(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            z = logits(images, training=False)
            loss = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=z))
        return images + 1e-9 * tape.gradient(loss, images)

    step = tf.function(passes, jit_compile=True) if jit else passes

    @tf.function
    def loop(images):
        return tf.while_loop(lambda i, _: i < STEPS, lambda i, now: (i + 1, step(now)), (0, images))[1]

    return lambda: loop(x).numpy()


def others(model, images, masks):
    """{library: PGD of as many steps}, of those that are installed and take the model."""
    import numpy as np
    import tensorflow as tf

    from kseg.models import with_logits

    logits, _ = with_logits(model)
    found = {}
    if find_spec("cleverhans"):
        from cleverhans.tf2.attacks.projected_gradient_descent import projected_gradient_descent

        ids = tf.constant(masks, tf.int64)
        found["cleverhans"] = lambda: projected_gradient_descent(
            lambda x: logits(x, training=False), tf.constant(images), BUDGET, BUDGET / 4, STEPS, np.inf, clip_min=0.0,
            clip_max=1.0, y=ids, rand_init=False, sanity_checks=False,
        ).numpy()  # fmt: skip
    if find_spec("art"):
        from art.attacks.evasion import ProjectedGradientDescent
        from art.estimators.classification import TensorFlowV2Classifier

        flat = tf.keras.Sequential([logits, tf.keras.layers.Flatten()])
        loss = lambda y, z: tf.nn.softmax_cross_entropy_with_logits(  # noqa: E731 - it sees dense outputs as one vector
            tf.reshape(y, [-1, CLASSES]), tf.reshape(z, [-1, CLASSES])
        )
        estimator = TensorFlowV2Classifier(
            flat, nb_classes=flat.output_shape[-1], input_shape=images.shape[1:], loss_object=loss, clip_values=(0, 1)
        )
        pgd = ProjectedGradientDescent(
            estimator, np.inf, BUDGET, BUDGET / 4, max_iter=STEPS, batch_size=BATCH, verbose=False
        )
        dense = np.eye(CLASSES, dtype=np.float32)[masks].reshape(len(masks), -1)
        found["ART"] = lambda: pgd.generate(images, dense)
    if find_spec("foolbox"):
        import eagerpy
        import foolbox

        class Dense(foolbox.attacks.LinfProjectedGradientDescentAttack):
            """Foolbox's own loss takes one label an image."""

            def get_loss_fn(self, model, labels):
                def loss(x):
                    z = tf.reshape(model(x).raw, [-1, CLASSES])
                    flat = tf.reshape(labels.raw, [-1])
                    return eagerpy.astensor(
                        tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=flat, logits=z))
                    )

                return loss

        bounded = foolbox.TensorFlowModel(lambda x: logits(x, training=False), bounds=(0, 1), device="/cpu:0")
        walk = Dense(abs_stepsize=BUDGET / 4, steps=STEPS, random_start=False)
        x, y = eagerpy.astensor(tf.constant(images)), eagerpy.astensor(tf.constant(masks, tf.int32))
        found["foolbox"] = lambda: walk.run(bounded, x, y, epsilon=BUDGET).numpy()
    return found


def speed(model, images, masks, options):
    """PGD by kseg beside plain loops and other libraries."""
    import tensorflow as tf

    from kseg.attacks import Attacker

    images, masks = images[:BATCH], masks[:BATCH]
    x, y = tf.constant(images), tf.constant(masks, tf.int32)
    ways, attackers = {}, {}
    for name, jit in (("graph", False), ("XLA", True), ("auto", "auto")):
        attackers[name] = Attacker(model, "pgd", budget=BUDGET, steps=STEPS, jit=jit)
        ways[name] = lambda attacker=attackers[name]: attacker(images, masks)
    ways["plain graph"], ways["plain XLA"] = plain_loop(model, x, y, False), plain_loop(model, x, y, True)
    libraries = others(model, images, masks)
    times = taking_turns(ways | libraries, options.rounds)
    for name, values in times.items():
        print(f"  {name:<12}{1e3 * median(values) / STEPS:9.1f} ms a step of {BATCH} images")
    one, other = (attackers[name](images, masks).agreement_after.mean() for name in ("graph", "XLA"))
    print(f"  after {STEPS} steps the pixel accuracies of graph and XLA differ by {abs(one - other):.1e}")
    yield "plain graph / auto", ratio(times, "plain graph", "auto"), LIMITS["graph"]
    yield "plain graph / XLA", ratio(times, "plain graph", "XLA"), LIMITS["XLA"]
    yield from ((f"{name} / auto", ratio(times, name, "auto"), None) for name in libraries)
    if not libraries:
        print("  ART, cleverhans and foolbox are not installed here")


def selective(model, images, masks, options):
    """Exact method two beside a call a choice."""
    import numpy as np
    import tensorflow as tf

    from kseg.attacks import Attacker
    from kseg.attacks.selective import DIGITS, combinations
    from kseg.models import with_logits

    logits, _ = with_logits(model)
    x, y = tf.constant(images[:1]), tf.constant(masks[:1], tf.int32)
    choices = DIGITS[combinations(CLASSES)].astype(np.float32)
    signs = []
    for class_id in range(CLASSES):
        with tf.GradientTape() as tape:
            tape.watch(x)
            z = logits(x, training=False)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tf.fill(y.shape, class_id), logits=z)
        signs.append(tf.sign(tape.gradient(loss, x)))
    signs = tf.stack(signs, axis=-1)

    def score(choice):
        moved = tf.clip_by_value(x + BUDGET * tf.linalg.matvec(signs, choice), 0.0, 1.0)
        z = logits(moved, training=False)
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=z))

    compiled = tf.function(score, input_signature=[tf.TensorSpec([CLASSES])])
    attacker = Attacker(model, "selective", budget=BUDGET)
    beam = Attacker(model, "selective", budget=BUDGET, search="beam")
    share = options.share  # of the choices that the two loops try
    some = [tf.constant(choice) for choice in choices[:: max(1, round(1 / share))]]
    ways = {
        "exact": lambda: attacker(images[:1], masks[:1]), "beam": lambda: beam(images[:1], masks[:1]),
        "eager": lambda: [score(choice).numpy() for choice in some],
        "compiled": lambda: [compiled(choice).numpy() for choice in some],
    }  # fmt: skip
    times = taking_turns(ways, options.rounds)
    for name in ("eager", "compiled"):
        times[name] = [value * len(choices) / len(some) for value in times[name]]
    for name, values in times.items():
        print(f"  {name:<12}{median(values):9.2f} s an image, {len(choices)} choices")
    losses = [float(compiled(tf.constant(choice))) for choice in choices]
    found = attacker(images[:1], masks[:1])
    own = int(np.flatnonzero((choices == found.extra["choices"][0]).all(axis=1))[0])
    print(f"  best of all {min(losses):.6f}, chosen {losses[own]:.6f}, unchanged {losses[0]:.6f}")
    yield "one eager call a choice / exact", ratio(times, "eager", "exact"), LIMITS["eager"]
    yield "one compiled call a choice / exact", ratio(times, "compiled", "exact"), LIMITS["compiled"]
    yield "chosen is the best to 1e-6", float(losses[own] <= min(losses) + 1e-6), 1.0


def strength(model, images, masks, options):
    """Mean IoU that attacks leave, all with as many gradients."""
    from kseg.attacks import Attacker
    from kseg.attacks.ensemble import MEMBERS

    def left(name, **told):
        found = Attacker(model, name, budget=options.budget, judge="iou", **told)(images, masks, batch_size=BATCH)
        return image_iou(model, found.images, masks)

    steps = options.steps
    rows = {"no attack": image_iou(model, images, masks)}
    rows["pgd, cce"] = left("pgd", steps=steps)
    rows["apgd, cce"] = left("apgd", steps=steps)
    rows["segpgd"], rows["cospgd"] = left("segpgd", steps=steps), left("cospgd", steps=steps)
    members = {f"{name}, {loss}": left(name, loss=loss, steps=steps // len(MEMBERS)) for name, loss in MEMBERS}
    rows |= members
    rows["ensemble"] = left("ensemble", steps=steps)
    print("".join(f"  {name:<20} mean IoU {values.mean():.3f}\n" for name, values in rows.items()), end="")
    above = max((rows["ensemble"] - values).max() for values in members.values())
    print(
        f"  the ensemble is above a member by at most {above:.1e} in an image; {len(images)} images, {steps} gradients"
    )
    yield "pgd on cce minus ensemble, mean IoU", rows["pgd, cce"].mean() - rows["ensemble"].mean(), LIMITS["strength"]
    yield "never above a member", float(above <= 1e-6), 1.0


def image_iou(model, images, masks):
    """Of each image, mean over the classes that its mask or prediction has."""
    import numpy as np

    from kseg.inference import predict_masks
    from kseg.metrics import confusion_counts, iou

    found = [iou(confusion_counts(t, p, CLASSES)) for t, p in zip(masks, predict_masks(model, images), strict=True)]
    return np.nanmean(found, axis=1)


def main():
    """Print every figure; exit code 1 when a bound is missed, 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", metavar="RUN", help="run folder of a model for the data; trained here if not given")
    parser.add_argument("--data", default=DATA, help="images of 64x64x3 in six classes")
    parser.add_argument("--epochs", type=int, default=6, metavar="N", help="of the model trained here (6)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="how often each takes its turn (5)")
    parser.add_argument("--share", type=float, default=0.1, metavar="P", help="of the choices that the loops try (0.1)")
    parser.add_argument("--steps", type=int, default=60, metavar="N", help="gradients of each attack compared (60)")
    parser.add_argument("--budget", type=float, default=0.06, metavar="E", help="ball of the attacks compared (0.06)")
    parser.add_argument("--only", choices=PARTS, help="one part alone")
    options = parser.parse_args()
    for name in ("epochs", "rounds", "steps"):
        if getattr(options, name) < 1:
            parser.error(f"argument --{name}: expected at least 1. Received {getattr(options, name)}")
    if not 0 < options.share <= 1:
        parser.error(f"argument --share: expected above 0 and at most 1. Received {options.share}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "true")
    import tensorflow as tf

    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, TensorFlow {tf.__version__}")
    try:
        made = prepare(options)
    except (ValueError, FileNotFoundError) as error:
        parser.error(" ".join(str(error).split()))
    met = True
    for part in PARTS if options.only is None else (options.only,):
        print(f"{part}:", flush=True)
        for what, value, bound in globals()[part](*made, options):
            verdict = "" if bound is None else f"   bound {bound:g}   {'met' if value >= bound else 'MISSED'}"
            met &= bound is None or value >= bound
            print(f"{what}: {value:.3f}{verdict}", flush=True)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
