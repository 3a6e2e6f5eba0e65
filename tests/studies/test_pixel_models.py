"""Which models the pixel study trains and with what, without training them."""

import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest

from kseg import models
from kseg.configs import PixelRobustness
from kseg.data import DataFile, open_data
from kseg.studies import pixel_models
from kseg.studies.pixel_models import CUTOUT, SALIENT, given, planned
from kseg.training.record import is_finished


@pytest.fixture
def trained(monkeypatch):
    """The configs that training was asked for; nothing is trained."""
    asked = []
    monkeypatch.setattr(pixel_models.run, "train", lambda config, *_: asked.append(config))
    return asked


def entry_of(config, folder, label, seed=0):
    return next(e for e in planned(config, folder) if (e.label, e.seed) == (label, seed))


def test_all_of_a_seed_differ_in_their_loss_alone(trained, tmp_path):
    config = PixelRobustness(data="volumes", extras=False, seeds=2, epochs=3, filters=4, bn=False)
    entries = planned(config, tmp_path)
    assert [(e.label, e.seed) for e in entries] == [
        (label, seed) for seed in (0, 1) for label in ("bce", "dice", "bce+dice", "bce+dice+focal")
    ]
    assert len({entry.name for entry in entries}) == 8
    for entry in entries:
        pixel_models.train(entry, config, tmp_path)
    losses = [each.loss for each in trained]
    assert losses[:4] == ["bce", "dice", "bce + dice", "bce + dice + focal(alpha=0.25, gamma=2)"]
    rest = {(e.seed, e.data, e.head, e.epochs, e.filters, e.bn, e.cutout, e.batch_size, e.jit) for e in trained}
    assert rest == {(seed, "volumes", "sigmoid", 3, 4, False, 0, 16, True) for seed in (0, 1)}
    assert [each.output for each in trained] == [entry.folder for entry in entries]


def test_cutout_hides_a_quarter_of_the_side(trained, tmp_path):
    config = PixelRobustness(data="volumes")
    pixel_models.train(entry_of(config, tmp_path, CUTOUT), config, tmp_path)
    assert trained[0].cutout == round(min(open_data("volumes").shape[:2]) / 4)
    assert trained[0].loss == "bce + dice" and trained[0].data == "volumes"


def test_the_salient_model_sees_a_fifth_of_the_pixels_of_its_teacher(trained, tmp_path):
    config = PixelRobustness(data="volumes(counts=(1, 1, 1), seed=3)", seeds=2)
    teacher = entry_of(config, tmp_path, "bce+dice")
    teacher.folder.mkdir(parents=True)
    with open_data(config.data) as data:
        keras.utils.set_random_seed(0)
        net = models.unet(data.shape, 1, filters=2, depth=1)
        models.with_probabilities(net, "sigmoid").save(teacher.folder / "model.keras")
        pixel_models.train(entry_of(config, tmp_path, SALIENT), config, tmp_path)
        with DataFile(trained[0].data) as kept:
            for split, rows in data.sizes.items():
                assert kept.sizes[split] == rows
                (whole, masks), (images, same) = data.read(split), kept.read(split)
                np.testing.assert_array_equal(masks, same)
                shown = images != 0
                np.testing.assert_array_equal(images[shown], whole[shown])
                y0, y1, x0, x1 = data.index(split)["box"].T
                assert (shown.sum(axis=(1, 2, 3)) <= 0.2 * (y1 - y0) * (x1 - x0) + 1).all()
                assert shown.any()


def test_a_model_counts_as_trained_when_its_run_came_to_an_end(tmp_path):
    entry = planned(PixelRobustness(), tmp_path)[0]
    assert not is_finished(entry.folder)
    entry.folder.mkdir(parents=True)
    for status, expected in (("running", False), ("interrupted", False), ("finished", True)):
        (entry.folder / "record.json").write_text(json.dumps({"status": status}))
        assert is_finished(entry.folder) is expected


@pytest.mark.parametrize("label", ["bce", "dice", "bce+dice", "bce+dice+focal", CUTOUT, SALIENT])
def test_a_model_of_the_study_is_known_again_by_its_record(trained, tmp_path, monkeypatch, label):
    monkeypatch.setattr(pixel_models, "keep", lambda *_: None)
    config = PixelRobustness(data="volumes", seeds=1)
    pixel_models.train(entry_of(config, tmp_path, label), config, tmp_path)
    assert pixel_models.label_of(dataclasses.asdict(trained[0])) == label


def test_sums_are_told_by_their_terms_and_options():
    told = {"dice + bce": "bce+dice", "cce+dicefg": "cce+dicefg", "bce + dice + focal": "bce+dice+focal",
            "dice+bce+focal( alpha=0.25,gamma=2 )": "bce+dice+focal"}  # fmt: skip
    found = {loss: pixel_models.label_of({"loss": loss, "data": "x.h5"}) for loss in told}
    assert found.pop("bce + dice + focal") == "bce+dice+focal (as given)"  # its alpha is not the study's
    assert found == {loss: label for loss, label in told.items() if loss in found}


def test_what_was_left_of_a_broken_training_is_removed(trained, tmp_path):
    config = PixelRobustness(data="volumes", seeds=1)
    entry = entry_of(config, tmp_path, "bce")
    entry.folder.mkdir(parents=True)
    (entry.folder / ".model.part.keras").write_bytes(b"half")
    pixel_models.train(entry, config, tmp_path)
    assert not entry.folder.exists() and len(trained) == 1


def test_given_models_are_named_by_their_record(run_folder, tmp_path):
    (entry,) = given([run_folder])
    assert (entry.label, entry.seed, entry.folder) == ("bce+dice", 0, run_folder)
    copy = tmp_path / "copy"
    shutil.copytree(run_folder, copy)
    with pytest.raises(ValueError, match=r"are both bce\+dice with seed 0"):
        given([run_folder, copy])
    with pytest.raises(ValueError, match="has no record.json of a training run"):
        given([tmp_path])
    with pytest.raises(ValueError, match="two run folders that are called tiny"):
        given([run_folder, run_folder])
