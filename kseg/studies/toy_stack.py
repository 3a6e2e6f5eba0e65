"""Many runs of D1's toy study as one program.

One run is 206 numbers and 2048 pixels, so a run alone is all overhead. Here the weights of R runs are stacked along a
leading axis and advance hundreds of iterations in one XLA program, with the gradients of `toy_gradients`; groups of
runs that fit the cache share the cores. `toy_alone` says what a run is.
"""

import os
from functools import lru_cache

import numpy as np
import tensorflow as tf

from kseg.ops import stacked
from kseg.studies.toy_alone import start
from kseg.studies.toy_gradients import FILTERS, backward, fields_of, forward, shapes_of, split
from kseg.studies.toy_runs import EVERY, LOSS_NAMES, SIZE, VALIDATION_DRAW, VALIDATION_IMAGES, draw, stretches

NORM_MOMENTUM = 0.99
BETA_1, BETA_2, ADAM_EPSILON = 0.9, 0.999, 1e-8
CHUNK = 4
GROUP = 9


def update(flat, gradient, moments, iteration, rate, adam):
    """One step of Keras' Adam or of plain gradient descent, run by run.

    Args:
        flat, gradient: `[R, P]`.
        moments: `[2, R, P]`, Adam's two running means.
        iteration: how many steps came before.
        rate, adam: `[R, 1]`, learning rate and whether it is Adam.

    Returns:
        New weights and moments.
    """
    first, second = moments[0], moments[1]
    first += (gradient - first) * (1 - BETA_1)
    second += (gradient**2 - second) * (1 - BETA_2)
    step = tf.cast(iteration + 1, flat.dtype)
    # Keras rounds the two numbers to float32 before it takes their powers, in every precision.
    power1, power2 = (tf.pow(tf.cast(np.float32(beta), flat.dtype), step) for beta in (BETA_1, BETA_2))
    alpha = rate * tf.sqrt(1 - power2) / (1 - power1)
    change = tf.where(adam, first * alpha / (tf.sqrt(second) + ADAM_EPSILON), gradient * rate)
    return flat - change, tf.stack([first, second])


def step(state, x, iteration, runs, plan, log):
    """One iteration of all runs: new state and, when `log`, `[R, 10]` values and gradient norms, else zeros."""
    flat, moments, moving = state
    bn, convolutions, images = plan
    weights = split(flat, shapes_of(bn, convolutions))
    dtype, on = flat.dtype.as_numpy_dtype, runs["on"]
    valid, around = (stacked.inside(images, SIZE, SIZE, m, dtype) for m in (convolutions - 1, 2 * convolutions - 1))
    shown, y = stacked.stage(on, lambda: _present(x, runs, convolutions, around, valid))
    z, layers = forward(weights, shown, images, on)
    values, fields, coefficients = stacked.stage(on, lambda: fields_of(z, y, valid))
    own = tf.gather(coefficients, runs["loss"], batch_dims=1)
    if log:
        gradients = tf.matmul(coefficients, backward(weights, layers, fields, on))
        logged = tf.concat([values, tf.norm(gradients, axis=-1)], -1)
        gradient = tf.gather(gradients, runs["loss"], batch_dims=1)
    else:
        gradient = backward(weights, layers, tf.matmul(own[:, None], fields), on)[:, 0]
        logged = tf.zeros([flat.shape[0], 2 * len(LOSS_NAMES)], dtype)
    if bn:
        batch = tf.stack([tf.stack([layer["mean"], layer["variance"]], 1) for layer in layers], 1)
        moving = moving * NORM_MOMENTUM + batch * (1 - NORM_MOMENTUM)
    flat, moments = update(flat, gradient, moments, iteration, runs["rate"], runs["adam"])
    return (flat, moments, moving), logged


def _advance(state, x, runs, begin, end, plan, log_every):
    """Iterations `begin` to `end`, at most `EVERY`, on batches `x` `[EVERY, S, B, 32, 32]`; values `[EVERY, R, 10]`."""

    def body(i, state, kept):
        def now(log):
            # A slice would make `begin` a constant of the program, which would be compiled anew in every stretch.
            return step(state, tf.gather(x, i - begin), i, runs, plan, log)

        if log_every == 1:
            state, logged = now(True)
        else:
            state, logged = tf.cond(i % log_every == 0, lambda: now(True), lambda: now(False))
        return i + 1, state, kept.write(i - begin, logged)

    columns = [state[0].shape[0], 2 * len(LOSS_NAMES)]
    kept = tf.TensorArray(state[0].dtype, EVERY, element_shape=columns)
    kept = kept.unstack(tf.zeros([EVERY, *columns], state[0].dtype))
    _, state, kept = tf.while_loop(lambda i, *_: i < end, body, (begin, state, kept))
    return state, kept.stack()


def _measure(state, x, runs, plan):
    """Accuracy `[R]` on images `[S, V, 32, 32]`, in inference mode, a few at a time (S1.12)."""
    bn, convolutions, _ = plan
    flat, _, moving = state
    weights, dtype = split(flat, shapes_of(bn, convolutions)), flat.dtype.as_numpy_dtype
    valid, around = (stacked.inside(CHUNK, SIZE, SIZE, m, dtype) for m in (convolutions - 1, 2 * convolutions - 1))

    def body(i, right):
        part = tf.slice(x, [0, i * CHUNK, 0, 0], [x.shape[0], CHUNK, SIZE, SIZE])
        shown, y = _present(part, runs, convolutions, around, valid)
        z, _ = forward(weights, shown, CHUNK, runs["on"], moving if bn else None)
        same = tf.cast((z > 0) == (y > 0), flat.dtype)
        return i + 1, right + tf.linalg.matvec(same, valid)

    chunks = x.shape[1] // CHUNK
    _, right = tf.while_loop(lambda i, _: i < chunks, body, (0, tf.zeros_like(flat[:, 0])))
    return right / (chunks * CHUNK * SIZE**2)


def _present(x, runs, convolutions, around, valid):
    """Of images `[S, B, 32, 32]` what each run sees, `[R, 1, ..]` as `forward` takes it, and its labels `[R, ..]`."""
    raw = tf.gather(stacked.lay_out(x, 2 * convolutions - 1), runs["image"])
    shown = (tf.cast(raw, around.dtype) * runs["sign"] + runs["offset"]) * around
    labels = tf.cast(stacked.inner(raw, convolutions) > runs["threshold"], around.dtype) * valid
    return shown[:, None], labels


@lru_cache
def _program(plan, log_every, seeds, groups):
    """The graph of one stretch: draw the batches, then advance and measure all groups side by side."""
    advance = tf.function(
        lambda *inputs: _advance(*inputs, plan=plan, log_every=log_every), jit_compile=True, autograph=False
    )
    measure = tf.function(lambda *inputs: _measure(*inputs, plan=plan), jit_compile=True, autograph=False)

    def batches(iteration):
        return tf.stack([draw(seed, iteration, plan[2], 0.5)[0][..., 0] for seed in seeds])

    @tf.function(autograph=False)
    def stretch(states, runs, begin, end):
        x = tf.map_fn(batches, begin + tf.range(EVERY), fn_output_signature=tf.float32)
        checks = tf.stack([draw(seed, VALIDATION_DRAW, VALIDATION_IMAGES, 0.5)[0][..., 0] for seed in seeds])
        results = [advance(states[i], x, runs[i], begin, end) for i in range(groups)]
        accuracies = [measure(results[i][0], checks, runs[i]) for i in range(groups)]
        return [state for state, _ in results], tf.concat([kept for _, kept in results], 1), tf.concat(accuracies, 0)

    return stretch


def _groups(count):
    """Sizes to train `count` runs in: a multiple of the number of cores, of equal size and at most `GROUP`."""
    cores = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(), count)
    groups = cores * -(-count // (cores * GROUP))
    return groups, -(-count // groups)


def _start(conditions, seeds, dtype):
    """First state and constants of one group of runs."""
    models = {}
    for condition in conditions:
        if condition.seed not in models:
            models[condition.seed] = start(condition).trainable_variables
    flat = [np.concatenate([np.ravel(weight) for weight in models[c.seed]]) for c in conditions]
    count, depth = len(conditions), conditions[0].convolutions
    moving = np.broadcast_to(np.array([0, 1], dtype)[:, None], [count, depth, 2, FILTERS])
    state = (np.array(flat, dtype), np.zeros([2, *np.shape(flat)], dtype), moving)
    sign = {"raw": 1, "mirrored": -1, "centred": 1}
    offset = {"raw": 0, "mirrored": 1, "centred": -0.5}

    def column(values, dtype):
        return tf.constant(np.array(values, dtype)[:, None])

    runs = {
        "image": tf.constant([seeds.index(c.seed) for c in conditions]),
        "loss": tf.constant([LOSS_NAMES.index(c.loss) for c in conditions]),
        "sign": column([sign[c.input] for c in conditions], dtype),
        "offset": column([offset[c.input] for c in conditions], dtype),
        "threshold": column([c.threshold for c in conditions], "float32"),
        "rate": tf.cast(column([c.learning_rate for c in conditions], "float32"), dtype),
        "adam": column([c.optimizer == "adam" for c in conditions], bool),
        "on": tf.constant(True),
    }
    return tuple(tf.constant(part) for part in state), runs


def train(conditions, *, iterations, log_every=1, dtype="float32", progress=None):
    """Train many runs at once (S1.9 to S1.12); each gives the curves of `toy_alone.train`, up to rounding.

    Args:
        conditions: `kseg.studies.toy_runs.Condition`s, any mix of loss, optimiser, threshold, seed, learning rate and
            input; bn, convolutions and batch size must be the same in all.
        iterations: number of steps, at least 1.
        log_every: losses and gradient norms are kept of every iteration that this divides.
        dtype: "float32" or "float64"; weights and batches are the same numbers in both.
        progress: called with the number of iterations done, every 250.

    Returns:
        A list of dicts, one a condition, as `toy_alone.train` returns.

    Raises:
        ValueError: for conditions that differ in what must be the same, and for numbers out of range.
        KeyboardInterrupt: if Ctrl-C came before anything was done.

    Example:
        >>> from kseg.studies.toy_runs import Condition
        >>> two = [Condition(loss, "adam", bn=False, threshold=0.5, seed=0, convolutions=1) for loss in ("cce", "dice")]
        >>> [curves["cce_loss"].shape for curves in train(two, iterations=20)]
        [(20,), (20,)]
    """
    for name, value in (("iterations", iterations), ("log_every", log_every)):
        if value < 1:
            raise ValueError(f"{name}={value} is too small. Expected at least 1.")
    if not conditions:
        return []
    plan = _common(conditions)
    seeds = tuple(sorted({condition.seed for condition in conditions}))
    groups, size = _groups(len(conditions))
    padded = [*conditions, *[conditions[-1]] * (groups * size - len(conditions))]
    starts = [_start(padded[i * size : (i + 1) * size], seeds, dtype) for i in range(groups)]
    states, runs = [state for state, _ in starts], [run for _, run in starts]
    stretch = _program(plan, log_every, seeds, groups)
    logs, accuracies, ends = [], [], []
    try:
        for begin, end in stretches(iterations):
            states, kept, accuracy = stretch(states, runs, tf.constant(begin), tf.constant(end))
            part = (kept.numpy()[-begin % log_every : end - begin : log_every], accuracy.numpy(), end)
            for column, values in zip((logs, accuracies, ends), part, strict=True):
                column.append(values)
            if progress:
                progress(end)
    except KeyboardInterrupt:
        if not ends:
            raise
    logs, accuracies, ends = np.concatenate(logs[: len(ends)]), np.array(accuracies[: len(ends)]), np.array(ends)
    return [_curves(logs[:, i], accuracies[:, i], ends, log_every, iterations) for i in range(len(conditions))]


def _common(conditions):
    """(bn, convolutions, batch size) of all conditions."""
    plans = {(c.bn, c.convolutions, c.batch_size) for c in conditions}
    if len(plans) != 1:
        raise ValueError(
            f"Runs of one program share bn, convolutions and batch_size. Received {sorted(plans)}. Train them apart."
        )
    return plans.pop()


def _curves(logged, accuracy, ends, log_every, iterations):
    curves = {"iteration": np.arange(0, ends[-1], log_every)}
    curves |= {f"{name}_loss": logged[:, i] for i, name in enumerate(LOSS_NAMES)}
    curves |= {f"{name}_grad": logged[:, i + len(LOSS_NAMES)] for i, name in enumerate(LOSS_NAMES)}
    return curves | {"accuracy_iteration": ends - 1, "accuracy": accuracy, "complete": bool(ends[-1] == iterations)}
