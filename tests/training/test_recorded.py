"""Runs that are gone on with, or done again, by their records."""

import csv
import io
import json
import shutil
import zipfile
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from rich.console import Console

from kseg import cli, configs
from kseg.configs import Train
from kseg.data import DataFile
from kseg.files import write_json
from kseg.training import run
from kseg.training.recorded import config_of, read_record, recorded, telling_how_to_go_on
from kseg.training.state import STATE, read_progress

LUNGS = "lungs(size=32, counts=(5, 2, 2))"


def parsed(*words):
    return cli._parse(Train, [str(word) for word in words], "train.py")


def written(folder, config, **facts):
    """A record of a config, as a run writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {"program": config.program, "config": asdict(config), "status": "running", **facts}
    write_json(folder / "record.json", record)
    return folder


CONFIGS = [
    Train(),
    Train(data="a.h5", loss="bce + dice", bn=False, learning_rate=1, augment=("flip", "zoom(factor=1.2)")),
    Train(perturb=("none", "pgd"), epoch_steps=3, schedule="cosine", warmup=2, clip_norm=0.5, output=Path("x")),
    Train(devices="all", mixed_precision="bfloat16", early_stopping=3, deterministic=True, verify=False),
    Train(devices=2, seed=2**32 - 1),
    configs.CompareLosses(), configs.PixelRobustness(models=(Path("a"), Path("b"))), configs.RobustTraining(),
    configs.ToyBalance(), configs.WorkedExamples(),
]  # fmt: skip


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.command()[15:75])
def test_a_config_comes_back_from_its_record(config, tmp_path):
    path = written(tmp_path / "run", config)
    for place in (path, path / "record.json"):
        assert config_of(read_record(place, config.program), type(config), place) == config


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epochs", 20], "--epochs=20 differs from the 12 that .*run was begun with.*leave --epochs out"),
        (["--no-jit"], "--jit=False differs from the True"),
        (["--loss", "bce"], "--loss=bce differs from the cce"),
        (["--augment", "flip"], "--augment=flip differs from the flip zoom"),
        (["--learning-rate", 0.5, "--epochs", 12], "--learning-rate=0.5"),
        (["--epochs", 10], "--epochs=10 differs from the 12"),  # the default
        (["--epochs=10"], "--epochs=10 differs from the 12"),
        (["--bn"], "--bn=True differs from the False"),
    ],
)
def test_an_option_that_was_changed_is_named(tmp_path, words, message):
    path = written(tmp_path / "run", Train(epochs=12, loss="cce", augment=("flip", "zoom"), bn=False, jit=True))
    for option, own in (("--resume", run.RESUMED), ("--config", run.REPLAYED)):
        given = parsed(option, path, *words)
        with pytest.raises(ValueError, match=message) as error:
            recorded(given, read_record(path, "train"), path, own)
        assert "\n" not in str(error.value)


def test_a_folder_named_like_an_option_is_no_option(tmp_path):
    path = written(tmp_path / "run", Train(dropout=0.3))
    for words in (["--resume", "dropout"], ["--config", path, "--output", "dropout"], ["--output=no-bn"]):
        assert not parsed(*words).given & {"dropout", "bn"}
    assert {"bn", "verify"} <= parsed("--no-bn", "--no_verify").given


@pytest.mark.parametrize("words", [["--preset", "laptop"], ["--seeds", 5], ["--overwrite"], ["--no-overwrite"]])
def test_a_study_takes_no_option_beside_resume_even_with_its_default(words):
    with pytest.raises(ValueError, match="no other option beside --resume"):
        cli._parse(configs.CompareLosses, ["--resume", "run", *map(str, words)], "compare_losses.py")
    assert cli._parse(configs.CompareLosses, ["--resume", "run"], "compare_losses.py").resume == Path("run")


@pytest.mark.parametrize(
    "rows", ["[" * 10**5, "5", '[{"epoch": 1}, {"loss": 2}]', "[3]"], ids=["deep", "no", "odd", "3"]
)
def test_states_that_make_no_sense_are_refused(tmp_path, rows):
    (tmp_path / "state").mkdir()
    with zipfile.ZipFile(tmp_path / STATE, "w") as archive:
        archive.writestr(
            "training.json", f'{{"rows": {rows}, "updates": 1, "seeds": [], "callbacks": [], "stopped": 0}}'
        )
    with pytest.raises(ValueError, match="cannot be read .* begin a new run"):
        read_progress(tmp_path)


def test_options_of_the_record_may_be_repeated(tmp_path):
    path = written(tmp_path / "run", Train(epochs=12, loss="cce", output=Path("elsewhere")))
    given = parsed("--config", path, "--epochs", 12, "--output", "new", "--no-verify", "--dry-run", "--loss", "cce")
    got = recorded(given, read_record(path, "train"), path, run.REPLAYED)
    assert got == Train(epochs=12, loss="cce", output=Path("new"), verify=False, dry_run=True, config=path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": "10"}, "--epochs='10' is of no type"),
        ({"epochs": True}, "--epochs=True is of no type"),
        ({"epochs": -1}, "--epochs=-1 does not fit"),
        ({"schedule": "plato"}, "--schedule='plato' is of no type"),
        ({"perturb": "pgd"}, "--perturb='pgd' is of no type"),
        ({"depht": 3}, "--depht is not known"),
    ],
)
def test_a_record_of_other_options_is_refused(tmp_path, options, message):
    record = {"program": "train", "config": options}
    with pytest.raises(ValueError, match=f"{message}.*Expected a run of this version"):
        config_of(record, Train, tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"program": "evaluate", "config": {}}', '{"program": "train"}'])
def test_what_is_no_record_of_training_is_refused(tmp_path, refused, text):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/record.json").write_text(text)
    for option, what in (("--resume", "the run folder"), ("--config", "the record.json of a run")):
        words = f"{option} run holds no record of a run of train. Expected {what} of train.py."
        assert words in refused("train", option, "run")
        assert f"{option} nowhere does not exist" in refused("train", option, "nowhere")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config", "b"], "--config=b does not fit. Expected none beside --resume"),
        (["--output", "b"], "--output=b does not fit. Expected none beside --resume, which goes on in its folder"),
        (["--overwrite"], "--overwrite=True does not fit"),
        (["--dry-run"], "--dry-run=True does not fit"),
    ],
)
def test_what_says_nothing_beside_resume_is_refused(refused, words, message):
    assert message in refused("train", "--resume", "a", *words)


# --- runs


def quiet():
    return Console(file=io.StringIO(), width=200)


def test_names_of_folders_are_told_as_they_are():
    shown, folder = quiet(), SimpleNamespace(path=Path("runs [/x]"))
    with pytest.raises(KeyboardInterrupt), telling_how_to_go_on(folder, Train(), shown):
        raise KeyboardInterrupt
    assert "--resume 'runs [/x]'" in shown.file.getvalue()


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The folder of a finished run."""
    config = Train(data=LUNGS, output=tmp_path_factory.mktemp("first") / "run", filters=2, depth=1, batch_size=2,
                   epochs=2, augment=("flip",), dropout=0.25)  # fmt: skip
    return run.train(config, quiet()).folder


def test_a_finished_run_has_nothing_left_to_do(first, tmp_path, capfd):
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*")}
    assert cli.main("train", ["--resume", str(first)]) == 0
    assert "is finished: nothing is left to do" in capfd.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*")} == before
    named = Path(shutil.copytree(first, tmp_path / "run [red]"))
    shown = quiet()
    run.train(Train(resume=named), shown)
    assert f"{named} is finished" in shown.file.getvalue()
    result = run.train(Train(resume=first), quiet())
    assert result.folder == first and len(result.history["loss"]) == 2 and "lungs" in result.summary


def test_a_run_whose_scores_were_not_written_is_scored(first, tmp_path):
    """A kill after the last epoch: no step of training, and the rest as it would have been."""
    folder = Path(shutil.copytree(first, tmp_path / "run"))
    facts = json.loads((folder / "record.json").read_text())
    kept = {name: (folder / name).read_bytes() for name in ("cases.csv", "summary.json", "history.csv")}
    for name in (*kept, "examples.png", "curves.png"):
        (folder / name).unlink()
    (folder / "state/.last.part.keras").write_bytes(b"half")
    (folder / "record.json").write_text(json.dumps(facts | {"status": "running"}))
    shown = quiet()
    result = run.train(Train(resume=folder), shown)
    assert "2 of 2 epochs" in shown.file.getvalue()
    assert {name: (folder / name).read_bytes() for name in kept} == kept
    assert len(result.history["loss"]) == 2
    again = json.loads((folder / "record.json").read_text())
    assert again["status"] == "finished" and again["resumed"] == 1 and again["best_epoch"] == facts["best_epoch"]
    assert not (folder / "state/.last.part.keras").exists()


def test_a_broken_run_tells_how_to_go_on(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            raise KeyboardInterrupt

    shown, config = quiet(), Train(data=LUNGS, output=tmp_path / "run", filters=2, depth=1, batch_size=2, epochs=1)
    with pytest.raises(KeyboardInterrupt):
        run.train(config, shown, [Stop()])
    assert f"To go on: python scripts/train.py --resume {tmp_path / 'run'}" in shown.file.getvalue()
    assert not (tmp_path / "run/state").exists()
    result = run.train(Train(resume=tmp_path / "run"), quiet())  # from the beginning, there is no state
    assert len(result.history["loss"]) == 1


def test_a_record_is_trained_again(first, tmp_path):
    narrow = Console(file=io.StringIO(), width=30)
    again = run.train(Train(config=first / "record.json", output=tmp_path / "again"), narrow)
    lines = [line.split() for line in narrow.file.getvalue().splitlines()]
    assert ["class", "Dice", "IoU", "accuracy", "cases"] in lines
    facts, former = (json.loads((path / "record.json").read_text()) for path in (again.folder, first))
    assert facts["config"] | {"output": None} == former["config"] | {"output": None}
    assert facts["command"].replace(str(again.folder), str(first)) == former["command"]
    with open(first / "history.csv", newline="") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert again.history["loss"] == pytest.approx(losses, rel=1e-5)


def test_other_data_than_those_of_the_record_are_refused(first, prepared, tmp_path, refused):
    path = tmp_path / "data.h5"
    shutil.copy(prepared, path)
    with DataFile(path) as data:
        known = {"sha256": data.fingerprint()}
    config = Train(data=str(path), filters=1, depth=1)
    for option, status in (("--config", "finished"), ("--resume", "running")):
        folder = written(tmp_path / option[2:], config, data={"sha256": "0"}, status=status)
        assert "are not those of the record: their SHA-256 is another" in refused("train", option, folder)
    written(tmp_path / "config", config, data=known)
    assert cli.main("train", ["--config", str(tmp_path / "config"), "--dry-run"]) == 0


def test_a_dry_run_writes_nothing_and_tells_what_it_takes(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    words = ["--data", LUNGS, "--filters", "2", "--depth", "1", "--batch-size", "2", "--epochs", "7", "--dry-run"]
    assert cli.main("train", words) == 0
    out = " ".join(capfd.readouterr().out.split())
    assert list(tmp_path.iterdir()) == []
    for told in ("images 2x32x32x1 float32", "masks 2x32x32 uint8", "none: a dry run", "3 steps an epoch", "are free"):
        assert told in out, out
    parameters = int(out.split("parameters ")[1].split()[0].replace(",", ""))
    # Two 3x3 convolutions a level and in the middle, one up and two after, each with two numbers of BN a channel.
    kernels = [9 * 1 * 2, 9 * 2 * 2, 9 * 2 * 4, 9 * 4 * 4, 4 * 4 * 2, 9 * 4 * 2, 9 * 2 * 2]
    assert parameters == sum(kernels) + 4 * (2 + 2 + 4 + 4 + 2 + 2 + 2) + 2 * 2 + 2
    assert np.isfinite(float(out.split("first step ")[1].split()[0]))
