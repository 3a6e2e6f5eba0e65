"""The search for learning rates: short trainings that stop and go on, on a tiny network."""

import json

import keras
import numpy as np
import pytest

from kseg.configs import CompareLosses
from kseg.data import load, open_data
from kseg.losses import get
from kseg.models import unet
from kseg.studies import comparison_models, comparison_search, loss_comparison

DATA = "lungs(size=32, counts=(6,3,3))"
FIRST, SECOND, NAN = LOSSES = ("dice_bce", "focal", "3e38*bce + 3e38*dice")  # the last one is infinite at once
LOW, HIGH = 0.001, 0.01
CONFIG = CompareLosses(
    data=DATA, losses=LOSSES, preset="quick", filters=2, depth=1, batch_size=2, seeds=1, jit=False, rates=(LOW, HIGH)
)


def trainer_in(folder):
    data = open_data(DATA)
    heads = comparison_models.heads_of(LOSSES, 2, data.shape)
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


def by_hand(loss, rate, parts):
    """([variables after each part], best Dice of all epochs) by plain Keras; parts: (epochs, seed of the batches)."""
    data, kept, dice = open_data(DATA), [], []
    images, masks = data.read("validation")
    keras.utils.set_random_seed(CONFIG.seeds)  # a seed that none of the compared models has
    model = unet(data.shape, 1, filters=2, depth=1, bn=True, decoder="transpose")
    model.compile(keras.optimizers.Adam(rate), loss=get(loss, from_logits=True))
    for epochs, seed in parts:
        batches = load(data, "train", 2, seed=seed)
        for _ in range(epochs):
            for batch in batches:
                model.train_on_batch(*batch)
            ids, true = model.predict(images, verbose=0)[..., 0] > 0, masks > 0
            dice.append(2 * (ids & true).sum() / (ids.sum() + true.sum()))
        variables = [*model.trainable_variables, *model.non_trainable_variables, *model.optimizer.variables]
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
    (one, three), best = by_hand(loss, rate, [(1, 10_000), (2, 10_001)])
    for after, expected in ((1, one), (3, three)):
        same(state(folder, f"{loss}_rate{rate:g}_epochs{after}")[0], expected)
    assert apart(one, three) > 1e-4
    assert scores[loss, rate, 3] == pytest.approx(best, abs=1e-6) == state(folder, f"{loss}_rate{rate:g}_epochs3")[1]
    assert scores[loss, rate, 3] >= scores[loss, rate, 1]


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


def test_networks_that_are_made_anew_change_nothing(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(comparison_search, "KEPT", 1)
    trainer = trainer_in(tmp_path)
    for loss, before, after in ((FIRST, 0, 1), (SECOND, 0, 1), (FIRST, 1, 3)):
        trainer.advance(loss, HIGH, before, after)
        assert list(trainer._networks) == [loss]
    for name in (f"{FIRST}_rate{HIGH:g}_epochs3", f"{SECOND}_rate{HIGH:g}_epochs1"):
        same(state(tmp_path, name)[0], state(trained[0], name)[0])


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
    """A trainer that knows its scores, and breaks off before a candidate."""

    scores = {(FIRST, 0.001): 0.5, (FIRST, 0.004): 0.8, (FIRST, 0.016): 0.7, (SECOND, 0.001): 0.9,
              (SECOND, 0.004): 0.4, (SECOND, 0.016): 0.6}  # fmt: skip

    def __init__(self, stop=None):
        self.stop, self.done, self.tidied = stop, [], []

    def __call__(self, *_):
        return self

    def advance(self, loss, rate, before, after):
        if (loss, rate, before) == self.stop:
            raise KeyboardInterrupt
        self.done.append((loss, rate, before, after))
        return self.scores[loss, rate] + after / 100

    def tidy(self, trials):
        self.tidied.append([(each["loss"], each["rate"]) for each in trials if each["kept"]])


def searched(folder, trainer, patch):
    """`halving.Search` of two losses and three rates: two rounds."""
    patch.setattr(comparison_search, "Trainer", trainer)
    config = CompareLosses(losses=(FIRST, SECOND), preset="quick", budget=1e-9, rates=(0.001, 0.004, 0.016))
    return loss_comparison._searched(config, folder, None, config.losses, None, None, lambda *_: None)


def test_a_search_goes_on_after_the_rounds_that_are_written(tmp_path, monkeypatch):
    whole, one, other = Scripted(), Scripted(stop=(SECOND, 0.016, 1)), Scripted()
    (tmp_path / "whole").mkdir()
    expected = searched(tmp_path / "whole", whole, monkeypatch)
    assert expected.rates == {FIRST: 0.004, SECOND: 0.001} and set(expected.finalists) == {FIRST, SECOND}
    assert [len(trials) for trials in expected.rounds] == [6, 4] and len(whole.done) == 10
    with pytest.raises(KeyboardInterrupt):
        searched(tmp_path, one, monkeypatch)
    (first,) = json.loads((tmp_path / "search.json").read_text())
    assert len(first) == 6 and (tmp_path / "search").is_dir()
    found = searched(tmp_path, other, monkeypatch)
    assert {each[2:] for each in other.done} == {(1, 2)} and len(other.done) == 4  # the first round is not done again
    assert (found.rates, found.finalists) == (expected.rates, expected.finalists)
    assert other.tidied == [[(FIRST, 0.004), (SECOND, 0.001)]] and len(whole.tidied) == 2
    assert not (tmp_path / "search").exists()  # states are gone, rounds stay
    again = Scripted(stop=(FIRST, 0.001, 0))
    assert searched(tmp_path, again, monkeypatch).rates == expected.rates and not again.done


def test_without_a_budget_nothing_is_looked_for(tmp_path):
    config = CompareLosses(preset="quick", budget=0)
    assert loss_comparison._searched(config, tmp_path, None, config.losses, None, None, None) is None
    assert not list(tmp_path.iterdir())
