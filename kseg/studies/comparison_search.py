"""Looking for a learning rate of each loss: short trainings that go on where they stopped, for `halving.halve`."""

from collections import OrderedDict

import keras
import numpy as np

from kseg import models
from kseg.data import load
from kseg.files import atomic
from kseg.studies.comparison_models import loss_of
from kseg.training import compile_model
from kseg.training.record import seed_everything

KEPT = 6  # compiled networks kept at a time


class Trainer:
    """Trains candidates, a loss with a rate each, epoch by epoch; what each has learnt is kept in files.

    All of a loss share one compiled network, whose weights and optimiser are exchanged; all begin with the same
    weights, those of a seed that the comparison does not use.

    Args:
        config: `kseg.configs.CompareLosses`.
        data: an open data set.
        heads: of `comparison_models.heads_of`.
        names: of `comparison_models.names_of`.
        folder: an existing folder for the states.
    """

    def __init__(self, config, data, heads, names, folder):
        self._config, self._data, self._heads, self._names, self._folder = config, data, heads, names, folder
        self._networks = OrderedDict()
        self._validation = load(data, "validation", config.batch_size)

    def advance(self, loss, rate, before, after):
        """Train a candidate on from `before` to `after` epochs.

        Returns:
            The best validation Dice (mean over foreground classes, all pixels) of all its epochs.

        Raises:
            FloatingPointError: its loss became nan or infinite.
        """
        model, start = self._network(loss)
        values, best = self._state(loss, rate, before, start) if before else (start, -np.inf)
        for variable, value in zip(_variables(model), values, strict=True):
            variable.assign(value)
        model.optimizer.learning_rate.assign(rate)
        batches = load(self._data, "train", self._config.batch_size, seed=10_000 * self._config.seeds + before)
        history = model.fit(
            batches, validation_data=self._validation, initial_epoch=before, epochs=after, verbose=0, shuffle=False,
            callbacks=[keras.callbacks.TerminateOnNaN()],
        ).history  # fmt: skip
        if not np.isfinite([*history["loss"], *history.get("val_loss", [np.nan])]).all():
            raise FloatingPointError(f"the loss {loss!r} at {rate:g} is not finite after epoch {before}")
        scores = np.asarray(history["val_dice"], float)
        best = max([best, *scores[np.isfinite(scores)]])
        self._keep(loss, rate, after, _variables(model), best)
        return float(best) if np.isfinite(best) else 0.0

    def tidy(self, trials):
        """Remove all files but the states of those trials of a round that go on."""
        needed = {self._file(each["loss"], each["rate"], each["epochs"]) for each in trials if each["kept"]}
        for path in set(self._folder.glob("*.npz")) - needed:
            path.unlink()

    def _network(self, loss):
        """(compiled network of a loss, values of its variables at the start)."""
        if loss not in self._networks:
            config, (channels, head) = self._config, self._heads[loss]
            seed_everything(config.seeds, False)
            model = models.unet(
                self._data.shape, channels, filters=config.filters, depth=config.depth, bn=config.bn,
                decoder=config.decoder,
            )  # fmt: skip
            compile_model(model, loss_of(loss, head), learning_rate=config.learning_rate, jit=config.jit)
            model.optimizer.build(model.trainable_variables)
            self._networks[loss] = model, [np.array(variable) for variable in _variables(model)]
            while len(self._networks) > KEPT:
                self._networks.popitem(last=False)
        self._networks.move_to_end(loss)
        return self._networks[loss]

    def _file(self, loss, rate, epochs):
        return self._folder / f"{self._names[loss]}_rate{rate:g}_epochs{epochs}.npz"

    def _keep(self, loss, rate, epochs, variables, best):
        arrays = {f"v{number}": np.array(variable) for number, variable in enumerate(variables)}
        with atomic(self._file(loss, rate, epochs)) as part, open(part, "wb") as file:
            np.savez(file, best=best, **arrays)

    def _state(self, loss, rate, epochs, start):
        with np.load(self._file(loss, rate, epochs), allow_pickle=False) as kept:
            return [kept[f"v{number}"] for number in range(len(start))], float(kept["best"])


def _variables(model):
    """All that training changes, in a fixed order."""
    return [*model.trainable_variables, *model.non_trainable_variables, *model.optimizer.variables]
