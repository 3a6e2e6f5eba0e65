"""Which models the pixel study trains and with what, without training them."""

import json

import keras
import numpy as np
import pytest

from kseg import models
from kseg.configs import PixelRobustness
from kseg.data import DataFile, open_data
from kseg.studies import pixel_models
from kseg.studies.pixel_models import CUTOUT, SALIENT, given, is_trained, planned


@pytest.fixture
def trained(monkeypatch):
    """The configs that training was asked for; nothing is trained."""
    asked = []
    monkeypatch.setattr(pixel_models.run, "train", lambda config, console, callbacks: asked.append(config))
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
    rest = {(e.seed, e.data, e.head, e.epochs, e.filters, e.bn, e.cutout, e.batch_size) for e in trained}
    assert rest == {(seed, "volumes", "sigmoid", 3, 4, False, 0, 32) for seed in (0, 1)}
    assert [each.output for each in trained] == [entry.folder for entry in entries]


def test_cutout_hides_a_quarter_of_the_side(trained, tmp_path):
    config = PixelRobustness(data="volumes")
    pixel_models.train(entry_of(config, tmp_path, CUTOUT), config, tmp_path)
    assert trained[0].cutout == round(min(open_data("volumes").shape[:2]) / 4)
    assert trained[0].loss == "bce + dice" and trained[0].data == "volumes"


def test_the_salient_model_sees_a_fifth_of_the_pixels_of_its_teacher(trained, tmp_path):
    config = PixelRobustness(data="volumes(counts=(1, 1, 1), seed=3)", seeds=2)
    teacher = entry_of(config, tmp_path, "bce+dice", seed=1)
    teacher.folder.mkdir(parents=True)
    with open_data(config.data) as data:
        keras.utils.set_random_seed(0)
        net = models.unet(data.shape, 1, filters=2, depth=1)
        models.with_probabilities(net, "sigmoid").save(teacher.folder / "model.keras")
        pixel_models.train(entry_of(config, tmp_path, SALIENT, seed=1), config, tmp_path)
        with DataFile(trained[0].data) as kept:
            for split, rows in data.sizes.items():
                assert kept.sizes[split] == rows
                (whole, masks), (images, same) = data.read(split), kept.read(split)
                np.testing.assert_array_equal(masks, same)
                shown = images != 0
                np.testing.assert_array_equal(images[shown], whole[shown])
                assert shown.mean(axis=(1, 2, 3)).max() <= 0.2 + 1 / shown[0].size
                assert shown.any()


def test_a_model_counts_as_trained_when_its_run_came_to_an_end(tmp_path):
    entry = planned(PixelRobustness(), tmp_path)[0]
    assert not is_trained(entry)
    entry.folder.mkdir(parents=True)
    for status, expected in (("running", False), ("interrupted", False), ("finished", True)):
        (entry.folder / "record.json").write_text(json.dumps({"status": status}))
        assert is_trained(entry) is expected


def test_given_models_are_named_by_their_record(run_folder, tmp_path):
    (entry,) = given([run_folder])
    assert (entry.label, entry.seed, entry.folder) == ("bce+dice", 0, run_folder)
    with pytest.raises(ValueError, match="has no record.json of a training run"):
        given([tmp_path])
    with pytest.raises(ValueError, match="two run folders that are called tiny"):
        given([run_folder, run_folder])
