"""The evaluation of attacks from start to end: what is told is what the model says, and masked gradients are seen."""

import csv
import json
import re
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from kseg import attacks
from kseg.attacks import ATTACKS
from kseg.cli import main
from kseg.configs import Attack
from kseg.data import DataFile, open_data
from kseg.inference import load_model, predict_masks
from kseg.metrics import confusion_counts, dice, iou
from kseg.studies.attack_measures import Subject, fits
from kseg.studies.attack_model import measure
from kseg.studies.attack_questions import FINE, MEANING, SUSPICIOUS
from kseg.studies.rows import choose_rows

EPS = (0.02, 0.05)
FREE = ("dag", "dag, to background")
WORDS = ["--images", "5", "--attacks", "pgd", "selective", "dag", "--eps", "0.05", "0.02", "--steps", "3",
         "--batch-size", "4"]  # fmt: skip


@pytest.fixture(scope="module")
def evaluation(prepared, run_folder, tmp_path_factory):
    """The folder of an evaluation of the tiny model, with everything but the checks."""
    folder = tmp_path_factory.mktemp("attack") / "evaluation"
    words = [run_folder, prepared, *WORDS, "--no-checks", "--output", folder]
    assert main("attack", [str(word) for word in words]) == 0
    return folder


@pytest.fixture(scope="module")
def rows(evaluation):
    with open(evaluation / "scores.csv", newline="") as file:
        return {(row["attack"], row["eps"]): row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def chosen(prepared):
    with DataFile(prepared) as data:
        return choose_rows(data, "test", 5)


def by_hand(model, images, chosen):
    """Foreground Dice and mean IoU, means over cases, by plain prediction and counting within the boxes."""
    predicted = predict_masks(model, images)
    scores = []
    for case in np.unique(chosen.case):
        kept = [(i, *box) for i, box in enumerate(chosen.box) if chosen.case[i] == case]
        true, guess = (
            np.concatenate([ids[i, y0:y1, x0:x1].ravel() for i, y0, y1, x0, x1 in kept])
            for ids in (chosen.masks, predicted)
        )
        counts = confusion_counts(true, guess, 2)
        scores.append((dice(counts)[1], np.nanmean(iou(counts))))
    return np.mean(scores, axis=0)


def test_scores_are_those_of_the_attacked_images(rows, chosen, run_folder):
    model = load_model(run_folder)
    masks = np.full(chosen.masks.shape, 7)
    for i, (y0, y1, x0, x1) in enumerate(chosen.box):
        masks[i, y0:y1, x0:x1] = chosen.masks[i, y0:y1, x0:x1]
    options = {"value_range": (0.0, 0.2), "ignore_class": 7}
    found = attacks.attack(model, chosen.images, masks, "pgd", budget=0.05 * 0.2, steps=3, **options)
    background = np.where(masks == 7, 7, 0)
    told = {"direction": "target", "steps": 100, "keep": "last"}
    literal = attacks.attack(
        model, chosen.images, background, budget=np.inf, step_size=0.002, **told, **options
    )  # fmt: skip
    gone = attacks.attack(model, chosen.images, background, "dag", direction="target", **options)
    for images, row in (
        (chosen.images, rows["none", "0.0"]), (found.images, rows["pgd", "0.05"]),
        (literal.images, rows["D4, steps of 1 %", ""]), (gone.images, rows["dag, to background", ""]),
    ):  # fmt: skip
        expected = by_hand(model, images, chosen)
        np.testing.assert_allclose([float(row["foreground_dice"]), float(row["mean_iou"])], expected, atol=2e-3)
    assert float(rows["pgd", "0.05"]["size median"]) == pytest.approx(3 * 0.05 / 4, rel=1e-3)  # three steps
    each = [found.loss_after[chosen.case == case].mean() for case in np.unique(chosen.case)]
    assert float(rows["pgd", "0.05"]["loss"]) == pytest.approx(np.mean(each), rel=1e-3)
    assert (
        float(rows["D4, steps of 1 %", ""]["size median"]) > 0.5 > float(rows["D4, budget 1 %", "0.01"]["size median"])
    )


def test_attacks_do_more_harm_than_noise_and_more_with_more_budget(rows):
    loss = {key: float(row["loss"]) for key, row in rows.items()}
    assert loss["pgd", "0.05"] > loss["pgd", "0.02"] > loss["noise", "0.05"] > loss["none", "0.0"]
    for eps in ("0.02", "0.05"):
        assert loss["pgd", eps] > loss["noise", eps] > loss["none", "0.0"] >= loss["selective", eps]
        assert 0.9 * float(eps) < float(rows["noise", eps]["size median"]) <= float(eps) * 1.0001


def test_the_folder_holds_what_the_page_speaks_of(evaluation, rows):
    record = json.loads((evaluation / "record.json").read_text())
    assert record["status"] == "finished" and record["program"] == "attack"
    page = (evaluation / "summary.md").read_text()
    for name in ("curves.png", "examples.png", "choices.png"):
        assert f"]({name})" in page
        assert 5000 < (evaluation / name).stat().st_size < 300_000
    summary = json.loads((evaluation / "summary.json").read_text())
    assert summary["clean"]["mean_iou"]["mean"] == pytest.approx(float(rows["none", "0.0"]["mean_iou"]), abs=1e-6)
    told = {(row["attack"], row["eps"]): row for row in summary["attacks"]}
    kinds = {row["attack"]: row["kind"] for row in summary["attacks"]}
    expected = {"noise": "noise", "pgd": "budget", "selective": "budget", "D4, budget 1 %": "document"}
    assert kinds == expected | {"D4, steps of 1 %": "document"} | dict.fromkeys(FREE, "free")
    assert told["pgd", 0.02]["settings"]["budget"] == pytest.approx(0.004)
    assert told["pgd", 0.02]["settings"]["step_size"] == pytest.approx(0.001)
    wanted = {"method": "pgd", "direction": "target", "steps": 100, "keep": "last", "norm": "linf"}
    for key, reach in ((("D4, budget 1 %", 0.01), (0.002, 0.0005)), (("D4, steps of 1 %", None), (None, 0.002))):
        settings = told[key]["settings"]
        assert settings.items() >= wanted.items()
        assert (settings["budget"], settings["step_size"]) == tuple(x and pytest.approx(x) for x in reach)
    assert told["dag", None]["settings"]["direction"] == "attack"
    assert told["dag, to background", None]["settings"]["direction"] == "target"
    for name in FREE:
        assert told[name, None]["needed_change"].keys() == {"quarter", "median", "three_quarters"}
    for row in rows.values():
        assert f"{float(row['foreground_dice']):.3f}" in page
    for name in (*FREE, "D4, budget 1 %", *MEANING):
        assert f"| {name} |" in page


def test_every_case_has_its_scores(evaluation, rows):
    """Their mean is that of the table, so that two models can be compared case by case."""
    with open(evaluation / "cases.csv", newline="") as file:
        cases = list(csv.DictReader(file))
    for (attack, eps), row in rows.items():
        own = [float(case["mean_iou"]) for case in cases if (case["attack"], case["eps"]) == (attack, eps)]
        assert len(own) == len({case["case"] for case in cases})
        assert np.mean(own) == pytest.approx(float(row["mean_iou"]), abs=1e-5)


def test_every_check_is_told_also_those_that_were_not_made(evaluation):
    flags = {flag["flag"]: flag for flag in json.loads((evaluation / "flags.json").read_text())}
    assert list(flags) == list(MEANING)
    assert all(flag["question"] and flag["expected"] and flag["found"] for flag in flags.values())
    for name in ("steps", "converged", "large budget", "gradients", "one step", "losses"):
        assert flags[name]["verdict"] == "not checked" and "--no-checks" in flags[name]["found"]
    assert "neither an attack nor noise lowers the score" in flags["noise"]["found"]  # by 0.01 of the mean IoU
    verdicts = {name: flag["verdict"] for name, flag in flags.items()}
    assert json.loads((evaluation / "summary.json").read_text())["flags"] == verdicts


def test_choices_make_the_images_again(evaluation, chosen, run_folder):
    """S4.6: what is kept rebuilds the images of the selective attack bit for bit."""
    model = load_model(run_folder)
    with h5py.File(evaluation / "choices.h5") as file:
        assert file["case"].asstr()[:].tolist() == chosen.case.tolist()
        assert file["row"][:].tolist() == chosen.row.tolist()
        assert set(file) == {"case", "row", "eps 0.02", "eps 0.05"}
        group = file["eps 0.05"]
        choices, pattern, budget = group["choices"][:], group["pattern"][:], group.attrs["budget"]
        assert (group["loss_after"][:] <= group["loss_before"][:]).all()
        value_range = tuple(file.attrs["value_range"])
    assert choices.shape == (5, 2) and set(np.unique(choices)) <= {-1, 0, 1}
    images = attacks.rebuild(chosen.images, pattern, budget, value_range)
    masks = np.full(chosen.masks.shape, 7)
    for i, (y0, y1, x0, x1) in enumerate(chosen.box):
        masks[i, y0:y1, x0:x1] = chosen.masks[i, y0:y1, x0:x1]
    options = {"value_range": (0.0, 0.2), "ignore_class": 7, "budget": 0.01}
    found = attacks.attack(model, chosen.images, masks, "selective", **options)
    np.testing.assert_array_equal(found.extra["choices"], choices)
    np.testing.assert_array_equal(images, found.images)


class Pixelwise:
    """What the toy set asks for: a pixel above one half is foreground; its logit is `sharpness` times the distance."""

    def __init__(self):
        inputs = keras.Input((32, 32, 1))
        self.model = keras.Model(inputs, keras.layers.Conv2D(1, 1, activation="sigmoid")(inputs))
        self.sharpen(20.0)

    def sharpen(self, sharpness):
        self.model.set_weights([np.full((1, 1, 1, 1), sharpness), np.array([-sharpness / 2])])

    def subject(self, **options):
        config = Attack("", "toy", images=6, eps=(0.02, 0.08), steps=4, document=False, **options)
        data = open_data("toy", threshold=0.5)
        return data, Subject(self.model, data, choose_rows(data, "test", 6), config), config


@pytest.fixture(scope="module")
def plain_and_sharp():
    """Flags of a plain model, and of the same with logits so large that they saturate, by the same programs."""
    net, found = Pixelwise(), []
    given = net.subject(attacks=("fgsm", "pgd"))
    for sharpness in (20.0, 1e8):
        net.sharpen(sharpness)
        flags = measure(*given).flags
        assert [flag.name for flag in flags] == list(MEANING)
        found.append({flag.name: flag for flag in flags})
    return found


def test_pixels_under_a_patch_are_not_scored():
    _, subject, _ = Pixelwise().subject(attacks=("pgd",))
    whole = subject.clean().row.found.counts
    patched = subject.attack("free", "patch", steps=2, size=3).row.found.counts
    pixels = [counts.total[:, 0].sum() for counts in (whole, patched)]
    assert pixels[0] - pixels[1] == 9 * len(subject.images)


def test_a_plain_model_raises_no_doubt(plain_and_sharp):
    flags, _ = plain_and_sharp
    verdicts = {name: flag.verdict for name, flag in flags.items()}
    assert verdicts.pop("black box") == (FINE if fits("square", "linf") is None else "not checked")
    assert set(verdicts.values()) == {FINE}
    assert flags["large budget"].numbers["accuracy"] < 0.01


def test_masked_gradients_are_found_out(plain_and_sharp):
    """The model has no gradient any more, although noise moves its masks as before."""
    _, flags = plain_and_sharp
    for name in ("noise", "budget", "steps", "large budget", "gradients"):
        assert flags[name].verdict == SUSPICIOUS, name
    assert flags["black box"].verdict == (SUSPICIOUS if fits("square", "linf") is None else "not checked")
    assert flags["gradients"].numbers["none_of_loss"] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--attacks", "pdg"], "attack 'pdg' is not known. Expected one of"),
        (["--norm", "l1"], "--norm l1 does not fit: attack 'fgsm' knows no balls of l1. Expected some of: pgd, segpgd"),
        (["--attacks", "ensemble", "--norm", "l1"], "--norm l1 does not fit: attack 'ensemble'"),
        (["--eps", "0"], "--eps=0"),
        (["--eps", "2"], "--eps=2"),
        (["--images", "-1"], "--images=-1 does not fit"),
        (["--steps", "0"], "--steps=0 does not fit"),
        (["--loss", "dicee"], "'dicee' is not known"),
        (["--norm", "l3"], "l3"),
        (["--split", "all"], "all"),
        (["--jit", "maybe"], "maybe"),
    ],
)
def test_bad_options_are_refused_in_one_line(refused, run_folder, prepared, words, message):
    assert message in refused("attack", run_folder, prepared, *words)


def test_models_and_data_that_do_not_fit_are_refused(refused, run_folder, prepared, tmp_path):
    assert "does not exist" in refused("attack", "nowhere", prepared)
    assert "takes images of" in refused("attack", run_folder, "toy")
    assert "nowhere.h5" in refused("attack", run_folder, "nowhere.h5")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("mine")
    assert "--overwrite" in refused("attack", run_folder, prepared, "--output", tmp_path / "mine")
    poolings = [keras.layers.MaxPooling2D(2) for _ in range(5)]
    layers = [*poolings, keras.layers.UpSampling2D(32), keras.layers.Conv2D(1, 1, activation="sigmoid")]
    open_model = keras.Sequential([keras.Input((None, None, 1)), *layers])
    open_model.save(tmp_path / "open.keras")
    assert "multiples of 32" in refused("attack", tmp_path / "open.keras", prepared)


def test_options_reach_the_attacks(prepared, run_folder):
    """Steps, loss, seed, norm, compiling: seen in the settings of the attackers that are made."""
    with DataFile(prepared) as data:
        config = Attack(
            run_folder,
            str(prepared),
            steps=7,
            loss="balanced_cce",
            norm="l2",
            seed=5,
            jit="on",
            goal=0.5,
            eps=(0.04, 0.01, 0.01),
        )
        assert config.eps == (0.01, 0.04) and config.middle == 0.01
        assert Attack(run_folder, "toy", eps=(0.1, 0.3, 0.2)).middle == 0.2
        subject = Subject(load_model(run_folder), data, choose_rows(data, "test", 2), config)
    expected = {"norm": "l2", "seed": 5, "jit": True, "goal": 0.5, "value_range": (0.0, pytest.approx(0.2))}
    for name, own in {
        "pgd": {"steps": 7, "loss": "balanced_cce"}, "fgsm": {"loss": "balanced_cce"},
        "segpgd": {"loss": "segpgd"}, "ensemble": {"steps": 21},
    }.items():  # fmt: skip
        settings = subject.attacker(name).settings
        assert settings.items() >= (expected | own).items()
    pixels = 16 * 16
    assert subject.budget(0.01) == pytest.approx(0.01 * 0.2 * pixels**0.5)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_noise_fills_its_budget_and_goes_by_the_seed(norm):
    net = Pixelwise()
    first, again, other = (net.subject(norm=norm, seed=seed, batch_size=4)[1].noise(0.02) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.images, again.images)
    assert not np.array_equal(first.images, other.images)
    assert first.images.min() == 0 and first.images.max() <= 1
    size = first.row.found.size  # a little is lost where it would leave the range of values
    assert (size <= 0.02 * (1 + 1e-5)).all() and (size > 0.018).all()
    _, subject, _ = net.subject(norm=norm)
    assert subject.noise(0.02).row.found.loss == pytest.approx(first.row.found.loss, rel=1e-5)  # in other batches
    assert (first.row.found.loss > subject.clean().row.found.loss).all()


def test_the_help_names_every_attack():
    told = (Path(__file__).parents[2] / "kseg/configs/attacks.py").read_text(encoding="utf-8")
    words = set(re.findall(r"\w+", told))
    assert set(ATTACKS.names()) <= words
