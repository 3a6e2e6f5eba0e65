"""The pixel study from start to end, on a tiny trained model."""

import csv
import json
import shutil

import numpy as np
import pytest

from kseg.cli import main
from kseg.studies import pixel_measures, pixel_page

WORDS = ["--no-extras", "--slices", "4", "--draws", "2"]


@pytest.fixture(scope="module")
def study(prepared, run_folder, tmp_path_factory):
    """Folder and printed lines of a study of two models: a trained one, and a copy of it that is said to be BCE."""
    root = tmp_path_factory.mktemp("study")
    other = root / "bce"
    shutil.copytree(run_folder, other)
    record = json.loads((other / "record.json").read_text())
    record["config"]["loss"] = "bce"
    (other / "record.json").write_text(json.dumps(record))
    words = ["--data", prepared, "--models", run_folder, other, "--output", root / "study", *WORDS]
    assert main("pixel_robustness", [str(word) for word in words]) == 0
    return root / "study"


def test_the_folder_holds_what_the_page_speaks_of(study):
    record = json.loads((study / "record.json").read_text())
    assert record["status"] == "finished"
    assert sorted(path.stem for path in (study / "measures").iterdir()) == ["bce", "tiny"]
    page = (study / "summary.md").read_text()
    for name, heading in pixel_page.FIGURES.items():
        assert f"]({'figures/' + name})" in page and heading in page
        size = (study / "figures" / name).stat().st_size
        assert 1000 < size < 300_000, name
    claims = json.loads((study / "claims.json").read_text())
    assert [claim["claim"] for claim in claims] == list("1234567")
    for claim in claims:
        assert f"| {claim['verdict']} | {claim['why']} |" in page
        assert f"{claim['text']} ({claim['claim']}, {claim['verdict']})" in page
    verdicts = {claim["claim"]: claim["verdict"] for claim in claims}
    assert verdicts["1"] == "not decided"  # no Dice model was given
    assert verdicts["7"] == "supported"  # one model, twice


def test_the_tables_hold_every_model_and_curve(study):
    with open(study / "models.csv", newline="") as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"bce", "bce+dice"}
    assert float(rows["bce"]["clean_dice"]) == float(rows["bce+dice"]["clean_dice"])
    with open(study / "curves.csv", newline="") as file:
        curves = list(csv.DictReader(file))
    clean = {
        (row["selector"], row["order"], row["model"]): row["mean"]
        for row in curves
        if row["experiment"] in ("count", "noise", "step") and float(row["x"]) == 0
    }
    # No attack, whatever way pixels are chosen: four orders, three more selectors, and the loss by absolute value.
    assert len(set(clean.values())) == 1 and len(clean) == 2 * (4 + 3 + 1)
    wanted = {"selector": "gradient", "order": "signed", "experiment": "level", "model": "bce", "seed": "all"}
    rows = [row for row in curves if wanted.items() <= row.items()]
    levels = [-1, *(0.2 * np.array(pixel_measures.LEVELS))]
    np.testing.assert_allclose([float(row["x"]) for row in rows], levels, atol=1e-6)
    assert float(rows[0]["mean"]) == pytest.approx(float(next(iter(clean.values()))), abs=2e-5)


def test_what_was_measured_is_what_prediction_gives(study, prepared, run_folder):
    """Hits of the clean images and of five pixels at the highest level, against plain prediction and plain counting."""
    from kseg.attacks.pixels import rank_pixels
    from kseg.data import DataFile
    from kseg.inference import load_model, predict_masks
    from kseg.saliency import explain
    from kseg.studies.pixel_data import choose_rows

    found = pixel_measures.read(study / "measures" / "tiny.h5")
    model = load_model(run_folder)
    with DataFile(prepared) as data:
        rows = choose_rows(data, "test", 4)
    ranked = rank_pixels(explain(model, rows.images, method="gradient"), pixel_measures.FEW, inside=rows.box).numpy()
    attacked = rows.images.copy()
    for image, pixels in zip(attacked, ranked, strict=True):
        image.reshape(-1)[pixels] = 1.0
    for setting, images in ((0, rows.images), (-1, attacked)):
        predicted = predict_masks(model, images)
        for mask, (y0, y1, x0, x1) in zip(predicted, rows.box, strict=True):  # the padding does not count
            inside = mask[y0:y1, x0:x1].copy()
            mask[:] = 0
            mask[y0:y1, x0:x1] = inside
        tp = found["hits/gradient/signed/level/tp"][:, setting, 0]
        fp = found["hits/gradient/signed/level/fp"][:, setting, 0]
        np.testing.assert_array_equal(tp, ((predicted > 0) & (rows.masks > 0)).sum(axis=(1, 2)))
        np.testing.assert_array_equal(fp, ((predicted > 0) & (rows.masks == 0)).sum(axis=(1, 2)))


def test_a_study_that_is_resumed_measures_nothing_again(study, tmp_path, monkeypatch, capfd):
    again = tmp_path / "again"
    shutil.copytree(study, again)
    monkeypatch.setattr(pixel_measures, "measure", lambda *_: pytest.fail("measured again"))
    monkeypatch.setattr(pixel_page, "draw", lambda *_: None)
    assert main("pixel_robustness", ["--resume", str(again)]) == 0
    assert "not decided" in capfd.readouterr().out
    before, after = (json.loads((path / "record.json").read_text()) for path in (study, again))
    assert after["resumed"] == 1 and after["seconds"] > before["seconds"] > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--models", "nowhere"], "--models nowhere has no record.json"),
        (["--seeds", "0"], "--seeds=0 does not fit"),
        (["--slices", "-1"], "--slices=-1 does not fit"),
        (["--data", "absent.h5"], "absent.h5"),
        (["--resume", "nowhere"], "--resume nowhere holds no pixel study"),
        (["--resume", "nowhere", "--draws", "3"], "no other option beside --resume"),
        (["--models", "a", "--epochs", "3"], "no option of training beside --models"),
        (["--depth", "9"], "halves images"),
    ],
)
def test_bad_input_is_refused_in_one_line(refused, words, message):
    assert message in refused("pixel_robustness", *words)


def test_a_model_of_other_images_is_refused(refused, run_folder):
    assert "takes images of" in refused("pixel_robustness", "--data", "toy", "--models", run_folder)
