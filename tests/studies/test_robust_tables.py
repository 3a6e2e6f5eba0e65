"""Every table of the page of D4's study, and what its figures are given, cell by cell against the counts themselves."""

import io
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from kseg.configs import RobustTraining
from kseg.studies import robust_page, robust_table, robust_text, robust_training
from kseg.studies.robust_claims import TEXTS
from kseg.studies.robust_measures import CLEAN, CONDITIONS, PGD, TEST, TRANSFERRED
from kseg.studies.robust_models import FLY, FOUR, FREE, ONE, ORIGINAL, OTHERS, PLATEAU, TWO, UNION, Entry
from kseg.studies.robust_table import Result

CLASSES, SEEDS, NUMBERS = ("background", "nucleus", "gland"), (0, 1, 2), (1, 3, 2, 4)
CASE = np.repeat([f"case {i}" for i in range(4)], NUMBERS)  # several images a case, not equally many
TEST_CASE = np.repeat([f"case {i}" for i in range(5)], (2, 5, 1, 3, 4))
LABELS = (*FOUR, PLATEAU, FLY, FREE)
ATTACKED = CONDITIONS[1:]
NAMES = {
    "clean": "clean", "transfer/ball": "transferred, budget", "transfer/steps": "transferred, free steps",
    "white/ball": "white box, budget", "white/steps": "white box, free steps",
    "white/untargeted": "white box, untargeted",
}  # fmt: skip
RECORD = {"config": {}, "kseg": "0", "versions": {"tensorflow": "2", "keras": "3"}}


def spread(values):
    """A stand-in for the interval: least and greatest of what it is made of."""
    return float(np.min(values)), float(np.max(values))


@pytest.fixture(scope="module", autouse=True)
def quick_intervals():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(robust_table, "crossed_interval", spread)
        yield


@pytest.fixture(scope="module")
def result():
    """No two numbers alike: each model, condition and case has its own."""
    rng = np.random.default_rng(0)
    entries = [Entry(label, seed, Path(f"{label} {seed}")) for seed in SEEDS for label in (*FOUR, PLATEAU)]
    entries += [Entry(label, 0, Path(label)) for label in (FLY, FREE)]
    controls = [Entry(label, seed, Path("other")) for seed in SEEDS for label in OTHERS.values()]
    truth = {case: rng.multinomial(4000, (0.7, 0.2, 0.1), size=len(set(names)))
             for case, names in (("test", TEST_CASE), ("", CASE))}  # fmt: skip
    measures, histories = {}, {}
    for entry in (*entries, *controls):
        conditions = (CLEAN, *TRANSFERRED) if entry in controls else (TEST, *CONDITIONS)
        found = {}
        for condition in conditions:
            case, rows = ("test", len(TEST_CASE)) if condition == TEST else ("", len(CASE))
            found[f"{condition}/counts"] = counts_of(truth[case], rng)
            found[f"{condition}/loss"] = rng.uniform(0.1, 2, rows)
            found[f"{condition}/reliability"] = rng.uniform(0, 1, (3, 15)) * np.array([900, 1, 1])[:, None]
            found[f"{condition}/brier"] = np.float64(rng.uniform(0.1, 0.9))
            found[f"example/{condition}/predicted"] = rng.integers(0, 3, (4, 4))
        for name in ("clean", "method one", "method two", *PGD.values()):
            for what, most in (("pieces", 60), ("classes", 6), ("goal", 1), ("psnr", 60)):
                found[f"method/{name}/{what}"] = rng.uniform(0, most, len(CASE))
            found[f"example/{name}/image"] = rng.uniform(size=(4, 4, 1))
            found[f"example/{name}/predicted"] = rng.integers(0, 3, (4, 4))
        found["example/image"], found["example/mask"] = rng.uniform(size=(4, 4, 1)), rng.integers(-1, 3, (4, 4))
        measures[entry.name], histories[entry.name] = found, {"val_loss": rng.uniform(size=4).tolist()}
    records = {
        (seed, name): {
            what: rng.uniform(low, high, 23)
            for what, low, high in (("psnr", 20, 60), ("largest", 0, 0.1), ("loss_before", 0, 1), ("loss_after", 1, 3),
                                    ("agreement_before", 0, 0.5), ("agreement_after", 0.5, 1))
        } | ({"choices": rng.choice((-1, -1, -1, 0, 0, 1), (23 + seed, 3))} if name == "method two" else {})
        for name in ("method two", "method one") for seed in SEEDS
    }  # fmt: skip
    return Result("made up", CLASSES, tuple(entries), tuple(controls), CASE, TEST_CASE, (0.0, 1.0), 0.01, measures,
                  histories, records)  # fmt: skip


def counts_of(truth, rng):
    """`[4, cases, K]` of predictions that are right for a random share of each class."""
    confusion = np.array([[rng.multinomial(n, rng.dirichlet(1 + 6 * np.eye(3)[k])) for k, n in enumerate(case)]
                          for case in truth])  # fmt: skip
    tp = np.einsum("ckk->ck", confusion)
    fp, fn = confusion.sum(axis=1) - tp, truth - tp
    return np.stack([tp, fp, fn, truth.sum(axis=1, keepdims=True) - tp - fp - fn])


@pytest.fixture(scope="module")
def decided():
    """Claims of which no two cells are alike."""
    told = []
    for number, (claim, text) in enumerate(TEXTS.items()):
        conditions = {"10": TRANSFERRED}.get(claim, ATTACKED if claim in ("3", "4", "5", "6", "11") else ())
        gates = {
            condition: {"difference": -0.1 - number / 100 - i / 1000, "low": -0.5 - i / 10, "high": 0.25 + i / 10,
                        "adjusted": (0.0004, 0.0316, 0.412, 0.5, float("nan"))[i], "decides": i % 2 == 0}
            for i, condition in enumerate(conditions) if claim != "3"
        }  # fmt: skip
        told.append({
            "claim": claim, "text": text, "ours": claim in ("10", "11"), "verdict": f"verdict {claim}",
            "why": f"why {claim}; and more", "readings": {each: f"accuracy {claim} {each}" for each in conditions},
            "dice": {each: f"Dice {claim} {each}" for each in conditions if claim != "3"}, "gates": gates,
        })  # fmt: skip
    return told


@pytest.fixture(scope="module")
def page(result, decided):
    return robust_text.page(result, decided, RECORD, list(robust_page.FIGURES))


@pytest.fixture(scope="module")
def tables(page):
    """{line above a table: list of rows, the head first}, in the order of the page."""
    found, above, lines = {}, "", page.splitlines()
    for line, before in zip(lines, ["", *lines], strict=False):
        if line.startswith("| ") and not line.startswith("| ---"):
            if not before.startswith("|"):
                assert above not in found, above
                found[above] = []
            found[above].append([cell.strip() for cell in line.strip("|").split(" | ")])
        elif line and not line.startswith("|"):
            above = line
    return found


def of(result, label, seeds=SEEDS):
    return [entry for entry in result.models(label) if entry.seed in seeds]


def by_case(result, label, condition, score, seeds=SEEDS):
    """`[seeds, cases]`, written out."""
    rows = []
    for entry in of(result, label, seeds):
        found = result.measures[entry.name]
        (tp, fp, fn, tn), loss = found[f"{condition}/counts"].astype(float), found[f"{condition}/loss"]
        case = TEST_CASE if condition == TEST else CASE
        of_score = {
            "accuracy": tp.sum(axis=1) / (tp + fp + fn + tn)[:, 0],
            "loss": np.array([loss[case == name].mean() for name in np.unique(case)]),
            "foreground_dice": (2 * tp / (2 * tp + fp + fn))[:, 1:].mean(axis=1),
            "iou": tp / (tp + fp + fn),
        }
        rows.append(of_score[score])
    return np.array(rows)


def cell(result, label, condition, score, seeds=SEEDS):
    values = by_case(result, label, condition, score, seeds)
    low, high = (f"{bound:.3f}".removeprefix("0") for bound in spread(values))
    return f"{values.mean():.3f} ({low}-{high})"


def counted(label):
    return f"{label} (one model)" if label in (FLY, FREE) else label


@pytest.mark.parametrize(
    ("score", "words"), [("accuracy", "Pixel accuracy"), ("foreground_dice", "Dice of the foreground")]
)
def test_the_overview(result, tables, score, words):
    head = ["model", *NAMES.values()]
    rows = [[label, *(cell(result, label, c, score) for c in NAMES)] for label in (*FOUR, PLATEAU)]
    assert tables[f"{words}, mean over seeds and cases (95 %):"] == [head, *rows]
    three = (CLEAN, *TRANSFERRED)
    rows = [[label, *(cell(result, label, c, score) for c in three)] for label in OTHERS.values()]
    found = tables[f"{words}, of images made on model 1 of another seed than the model's own:"]
    assert found == [head[:4], *rows]
    rows = [[label, *(cell(result, label, c, score, seeds=(0,)) for c in NAMES)] for label in LABELS]
    assert tables[f"{words} of seed 0 alone, of which there are all kinds of models:"] == [head, *rows]


def test_the_answer_names_the_best_and_the_worst(result, page):
    (told,) = (line for line in page.splitlines() if "Pixel accuracy, clean: from" in line)
    share = np.mean([(tp + fn)[:, 0] / (tp + fp + fn + tn)[:, 0] for tp, fp, fn, tn in
                     [result.measures[of(result, ORIGINAL)[0].name]["clean/counts"]]])  # fmt: skip
    assert told.startswith(f"Background is {100 * share:.1f} % of the pixels")
    for condition in (CLEAN, "transfer/ball", "white/ball", "white/untargeted"):
        means = {label: by_case(result, label, condition, "accuracy").mean() for label in (*FOUR, PLATEAU)}
        best, worst = max(means, key=means.get), min(means, key=means.get)
        assert (
            f"{NAMES[condition]}: from {means[worst]:.3f} (*{worst}*) to {means[best]:.3f} (*{best}*), "
            f"*{ORIGINAL}* {means[ORIGINAL]:.3f}"
        ) in told


def test_tables_1_and_2_stand_beside_the_documents(result, tables):
    document = {
        1: ("0.4959 0.8748", "0.5029 0.8655", "0.8410 0.8769", "0.7059 0.8738"),
        2: ("2.3628 0.8087", "0.5068 0.8662", "1.4774 0.8386", "0.7205 0.8726"),
    }
    names = {"Table 1, all test images:": TEST} | {f"Table 2, {NAMES[c]}:": c for c in ATTACKED}
    for name, condition in names.items():
        means = [
            [by_case(result, label, condition, score).mean() for score in ("loss", "accuracy")] for label in LABELS
        ]
        rows = [[counted(label), *(f"{mean:.4f}" for mean in two)] for label, two in zip(LABELS, means, strict=True)]
        head = ["model", "loss", "accuracy"]
        if condition in (TEST, *TRANSFERRED):
            theirs = [each.split() for each in document[int(name[6])]] + 3 * [["", ""]]
            head += ["document: loss", "document: accuracy"]
            rows = [[*ours, *two] for ours, two in zip(rows, theirs, strict=True)]
        assert tables[name] == [head, *rows]


def test_verdicts_gates_and_readings(tables, decided):
    texts = {each["claim"]: f"**{each['claim']}** {each['text']}" for each in decided}
    texts |= {claim: f"{texts[claim]} (ours)" for claim in ("10", "11")}
    (found,) = (rows for rows in tables.values() if rows[0] == ["claim", "verdict", "numbers"])
    assert found[1:] == [[text, f"verdict {claim}", f"why {claim}<br>and more"] for claim, text in texts.items()]
    (found,) = (rows for name, rows in tables.items() if name.startswith("What attacks take from model 1"))
    assert found == [
        ["attack", "seed of model 1", "change of its foreground Dice (95 %)", "p after Holm", ""],
        ["transferred, budget", "the same", "-0.2000 (-0.5000 to +0.2500)", "< 0.001", "decides"],
        ["transferred, free steps", "the same", "-0.2010 (-0.6000 to +0.3500)", "0.032", "decides nothing"],
        ["white box, untargeted", "the same", "-0.2040 (-0.9000 to +0.6500)", "not tested", "decides"],
        ["transferred, budget", "another", "-0.1900 (-0.5000 to +0.2500)", "< 0.001", "decides"],
        ["transferred, free steps", "another", "-0.1910 (-0.6000 to +0.3500)", "0.032", "decides nothing"],
    ]
    gated = ("4", "5", "6", "10", "11")
    for word, score, claims in (("accuracy", "accuracy", ("3", *gated)), ("foreground Dice", "Dice", gated)):
        rows = [
            [texts[claim], *(f"{score} {claim} {c}" if claim != "10" or c in TRANSFERRED else "" for c in ATTACKED)]
            for claim in claims
        ]
        found = tables[f"By each way to attack, judged by {word}:"]
        assert found == [["claim", *(NAMES[c] for c in ATTACKED)], *rows]


def test_the_terminal_shows_accuracies_and_marks_what_is_ours(result, decided, monkeypatch, tmp_path):
    folder, file = SimpleNamespace(path=tmp_path, running=nullcontext), io.StringIO()
    for name, instead in {
        "opened": lambda config, *_: (config, (), folder), "_plan": lambda *_: {}, "models_so_far": lambda *_: {},
        "telling_how_to_go_on": lambda *_: nullcontext(), "run": lambda *_: result, "claims": lambda *_: decided,
    }.items():  # fmt: skip
        monkeypatch.setattr(robust_training, name, instead)
    monkeypatch.setattr(robust_training.closing, "write", lambda *_: None)
    robust_training.execute(RobustTraining(), Console(file=file, width=220))
    lines = [line.split() for line in file.getvalue().splitlines()]
    for label in LABELS:
        means = [f"{by_case(result, label, c, 'accuracy').mean():.3f}" for c in NAMES]
        assert [*counted(label).split(), *means] in lines
    for each in decided:
        assert f"{each['claim']} {each['text']}{' (ours)' * each['ours']} {each['verdict']}".split() in lines


SHOWN = ("clean", "transfer/ball", "transfer/steps", "white/ball", "white/untargeted")


def test_iou_of_each_class(result, tables):
    for condition in SHOWN:
        rows = [
            [counted(label), *(f"{v:.3f}" for v in by_case(result, label, condition, "iou").mean(axis=(0, 1)))]
            for label in LABELS
        ]
        (found,) = (rows for name, rows in tables.items() if name.startswith(f"IoU of each class, {NAMES[condition]};"))
        assert found == [["model", *CLASSES], *rows]


def ece(reliability):
    weight, confidence, right = reliability
    return (weight * abs(right - confidence)).sum() / weight.sum()


def test_calibration(result, tables):
    def means(label, value):
        found = [result.measures[entry.name] for entry in of(result, label)]
        return [f"{np.mean([value(each, c) for each in found]):.3f}" for c in SHOWN]

    for opening, value in (
        ("Expected calibration error", lambda each, c: ece(each[f"{c}/reliability"])),
        ("Brier score", lambda each, c: each[f"{c}/brier"]),
    ):
        (found,) = (rows for name, rows in tables.items() if name.startswith(opening))
        rows = [[counted(label), *means(label, value)] for label in LABELS]
        assert found == [["model", *(NAMES[c] for c in SHOWN)], *rows]


def rank(values, share):
    """The least value that at least a share of all do not exceed."""
    return np.sort(np.ravel(values))[int(np.ceil(share * np.size(values))) - 1]


def test_what_the_methods_did(result, tables):
    rows = []
    for name in ("method one", "method two"):
        for seed in SEEDS:
            each = result.records[seed, name]
            rows.append([
                name, str(seed), f"{each['loss_before'].mean():.3f} to {each['loss_after'].mean():.3f}",
                f"{each['agreement_before'].mean():.3f} to {each['agreement_after'].mean():.3f}",
                f"{100 * np.median(each['largest']):.1f} %",
                f"{rank(each['psnr'], 0.5):.1f} ({rank(each['psnr'], 0.05):.1f})",
            ])  # fmt: skip
    head = ["method", "seed", "loss of model 1", "accuracy of model 1", "largest change, median",
            "PSNR in dB, median (5th percentile)"]  # fmt: skip
    assert tables["Training images, of the range of values:"] == [head, *rows]
    rows = []
    for name, words in (
        ("clean", "clean"),
        ("method one", "method one"),
        ("method two", "method two"),
        ("PGD to one class, ball", "PGD to one class, budget"),
        ("PGD to one class, steps", "PGD to one class, free steps"),
    ):
        each = {
            what: np.stack([result.measures[entry.name][f"method/{name}/{what}"] for entry in of(result, ORIGINAL)])
            for what in ("pieces", "classes", "goal", "psnr")
        }
        goal = f"{each['goal'].mean():.3f}" if "PGD" in name else ""
        psnr = "" if name == "clean" else f"{rank(each['psnr'], 0.5):.1f}"
        rows.append([words, f"{each['pieces'].mean():.1f}", f"{each['classes'].mean():.2f}", goal, psnr])
    head = ["test images after", "pieces of the prediction", "classes predicted", "share of the class aimed at",
            "PSNR in dB, median"]  # fmt: skip
    assert tables["Test images shown to model 1 (S4.15):"] == [head, *rows]
    chosen = np.concatenate([result.records[seed, "method two"]["choices"] for seed in SEEDS])
    left = np.mean([not row.any() for row in chosen])
    rows = [
        [name, *(f"{100 * np.mean(chosen[:, k] == value):.1f} %" for value in (-1, 0, 1))]
        for k, name in enumerate(CLASSES)
    ]
    name = f"Choices of method two over {len(chosen)} training images (S4.6); {100 * left:.1f} % are left as they are:"
    assert tables[name] == [["class", "-1", "0", "+1"], *rows]


def test_no_table_is_left_unread(tables):
    assert len(tables) == 6 + 6 + 1 + 1 + 2 + 5 + 2 + 3


class Recorder:
    """In place of `kseg.report`: a figure is what it was to be drawn of."""

    def __getattr__(self, name):
        return lambda *given: (name, *given)


@pytest.fixture(scope="module")
def figures(result):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(robust_page, "report", Recorder())
        return robust_page.figures(result)


def mean_of(result, label, condition, score):
    values = by_case(result, label, condition, score)
    return pytest.approx((values.mean(), *spread(values)))


PANELS = (("accuracy", "pixel accuracy"), ("foreground_dice", "Dice of the foreground"))


def test_the_figure_of_scores(result, figures):
    panels = figures["scores.png"][1]
    for panel, (score, ylabel) in zip(panels, PANELS, strict=True):
        assert panel["ylabel"] == ylabel and (panel["floor"] is None) == (score != "accuracy")
        assert [name.replace("\n", " ") for name in panel["groups"]] == list(NAMES.values())
        for condition, group in zip(NAMES, panel["groups"].values(), strict=True):
            assert group == {counted(label): mean_of(result, label, condition, score) for label in LABELS}


def test_the_figure_of_transferred_images(result, figures):
    panels = figures["transfer.png"][1]
    for panel, (score, ylabel) in zip(panels, PANELS, strict=True):
        assert panel["ylabel"] == ylabel
        same = {f"{NAMES[c]}: same seed": {each: mean_of(result, each, c, score) for each in FOUR}
                for c in (CLEAN, *TRANSFERRED)}  # fmt: skip
        other = {f"{NAMES[c]}: another": {each: mean_of(result, OTHERS[each], c, score) for each in FOUR}
                 for c in TRANSFERRED}  # fmt: skip
        assert {name.replace("\n", " "): group for name, group in panel["groups"].items()} == same | other


def test_the_other_figures(result, figures):
    shown = (CLEAN, "transfer/ball", "white/ball")
    for condition, curves in zip(shown, figures["reliability.png"][1].values(), strict=True):
        for label in LABELS:
            found = [result.measures[entry.name][f"{condition}/reliability"] for entry in of(result, label)]
            weight = np.sum([each[0] for each in found], axis=0)
            np.testing.assert_allclose(curves[counted(label)].weight, weight)
            right = np.sum([each[0] * each[2] for each in found], axis=0) / weight
            np.testing.assert_allclose(curves[counted(label)].accuracy, right)
    ((budget, chosen),) = figures["choices.png"][1].items()
    assert budget == 0.01 and len(chosen) == 3 * 23 + 3
    document, further = figures["losses.png"][1].values()
    assert list(document) == list(FOUR) and list(further) == [ORIGINAL, *map(counted, LABELS[4:])]
    for label, runs in (*document.items(), *further.items()):
        kind = label.removesuffix(" (one model)")
        assert runs == [result.histories[entry.name]["val_loss"] for entry in of(result, kind)]
    rows = figures["methods.png"][1]["attacked"]
    names = ["method one", "PGD to one class, steps", "PGD to one class, ball", "method two"]
    found = result.measures[of(result, ORIGINAL)[0].name]
    for row, name in zip(rows, names, strict=True):
        np.testing.assert_array_equal(row["image"], found[f"example/{name}/image"])
        np.testing.assert_array_equal(row["predicted"], found[f"example/{name}/predicted"])


def test_scores_for_a_file(result):
    rows = {(row["model"], row["condition"]): row for row in robust_page.score_rows(result)}
    for label in (*LABELS, ONE, TWO, UNION):
        row, found = rows[label, "white/steps"], [result.measures[entry.name] for entry in of(result, label)]
        assert row["ece"] == pytest.approx(np.mean([ece(each["white/steps/reliability"]) for each in found]), abs=1e-5)
        assert row["brier"] == pytest.approx(np.mean([each["white/steps/brier"] for each in found]), abs=1e-5)
        for score in ("accuracy", "loss", "foreground_dice"):
            assert row[score] == pytest.approx(by_case(result, label, "white/steps", score).mean(), abs=1e-5)


def test_one_seed_has_no_figure_of_others(result):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(robust_page, "report", Recorder())
        assert "transfer.png" not in robust_page.figures(replace(result, controls=()))
