"""The sweep of the toy study: which runs there are, all of them trained in stacks, and what they came to."""

from dataclasses import dataclass, field, replace
from functools import cached_property, partial

from kseg.configs import ToyBalance
from kseg.studies import toy_stack
from kseg.studies.toy_claims import claims
from kseg.studies.toy_runs import LEARNING_RATE, Condition
from kseg.studies.toy_table import LOSS_ORDER, row

AT_ONCE = 27  # runs in a stack: more spill out of the cache, fewer leave the cost of a step to be paid more often


@dataclass(frozen=True)
class Result:
    """One run: its `condition`, and its `curves`.

    `curves` holds `iteration` `[n]`; `<loss>_loss` and `<loss>_grad` `[n]`, value and global gradient norm on the
    training batch before the update (S1.11); `accuracy_iteration` and `accuracy` `[m]` on 100 fixed validation images
    after the update, every 250 iterations (S1.12); and `complete`, False when the run was interrupted; the curves
    then hold what was done.
    """

    condition: Condition
    curves: dict

    @property
    def complete(self):
        """Whether the run came to its end."""
        return bool(self.curves["complete"])

    @property
    def accuracy(self):
        """Accuracy at the last check."""
        return float(self.curves["accuracy"][-1])

    @property
    def best_accuracy(self):
        """Best accuracy of all checks."""
        return float(self.curves["accuracy"].max())


@dataclass(frozen=True)
class SweepResult:
    """The runs of a sweep: `config`, the `store` of curves {name: curves}, and whether all are `complete`.

    Example:
        >>> from kseg.configs import ToyBalance
        >>> result = sweep(ToyBalance(sweep="published"))  # doctest: +SKIP
        >>> result.rows[0]["accuracy"], result.claims[0]["verdict"]  # doctest: +SKIP
    """

    config: ToyBalance
    store: object = field(repr=False)
    complete: bool = True

    @property
    def conditions(self):
        """The conditions that were run, in the order of the sweep."""
        return [condition for condition in conditions(self.config) if condition.name in self.store]

    def run(self, condition):
        """The Result of one run."""
        return Result(condition, self.store[condition.name])

    @cached_property
    def rows(self):
        """The table of runs: a dict a run, of `toy_table.row`."""
        return [row(condition, self.store[condition.name]) for condition in self.conditions]

    @cached_property
    def claims(self):
        """The verdicts on the document's claims: a list of dicts, of `toy_claims.claims`."""
        return claims(self.rows)


def conditions(config):
    """All runs of a sweep, in the order of its tables.

    Args:
        config: `kseg.configs.ToyBalance` with `sweep`.

    Returns:
        A list of Condition: the losses (three, or five in the full sweep) by optimiser, with and without batch
        normalisation, by threshold and seed; input other than raw with Adam only.

    Raises:
        ValueError: two thresholds give runs of one name.
    """
    losses = LOSS_ORDER[:3] if config.sweep == "published" else LOSS_ORDER
    seeds = range(config.seeds[0]) if len(config.seeds) == 1 else config.seeds
    ways = [("adam", LEARNING_RATE, given) for given in config.inputs]
    ways += [("sgd", rate, "raw") for rate in config.learning_rates if "raw" in config.inputs]
    runs = [
        Condition(loss, optimizer, bn, threshold, seed, rate, given, config.convolutions, config.batch_size)
        for optimizer, rate, given in ways
        for bn in (False, True)
        for threshold in sorted(config.thresholds, reverse=True)
        for seed in seeds
        for loss in losses
    ]
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        twin = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"--thresholds or --learning-rates give two runs the name {twin}. Expected wider steps.")
    return runs


def stacks(runs, size=AT_ONCE):
    """Runs in lists of at most `size`, of nearly equal lengths, that can be trained together.

    In the order of `conditions` each list holds all seeds, and is served by the same compiled program as the others.
    """
    found = []
    for bn in (False, True):
        group = [run for run in runs if run.bn == bn]
        count = -(-len(group) // size)
        cuts = [round(i * len(group) / count) for i in range(count + 1)] if count else []
        found += [group[a:b] for a, b in zip(cuts, cuts[1:], strict=False)]
    return found


def sweep(config, store=None, progress=None):
    """All runs of the sweep that are not in `store` yet, in stacks.

    Args:
        config: `kseg.configs.ToyBalance` with `sweep`.
        store: where the curves go: a dict (made if None) or a `CurveFile`. Runs it holds complete are not run again.
        progress: called with the number of iterations done, over all runs, those in `store` among them.

    Returns:
        SweepResult; not `complete` if Ctrl-C ended it, it then has what was done.

    Raises:
        KeyboardInterrupt: if Ctrl-C came before anything was done.
    """
    store = _Memory() if store is None else store
    runs, finished = conditions(config), store.complete()
    missing = [run for run in runs if run.name not in finished]
    done = (len(runs) - len(missing)) * config.iterations
    try:
        for stack in stacks(missing):
            advance = progress and partial(_advance, progress, done, len(stack))
            curves = toy_stack.train(stack, iterations=config.iterations, log_every=config.log_every, progress=advance)
            store.update(dict(zip(stack, curves, strict=True)))
            if not all(each["complete"] for each in curves):
                raise KeyboardInterrupt
            done += len(stack) * config.iterations
    except KeyboardInterrupt:
        if not len(store):
            raise
        return SweepResult(config, store, complete=False)
    return SweepResult(config, store)


def _advance(progress, before, runs, iterations):
    progress(before + runs * iterations)


class _Memory(dict):
    """Curves kept in memory, with the interface of a CurveFile."""

    def update(self, runs):
        super().update({condition.name: curves for condition, curves in runs.items()})

    def complete(self):
        return {name for name, curves in self.items() if curves["complete"]}


def settle(config, stored):
    """The config of a sweep that goes on.

    Args:
        config: with `resume`; what it says beside that must be what the run was begun with.
        stored: `config` of the run's record, a dict.

    Raises:
        ValueError: an option differs; it is named, with both values.
    """
    begun = ToyBalance(**{key: tuple(v) if isinstance(v, list) else v for key, v in stored.items()
                          if key not in ("output", "overwrite", "resume")})  # fmt: skip
    for name in ("sweep", *ToyBalance.SWEEP, *ToyBalance.BOTH):
        given, was = getattr(config, name), getattr(begun, name)
        if given is not None and given != was:
            option = "--" + name.replace("_", "-")
            raise ValueError(
                f"{option}={_said(given)} does not fit {config.resume}, which was begun with {_said(was)}. Expected "
                "the same; leave it out, or begin a new sweep."
            )
    return replace(begun, output=config.resume)


def _said(value):
    return " ".join(map(str, value)) if isinstance(value, tuple) else value
