"""`compile` and `fit` with what a segmentation run needs; for user code as well as for the scripts."""

import keras

from kseg import losses
from kseg.metrics import DiceScore
from kseg.training.callbacks import KeepBest, KeepState, StopOnNaN

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


def fit(model, train, validation, *, epochs, folder=None, head="softmax", callbacks=()):
    """Train a compiled model and keep the best.

    Args:
        model: compiled, ends in logits; see `compile_model`.
        train, validation: `tf.data` batches of (images, masks).
        epochs: passes over `train`.
        folder: a Path; gets history.csv, model.keras (best by `val_dice`) and state/. None keeps nothing.
        head: last activation of the saved model.
        callbacks: further Keras callbacks.

    Returns:
        `keras.callbacks.History`.

    Raises:
        FloatingPointError: the loss became nan or infinite.
    """
    keep = [StopOnNaN()]
    if folder is not None:
        keep += [
            keras.callbacks.CSVLogger(folder / "history.csv"),
            KeepBest(folder / "model.keras", head),
            KeepState(folder / "state"),
        ]
    return model.fit(
        train, validation_data=validation, epochs=epochs, callbacks=[*keep, *callbacks], verbose=0, shuffle=False
    )
