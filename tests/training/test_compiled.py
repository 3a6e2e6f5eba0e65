"""Networks that stay compiled give what networks of their own would."""

from dataclasses import replace

import numpy as np
import pytest

from kseg.configs import Train
from kseg.training import compiled, fit
from kseg.training.compiled import Networks
from kseg.training.job import prepare

SMALL = Train(
    data="lungs(size=32, counts=(5, 2, 2))", loss="dice_bce", filters=2, depth=1, batch_size=2, epochs=2, dropout=0.3,
    optimizer="nadam",
)  # fmt: skip


def weights(config, networks=None):
    """Weights after a training, and its losses."""
    job = prepare(config, networks=networks)
    losses = fit(job.model, job.batches(), job.validation(), epochs=config.epochs, steps=job.steps).history["loss"]
    return [np.array(weight) for weight in job.model.weights], losses


def test_a_shared_network_begins_as_a_new_one():
    """Other seeds and rates, after another training, and after one that ended in nan."""
    networks = Networks()
    first, other = replace(SMALL, seed=1), replace(SMALL, seed=2, learning_rate=0.01, schedule="plateau")
    weights(SMALL, networks)
    for config in (first, other):
        alone, losses = weights(config)
        shared, again = weights(config, networks)
        assert again == pytest.approx(losses, rel=1e-4)
        for one, two in zip(alone, shared, strict=True):
            np.testing.assert_allclose(one, two, rtol=2e-3, atol=2e-4)
        for weight in prepare(config, networks=networks).model.weights:  # as a training that diverges leaves it
            weight.assign(np.full(weight.shape, np.nan))
    assert len(networks._kept) == 1
    assert not np.allclose(weights(first, networks)[0][0], weights(other, networks)[0][0], atol=1e-3)


def test_other_networks_are_compiled_for_themselves():
    networks = Networks()
    one = prepare(SMALL, networks=networks).model
    others = (
        {"loss": "bce"}, {"filters": 3}, {"optimizer": "sgd"}, {"clip_norm": 1.0}, {"bn": False}, {"dropout": 0.2},
        {"mixed_precision": "bfloat16"},
    )  # fmt: skip
    for option in others:
        assert prepare(replace(SMALL, **option), networks=networks).model is not one
    for option in ({"ema": 0.9}, {"schedule": "cosine"}, {"perturb": ("free",)}):  # these leave more than weights
        models = [prepare(replace(SMALL, dropout=0.0, **option), networks=networks).model for _ in range(2)]
        assert models[0] is not models[1]
    assert prepare(replace(SMALL, seed=5), networks=networks).model is one


def test_a_process_that_is_full_of_programs_is_told(tmp_path, monkeypatch):
    """Linux gives a process 65,530 maps of memory; XLA beyond that ends it without a word."""
    monkeypatch.setattr(compiled, "MAPS", tmp_path / "maps")
    monkeypatch.setattr(compiled, "MOST", tmp_path / "most")
    (tmp_path / "most").write_text("100\n")
    (tmp_path / "maps").write_text("a map\n" * 90)
    compiled.check_room_for_programs(True)
    (tmp_path / "maps").write_text("a map\n" * 91)
    compiled.check_room_for_programs(False)
    with pytest.raises(MemoryError, match="91 of 100 maps.*go on in a new process"):
        compiled.check_room_for_programs(True)
    with pytest.raises(MemoryError):
        prepare(replace(SMALL, jit=True))
    (tmp_path / "most").unlink()
    compiled.check_room_for_programs(True)
