"""A training run that is ready to begin: data, compiled model, batches. All that could be wrong was found."""

from dataclasses import dataclass, field
from importlib.util import find_spec

import keras
import numpy as np

from kseg import losses, models
from kseg.data import augment, cutout, load, open_data, stream
from kseg.data.pipeline import batches_of
from kseg.data.source import check_split
from kseg.training.callbacks import TellRate
from kseg.training.compiled import Networks
from kseg.training.devices import check_devices, precision, scope_of, strategy_of, synchronise
from kseg.training.evaluation import identity
from kseg.training.fit import compile_model
from kseg.training.perturbed import FREE, perturbed
from kseg.training.record import seed_everything


@dataclass(frozen=True)
class Job:
    """What `prepare` gives.

    Attributes:
        config: `kseg.configs.Train`.
        data: the open data set; `identity`: what a record tells of it.
        model: compiled; ends in logits.
        head, channels: of the model: "sigmoid" or "softmax", and their number.
    """

    config: object
    data: object
    identity: dict
    model: object = field(repr=False)
    head: str
    channels: int

    @property
    def steps(self):
        """Batches an epoch."""
        return self.config.epoch_steps or pass_steps(self.config, self.data)

    def batches(self, start=0):
        """Training batches without end, from number `start` on; what is drawn follows from seed and number alone."""
        config = self.config
        batches = stream(
            self.data, "train", config.batch_size, start=start, seed=config.seed,
            drop_remainder=_even(config, self.data),
        )  # fmt: skip
        if config.augment:
            batches = augment(
                batches, config.augment, seed=config.seed, start=start, value_range=self.data.value_range,
                workers=1 if config.deterministic else 2,
            )  # fmt: skip
        if config.cutout:
            batches = cutout(batches, config.cutout, seed=config.seed, start=start)
        return batches

    def validation(self):
        """Batches of the validation split, one pass."""
        return load(self.data, "validation", self.config.batch_size)

    def callbacks(self):
        """Those of Keras that the config asks for."""
        config, found = self.config, []
        if config.schedule == "plateau":
            found.append(keras.callbacks.ReduceLROnPlateau(monitor="val_loss", factor=0.5, patience=2))
        if config.schedule == "cosine":
            found.append(TellRate())
        if config.early_stopping:
            found.append(keras.callbacks.EarlyStopping("val_dice", mode="max", patience=config.early_stopping))
        return found


def prepare(config, former=None, networks=None):
    """Open the data, make and compile the model; nothing is written.

    Args:
        config: `kseg.configs.Train`.
        former: the record of a run whose data must be the same, or None.
        networks: `Networks` to share with other trainings of this process, or None. The model is then that of an
            earlier `Job` of the same kind, whose weights are overwritten: keep or save them before.

    Returns:
        `Job`.

    Raises:
        ValueError, FileNotFoundError: bad input, one line.
    """
    _check_tensorboard(config)
    data = open_data(config.data)
    for split in ("train", "validation", "test"):
        check_split(data, split)
    _check_cutout(config, data)
    known = identity(data)
    if former is not None and (former.get("data") or {}).get("sha256") != known["sha256"]:
        raise ValueError(
            f"data {config.data!r} are not those of the record: their SHA-256 is another. Expected the data that the "
            "run was begun with."
        )
    if config.verify:
        data.verify()
    strategy = strategy_of(config.devices)
    check_devices(config, strategy, data.sizes)
    wanted = losses.get(config.loss, from_logits=True).head
    channels, head = models.head_for(wanted, len(data.classes), config.head)
    seed_everything(config.seed, config.deterministic)
    with scope_of(strategy):
        fresh = _model(config, data, channels, head, strategy)
        loss = loss_of(config.loss, head)
        model = (networks or Networks()).take(
            config, data.shape, channels, fresh,
            lambda: compile_model(
                fresh, loss, optimizer=config.optimizer, learning_rate=learning_rate(config, data), jit=config.jit,
                clip_norm=config.clip_norm, ema=config.ema,
            ),
        )  # fmt: skip
    loss(np.zeros((1, *data.shape[:2]), np.uint8), np.zeros((1, *data.shape[:2], channels), np.float32))
    job = Job(config, data, known, model, head, channels)
    if config.augment:
        job.batches()  # refuses what does not fit
    return job


def _model(config, data, channels, head, strategy):
    with precision(config.mixed_precision):
        model = models.unet(
            data.shape, channels, filters=config.filters, depth=config.depth, bn=config.bn,
            decoder=config.decoder, dropout=config.dropout,
        )  # fmt: skip
    if strategy is not None:
        synchronise(model)
    return change_images(model, data, config, head) if config.perturb else model


def change_images(model, data, config, head):
    """The model that trains on images it changes itself; a ValueError names the option that does not fit."""
    low, high = data.value_range
    return perturbed(
        model, config.perturb, budget=config.budget * (high - low), value_range=(low, high), seed=config.seed,
        steps=config.attack_steps, replays=config.replays, batch_size=config.batch_size, head=head,
    )  # fmt: skip


def learning_rate(config, data):
    """The learning rate, or its schedule: up to it in `warmup` epochs, then to 0 along half a cosine."""
    if config.schedule != "cosine":
        return config.learning_rate
    epoch = config.epoch_steps or pass_steps(config, data)
    epoch *= config.replays if config.perturb and FREE in config.perturb else 1
    warm = config.warmup * epoch
    start = {"initial_learning_rate": config.learning_rate}
    if warm:
        start = {"initial_learning_rate": 0.0, "warmup_target": config.learning_rate, "warmup_steps": warm}
    return keras.optimizers.schedules.CosineDecay(decay_steps=config.epochs * epoch - warm, **start)


def loss_of(spec, head):
    """The loss of this spelling for models that end in logits of this head, "sigmoid" or "softmax"."""
    loss = losses.get(spec, from_logits=True)
    return losses.get(spec, from_logits=True, head=head) if loss.head == "auto" else loss


def pass_steps(config, data):
    """Batches of one pass over the training split."""
    return batches_of(data.sizes["train"], config.batch_size, _even(config, data))


def _even(config, data):
    """Whether a smaller last batch of a pass is left out."""
    # It would be compiled for itself, with each of its parts and each attack on them.
    costly = config.perturb and config.jit
    # An epoch may begin with it, which Keras could not divide.
    uneven = config.devices != 1 and config.epoch_steps
    return bool(costly or uneven) and data.sizes["train"] >= config.batch_size


def _check_tensorboard(config):
    if config.tensorboard and find_spec("tensorboard") is None:
        raise ValueError(
            "--tensorboard needs a package that is missing. Expected tensorboard; pip install 'kseg[tensorboard]'."
        )


def _check_cutout(config, data):
    if config.cutout > min(data.shape[:2]):
        raise ValueError(
            f"--cutout={config.cutout} is larger than the images of {'x'.join(map(str, data.shape[:2]))}. Expected at "
            f"most {min(data.shape[:2])}."
        )
