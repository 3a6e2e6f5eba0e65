"""`compile` and `fit` with what a segmentation run needs; for user code as well as for the scripts."""

import warnings

import keras
import tensorflow as tf

from kseg import losses
from kseg.metrics import ConfusionMetric, DiceScore
from kseg.models import with_probabilities
from kseg.ops import replica_count, replica_sum
from kseg.training.averages import SwapAverages, has_averages
from kseg.training.callbacks import KeepBest, KeepHistory, StopOnNaN, TellRate
from kseg.training.state import COUNTED, KeepState

OPTIMIZERS = {
    "adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW, "sgd": keras.optimizers.SGD,
    "rmsprop": keras.optimizers.RMSprop, "nadam": keras.optimizers.Nadam,
}  # fmt: skip


def compile_model(model, loss, *, optimizer="adam", learning_rate=1e-3, jit=False, clip_norm=None, ema=None):
    """Compile a model that ends in logits, with the Dice score as metric `dice`.

    Args:
        model: a `keras.Model` that gives logits. Within the scope of a `tf.distribute` strategy, batch normalisation
            should be `synchronized`; the loss that is told is then that of the joint batch, however it is divided.
        loss: a `keras.losses.Loss` with `from_logits=True`, or what `kseg.losses.get` takes.
        optimizer: a name ("adam", "adamw", "sgd", "rmsprop", "nadam") or a Keras optimiser.
        learning_rate: for a name: a number or a `keras.optimizers.schedules.LearningRateSchedule`.
        jit: compile the train step with XLA.
        clip_norm: for a name: scale the gradient down to this Euclidean norm, over all weights together.
        ema: for a name: also keep averages of the weights, with this momentum; `fit` validates and saves those.
    """
    if isinstance(loss, str):
        loss = losses.get(loss, from_logits=True)
    if isinstance(optimizer, str):
        averages = {} if ema is None else {"use_ema": True, "ema_momentum": ema}
        optimizer = OPTIMIZERS[optimizer](learning_rate, global_clipnorm=clip_norm, **averages)
    if model.dtype_policy.name == "mixed_float16" and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)  # as Keras does, but then it is not saved
    model.compile(optimizer, loss=loss, metrics=[DiceScore(from_logits=True)], jit_compile=jit)
    if tf.distribute.has_strategy() and isinstance(loss, losses.SegmentationLoss):
        model._loss_tracker = JointMean(name="loss")


def fit(model, train, validation, *, epochs, steps=None, folder=None, head="auto", callbacks=(), progress=None):
    """Train a compiled model and keep the best.

    Args:
        model: compiled, ends in logits; see `compile_model`.
        train, validation: `tf.data` batches of (images, masks).
        epochs: passes over `train`.
        steps: batches an epoch, of a `train` that repeats or never ends; None for all that `train` has.
        folder: a Path; gets history.csv, model.keras (best by `val_dice`) and state/. None keeps nothing.
        head: last activation of the saved model: "sigmoid", "softmax", or "auto": what the loss needs, else sigmoid
            for one channel and softmax for several.
        callbacks: further Keras callbacks.
        progress: of `read_progress(folder)`: go on with the training that was broken off there, for what is left of the
            epochs. It ends with the very weights of one that was not if `train` begins where that one stopped
            (`kseg.data.stream(..., start=progress.epochs * steps)`) and TensorFlow is deterministic.

    Returns:
        `keras.callbacks.History`, with `progress` that of all epochs.

    Raises:
        FloatingPointError: the loss became nan or infinite.
        ValueError: `progress` of another model or optimiser.

    Warns:
        UserWarning: the model's last activation contradicts the loss's `from_logits`.
    """
    _check_last_activation(model)
    log, keep = [], []
    # What sets or tells the learning rate or ends the training comes before what is written of an epoch.
    counting = (*COUNTED, keras.callbacks.LearningRateScheduler, TellRate)
    first = [each for each in callbacks if isinstance(each, counting)]
    if folder is not None:
        if head == "auto":
            head = getattr(model.loss, "head", "auto")
        if head == "auto":
            head = "sigmoid" if model.output_shape[-1] == 1 else "softmax"
        with_probabilities(model, head)  # refuses a head that does not fit before an epoch is spent
        log = [KeepHistory(folder / "history.csv", progress)]
        keep = [KeepState(folder, first, progress), KeepBest(folder / "model.keras", head, progress=progress)]
    swap = [SwapAverages()] if has_averages(model) else []
    callbacks = [*swap, *first, *log, StopOnNaN(), *keep, *(each for each in callbacks if each not in first)]
    done = progress.epochs if progress else 0
    history = model.fit(
        train, validation_data=validation, epochs=done if progress and progress.stopped else epochs,
        initial_epoch=done, steps_per_epoch=steps, callbacks=callbacks, verbose=0, shuffle=False,
    )  # fmt: skip
    if progress:
        history.history, history.epoch = _joined(progress.rows, history.history), [*range(done), *history.epoch]
    return history


def _joined(rows, history):
    """The history of all epochs, from rows of those before and what Keras gives of those after."""
    names = [name for name in rows[0] if name != "epoch"]
    return {name: [row[name] for row in rows] + list(history.get(name, ())) for name in names}


class JointMean(keras.metrics.Mean):
    """The mean of what replicas give of one loss, whose shares of the joint batch count alike.

    Keras weighs the loss of each replica by its number of images. Losses of kseg are divided by the joint batch, so
    that this would weigh twice where replicas have unequal numbers of images.
    """

    def update_state(self, values, sample_weight=None):
        if sample_weight is not None and replica_count() > 1:
            sample_weight = replica_sum(tf.cast(sample_weight, tf.float32)) / replica_count()
        return super().update_state(values, sample_weight)


def last_activation(model):
    """Name of the activation that a model's output has gone through last: "softmax", "linear", ... None if unknown.

    Layers after it that only move values (cropping, padding, reshaping) are passed over.
    """
    tensor = model.outputs[0] if getattr(model, "outputs", None) else None
    while hasattr(tensor, "_keras_history"):
        layer = tensor._keras_history.operation
        if isinstance(layer, keras.layers.Softmax):
            return "softmax"
        activation = getattr(layer, "activation", None)
        if activation is not None:
            return getattr(activation, "__name__", None)
        sources = getattr(layer, "input", None)
        if getattr(layer, "weights", None) or not keras.ops.is_tensor(sources) and not hasattr(sources, "shape"):
            return None
        tensor = sources
    return None


def _check_last_activation(model):
    last = last_activation(model)
    metrics = keras.tree.flatten(getattr(getattr(model, "_compile_metrics", None), "_user_metrics", None) or [])
    for part in (model.loss, *metrics):
        if isinstance(part, ConfusionMetric) and model.output_shape[-1] > 1:
            continue  # the largest channel is the same
        from_logits = getattr(part, "from_logits", None)
        if from_logits is True and last in ("softmax", "sigmoid"):
            trouble, fix = f"ends in {last}", "from_logits=False, or end the model in a layer without activation"
        elif from_logits is False and last == "linear":
            trouble, fix = "ends in logits (a linear layer)", "from_logits=True, or end the model in sigmoid or softmax"
        else:
            continue
        what = f"{part.name!r}" if part is not model.loss else "loss"
        warnings.warn(
            f"The model {trouble}, but its {what} has from_logits={from_logits}. Expected {fix}.", stacklevel=3
        )
