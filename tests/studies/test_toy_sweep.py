"""The sweep of the toy study: which runs there are, its files, going on after an end, figures and pages.

The engine is replaced by made-up curves but in one test; what it computes is tested with it.
"""

import csv
import json
import shlex
from collections import Counter

import h5py
import numpy as np
import pytest

from kseg.cli import main
from kseg.configs import ToyBalance
from kseg.studies import toy_alone, toy_balance, toy_page, toy_stack
from kseg.studies.toy_files import CurveFile, expected_bytes
from kseg.studies.toy_runs import LOSS_NAMES, Condition
from kseg.studies.toy_sweep import conditions, stacks

SMALL = ["--sweep", "published", "--seeds", "1", "--thresholds", "0.5", "--iterations", "300"]
COLUMNS = {f"{name}_{kind}" for name in LOSS_NAMES for kind in ("loss", "grad")}


def curves_of(condition, iterations, log_every=1, complete=True):
    """Curves that tell whose they are: the first value of cce is the hash of the name."""
    rng = np.random.default_rng(list(condition.name.encode()))
    x = np.arange(0, iterations, log_every)
    curves = {name: rng.random(len(x), dtype=np.float32) for name in sorted(COLUMNS)}
    at = np.array([*range(0, iterations, 250), iterations - 1])
    return curves | {"iteration": x, "accuracy_iteration": at, "accuracy": rng.random(len(at)), "complete": complete}


class Engine:
    """Stands for `toy_stack`: notes what it is asked for; breaks off like Ctrl-C, or fails, at the n-th stack."""

    def __init__(self):
        self.asked, self.stop_at, self.fail_at = [], None, None

    def train(self, runs, *, iterations, log_every=1, dtype="float32", progress=None):
        self.asked.append([run.name for run in runs])
        if len(self.asked) == self.fail_at:
            raise RuntimeError("out of memory")
        stop = len(self.asked) == self.stop_at
        if progress:
            progress(iterations // 2 if stop else iterations)
        return [curves_of(run, iterations // 2 if stop else iterations, log_every, not stop) for run in runs]


@pytest.fixture
def engine(monkeypatch):
    found = Engine()
    monkeypatch.setattr(toy_stack, "train", found.train)
    return found


@pytest.fixture
def undrawn(monkeypatch):
    """Figures take seconds, and `finished` has them."""
    monkeypatch.setattr(toy_page, "draw", lambda *args: None)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a small sweep by the command line, all files written."""
    folder = tmp_path_factory.mktemp("sweep") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy_stack, "train", Engine().train)
        assert main("toy_balance", [*SMALL, "--output", str(folder)]) == 0
    return folder


def record(folder):
    return json.loads((folder / "record.json").read_text())


# --- which runs


def test_the_published_sweep_has_its_108_runs():
    """S1.10."""
    runs = conditions(ToyBalance(sweep="published"))
    assert len(runs) == len({run.name for run in runs}) == 108
    assert Counter(run.loss for run in runs) == dict.fromkeys(("cce", "dicefg", "dice"), 36)
    assert Counter((run.optimizer, run.learning_rate) for run in runs) == {("adam", 1e-3): 54, ("sgd", 1e-3): 54}
    assert Counter(run.threshold for run in runs) == dict.fromkeys((0.05, 0.5, 0.95), 36)
    assert Counter(run.seed for run in runs) == dict.fromkeys((0, 1, 2), 36)
    assert Counter(run.bn for run in runs) == {True: 54, False: 54}
    assert {(run.input, run.convolutions, run.batch_size) for run in runs} == {("raw", 2, 2)}


def test_the_full_sweep_has_all_losses_rates_and_inputs():
    runs = conditions(ToyBalance(sweep="full"))
    each = 5 * 2 * 3 * 3  # losses, batch normalisation, thresholds, seeds
    expected = {("adam", 1e-3, given): each for given in ("raw", "mirrored", "centred")}
    expected |= {("sgd", rate, "raw"): each for rate in (1e-3, 0.1, 1.0)}
    assert Counter((run.optimizer, run.learning_rate, run.input) for run in runs) == expected
    assert len({run.name for run in runs}) == 540
    assert {run.name for run in conditions(ToyBalance(sweep="published"))} <= {run.name for run in runs}


def test_options_choose_the_runs():
    config = ToyBalance(
        sweep="full", thresholds=(0.8, 0.2), seeds=(4, 7), learning_rates=(0.5,), inputs=("centred", "raw"),
        batch_size=3, convolutions=1,
    )  # fmt: skip
    runs = conditions(config)
    assert {run.threshold for run in runs} == {0.8, 0.2}
    assert {run.seed for run in runs} == {4, 7}
    ways = {(run.optimizer, run.learning_rate, run.input) for run in runs}
    assert ways == {("adam", 1e-3, "raw"), ("adam", 1e-3, "centred"), ("sgd", 0.5, "raw")}
    assert {(run.batch_size, run.convolutions) for run in runs} == {(3, 1)}
    assert {run.seed for run in conditions(ToyBalance(sweep="published", seeds=(5,)))} == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("sweep", ["published", "full"])
def test_stacks_hold_every_run_once_and_what_can_be_stacked(sweep):
    runs = conditions(ToyBalance(sweep=sweep))
    found = stacks(runs, 27)
    assert sorted(run.name for stack in found for run in stack) == sorted(run.name for run in runs)
    for stack in found:
        assert len({(run.bn, run.convolutions, run.batch_size) for run in stack}) == 1
        assert {run.seed for run in stack} == {0, 1, 2}
        assert len(stack) == 27


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--sweep", "published", "--threshold", "0.95"], ["--threshold=0.95", "--thresholds"]),
        (["--sweep", "published", "--loss", "dicefg"], ["--loss=dicefg"]),
        (["--sweep", "full", "--seed", "1"], ["--seed=1"]),
        (["--sweep", "full", "--no-bn"], ["--bn=False"]),
        (["--seeds", "3"], ["--seeds", "--sweep"]),
        (["--learning-rates", "1"], ["--learning-rates", "--sweep"]),
        (["--sweep", "all"], ["'all'", "--sweep"]),
        (["--sweep", "full", "--thresholds", "0.5", "1"], ["--thresholds=1", "below 1"]),
        (["--sweep", "full", "--thresholds", "0.5", "0.500001"], ["--thresholds", "fg50"]),
        (["--sweep", "full", "--seeds", "0"], ["--seeds", "how many"]),
        (["--sweep", "full", "--seeds", "1", "1"], ["--seeds=(1, 1)", "differ"]),
        (["--sweep", "full", "--learning-rates", "0"], ["--learning-rates=0", "above 0"]),
        (["--sweep", "full", "--log-every", "0"], ["--log-every=0", "at least 1"]),
        (["--convolutions", "0"], ["--convolutions=0", "at least 1"]),
        (["--resume", "nowhere"], ["nowhere", "no sweep"]),
        (["--resume", "nowhere", "--output", "x"], ["--resume", "--output"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_options_that_contradict_are_refused(refused, words, expected):
    error = refused("toy_balance", *words)
    assert all(word in error for word in expected), error


def test_a_disk_without_room_is_refused(refused, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("", (), {"free": 10_000_000})())
    error = refused("toy_balance", "--sweep", "published")
    assert "has 10 MiB free" in error and "--log-every" in error


def test_what_is_expected_is_an_upper_bound_of_the_file(finished):
    assert (finished / "curves.h5").stat().st_size < expected_bytes(12, 300, 1)


# --- what is kept


def test_a_sweep_keeps_its_files(finished):
    names = {path.name for path in finished.iterdir()}
    assert names == {
        "record.json", "curves.h5", "results.csv", "claims.json", "summary.md", "toy_runs.md", "toy_overview.png",
        "figures",
    }  # fmt: skip
    figures = sorted(path.name for path in (finished / "figures").iterdir())
    assert figures == [
        f"{optimizer}_nconv2_bs2_{bn}_fg50_seed0.png" for optimizer in ("adam", "sgd") for bn in ("bn", "nobn")
    ]
    kept = record(finished)
    assert kept["status"] == "finished" and kept["runs"] == 12
    assert set(kept["claims"]) == {"a", "b", "c", "d", "e", "f", "S1.17"}
    assert kept["claims"]["a"].startswith("not decided: needs 3 seeds")


def test_one_file_holds_all_curves_with_their_conditions(finished):
    with h5py.File(finished / "curves.h5") as file:
        assert len(file) == 12
        for name, group in file.items():
            attributes = dict(group.attrs)
            condition = Condition(
                attributes["loss"], attributes["optimizer"], bool(attributes["bn"]), float(attributes["threshold"]),
                int(attributes["seed"]), float(attributes["learning_rate"]),
            )  # fmt: skip
            assert condition.name == name
            expected = curves_of(condition, 300)
            assert set(group) == COLUMNS | {"iteration", "accuracy_iteration", "accuracy"}
            for key in group:
                np.testing.assert_allclose(group[key][:], expected[key], rtol=1e-6)
            assert group["cce_loss"].dtype == np.float32
            assert attributes["accuracy"] == expected["accuracy"][-1]


def test_results_have_a_row_a_run(finished):
    with open(finished / "results.csv", newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert len(rows) == 12
    row = rows["dice_sgd_nconv2_bs2_nobn_fg50_seed0"]
    curves = curves_of(Condition("dice", "sgd", False, 0.5, 0), 300)
    assert float(row["accuracy"]) == pytest.approx(curves["accuracy"][-1], rel=1e-6)
    assert float(row["largest_cce_grad"]) == pytest.approx(curves["cce_grad"].max())
    assert (row["converged"], row["complete"], row["iterations"]) == ("False", "True", "300")
    assert row["figure"] == "sgd_nconv2_bs2_nobn_fg50_seed0.png" and row["document_figure"] == ""


def test_the_command_of_the_record_gives_the_same_config_again(finished):
    from kseg import cli

    words = shlex.split(record(finished)["command"])[2:]
    again = cli._parse(ToyBalance, words, "toy_balance.py")
    assert again == ToyBalance(sweep="published", seeds=(1,), thresholds=(0.5,), iterations=300, output=finished)


def test_the_page_shows_what_is_there_and_names_no_folder(finished):
    page = (finished / "summary.md").read_text()
    assert "`python scripts/toy_balance.py --sweep published --thresholds 0.5 --seeds 1 --iterations 300`" in page
    assert "12 runs of 300 iterations" in page
    assert str(finished.parent) not in page
    assert page.count("| not decided: needs ") == 7
    for line in page.splitlines():
        if "](" in line:
            assert (finished / line.split("](")[1].split(")")[0]).is_file()
    table = (finished / "toy_runs.md").read_text()
    assert sum(line.startswith(("| adam | ", "| sgd 0.001 | ")) for line in table.splitlines()) == 12


def test_the_document_shows_five_of_the_figures():
    """S1.15."""
    groups = Counter(toy_page.figure_name(run) for run in conditions(ToyBalance(sweep="published")))
    assert len(groups) == 36 and set(groups.values()) == {3}
    marked = sorted(name for name in groups if name.startswith("document"))
    assert marked == [
        "document1_adam_nconv2_bs2_nobn_fg5_seed1.png", "document2_adam_nconv2_bs2_nobn_fg50_seed1.png",
        "document3_adam_nconv2_bs2_nobn_fg95_seed1.png", "document4_adam_nconv2_bs2_bn_fg95_seed0.png",
        "document5_sgd_nconv2_bs2_bn_fg95_seed0.png",
    ]  # fmt: skip
    full = Counter(map(toy_page.figure_name, conditions(ToyBalance(sweep="full"))))
    assert len(full) == 108 and set(full.values()) == {5}
    assert sorted(name for name in full if name.startswith("document")) == marked


def test_figures_have_the_headings_of_the_document():
    assert toy_page.title(Condition("cce", "adam", False, 0.95, 1)) == "5% Foreground (run 1)\nADAM, Batch Norm: False"
    assert toy_page.title(Condition("cce", "sgd", True, 0.05, 0, 0.1)).endswith("SGD (0.1), Batch Norm: True")


def test_small_figures_of_the_document_are_drawn_for_the_page(engine, tmp_path, monkeypatch):
    config = ToyBalance(sweep="full", thresholds=(0.05,), learning_rates=(1e-3,), inputs=("raw",), iterations=20)
    shown = [run for run in conditions(config) if toy_page.shown(run) == 5]
    monkeypatch.setattr("kseg.studies.toy_sweep.conditions", lambda config: shown)
    result = toy_balance.sweep(config)
    toy_page.draw(result, tmp_path)
    small = sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".png")
    assert small == ["toy_document5.png", "toy_overview.png"]
    assert len(list((tmp_path / "figures").iterdir())) == 1
    assert all((tmp_path / name).stat().st_size < 300_000 for name in small)
    page = toy_page.page(result, {"kseg": "1", "versions": {"tensorflow": "2", "keras": "3"}})
    assert "](toy_document5.png)" in page and "](toy_document1.png)" not in page
    assert page.count("## The figures of the document") == 1


# --- in Python


def test_a_sweep_gives_its_data_to_python(engine):
    done = []
    config = ToyBalance(sweep="published", seeds=(1,), iterations=300, log_every=7)
    result = toy_balance.sweep(config, progress=done.append)
    assert result.complete and len(result.rows) == len(result.conditions) == 36
    run = result.run(result.conditions[3])
    expected = curves_of(run.condition, 300, 7)
    np.testing.assert_array_equal(run.curves["dice_grad"], expected["dice_grad"])
    assert run.accuracy == expected["accuracy"][-1]
    assert done[-1] == 36 * 300 and done == sorted(done)


def test_the_stacked_engine_gives_a_sweep_the_curves_of_its_runs(monkeypatch):
    """The one test with the real engine: no mix-up of the runs of a stack."""
    runs = [Condition(loss, "sgd", False, 0.8, 3, 0.5, convolutions=1, batch_size=1) for loss in ("cce", "dicefg")]
    monkeypatch.setattr("kseg.studies.toy_sweep.conditions", lambda config: runs)
    result = toy_balance.sweep(ToyBalance(sweep="published", iterations=3))
    for run in runs:
        alone = toy_alone.train(run, iterations=3)
        curves = result.run(run).curves
        for name in sorted(COLUMNS):
            np.testing.assert_allclose(curves[name], alone[name], rtol=2e-4, atol=1e-6)


# --- ends and new starts


def test_ctrl_c_keeps_finished_stacks_and_resume_does_the_rest(engine, undrawn, tmp_path, capfd):
    folder = tmp_path / "run"
    engine.stop_at = 2
    assert main("toy_balance", [*SMALL, "--output", str(folder)]) == 130
    out, err = capfd.readouterr()
    assert str(folder) in err and f"--resume {folder}" in out.replace("\n", "")
    assert record(folder)["status"] == "interrupted"
    first, second = engine.asked
    store = CurveFile(folder / "curves.h5")
    assert store.complete() == set(first) and set(store) == {*first, *second}
    before = store[first[0]]["cce_loss"]

    engine.stop_at = None
    assert main("toy_balance", ["--resume", str(folder)]) == 0
    assert engine.asked[2:] == [second]
    assert record(folder)["status"] == "finished" and record(folder)["resumed"] == 1
    assert "--resume" not in record(folder)["command"]
    store = CurveFile(folder / "curves.h5")
    assert store.complete() == {*first, *second}
    assert store[second[0]]["cce_loss"].shape == (300,)
    np.testing.assert_array_equal(store[first[0]]["cce_loss"], before)
    assert (folder / "claims.json").is_file()

    assert main("toy_balance", ["--resume", str(folder), "--sweep", "published"]) == 0
    assert len(engine.asked) == 3


def test_a_failure_keeps_finished_stacks(engine, undrawn, tmp_path, capfd):
    folder = tmp_path / "run"
    engine.fail_at = 2
    assert main("toy_balance", [*SMALL, "--output", str(folder)]) == 1
    assert "out of memory" in capfd.readouterr().err
    assert CurveFile(folder / "curves.h5").complete() == set(engine.asked[0])
    assert main("toy_balance", ["--resume", str(folder)]) == 0


def test_a_write_that_is_broken_off_leaves_the_file_of_before(tmp_path, monkeypatch):
    runs = [Condition(loss, "adam", True, 0.5, 0) for loss in ("cce", "dice", "dicefg")]
    store = CurveFile(tmp_path / "curves.h5")
    store.update({runs[0]: curves_of(runs[0], 10)})
    calls = []
    original = h5py.Group.create_dataset

    def stop(group, *args, **options):
        calls.append(args)
        if len(calls) == 20:
            raise KeyboardInterrupt
        return original(group, *args, **options)

    monkeypatch.setattr(h5py.Group, "create_dataset", stop)
    with pytest.raises(KeyboardInterrupt):
        store.update({run: curves_of(run, 10) for run in runs[1:]})
    assert set(store) == set(CurveFile(tmp_path / "curves.h5")) == {runs[0].name}
    assert [path.name for path in tmp_path.iterdir()] == ["curves.h5"]
    assert store.condition(runs[0].name) == runs[0]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--iterations", "400"], "--iterations=400"),
        (["--seeds", "2"], "--seeds=2"),
        (["--sweep", "full"], "--learning-rates"),
        (["--thresholds", "0.5", "0.05"], "--thresholds=0.5 0.05"),
        (["--log-every", "2"], "--log-every=2"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_changed_option_is_refused_by_name(refused, finished, engine, words, expected):
    error = refused("toy_balance", "--resume", finished, *words)
    assert expected.partition("=")[0] in error or "--sweep=full" in error
    assert "was begun with" in error
    assert engine.asked == []


def test_a_run_of_one_condition_is_no_sweep_to_resume(refused, tmp_path):
    (tmp_path / "record.json").write_text(json.dumps({"program": "toy_balance", "config": {"sweep": None}}))
    assert "no sweep" in refused("toy_balance", "--resume", tmp_path)


def test_a_damaged_file_of_curves_is_refused(refused, finished, engine, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    (folder / "record.json").write_text((finished / "record.json").read_text())
    (folder / "curves.h5").write_bytes((finished / "curves.h5").read_bytes()[:3000])
    assert "curves.h5" in refused("toy_balance", "--resume", folder)
