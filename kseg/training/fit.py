"""`compile` and `fit` with what a segmentation run needs; for user code as well as for the scripts."""

import warnings

import keras

from kseg import losses
from kseg.metrics import ConfusionMetric, DiceScore
from kseg.models import with_probabilities
from kseg.training.callbacks import KeepBest, KeepHistory, KeepState, StopOnNaN

OPTIMIZERS = {
    "adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW, "sgd": keras.optimizers.SGD,
    "rmsprop": keras.optimizers.RMSprop, "nadam": keras.optimizers.Nadam,
}  # fmt: skip


def compile_model(model, loss, *, optimizer="adam", learning_rate=1e-3, jit=False):
    """Compile a model that ends in logits, with the Dice score as metric `dice`.

    Args:
        model: a `keras.Model` that gives logits.
        loss: a `keras.losses.Loss` with `from_logits=True`, or what `kseg.losses.get` takes.
        optimizer: a name ("adam", "adamw", "sgd", "rmsprop", "nadam") or a Keras optimiser.
        learning_rate: for a name.
        jit: compile the train step with XLA.
    """
    if isinstance(loss, str):
        loss = losses.get(loss, from_logits=True)
    if isinstance(optimizer, str):
        optimizer = OPTIMIZERS[optimizer](learning_rate)
    model.compile(optimizer, loss=loss, metrics=[DiceScore(from_logits=True)], jit_compile=jit)


def fit(model, train, validation, *, epochs, steps=None, folder=None, head="auto", callbacks=()):
    """Train a compiled model and keep the best.

    Args:
        model: compiled, ends in logits; see `compile_model`.
        train, validation: `tf.data` batches of (images, masks).
        epochs: passes over `train`.
        steps: batches an epoch, of a `train` that repeats; None for all that `train` has.
        folder: a Path; gets history.csv, model.keras (best by `val_dice`) and state/. None keeps nothing.
        head: last activation of the saved model: "sigmoid", "softmax", or "auto": what the loss needs, else sigmoid
            for one channel and softmax for several.
        callbacks: further Keras callbacks.

    Returns:
        `keras.callbacks.History`.

    Raises:
        FloatingPointError: the loss became nan or infinite.

    Warns:
        UserWarning: the model's last activation contradicts the loss's `from_logits`.
    """
    _check_last_activation(model)
    log, keep = [], []
    if folder is not None:
        if head == "auto":
            head = getattr(model.loss, "head", "auto")
        if head == "auto":
            head = "sigmoid" if model.output_shape[-1] == 1 else "softmax"
        with_probabilities(model, head)  # refuses a head that does not fit before an epoch is spent
        log = [KeepHistory(folder / "history.csv")]
        keep = [KeepBest(folder / "model.keras", head), KeepState(folder / "state")]
    # What sets the learning rate comes before what is written of an epoch.
    schedules = (keras.callbacks.ReduceLROnPlateau, keras.callbacks.LearningRateScheduler)
    first = [each for each in callbacks if isinstance(each, schedules)]
    callbacks = [*first, *log, StopOnNaN(), *keep, *(each for each in callbacks if each not in first)]
    return model.fit(
        train, validation_data=validation, epochs=epochs, steps_per_epoch=steps, callbacks=callbacks, verbose=0,
        shuffle=False,
    )  # fmt: skip


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
