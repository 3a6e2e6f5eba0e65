"""The pixel study from start to end, on a tiny trained model."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from kseg.cli import main
from kseg.configs import PixelRobustness
from kseg.studies import measures_file, pixel_measures, pixel_page
from kseg.studies.pixel_models import Entry

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
        assert f"| {claim['verdict']} | {claim['why'].replace('; ', '<br>')} |" in page
        assert f"{claim['text']} ({claim['claim']}, {claim['verdict']})" in page
    verdicts = {claim["claim"]: claim["verdict"] for claim in claims}
    assert verdicts["1"] == "not decided"  # no Dice model was given
    assert verdicts["7"] == "not decided" and "1 seed, 3 are needed" in page


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


class Naive:
    """What the study measured, once more: a loop over images and settings, with plain prediction and counting."""

    def __init__(self, prepared, run_folder):
        from kseg.data import DataFile
        from kseg.inference import load_model, predict_masks
        from kseg.studies.rows import choose_rows

        self.model = load_model(run_folder)
        with DataFile(prepared) as data:
            self.rows = choose_rows(data, "test", 4)
        self.predict = lambda images: predict_masks(self.model, images)

    def ranked(self, order, **how):
        from kseg.attacks.pixels import rank_pixels
        from kseg.saliency import explain

        maps = explain(self.model, self.rows.images, self.rows.masks, method="gradient", **how)
        return rank_pixels(maps, 50, order, rows=self.rows.row, inside=self.rows.box).numpy()

    def hits(self, ranked, count, value):
        """tp and fp `[n]` of one setting; `value(image number, pixels)` gives what to put there."""
        attacked = self.rows.images.copy()
        for i, (image, pixels) in enumerate(zip(attacked, ranked[:, :count], strict=True)):
            image.reshape(-1)[pixels] = value(i, pixels)
        predicted = self.predict(attacked)
        for mask, (y0, y1, x0, x1) in zip(predicted, self.rows.box, strict=True):  # the padding does not count
            inside = mask[y0:y1, x0:x1].copy()
            mask[:] = 0
            mask[y0:y1, x0:x1] = inside
        true = self.rows.masks > 0
        return [((predicted > 0) & part).sum(axis=(1, 2)) for part in (true, ~true)]


@pytest.fixture(scope="module")
def naive(prepared, run_folder):
    return Naive(prepared, run_folder)


@pytest.fixture(scope="module")
def found(study):
    return measures_file.read(study / "measures" / "tiny.h5", pixel_measures.FORMAT)


@pytest.mark.parametrize("order", ["signed", "random"])
def test_hits_are_those_of_plain_prediction(naive, found, order):
    """The document's settings one by one: levels in units of the images' largest value, 0.2; draws within counts."""
    from kseg.attacks import draw_values
    from kseg.saliency import explain

    ranked, counts = naive.ranked(order), pixel_measures.COUNTS
    loss = explain(naive.model, naive.rows.images, naive.rows.masks, method="gradient", output="loss", loss="bce")
    uphill = np.sign(loss).reshape(len(loss), -1)
    levels = [(0, 0.0), *((5, 0.2 * level) for level in pixel_measures.LEVELS)]
    fixed = {"level": levels, "count": [(count, 0.2) for count in counts]}
    for experiment, settings in fixed.items():
        for j, (count, level) in list(enumerate(settings))[:: 3 if experiment == "level" else 4]:
            check(found, f"{order}/{experiment}", j, naive.hits(ranked, count, lambda i, pixels, v=level: v))
    drawn = [draw_values(naive.rows.row, 50, draw, high=1.0).numpy() for draw in range(2)]
    for k in (1, 3, 10):
        for draw in range(2):
            new = naive.hits(ranked, counts[k], lambda i, pixels, d=draw: drawn[d][i, : len(pixels)])
            check(found, f"{order}/noise", 2 * k + draw, new)
        moved = naive.hits(
            ranked, counts[k],
            lambda i, pixels: naive.rows.images[i].reshape(-1)[pixels] + np.float32(0.2) * uphill[i, pixels],
        )  # fmt: skip
        check(found, f"{order}/step", k, moved)


def check(found, attack, setting, hits):
    for name, expected in zip(("tp", "fp"), hits, strict=True):
        got = found[f"hits/gradient/{attack}/{name}"][:, setting, 0]
        np.testing.assert_array_equal(got, expected, err_msg=f"{attack} {setting} {name}")


def test_ways_to_choose_statistics_and_clean_scores_are_what_they_say(naive, found, prepared):
    from kseg.inference import score_cases
    from kseg.saliency import explain, spread

    np.testing.assert_array_equal(found["ranked/predicted"], naive.ranked("signed", region="predicted"))
    np.testing.assert_array_equal(found["ranked/logit"], naive.ranked("signed", output="logit"))
    for output in ("probability", "logit"):
        maps = explain(naive.model, naive.rows.images, method="gradient", output=output)
        for name, values in spread.summary(maps, boxes=naive.rows.box).items():
            np.testing.assert_allclose(found[f"spread/{output}/{name}"], values, rtol=1e-4)
    p = naive.model.predict(naive.rows.images, verbose=0)[..., 0]
    soft = [
        ((p[i, y0:y1, x0:x1] > 0.1) & (p[i, y0:y1, x0:x1] < 0.9)).mean()
        for i, (y0, y1, x0, x1) in enumerate(naive.rows.box)
    ]
    np.testing.assert_allclose(found["spread/probability/soft_margin"], soft, atol=1e-6)
    cases = [case.values() for case in score_cases(naive.model, prepared, "test")]
    np.testing.assert_allclose(found["clean/dice"], [case["dice"][1] for case in cases])
    np.testing.assert_allclose(found["clean/accuracy"], [case["accuracy"][0] for case in cases])


def test_further_ways_to_choose_are_for_given_models_and_for_the_first_seed():
    config, given = PixelRobustness(), PixelRobustness(models=(Path("a"),))
    numbers = [len(pixel_measures.attacks_on(Entry("bce", seed, Path("x")), config)) for seed in (0, 1)]
    assert numbers == [len(pixel_measures.attacks(True)), len(pixel_measures.attacks(False))]
    assert len(pixel_measures.attacks_on(Entry("bce", 7, Path("x")), given)) == numbers[0] > numbers[1]


def test_measures_of_other_settings_are_refused(study, tmp_path, capfd):
    again = tmp_path / "again"
    shutil.copytree(study, again)
    record = json.loads((again / "record.json").read_text())
    record["config"]["draws"] = 3
    (again / "record.json").write_text(json.dumps(record))
    assert main("pixel_robustness", ["--resume", str(again)]) == 1
    assert "was measured with draws 2, not 3" in capfd.readouterr().err


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
        (["--resume", "nowhere"], "--resume nowhere does not exist. Expected the run folder"),
        (["--resume", "nowhere", "--draws", "3"], "no other option beside --resume"),
        (["--models", "a", "--epochs", "3"], "no option of training beside --models"),
        (["--depth", "9"], "halves images"),
    ],
)
def test_bad_input_is_refused_in_one_line(refused, words, message):
    assert message in refused("pixel_robustness", *words)


def test_a_model_of_other_images_is_refused(refused, run_folder):
    assert "takes images of" in refused("pixel_robustness", "--data", "toy", "--models", run_folder)
