"""The scripts as a user meets them: help, bad input, and a run from start to end."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from kseg import models
from kseg.cli import main

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))

HELP = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as stop:
    assert not stop.code, stop.code
assert "tensorflow" not in sys.modules
"""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_help_is_answered_without_tensorflow(script):
    """Help is asked for under the script's path, so that nothing of kseg has been imported before."""
    words = [sys.executable, "-W", "error", "-c", HELP, str(script), "--help"]
    result = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert result.stdout.lower().startswith(f"usage: {script.name}")


def test_overview_names_every_command(capfd):
    assert main(None, ["--help"]) == 0
    out = capfd.readouterr().out
    for script in SCRIPTS:
        if not script.name.startswith("bench_"):
            assert script.stem in out


def test_every_script_shows_commands_that_parse():
    """The commands in the docstrings of the scripts name this script and options that exist."""
    from kseg import cli

    for script in SCRIPTS:
        lines = script.read_text(encoding="utf-8").split('"""')[1].splitlines()
        shown = [shlex.split(line)[1:] for line in lines if line.strip().startswith("python ")]
        assert len(shown) >= 1, script.name
        for path, *words in shown:
            assert path == f"scripts/{script.name}"
            if script.stem in cli.COMMANDS:
                cli._parse(cli.COMMANDS[script.stem][0], words, script.name)


@pytest.fixture
def truncated(prepared, tmp_path):
    path = tmp_path / "truncated.h5"
    path.write_bytes(prepared.read_bytes()[:-5000])
    return path


@pytest.fixture
def other_schema(tmp_path):
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        file["weights"] = np.zeros(3)
    return path


@pytest.fixture
def without_validation(msd, tmp_path):
    path = tmp_path / "two.h5"
    assert main("prepare_hippocampus", [str(msd), str(path), "--split", "0.8", "0", "0.2"]) == 0
    return path


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--data", "nowhere.h5"], ["nowhere.h5", "prepare_"]),
        (["--loss", "dicfg"], ["'dicfg'", "Did you mean 'dicefg'"]),
        (["--loss", "bce + dicee"], ["'dicee'", "'dice'"]),
        (["--loss", "dice + "], ["'dice + '", "cannot be read"]),
        (["--loss", "dice(gama=2)"], ["gama", "Expected one of"]),
        (["--loss", "cce(squared=True)"], ["squared", "'cce'"]),
        (["--loss", "dice(smooth=-1)"], ["smooth=-1", "at least 0"]),
        (["--loss", "cce + bce"], ["sigmoid", "softmax"]),
        (["--loss", "bce", "--head", "softmax"], ["softmax", "'cce'"]),
        (["--loss", "cce", "--head", "sigmoid"], ["sigmoid", "'bce'"]),
        (["--head", "linear"], ["head", "linear"]),
        (["--epochs", -3], ["--epochs=-3", "at least 1"]),
        (["--epochs", "many"], ["epochs", "many"]),
        (["--batch-size", 0], ["--batch-size=0", "at least 1"]),
        (["--learning-rate", "nan"], ["--learning-rate", "above 0"]),
        (["--dropout", 1], ["--dropout", "below 1"]),
        (["--seed", -1], ["--seed=-1", "at least 0"]),
        (["--optimizer", "adan"], ["adan", "adam"]),
        (["--epoch", 3], ["--epoch"]),
        (["extra"], ["extra"]),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else None,
)  # fmt: skip
def test_bad_options_of_train(refused, words, expected):
    error = refused("train", *words)
    assert all(word in error for word in expected), error


def test_truncated_data_are_refused(refused, truncated):
    assert "truncated" in refused("train", "--data", truncated)


def test_data_of_another_schema_are_refused(refused, other_schema):
    error = refused("train", "--data", other_schema)
    assert str(other_schema) in error and "format None" in error


def test_data_with_an_empty_split_are_refused(refused, without_validation):
    error = refused("train", "--data", without_validation)
    assert "'validation'" in error and "empty" in error


@pytest.mark.parametrize("command", ["train", "toy_balance", "worked_examples"])
def test_an_existing_output_is_refused(refused, tmp_path, command):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("mine")
    error = refused(command, "--output", tmp_path / "mine")
    assert "mine" in error and "--overwrite" in error


@pytest.mark.parametrize("threshold", [0, 1, -0.5, 1.5, "nan"])
def test_thresholds_outside_are_refused(refused, run_folder, prepared, threshold):
    for command, words in (("toy_balance", []), ("evaluate", [run_folder, prepared])):
        error = refused(command, *words, "--threshold", threshold)
        assert "--threshold" in error and "above 0 and below 1" in error


@pytest.mark.parametrize("words", [["--iterations", 0], ["--loss", "dicefgg"], ["--batch-size", 1.5]])
def test_bad_options_of_toy_balance(refused, words):
    error = refused("toy_balance", *words)
    assert words[0].strip("-") in error and str(words[1]) in error


def test_unknown_commands_name_the_nearest(refused):
    assert "'train'" in refused(None, "trian")


def test_unknown_options_name_the_help(refused):
    error = refused("evaluate", "model.keras", "toy", "--batchsize", 3)
    assert "--batchsize" in error and "--help" in error


def test_a_missing_model_is_refused(refused, prepared):
    error = refused("evaluate", "nowhere", prepared)
    assert "nowhere" in error and "Expected" in error


def test_missing_words_are_named(refused):
    assert "MODEL" in refused("evaluate").upper()


def test_a_damaged_model_is_refused(refused, run_folder, prepared, tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes((run_folder / "model.keras").read_bytes()[:2000])
    error = refused("evaluate", path, prepared)
    assert "cannot be loaded" in error and "Expected" in error


def test_a_model_of_another_size_is_refused(refused, run_folder):
    error = refused("evaluate", run_folder, "toy")
    assert "(16, 16, 1)" in error and "(32, 32, 1)" in error


def test_a_model_of_other_classes_is_refused(refused, prepared, tmp_path):
    models.unet((16, 16, 1), 3, filters=1, depth=1).save(tmp_path / "model.keras")
    assert "3 classes" in refused("evaluate", tmp_path / "model.keras", prepared)


def test_an_empty_split_is_refused(refused, run_folder, without_validation):
    error = refused("evaluate", run_folder, without_validation, "--split", "validation")
    assert "'validation'" in error and "empty" in error


def test_damaged_values_are_found_when_asked(refused, run_folder, prepared, tmp_path):
    path = tmp_path / "changed.h5"
    path.write_bytes(prepared.read_bytes())
    with h5py.File(path, "r+") as file:
        file["test/masks"][0, 0, 0] ^= 1
    assert "SHA-256" in refused("evaluate", run_folder, path, "--verify")


def test_evaluate_gives_the_scores_of_train(run_folder, prepared, tmp_path, capfd):
    words = [str(run_folder), str(prepared), "--verify", "--output", str(tmp_path / "again")]
    assert main("evaluate", words) == 0
    trained, again = (json.loads((path / "summary.json").read_text()) for path in (run_folder, tmp_path / "again"))
    assert again == trained
    assert (tmp_path / "again/cases.csv").read_text() == (run_folder / "cases.csv").read_text()
    dice = trained["classes"]["hippocampus"]["dice"]["mean"]
    assert f"{dice:.3f}" in capfd.readouterr().out
    record = json.loads((run_folder / "record.json").read_text())
    assert record["test"]["hippocampus"]["dice"]["mean"] == dice


def test_train_uses_the_toy_set_without_any_file(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert main("train", ["--epochs", "1", "--filters", "1", "--depth", "1", "--batch-size", "250"]) == 0
    out = capfd.readouterr().out
    assert "runs/train-1" in out and "scripts/evaluate.py runs/train-1 toy" in out
    assert main("evaluate", ["runs/train-1", "toy", "--split", "validation"]) == 0
    assert json.loads((tmp_path / "runs/evaluate-1/summary.json").read_text())["cases"] == 100


def test_the_installed_command_runs_the_same(tmp_path, monkeypatch, capfd, run_folder, prepared):
    assert main(None, ["evaluate", str(run_folder), str(prepared), "--output", str(tmp_path / "e")]) == 0
    assert main(None, ["--version"]) == 0
    assert capfd.readouterr().out.splitlines()[-1].startswith("kseg ")
