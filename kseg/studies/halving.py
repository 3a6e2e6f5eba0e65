"""Successive halving over losses and learning rates: long training only of what short training leaves open."""

import math
import time
from typing import NamedTuple

from kseg.studies.halving_steps import Search, Steps

__all__ = ["Search", "halve", "rates_around", "rounds_needed"]


class Trial(NamedTuple):
    """How far a loss got with a rate: `epochs` so far and the best validation `score` of them, nan if it diverged."""

    loss: str
    rate: float
    epochs: int
    score: float


def rates_around(rate, count=4, factor=4.0):
    """Learning rates in a geometric row around a given one, ascending, which is among them.

    Of an even number the odd one lies above: where a rate is too high shows early, so trying it costs least.

    Args:
        rate: > 0.
        count: of rates, >= 1.
        factor: from one to the next, > 1.

    Example:
        >>> rates_around(0.001)
        (0.00025, 0.001, 0.004, 0.016)
    """
    if not (0 < rate < math.inf and factor > 1 and count >= 1):
        raise ValueError(f"{count} rates by {factor} around {rate}: expected rate > 0, factor > 1, count >= 1.")
    return tuple(float(rate * factor**step) for step in range(-((count - 1) // 2), count // 2 + 1))


def rounds_needed(losses, rates, finalists):
    """Rounds until at most `finalists` of `losses` are left, with one of `rates` each; the arguments are numbers."""
    rounds = 0
    while rates > 1 or losses > finalists:
        losses, rates = max(finalists, math.ceil(losses / 2)), math.ceil(rates / 2)
        rounds += 1
    return rounds


def halve(
    losses, rates, finalists, advance, *, minutes, epochs, clock=time.monotonic, tell=None, done=(), on_step=None,
    on_round=None,
):  # fmt: skip
    """Look for the best losses, and for the best rate of each, within a given time.

    A round trains all candidates (loss, rate) that are left on, to the same number of epochs. Then each loss keeps the
    better half of its rates, rounded up; and of more losses than `finalists` the better half stays, rounded up, by the
    best score of each, but never fewer than `finalists`. The end is when every loss left has one rate and at most
    `finalists` are left: no rounds at all where that is so from the start. Of equal scores the rate nearer to the
    middle of the sorted rates is better, then the smaller one; of losses, the one given first.

    A candidate that diverged or failed is worst and never goes on. A loss with no rate left stays only to fill up the
    finalists; its rate is the best of those dropped before that did not diverge, or None.

    Time is that of training, split evenly over the rounds left (`rounds_needed`). The first round begins with one epoch
    of each, later ones with as many as fit at the pace of each so far; while as many again fit, a round goes on. After
    the first epoch the pace of a loss is that of its fastest rate, since others may have waited for a compiler; if they
    wait at every call, that is overrun once. So is a budget too small for one epoch of all candidates in every round.

    Args:
        losses: names, all different.
        rates: numbers > 0, all different, the same for every loss.
        finalists: >= 1.
        advance: (loss, rate, before, after) -> best validation score (more is better) of epochs 1 to `after`, having
            trained on from epoch `before`; nan, or an error, if the candidate diverged or failed. A MemoryError, an
            OSError or an interruption ends the search.
        minutes: of training in all, > 0.
        epochs: of a candidate at most, in all; at least as many as rounds.
        clock: () -> seconds.
        tell: called with (what was done, share of all that is done).
        done: steps made before, as `Search` has them. They are taken as they are, times and all, and the search goes on
            after them, as it would have without a break.
        on_step: called after each further step with all steps so far; a step is a call of `advance`.
        on_round: called after each round that ends in a further step, with all rounds so far.

    Returns:
        Search. A round is a list of dicts, fit for JSON: `loss`, `rate`, `epochs` so far, `score` (None: diverged),
        `seconds` of the round, `kept`, whether the candidate goes on, and `why` it does not if it diverged or failed.

    Raises:
        ValueError: nothing to choose from, fewer epochs than rounds, or `done` is of another search.

    The halving of Karnin, Koren and Somekh 2013 ("Almost optimal exploration in multi-armed bandits"), by Jamieson and
    Talwalkar 2016 ("Non-stochastic best arm identification and hyperparameter optimization") for training curves: the
    best is found if rounds are long enough for the curves to be in their final order. They split the budget evenly
    over the rounds too. Ours halves the rates within each loss, not all candidates together, so that no loss is judged
    by a poor rate; counts time, not steps; and can stop at several losses.
    """
    losses, rates = list(losses), [float(rate) for rate in rates]
    _check(losses, rates, finalists, minutes)
    place = sorted(rates)
    order = sorted(rates, key=lambda rate: (abs(2 * place.index(rate) - len(rates) + 1), rate))
    tell, step = tell or (lambda *_: None), Steps(advance, clock, done, on_step)
    left, trials, rounds = dict.fromkeys(losses, order), {}, []
    while more := rounds_needed(len(left), max(map(len, left.values())), finalists):
        candidates = [(loss, rate) for loss in left for rate in rates if rate in left[loss]]
        entries, number = _train(candidates, rounds, step, more, 60 * minutes, epochs, tell), len(rounds) + 1
        for entry in entries:
            score = math.nan if entry["score"] is None else entry["score"]
            trials[entry["loss"], entry["rate"]] = Trial(entry["loss"], entry["rate"], entry["epochs"], score)
        left = _cut(left, trials, finalists, order)
        for entry in entries:
            entry["kept"] = entry["rate"] in left.get(entry["loss"], ())
        rounds.append(entries)
        if step.new:
            tell(f"round {number}: {sum(map(len, left.values()))} candidates left", number / (number + more - 1))
            if on_round:
                on_round(rounds)
    step.end()
    best = {loss: _best(loss, trials, order) for loss in losses}
    chosen = {loss: trial and trial.rate for loss, trial in best.items()} if rounds else dict.fromkeys(losses, rates[0])
    return Search(rounds, chosen, tuple(_ranked(left, trials, order)), minutes, step.made)


def _check(losses, rates, finalists, minutes):
    for values in (losses, rates):
        if not values or len(set(values)) < len(values):
            raise ValueError(f"{values} are none or some twice. Expected losses and rates that are all different.")
    if not (all(0 < rate < math.inf for rate in rates) and finalists >= 1 and minutes > 0):
        raise ValueError(f"{rates}, {finalists} finalists, {minutes} minutes. Expected all above 0, rates finite.")


def _train(candidates, rounds, step, more, limit, epochs, tell):
    """A round: entries of the candidates, trained on as far as the round's share of time and epochs go."""
    before = [entry for each in rounds for entry in each]
    begin = total = max((entry["epochs"] for entry in before), default=0)
    if epochs < begin + more:
        raise ValueError(f"{epochs} epochs are too few: {begin} done, rounds to go: {more}. Expected {begin + more}.")
    most, number = epochs - more + 1, len(rounds) + 1  # later rounds need an epoch each
    share = (limit - sum(entry["seconds"] for entry in before)) / more
    facts = {"epochs": total, "score": None, "seconds": 0.0, "kept": False}
    entries = {(loss, rate): {"loss": loss, "rate": rate} | facts for loss, rate in candidates}
    pace = sum(entry["seconds"] for entry in before if (entry["loss"], entry["rate"]) in entries) / max(total, 1)
    part, alive, used = max(1, _fit(share, pace, most)) if before else 1, candidates, 0.0
    while alive:
        part, seconds, well = min(part, most - total), {}, []
        for count, each in enumerate(alive, 1):
            made = step(*each, total, total + part)
            seconds[each] = made["seconds"]
            used += seconds[each]
            well += [each] * (made["score"] is not None)
            entries[each]["seconds"] += seconds[each]
            entries[each] |= {"epochs": total + part} | {name: made[name] for name in ("score", "why") if name in made}
            trained = (total - begin + part * count / len(alive)) / (most - begin)
            gone = min(max(trained, used / share if share > 0 else 1), count / len(alive) if total == begin else 1)
            if step.new:
                what = f"{each[0]} at {each[1]:g}: epoch {total + part}, round {number}"
                tell(what, (number - 1 + gone) / (number + more - 1))
        total, alive = total + part, well
        if total == 1:
            seconds = {each: min(seconds[other] for other in alive if other[0] == each[0]) for each in alive}
        further = _fit(share - used, sum(seconds[each] for each in alive) / part, most)
        if further < part or total == most:
            break
        part = further
    return list(entries.values())


def _fit(seconds, pace, most):
    return int(min(most, seconds / max(pace, 1e-9)))


def _best(loss, trials, order):
    """The trial a loss did best with, of those that did not diverge, or None."""
    well = [trial for trial in trials.values() if trial.loss == loss and math.isfinite(trial.score)]
    return max(well, key=lambda trial: (trial.score, -order.index(trial.rate)), default=None)


def _ranked(left, trials, order):
    best = {loss: _best(loss, trials, order) for loss in left}
    return sorted(left, key=lambda loss: (not left[loss], -best[loss].score if best[loss] else math.inf))


def _cut(left, trials, finalists, order):
    """{loss: its rates that go on}, of the losses that do."""
    kept = {}
    for loss, rates in left.items():
        well = [rate for rate in order if rate in rates and math.isfinite(trials[loss, rate].score)]
        kept[loss] = sorted(well, key=lambda rate: -trials[loss, rate].score)[: math.ceil(len(rates) / 2)]
    stay = max(finalists, min(math.ceil(len(left) / 2), sum(map(bool, kept.values()))))
    ranked = _ranked(kept, trials, order)[:stay]
    return {loss: rates for loss, rates in kept.items() if loss in ranked}
