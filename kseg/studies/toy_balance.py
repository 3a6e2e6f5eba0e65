"""D1's toy study: what class balance, loss, optimiser and batch normalisation do to losses and gradients."""

from dataclasses import asdict, dataclass

import h5py
import keras
import numpy as np
import tensorflow as tf
from rich import box
from rich.progress import Progress
from rich.table import Table

from kseg import report
from kseg.configs import ToyBalance
from kseg.files import atomic
from kseg.losses import cce_loss, dice_loss
from kseg.models import toy_net
from kseg.ops import global_norm
from kseg.training.record import RunFolder, environment

SIZE = 32
VALIDATION_IMAGES = 100
VALIDATION_DRAW = 2**31 - 1
EVERY = 250
LOSSES = {
    "cce": cce_loss,
    "dice": dice_loss,
    "dicefg": lambda p, y: dice_loss(p, y, ignore_background=True),
    "dice_square": lambda p, y: dice_loss(p, y, square=True),
    "dicefg_square": lambda p, y: dice_loss(p, y, ignore_background=True, square=True),
}


@dataclass(frozen=True)
class Result:
    """Curves of one run: `<loss>_loss` and `<loss>_grad` `[iterations]`, `accuracy` and `accuracy_iteration`.

    The losses and global gradient norms are those of the training batch before the update (S1.11); the accuracy
    is that of 100 fixed validation images after it, every 250 iterations (S1.12). `complete` is False when the run
    was interrupted; the curves then hold what was done.
    """

    config: ToyBalance
    curves: dict
    complete: bool = True

    @property
    def accuracy(self):
        """Accuracy at the last check."""
        return float(self.curves["accuracy"][-1])

    @property
    def best_accuracy(self):
        """Best accuracy of all checks."""
        return float(self.curves["accuracy"].max())


def draw(seed, iteration, images, threshold):
    """A batch of the toy set (S1.8): images `[n, 32, 32, 1]` in [0, 1) and one-hot labels `[n, 32, 32, 2]`.

    The same (seed, iteration) gives the same batch, on every device.
    """
    x = tf.random.stateless_uniform((images, SIZE, SIZE, 1), tf.stack([seed, iteration]))
    return x, tf.concat([tf.cast(x <= threshold, x.dtype), tf.cast(x > threshold, x.dtype)], axis=-1)


def run(config, progress=None):
    """One run of the study (S1.9 to S1.12).

    Args:
        config: `kseg.configs.ToyBalance`.
        progress: called with the number of iterations done, every 250.

    Returns:
        Result.
    """
    model = toy_net(config.bn, seed=config.seed)
    rate = config.learning_rate
    adam = config.optimizer == "adam"
    optimizer = keras.optimizers.Adam(rate, epsilon=1e-8) if adam else keras.optimizers.SGD(rate)
    optimizer.build(model.trainable_variables)
    advance = _trainer(model, optimizer, config)
    measure = _validator(model, config)
    parts, checks = [], []
    try:
        for start, stop in _stretches(config.iterations):
            parts.append([part.numpy() for part in advance(tf.constant(start), tf.constant(stop))])
            if (stop - 1) % EVERY == 0 or stop == config.iterations:
                checks.append((stop - 1, float(measure())))
            if progress:
                progress(stop)
    except KeyboardInterrupt:
        if not checks:
            raise
    values, norms = (np.concatenate(column) for column in zip(*parts, strict=True))
    curves = {f"{name}_loss": values[:, i] for i, name in enumerate(LOSSES)}
    curves |= {f"{name}_grad": norms[:, i] for i, name in enumerate(LOSSES)}
    iterations, accuracies = zip(*checks, strict=True)
    curves |= {"accuracy_iteration": np.array(iterations), "accuracy": np.array(accuracies)}
    return Result(config, curves, len(values) == config.iterations)


def _stretches(iterations):
    """(start, stop) such that the iterations 0, 250, 500, .. each end a stretch."""
    stops = [*range(1, iterations + 1, EVERY)]
    stops = stops if stops[-1] == iterations else [*stops, iterations]
    return list(zip([0, *stops[:-1]], stops, strict=True))


def _trainer(model, optimizer, config):
    trained = list(LOSSES).index(config.loss)
    weights = model.trainable_variables

    def step(iteration):
        x, y = draw(config.seed, iteration, config.batch_size, config.threshold)
        with tf.GradientTape(persistent=True) as tape:
            p = tf.nn.softmax(model(x, training=True))
            losses = [loss(p, y) for loss in LOSSES.values()]
        gradients = [tape.gradient(loss, weights) for loss in losses]
        optimizer.apply_gradients(zip(gradients[trained], weights, strict=True))
        return tf.stack(losses), tf.stack([global_norm(g) for g in gradients])

    @tf.function
    def advance(start, stop):
        values = tf.TensorArray(tf.float32, stop - start, element_shape=[len(LOSSES)])
        norms = tf.TensorArray(tf.float32, stop - start, element_shape=[len(LOSSES)])
        for i in tf.range(start, stop):
            loss, norm = step(i)
            values, norms = values.write(i - start, loss), norms.write(i - start, norm)
        return values.stack(), norms.stack()

    return advance


def _validator(model, config):
    x, y = draw(config.seed, VALIDATION_DRAW, VALIDATION_IMAGES, config.threshold)

    @tf.function
    def measure():
        right = tf.argmax(model(x, training=False), axis=-1) == tf.argmax(y, axis=-1)
        return tf.reduce_mean(tf.cast(right, tf.float32))

    return measure


def run_name(config):
    """Conditions of a run in one word, such as `dicefg_adam_nconv2_bs2_bn_fg5_seed0` (S1.13)."""
    foreground = round(100 * (1 - config.threshold), 2)
    norm = "bn" if config.bn else "nobn"
    return f"{config.loss}_{config.optimizer}_nconv2_bs{config.batch_size}_{norm}_fg{foreground:g}_seed{config.seed}"


def save_curves(result, path):
    """Write the curves to HDF5: one array a curve, the conditions and final scores as attributes."""
    with atomic(path) as part, h5py.File(part, "w") as file:
        for name, values in result.curves.items():
            file[name] = values
        conditions = {k: v for k, v in asdict(result.config).items() if k not in ("output", "overwrite")}
        file.attrs.update({**conditions, "accuracy": result.accuracy, "best_accuracy": result.best_accuracy})


def execute(config, console):
    """Run one condition and keep curves, balance.png and record.json in a run folder; returns the Result."""
    folder = RunFolder(config, devices=environment())
    with folder.running():
        with Progress(*Progress.get_default_columns(), console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task(f"{config.loss}, threshold {config.threshold:g}", total=config.iterations)
            result = run(config, lambda done: bar.update(task, completed=done))
        save_curves(result, folder / f"{run_name(config)}.h5")
        foreground = round(100 * (1 - config.threshold), 2)
        title = f"{foreground:g}% Foreground (seed {config.seed})\n{config.optimizer.upper()}, Batch Norm: {config.bn}"
        report.save_figure(report.plot_balance([result], title), folder / "balance.png")
        largest = {name: float(curve.max()) for name, curve in result.curves.items() if "accuracy" not in name}
        folder.save(accuracy=result.accuracy, best_accuracy=result.best_accuracy, largest=largest)
        if not result.complete:
            raise KeyboardInterrupt
    table = Table("", *LOSSES, box=box.SIMPLE_HEAD)
    for label, kind in (("loss", "loss"), ("gradient norm", "grad")):
        curves = [result.curves[f"{name}_{kind}"] for name in LOSSES]
        table.add_row(f"{label}, last", *(f"{curve[-1]:.4f}" for curve in curves))
        table.add_row(f"{label}, largest", *(f"{curve.max():.4f}" for curve in curves))
    console.print(table)
    console.print(f"Curves and figure are in {folder.path}/", highlight=False)
    console.print(f"accuracy {result.accuracy:.4f}", highlight=False)
    return result
