"""What a dry run tells of time and room on the disk, against own sums."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from kseg.training import dry

WEIGHTS = 4 * 100 * 100 + 2 * 10  # bytes
STATE = WEIGHTS + 2 * 4 * 100 * 100 + 8  # and what the optimiser holds: two moments and a step
NEED = 1.2 * (WEIGHTS + 2 * STATE)


@pytest.fixture
def told(tmp_path, monkeypatch):
    """What is told of a run whose steps take such seconds, where the disk has so many bytes free."""

    def tell(seconds=(1.0, 1.0), steps=10, epochs=4, free=2.0**40, output=tmp_path / "runs/a/b"):
        def fit(batches, callbacks, steps_per_epoch, **_):
            assert steps_per_epoch == 2
            callbacks[0].seconds = list(seconds)

        def disk_usage(place):
            assert place == tmp_path.resolve()  # the folder that is there already
            return SimpleNamespace(free=free)

        monkeypatch.setattr(dry.shutil, "disk_usage", disk_usage)
        moments = [tf.Variable(tf.zeros((100, 100))) for _ in range(2)]
        optimizer = SimpleNamespace(variables=[*moments, tf.Variable(np.int64(0))])
        variables = [tf.Variable(tf.zeros((100, 100))), tf.Variable(tf.zeros(10, tf.float16))]
        model = SimpleNamespace(fit=fit, variables=variables, optimizer=optimizer, count_params=lambda: 10010)
        batches = [(np.zeros((2, 8, 8, 1), np.float32), np.zeros((2, 8, 8), np.uint8))]
        config = SimpleNamespace(epochs=epochs, output=output)
        return dry.dry_run(SimpleNamespace(model=model, batches=lambda: batches, steps=steps, config=config))

    return tell


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ((3, 0.5), "23 s"),
        ((3, 4.0), "2.7 min"),
        ((0.1, 2.97), "119 s"),
        ((40, 179), "2 h"),
        ((0, 3.5), "2.3 min"),
        ((100, 9000), "100 h"),
    ],
)
def test_the_time_is_the_first_step_and_then_all_of_them(told, seconds, expected):
    """Of 10 steps in each of 4 epochs: the first step, which compiles, and 40 times the second."""
    words = told(seconds)["time"]
    assert words.endswith(f"10 steps an epoch: {expected} for all epochs, without validation"), words


def test_the_room_is_that_of_a_model_and_two_states(told, tmp_path, monkeypatch):
    words = told()["disk"]
    assert words == (
        f"about {NEED / 1024:.3g} KiB (model.keras {WEIGHTS / 1024:.3g} KiB, state {STATE / 1024:.3g} KiB, twice while "
        "it is written); 1 TiB are free"
    )
    monkeypatch.chdir(tmp_path)
    assert told(output=None)["disk"] == words


@pytest.mark.parametrize(
    ("free", "expected"),
    [(2.0**50, "1024 TiB"), (1000 * 2.0**30, "1000 GiB"), (999.4 * 2.0**30, "999 GiB"), (12.34 * 2.0**20, "12.3 MiB"),
     (0, "0 B")],
)  # fmt: skip
def test_room_is_told_in_plain_numbers(told, free, expected):
    assert f"; {expected} are free" in told(free=free)["disk"]


@pytest.mark.parametrize(("free", "enough"), [(NEED - 1, False), (NEED + 1, True)])
def test_too_little_room_is_told(told, free, enough):
    assert told(free=free)["disk"].endswith(f"KiB are free{'' if enough else ', which is NOT enough'}")
