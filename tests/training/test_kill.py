"""`kill -9` at any moment of a real training process, then `--resume`: the same files as without.

One process is killed here, soon after its first epoch. `KSEG_KILLS=20 pytest -n0 tests/training/test_kill.py` does it
for the seeds 0 to 19, which draw up to three moments each, from the beginning to the end of a run.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from saved_runs import differences

ROOT = Path(__file__).parents[2]
WORDS = [
    "--data", "lungs(size=32, counts=(5, 2, 2))", "--epochs", "4", "--filters", "2", "--depth", "1", "--batch-size",
    "2", "--dropout", "0.3", "--augment", "flip", "rotate", "intensity", "--cutout", "5", "--schedule", "plateau",
    "--ema", "0.9", "--deterministic",
]  # fmt: skip
KILLS = int(os.environ.get("KSEG_KILLS", 0))


def begin(*words):
    command = [sys.executable, ROOT / "scripts/train.py", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def waited(process, file, seconds):
    """Wait until the run has written a file, and so many seconds more, or until it ends."""
    while not file.exists() and process.poll() is None:
        time.sleep(0.02)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


def ended(process):
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0, out[-2000:]
    return out


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """(folder of a run that nobody disturbed, its seconds)."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    process = begin(*WORDS, "--output", folder)
    waited(process, folder / "record.json", 0)
    began = time.monotonic()
    ended(process)
    return folder, time.monotonic() - began


@pytest.mark.parametrize("seed", range(max(KILLS, 1)))
def test_a_killed_run_ends_as_if_it_had_not_been_killed(whole, tmp_path, seed):
    expected, seconds = whole
    draw, folder = np.random.default_rng(seed), tmp_path / "run"
    moments = draw.uniform(0, seconds, draw.integers(1, 4)) if KILLS else draw.uniform(0, 0.05 * seconds, 1)
    begun = folder / ("record.json" if KILLS else "state/last.keras")
    process = begin(*WORDS, "--output", folder)
    for moment in moments:
        waited(process, begun, moment)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        process = begin("--resume", folder)
    ended(process)
    assert differences(expected, folder) == []
    for name in ("summary.json", "cases.csv"):
        assert (folder / name).read_bytes() == (expected / name).read_bytes()
    assert json.loads((folder / "record.json").read_text())["status"] == "finished"
    assert not list(folder.rglob("*.part*"))
