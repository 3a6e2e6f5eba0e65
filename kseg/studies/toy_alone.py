"""One run of D1's toy study, alone, with Keras layers, `tf.GradientTape` and a Keras optimizer.

This is what a run means. `toy_stack` trains many runs at once and must give the same curves.
"""

import keras
import numpy as np
import tensorflow as tf

from kseg.losses import cce_loss, dice_loss
from kseg.models import toy_net
from kseg.ops import global_norm
from kseg.studies.toy_runs import LOSS_NAMES, VALIDATION_DRAW, VALIDATION_IMAGES, draw, present, stretches

LOSSES = {
    "cce": cce_loss,
    "dice": dice_loss,
    "dicefg": lambda p, y: dice_loss(p, y, ignore_background=True),
    "dice_square": lambda p, y: dice_loss(p, y, square=True),
    "dicefg_square": lambda p, y: dice_loss(p, y, ignore_background=True, square=True),
}


def train(condition, *, iterations, log_every=1, dtype="float32", progress=None):
    """Train one run (S1.9 to S1.12).

    Args:
        condition: `kseg.studies.toy_runs.Condition`.
        iterations: number of steps, at least 1.
        log_every: losses and gradient norms are kept of every iteration that this divides.
        dtype: "float32" or "float64"; weights and batches are the same numbers in both.
        progress: called with the number of iterations done, every 250.

    Returns:
        A dict: `iteration` `[n]` of the logged iterations; `<loss>_loss` and `<loss>_grad` `[n]`, value and global
        gradient norm of each of `LOSS_NAMES` on the training batch before the update (S1.11); `accuracy_iteration`
        and `accuracy` `[m]`, of 100 fixed images after the iterations 0, 250, 500, .. and the last (S1.12);
        `complete`, False when Ctrl-C ended the run, whose curves then hold what was done.

    Raises:
        ValueError: for `iterations` or `log_every` below 1.
        KeyboardInterrupt: if Ctrl-C came before anything was done.

    Example:
        >>> from kseg.studies.toy_runs import Condition
        >>> curves = train(Condition("dice", "adam", bn=True, threshold=0.5, seed=0), iterations=20)
        >>> sorted(curves)[:4], curves["dice_loss"].shape
        (['accuracy', 'accuracy_iteration', 'cce_grad', 'cce_loss'], (20,))
    """
    for name, value in (("iterations", iterations), ("log_every", log_every)):
        if value < 1:
            raise ValueError(f"{name}={value} is too small. Expected at least 1.")
    model = start(condition, dtype)
    adam, rate = condition.optimizer == "adam", condition.learning_rate
    optimizer = keras.optimizers.Adam(rate, epsilon=1e-8) if adam else keras.optimizers.SGD(rate)
    optimizer.build(model.trainable_variables)
    advance = _trainer(model, optimizer, condition, log_every, dtype)
    measure = _validator(model, condition, dtype)
    parts, checks, done = [], [], 0
    try:
        for begin, end in stretches(iterations):
            part = [values.numpy() for values in advance(tf.constant(begin), tf.constant(end))]
            checks.append((end - 1, float(measure())))
            parts.append(part)
            done = end
            if progress:
                progress(done)
    except KeyboardInterrupt:
        if not parts:
            raise
    values, norms = (np.concatenate(column) for column in zip(*parts, strict=True))
    at, accuracies = zip(*checks[: len(parts)], strict=True)
    curves = {"iteration": np.arange(0, done, log_every)}
    curves |= {f"{name}_loss": values[:, i] for i, name in enumerate(LOSS_NAMES)}
    curves |= {f"{name}_grad": norms[:, i] for i, name in enumerate(LOSS_NAMES)}
    curves |= {"accuracy_iteration": np.array(at), "accuracy": np.array(accuracies)}
    return curves | {"complete": done == iterations}


def start(condition, dtype="float32"):
    """The network of a run before the first step; in float64 with the float32 weights."""
    model = toy_net(condition.bn, n_conv=condition.convolutions, seed=condition.seed)
    if dtype == "float32":
        return model

    def recast(layer):
        return type(layer).from_config({**layer.get_config(), "dtype": dtype})

    precise = keras.models.clone_model(model, clone_function=recast)
    precise.set_weights(model.get_weights())
    return precise


def _batch(condition, iteration, images, dtype):
    x, y = draw(condition.seed, iteration, images, condition.threshold)
    return tf.cast(present(x, condition.input), dtype), tf.cast(y, dtype)


def _trainer(model, optimizer, condition, log_every, dtype):
    weights, size = model.trainable_variables, condition.batch_size

    def gradients(iteration, names):
        x, y = _batch(condition, iteration, size, dtype)
        with tf.GradientTape(persistent=True) as tape:
            p = tf.nn.softmax(model(x, training=True))
            losses = [LOSSES[name](p, y) for name in names]
        return losses, [tape.gradient(loss, weights) for loss in losses]

    @tf.function
    def advance(begin, end):
        first = -(-begin // log_every)
        count = -(-end // log_every) - first
        values = tf.TensorArray(dtype, count, element_shape=[len(LOSS_NAMES)])
        norms = tf.TensorArray(dtype, count, element_shape=[len(LOSS_NAMES)])
        for i in tf.range(begin, end):
            if i % log_every == 0:
                losses, each = gradients(i, LOSS_NAMES)
                trained = each[LOSS_NAMES.index(condition.loss)]
                values = values.write(i // log_every - first, tf.stack(losses))
                norms = norms.write(i // log_every - first, tf.stack([global_norm(g) for g in each]))
            else:
                trained = gradients(i, [condition.loss])[1][0]
            optimizer.apply_gradients(zip(trained, weights, strict=True))
        return values.stack(), norms.stack()

    return advance


def _validator(model, condition, dtype):
    x, y = _batch(condition, VALIDATION_DRAW, VALIDATION_IMAGES, dtype)

    @tf.function
    def measure():
        right = tf.argmax(model(x, training=False), axis=-1) == tf.argmax(y, axis=-1)
        return tf.reduce_mean(tf.cast(right, dtype))

    return measure
