"""The steps of successive halving, which can be gone on with, and what comes of them."""

import math
from typing import NamedTuple

from kseg.studies.breakdown import OF_THE_MACHINE, reason


class Search(NamedTuple):
    """What halving found: `rounds` as it tells them, {loss: rate or None} of all losses, `finalists` best first.

    `budget` are the minutes it had, `steps` all it trained, as it takes them to go on.
    """

    rounds: list
    rates: dict
    finalists: tuple
    budget: float | None = None
    steps: tuple | list = ()

    @property
    def minutes(self):
        """Of training, in all."""
        return sum(entry["seconds"] for entry in self._entries) / 60

    @property
    def first_minutes(self):
        """Of them, those of the first epoch of all candidates, compiling included."""
        return sum(step["seconds"] for step in self.steps if step["before"] == 0) / 60

    @property
    def tried(self):
        """The rates, ascending; () where there was nothing to choose."""
        return tuple(sorted({entry["rate"] for entry in self._entries}))

    @property
    def epochs(self):
        """{loss: most epochs that one of its candidates had, 0 without any}."""
        own = {loss: [entry["epochs"] for entry in self._entries if entry["loss"] == loss] for loss in self.rates}
        return {loss: max(each, default=0) for loss, each in own.items()}

    @property
    def edge(self):
        """{loss: "lowest" or "highest"} of the losses whose rate has none beside it on one side."""
        tried = self.tried
        ends = {tried[0]: "lowest", tried[-1]: "highest"} if len(tried) > 1 else {}
        return {loss: ends[rate] for loss, rate in self.rates.items() if rate in ends}

    @property
    def untaught(self):
        """Losses that ended but found no foreground with any rate: which rate suits them is not known."""
        best = {}
        for entry in self._entries:
            if entry["score"] is not None:
                best[entry["loss"]] = max(entry["score"], best.get(entry["loss"], 0.0))
        return tuple(loss for loss in self.rates if best.get(loss) == 0)

    @property
    def why(self):
        """{loss: {rate: what was wrong}} of the candidates that broke down."""
        found = {}
        for entry in self._entries:
            if entry.get("why"):
                found.setdefault(entry["loss"], {})[entry["rate"]] = entry["why"]
        return found

    @property
    def _entries(self):
        return [entry for entries in self.rounds for entry in entries]


class Steps:
    """Trains candidates on, step by step, or takes what is known of a step from before.

    Args:
        advance, clock, done, on_step: of `halve`.
    """

    def __init__(self, advance, clock, done, on_step):
        self._advance, self._clock, self._done, self._on_step = advance, clock, list(done), on_step
        self.made, self.new = [], True

    def __call__(self, loss, rate, before, after):
        """A step: {"loss", "rate", "before", "after", "score", "seconds", and "why" if it broke down}."""
        wanted, number = {"loss": loss, "rate": rate, "before": before, "after": after}, len(self.made)
        self.new = number >= len(self._done)
        step = self._made(wanted) if self.new else dict(self._done[number])
        if any(step.get(name) != value for name, value in wanted.items()):
            known = {name: step.get(name) for name in wanted}
            raise ValueError(f"step {number + 1} of those done is {known}. Expected {wanted}, of the same search.")
        self.made.append(step)
        if self.new and self._on_step:
            self._on_step(self.made)
        return step

    def end(self):
        """Raise ValueError if more is known than was asked for."""
        more = len(self._done) - len(self.made)
        if more > 0:
            raise ValueError(f"{more} steps too many are done. Expected {len(self.made)}, of the same search.")

    def _made(self, wanted):
        score, why, start = math.nan, "its score is nan", self._clock()
        try:
            score = float(self._advance(*wanted.values()))
        except OF_THE_MACHINE:
            raise
        except Exception as error:  # a loss may fail in any way
            why = reason(error)
        step = {**wanted, "score": None, "seconds": self._clock() - start}
        return step | ({"score": score} if math.isfinite(score) else {"why": why})
