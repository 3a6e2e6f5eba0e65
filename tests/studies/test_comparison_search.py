"""The search for learning rates: short trainings that stop and go on, on a tiny network."""

import json

import keras
import numpy as np
import pytest

from kseg.configs import CompareLosses
from kseg.data import load, open_data
from kseg.losses import get
from kseg.models import unet
from kseg.studies import (
    comparison_models,
    comparison_notes,
    comparison_same,
    comparison_search,
    halving,
    loss_comparison,
)
from kseg.training import fit
from kseg.training.compiled import Networks
from kseg.training.job import prepare

DATA = "lungs(size=32, counts=(6,3,3))"
FIRST, SECOND, NAN = LOSSES = ("dice_bce", "focal", "3e38*bce + 3e38*dice")  # the last one is infinite at once
LOW, HIGH = 0.001, 0.01
CONFIG = CompareLosses(
    data=DATA, losses=LOSSES, preset="quick", filters=2, depth=1, batch_size=2, seeds=1, jit=False, rates=(LOW, HIGH)
)


def trainer_in(folder):
    data = open_data(DATA)
    heads = comparison_same.heads_of(LOSSES, 2, data.shape)
    return comparison_search.Trainer(CONFIG, data, heads, comparison_models.names_of(LOSSES), folder)


def state(folder, name):
    with np.load(folder / f"{name}.npz") as kept:
        return [kept[f"v{number}"] for number in range(len(kept.files) - 1)], float(kept["best"])


def same(ours, theirs, atol=1e-6):
    assert len(ours) == len(theirs) > 10
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, atol=atol)


def apart(ours, theirs):
    return max(np.abs(one - other).max() for one, other in zip(ours, theirs, strict=True) if one.ndim > 1)


def by_hand(loss, rate, after):
    """([variables after so many epochs, for each of `after`], best Dice of all epochs) by plain Keras."""
    data, kept, dice = open_data(DATA), [], []
    images, masks = data.read("validation")
    keras.utils.set_random_seed(CONFIG.seeds)  # a seed that none of the compared models has
    model = unet(data.shape, 1, filters=2, depth=1, bn=True, decoder="transpose")
    model.compile(keras.optimizers.Adam(rate), loss=get(loss, from_logits=True))
    for epoch in range(max(after)):
        for batch in load(data, "train", 2, seed=10_000 + epoch):
            model.train_on_batch(*batch)
        ids, true = model.predict(images, verbose=0)[..., 0] > 0, masks > 0
        dice.append(2 * (ids & true).sum() / (ids.sum() + true.sum()))
        variables = [*model.trainable_variables, *model.non_trainable_variables, *model.optimizer.variables]
        if epoch + 1 in after:
            kept.append([np.array(variable) for variable in variables])
    return kept, max(dice)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(folder, {(loss, rate, after): score}) of candidates that take turns, in parts of one and two epochs."""
    folder = tmp_path_factory.mktemp("states")
    trainer, scores = trainer_in(folder), {}
    for before, after in ((0, 1), (1, 3)):
        for loss, rate in ((FIRST, LOW), (FIRST, HIGH), (SECOND, HIGH)):
            scores[loss, rate, after] = trainer.advance(loss, rate, before, after)
    return folder, scores


@pytest.mark.parametrize(("loss", "rate"), [(FIRST, LOW), (SECOND, HIGH)])
def test_parts_of_a_training_are_one_training(trained, loss, rate):
    """Weights, moving averages, Adam's moments and steps are those of a plain loop, at the candidate's own rate."""
    folder, scores = trained
    (one, three), best = by_hand(loss, rate, (1, 3))
    for after, expected in ((1, one), (3, three)):
        same(state(folder, f"{loss}_rate{rate:g}_epochs{after}")[0], expected)
    assert apart(one, three) > 1e-4
    assert scores[loss, rate, 3] == pytest.approx(best, abs=1e-6) == state(folder, f"{loss}_rate{rate:g}_epochs3")[1]
    assert scores[loss, rate, 3] >= scores[loss, rate, 1]


def test_epochs_are_the_same_in_whatever_steps_they_come(trained, tmp_path):
    """1 + 2 epochs are 2 + 1 and 3; and no two epochs have the same order."""
    name = f"{FIRST}_rate{LOW:g}_epochs3"
    for steps in (((0, 2), (2, 3)), ((0, 3),)):
        trainer = trainer_in(tmp_path)
        for before, after in steps:
            score = trainer.advance(FIRST, LOW, before, after)
        assert score == pytest.approx(trained[1][FIRST, LOW, 3], abs=1e-6)
        same(state(tmp_path, name)[0], state(trained[0], name)[0])
    orders = [[masks.numpy().tobytes() for _, masks in load(DATA, "train", 2, seed=10_000 + n)] for n in range(3)]
    assert len(set(map(tuple, orders))) == 3


def test_rates_make_a_difference(trained):
    folder, _ = trained
    low, high = (state(folder, f"{FIRST}_rate{rate:g}_epochs1")[0] for rate in (LOW, HIGH))
    assert apart(low, high) > 1e-3


def test_a_new_trainer_goes_on_from_the_files(trained, tmp_path):
    folder, scores = trained
    name = f"{FIRST}_rate{HIGH:g}_epochs"
    (tmp_path / f"{name}1.npz").write_bytes((folder / f"{name}1.npz").read_bytes())
    trainer = trainer_in(tmp_path)
    assert trainer.advance(FIRST, HIGH, 1, 3) == pytest.approx(scores[FIRST, HIGH, 3], abs=1e-6)
    same(state(tmp_path, f"{name}3")[0], state(folder, f"{name}3")[0])
    # What begins after others have been trained begins as if it were the first.
    trainer.advance(FIRST, LOW, 0, 1)
    same(state(tmp_path, f"{FIRST}_rate{LOW:g}_epochs1")[0], state(folder, f"{FIRST}_rate{LOW:g}_epochs1")[0])


def test_networks_are_compiled_once(trained, tmp_path):
    trainer = trainer_in(tmp_path)
    for loss, before, after in ((FIRST, 0, 1), (SECOND, 0, 1), (FIRST, 1, 3)):
        trainer.advance(loss, HIGH, before, after)
    assert list(trainer._begun) == [FIRST, SECOND]
    for name in (f"{FIRST}_rate{HIGH:g}_epochs3", f"{SECOND}_rate{HIGH:g}_epochs1"):
        same(state(tmp_path, name)[0], state(trained[0], name)[0])


def test_the_compared_models_take_the_networks_of_the_search(tmp_path):
    """None is compiled again, and they learn what networks of their own would, even after one that diverged."""
    networks, data, names = Networks(), open_data(DATA), comparison_models.names_of(LOSSES)
    heads = comparison_same.heads_of(LOSSES, 2, data.shape)
    trainer = comparison_search.Trainer(CONFIG, data, heads, names, tmp_path, networks)
    trainer.advance(FIRST, HIGH, 0, 2)
    trainer.advance(SECOND, HIGH, 0, 1)
    searched = trainer._begun[FIRST][0]
    for variable in trainer._begun[SECOND][0].trainable_variables:
        variable.assign(np.full(variable.shape, np.nan))

    def learnt(entry, networks):
        job = prepare(comparison_models.options_of(entry, CONFIG, "sigmoid"), networks=networks)
        history = fit(job.model, job.batches(), job.validation(), epochs=2, steps=job.steps).history
        return job.model, history["loss"], [np.array(weight) for weight in job.model.weights]

    for loss, rate, seed in ((FIRST, LOW, 0), (FIRST, HIGH, 0), (SECOND, LOW, 1)):
        entry = comparison_models.entry_of(loss, rate, seed, names, tmp_path)
        model, losses, weights = learnt(entry, networks)
        assert (model is searched) == (loss == FIRST)
        _, expected, own = learnt(entry, None)
        assert losses == pytest.approx(expected, rel=1e-5)
        same(weights, own, atol=1e-5)
    assert len(networks._kept) == 2


def test_a_study_has_one_set_of_networks(monkeypatch, tmp_path):
    """Those of the search are what the models are trained with."""
    seen = []

    def search(*given):
        seen.append(given[-1])

    def train(entry, config, head, callbacks, networks):
        seen.append(networks)
        raise MemoryError

    monkeypatch.setattr(comparison_search, "search", search)
    monkeypatch.setattr(comparison_models, "train", train)
    with pytest.raises(MemoryError):
        loss_comparison.run(CONFIG, tmp_path)
    assert isinstance(seen[0], Networks) and seen[0] is seen[1]


def test_a_loss_that_is_not_finite_is_told_and_spoils_nothing(trained, tmp_path):
    trainer = trainer_in(tmp_path)
    for rate in (LOW, HIGH):
        with pytest.raises(FloatingPointError, match=f"at {rate:g} is not finite"):
            trainer.advance(NAN, rate, 0, 1)
    assert not list(tmp_path.iterdir())
    # A candidate that diverges leaves nan in the network that others of its loss share.
    model, start = trainer._network(FIRST)
    for variable in model.trainable_variables:
        variable.assign(np.full(variable.shape, np.nan))
    trainer.advance(FIRST, LOW, 0, 1)
    same(state(tmp_path, f"{FIRST}_rate{LOW:g}_epochs1")[0], state(trained[0], f"{FIRST}_rate{LOW:g}_epochs1")[0])
    assert all(np.isfinite(value).all() for value in start)


def test_tidying_leaves_what_goes_on(tmp_path):
    for loss, rate, epochs in ((FIRST, LOW, 1), (FIRST, LOW, 3), (FIRST, HIGH, 1), (FIRST, HIGH, 3), (SECOND, LOW, 3)):
        (tmp_path / f"{loss}_rate{rate:g}_epochs{epochs}.npz").touch()
    (tmp_path / "note.txt").touch()
    trials = [
        {"loss": FIRST, "rate": LOW, "epochs": 3, "kept": True},
        {"loss": FIRST, "rate": HIGH, "epochs": 3, "kept": False},
        {"loss": SECOND, "rate": LOW, "epochs": 3, "kept": True},
        {"loss": NAN, "rate": LOW, "epochs": 1, "kept": True},  # diverged, stays to fill up: has no file
    ]
    trainer_in(tmp_path).tidy(trials)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{FIRST}_rate{LOW:g}_epochs3.npz", f"{SECOND}_rate{LOW:g}_epochs3.npz", "note.txt",
    ]  # fmt: skip


class Scripted:
    """A trainer that knows its scores, and breaks off before or after a step."""

    scores = {(FIRST, 0.001): 0.5, (FIRST, 0.004): 0.8, (FIRST, 0.016): 0.7, (SECOND, 0.001): 0.9,
              (SECOND, 0.004): 0.4, (SECOND, 0.016): 0.6}  # fmt: skip

    def __init__(self, stop=None):
        self.stop, self.done, self.tidied = stop, [], []

    def __call__(self, config, data, heads, names, folder, networks):
        names = dict.fromkeys(LOSSES) | {loss: loss for loss in LOSSES}
        self.real = comparison_search.Trainer(CONFIG, open_data(DATA), {}, names, folder)
        return self

    def advance(self, loss, rate, before, after):
        if before:
            assert self.real._file(loss, rate, before).exists(), "what it goes on from is there"
        self.real._file(loss, rate, after).touch()
        if (loss, rate, before) == self.stop:
            raise KeyboardInterrupt
        self.done.append((loss, rate, before, after))
        if loss == SECOND and rate == 0.004:
            raise ValueError("not this one")
        return self.scores[loss, rate] + after / 100

    def forget(self, step):
        self.real.forget(step)

    def tidy(self, trials):
        self.real.tidy(trials)
        self.tidied.append([(each["loss"], each["rate"]) for each in trials if each["kept"]])


@pytest.fixture
def searched(monkeypatch):
    """`halving.Search` of two losses and three rates, two rounds of an epoch; with what was said."""
    real = comparison_search.Trainer

    def search(folder, trainer, said=None, **options):
        folder.mkdir(exist_ok=True)
        options = {"budget": 1e-9, "rates": (0.001, 0.004, 0.016)} | options
        config = CompareLosses(losses=(FIRST, SECOND), preset="quick", **options)
        with monkeypatch.context() as patch:

            def make(*args):
                patch.setattr(comparison_search, "Trainer", real)
                return trainer(*args)

            patch.setattr(comparison_search, "Trainer", make)
            return comparison_search.search(
                config, None, config.losses, None, None, folder, lambda *_: None, ([] if said is None else said).append
            )

    return search


@pytest.mark.parametrize(
    "stop", [(FIRST, 0.001, 0), (SECOND, 0.001, 0), (FIRST, 0.016, 1), (SECOND, 0.001, 1), (SECOND, 0.016, 1)]
)
def test_a_search_goes_on_after_the_steps_that_are_written(searched, tmp_path, stop):
    """Broken off in the first or the second round: nothing that was done is done again, and all comes out alike."""
    whole, one, other = Scripted(), Scripted(stop=stop), Scripted()
    expected = searched(tmp_path / "whole", whole)
    assert expected.rates == {FIRST: 0.004, SECOND: 0.001} and set(expected.finalists) == {FIRST, SECOND}
    assert [len(trials) for trials in expected.rounds] == [6, 4] and len(whole.done) == 10
    with pytest.raises(KeyboardInterrupt):
        searched(tmp_path / "broken", one)
    before = json.loads((tmp_path / "broken" / "search.json").read_text())["steps"] if one.done else []
    assert len(before) == len(one.done) and (tmp_path / "broken" / "search").is_dir()
    found = searched(tmp_path / "broken", other)
    assert one.done + other.done == whole.done
    assert (found.rates, found.finalists) == (expected.rates, expected.finalists)
    assert found.steps[: len(before)] == before, "with the seconds they took"
    assert found.why == expected.why == {SECOND: {0.004: "ValueError: not this one"}}
    assert not (tmp_path / "broken" / "search").exists()  # states are gone, steps stay
    again = Scripted(stop=(FIRST, 0.001, 0))
    assert searched(tmp_path / "broken", again) == found and not again.done


def test_only_the_newest_state_of_a_candidate_is_kept(searched, tmp_path):
    trainer = Scripted(stop=(SECOND, 0.016, 1))
    with pytest.raises(KeyboardInterrupt):
        searched(tmp_path, trainer)
    left = {path.name for path in (tmp_path / "search").iterdir()}
    assert left == {
        f"{FIRST}_rate0.004_epochs2.npz", f"{FIRST}_rate0.016_epochs2.npz", f"{SECOND}_rate0.001_epochs2.npz",
        f"{SECOND}_rate0.016_epochs1.npz", f"{SECOND}_rate0.016_epochs2.npz",
    }  # fmt: skip


def test_the_file_tells_what_the_search_used_and_found(searched, tmp_path):
    found = searched(tmp_path, Scripted())
    told = json.loads((tmp_path / "search.json").read_text())
    assert told["budget"] == 1e-9 and told["minutes"] == sum(step["seconds"] for step in told["steps"]) / 60 > 0
    assert told["epochs"] == {FIRST: 2, SECOND: 2} and told["edge"] == {SECOND: "lowest"}
    assert told["rates"] == found.rates and told["rounds"] == found.rounds
    assert told["why"] == {SECOND: {"0.004": "ValueError: not this one"}}


@pytest.mark.parametrize("text", ["[]", "{", '{"steps": [{"loss": "focal"}]}', '{"steps": 3}'])
def test_a_file_of_no_search_is_refused(searched, tmp_path, text):
    (tmp_path / "search.json").write_text(text)
    with pytest.raises(ValueError, match="holds no search to go on with. Expected one of this version; remove it"):
        searched(tmp_path, Scripted())


def test_a_budget_that_is_too_small_is_told_once_and_early(monkeypatch, searched, tmp_path):
    said, clock = [], iter(range(0, 10**6, 30))  # half a minute a step, of 6 candidates: 3 minutes
    monkeypatch.setattr(halving.halve, "__kwdefaults__", halving.halve.__kwdefaults__ | {"clock": lambda: next(clock)})
    trainer = Scripted()
    real = comparison_search._too_little
    seen = []
    monkeypatch.setattr(comparison_search, "_too_little", lambda *given: seen.append(len(given[0])) or real(*given))
    found = searched(tmp_path / "small", trainer, said, budget=2.0)
    (line,) = said
    assert seen == [1, 2, 3], "after the first loss, before most is trained"
    assert line.startswith(
        "--budget=2 is too little: one epoch of all 6 candidates (2 losses, 3 rates) will take about 3"
    )
    assert "Expected at least 6;" in line and found.first_minutes == 3
    said.clear()
    searched(tmp_path / "enough", Scripted(), said, budget=3.5)
    assert said == []


def result_of(search, losses, changed=()):
    """What `comparison_notes.of_search` looks at."""
    return type("Made", (), {"search": search, "losses": losses, "changed": list(changed)})


def test_lines_tell_what_was_used_and_which_rates_lie_at_the_edge():
    rates = (0.001, 0.004, 0.016)
    best = {"low": 0.001, "high": 0.016, "high too": 0.016, "mid": 0.004, "none": None}
    trials = [
        {"loss": loss, "rate": rate, "epochs": 4 + (loss == "mid"), "seconds": 4.0, "kept": rate == best[loss],
         "score": None if loss == "none" else 0.5}
        for loss in best for rate in rates
    ]  # fmt: skip
    steps = [each | {"before": 0, "after": 1} for each in trials]
    search = halving.Search([trials], best, tuple(best), 2.0, steps)
    config = CompareLosses(preset="quick", epochs=9)
    lines = comparison_notes.of_search(result_of(search, ("low", "high", "mid", "none"), ["high"]), config)
    assert lines == [
        "Search: 1 minutes used of 2, at most 5 of 9 epochs a candidate.",
        "At the edge of what was tried: low (0.001, the lowest rate). Try --rates 6.25e-05 0.00025 0.001.",
        "At the edge of what was tried: high (0.016, the highest rate). Try --rates 0.016 0.064 0.256.",
        "No rate ended in the search: none.",
    ]
    none = {each["loss"]: 0.0 for each in trials if each["loss"] == "mid"}
    blank = search._replace(rounds=[[each | {"score": none.get(each["loss"], each["score"])} for each in trials]])
    assert blank.untaught == ("mid",) and search.untaught == ()
    told = comparison_notes.of_search(result_of(blank, ("low", "mid"), ["low"]), config)
    assert told[-1].startswith("No foreground was found with any rate by mid: ")
    small = search._replace(budget=0.5)
    assert "One epoch of all candidates took 1 minutes: --budget was too little." in comparison_notes.of_search(
        result_of(small, ("mid",), ["mid"]), config
    )
    better = "No rate that was tried was better than the given one."
    assert better in comparison_notes.of_search(result_of(search, ("mid",)), config)
    assert better not in comparison_notes.of_search(result_of(search, ("none",)), config), "nothing ended"
    uneven = search._replace(rounds=[[{"loss": "a", "rate": rate} for rate in (0.001, 0.01, 0.02)]])
    sides = comparison_notes.wider(uneven)  # beyond an edge by the factor that is between it and the next
    assert sides["lowest"] == pytest.approx((1e-5, 1e-4, 1e-3))
    assert sides["highest"] == pytest.approx((0.02, 0.04, 0.08))
    for nothing in (None, halving.Search([], {"mid": 0.004}, ("mid",))):
        assert comparison_notes.of_search(result_of(nothing, ("mid",)), config) == [], "nothing was tried"


def test_without_a_budget_nothing_is_looked_for(tmp_path):
    config = CompareLosses(preset="quick", budget=0)
    assert comparison_search.search(config, None, config.losses, None, None, tmp_path, None, None) is None
    assert not list(tmp_path.iterdir())
