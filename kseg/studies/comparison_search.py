"""Looking for a learning rate of each loss: short trainings that go on where they stopped, for `halving.halve`."""

import json
import math
import shutil

import keras
import numpy as np

from kseg.data import load
from kseg.files import atomic, write_json
from kseg.studies import halving
from kseg.studies.comparison_models import entry_of, options_of
from kseg.training.compiled import Networks
from kseg.training.job import prepare

STEP = {"loss", "rate", "before", "after", "score", "seconds"}


def search(config, data, losses, heads, names, folder, tell, say, networks=None):
    """Look for the rates, going on where that was broken off.

    Args:
        config: `kseg.configs.CompareLosses`.
        data: an open data set.
        losses: to choose from.
        heads: {loss: (channels, head)}.
        names: of `comparison_models.names_of`.
        folder: of the study; search.json keeps each step, search/ what is learnt until the search is done.
        tell: called with (what is being done, share of the search that is done).
        say: called with a line to warn of.
        networks: of `Trainer`.

    Returns:
        `halving.Search`, or None without a budget.
    """
    if not config.budget:
        return None
    path, states, rates = folder / "search.json", folder / "search", rates_of(config)
    states.mkdir(exist_ok=True)
    trainer, warned = Trainer(config, data, heads, names, states, networks), []

    def keep(steps):
        write_json(path, {"budget": config.budget, "steps": steps})
        trainer.forget(steps[-1])
        if not warned and (told := _too_little(steps, len(losses), len(rates), config.budget)):
            say(told)
            warned.append(told)

    found = halving.halve(
        losses, rates, config.finalists, trainer.advance, minutes=config.budget, epochs=config.epochs, tell=tell,
        done=_steps(path), on_step=keep, on_round=lambda rounds: trainer.tidy(rounds[-1]),
    )  # fmt: skip
    write_json(path, facts(found) | {"rounds": found.rounds, "steps": found.steps})
    shutil.rmtree(states)
    return found


def rates_of(config):
    """The learning rates to try with each loss."""
    return config.rates or halving.rates_around(config.learning_rate)


def facts(found):
    """What a search used and found, for the record of a study."""
    return {
        "budget": found.budget, "minutes": found.minutes, "minutes_of_first_epoch": found.first_minutes,
        "epochs": found.epochs, "rates": found.rates, "edge": found.edge, "why": found.why,
        "untaught": found.untaught,
        "finalists": found.finalists,
    }  # fmt: skip


def _steps(path):
    """The steps that a file keeps; none without one."""
    if not path.exists():
        return []
    try:
        steps = json.loads(path.read_text(encoding="utf-8"))["steps"]
        if all(set(step) >= STEP for step in steps):
            return steps
    except (ValueError, TypeError, KeyError):
        pass
    raise ValueError(f"{path} holds no search to go on with. Expected one of this version; remove it to search anew.")


def _too_little(steps, losses, rates, budget):
    """A warning if one epoch of all candidates will take longer than the budget, as far as steps show it, or None."""
    first = [step["seconds"] for step in steps if step["before"] == 0]
    if len(first) < len(steps) or len(first) % rates:  # each rate of a loss: only one of them waits for the compiler
        return None
    minutes = losses * rates * sum(first) / len(first) / 60
    if minutes <= budget:
        return None
    return (
        f"--budget={budget:g} is too little: one epoch of all {losses * rates} candidates ({losses} losses, {rates} "
        f"rates) will take about {minutes:.2g} minutes by the first {len(first)}. Expected at least "
        f"{max(1, math.ceil(2 * minutes))}; the search goes on and overruns it."
    )


class Trainer:
    """Trains candidates, a loss with a rate each, epoch by epoch; what each has learnt is kept in files.

    All of a loss share one compiled network, whose weights and optimiser are exchanged; all begin with the same
    weights, those of a seed that the comparison does not use.

    Args:
        config: `kseg.configs.CompareLosses`.
        data: an open data set.
        heads: of `comparison_same.heads_of`.
        names: of `comparison_models.names_of`.
        folder: an existing folder for the states.
        networks: `kseg.training.compiled.Networks` from which the compared models take theirs as well; None for own.
    """

    def __init__(self, config, data, heads, names, folder, networks=None):
        self._config, self._data, self._heads, self._names, self._folder = config, data, heads, names, folder
        self._networks, self._begun = networks or Networks(), {}
        self._validation = load(data, "validation", config.batch_size)

    def advance(self, loss, rate, before, after):
        """Train a candidate on from `before` to `after` epochs.

        Returns:
            The best validation Dice (mean over foreground classes, all pixels) of all its epochs.

        Raises:
            FloatingPointError: its loss became nan or infinite.
            Exception: whatever the loss raises.
        """
        model, start = self._network(loss)
        values, best = self._state(loss, rate, before, start) if before else (start, -np.inf)
        for variable, value in zip(_variables(model), values, strict=True):
            variable.assign(value)
        model.optimizer.learning_rate.assign(rate)
        for epoch in range(before, after):
            # An order for each epoch, whatever the steps are that epochs are trained in.
            batches = load(self._data, "train", self._config.batch_size, seed=10_000 * self._config.seeds + epoch)
            history = model.fit(
                batches, validation_data=self._validation, initial_epoch=epoch, epochs=epoch + 1, verbose=0,
                shuffle=False, callbacks=[keras.callbacks.TerminateOnNaN()],
            ).history  # fmt: skip
            if not np.isfinite([*history["loss"], *history.get("val_loss", [np.nan])]).all():
                raise FloatingPointError(f"the loss {loss!r} at {rate:g} is not finite in epoch {epoch + 1}")
            dice = history["val_dice"][0]
            best = max(best, dice) if np.isfinite(dice) else best
        self._keep(loss, rate, after, _variables(model), best)
        return float(best) if np.isfinite(best) else 0.0

    def forget(self, step):
        """Remove the state that a step began with."""
        self._file(step["loss"], step["rate"], step["before"]).unlink(missing_ok=True)

    def tidy(self, trials):
        """Remove all files but the states of those trials of a round that go on."""
        needed = {self._file(each["loss"], each["rate"], each["epochs"]) for each in trials if each["kept"]}
        for path in set(self._folder.glob("*.npz")) - needed:
            path.unlink()

    def _network(self, loss):
        """(compiled network of a loss, values of its variables at the start)."""
        if loss not in self._begun:
            config, (_, head) = self._config, self._heads[loss]
            entry = entry_of(loss, config.learning_rate, config.seeds, self._names, self._folder)
            model = prepare(options_of(entry, config, head), networks=self._networks).model
            self._begun[loss] = model, [np.array(variable) for variable in _variables(model)]
        return self._begun[loss]

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
