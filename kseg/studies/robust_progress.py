"""How far D4's study is."""

import keras

from kseg.studies.robust_models import FLY, ONE, ORIGINAL, TWO

# About how long each part takes, in passes over the training split of plain training (the laptop study of CoNSeP):
# a gradient of images alone; the same within the evaluation; one step of attacks while training; a forward pass.
PASS, ATTACK, FLY_STEP, LOOK = 0.4, 0.6, 0.95, 0.2


class Progress:
    """How far the study is, in passes of plain training over the training split."""

    def __init__(self, tell, config, data, entries, images):
        self._tell, self._done, self._config = tell, {}, config
        classes, share = len(data.classes), images / data.sizes["train"]
        choices = 3**classes if config.search == "exact" else 36 * classes
        self._cost = {
            "method one": min(classes, 4) * config.steps * PASS, "method two": classes * PASS + choices * LOOK,
            "measure": 2.5 * config.attack_steps * ATTACK * share,
        }  # fmt: skip
        self._own = (2 * config.attack_steps * ATTACK + self._cost["method one"] + self._cost["method two"]) * share
        of_method = {ONE: self._cost["method one"], TWO: self._cost["method two"]}
        self._all = sum(
            of_method.get(entry.label, 0.0) + self._cost_of("train", entry) + self._cost_of("measure", entry)
            for entry in entries
        )

    def _cost_of(self, part, entry):
        if part == "train":
            return self._config.epochs * (1 + (3 * FLY_STEP * self._config.fly_steps if entry.label == FLY else 0))
        return self._cost[part] + (self._own if part == "measure" and entry.label == ORIGINAL else 0.0)

    def begin(self, what):
        self._tell(what, self._share(), True)

    def _share(self, more=0.0):
        return min(1.0, (sum(self._done.values()) + more) / self._all)

    def end(self, part, entry):
        """A part of the work on a model is done, or was before."""
        self._done[part, entry.name] = self._cost_of(part, entry)

    def epochs(self, entry):
        """A Keras callback."""
        count = self._config.epochs

        def tell(epoch, logs):
            more = self._cost_of("train", entry) * (epoch + 1) / count
            self._tell(f"{entry.name}: epoch {epoch + 1} of {count}", self._share(more))

        return keras.callbacks.LambdaCallback(on_epoch_end=tell)

    def perturbing(self, entry, name):
        """Called with the share that is done of perturbing images."""
        return lambda share: self._tell(f"{entry.name}: {name}", self._share(self._cost[name] * share))

    def attacks(self, entry):
        """Called with (attacks done, of all)."""
        cost = self._cost_of("measure", entry)
        return lambda done, total: self._tell(
            f"{entry.name}: attack {done} of {total}", self._share(cost * done / total)
        )
