"""Losses that fail: what they are blamed for, and what is written of it."""

import pytest
import tensorflow as tf

from kseg.configs import CompareLosses
from kseg.studies import comparison_models
from kseg.studies.breakdown import reason
from kseg.training.record import RunFailed

CONFIG = CompareLosses(preset="quick")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("a b\nc"), "ValueError: a b"),
        (KeyError(), "KeyError"),
        (RuntimeError("x" * 1000), f"RuntimeError: {'x' * 283}..."),
    ],
)
def test_a_reason_is_one_line(error, told):
    assert reason(error) == told


def test_the_reason_of_a_failed_graph_is_the_line_that_says_it():
    @tf.function
    def fail(x):
        tf.debugging.assert_less(x, 1.0, message="too large by far")
        return x

    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        fail(tf.constant(2.0))
    assert reason(error.value).startswith("InvalidArgumentError: ") and "too large by far" in reason(error.value)
    text = "Graph execution error:\n\nDetected at node F defined at (last call last):\n<stack traces unavailable>\n"
    wrapped = tf.errors.InternalError(None, None, text + "no kernel for this\n\t [[{{node F}}]] [Op:__inference_1]")
    assert reason(wrapped) == "InternalError: no kernel for this"


def entry_in(folder):
    return comparison_models.entry_of("dice", 0.001, 0, {"dice": "dice"}, folder)


def raising(error, cause=None):
    def train(*_):
        raise error from cause

    return train


@pytest.mark.parametrize(
    ("error", "cause", "told"),
    [
        (RunFailed("it failed"), FloatingPointError("the loss is nan"), "FloatingPointError: the loss is nan"),
        (RunFailed("it failed"), tf.errors.ResourceExhaustedError(None, None, "OOM"), "ResourceExhaustedError: OOM"),
        (ValueError("before the folder was made"), None, "ValueError: before the folder was made"),
    ],
)
def test_a_run_that_broke_down_says_why_and_is_not_done_again(tmp_path, monkeypatch, error, cause, told):
    entry = entry_in(tmp_path)
    assert comparison_models.ended(entry) is None and entry.trouble is None
    monkeypatch.setattr(comparison_models.run, "train", raising(error, cause))
    comparison_models.train(entry, CONFIG, "sigmoid")
    assert comparison_models.ended(entry) == "broke down" and entry.trouble == told
    monkeypatch.setattr(comparison_models.run, "train", lambda *_: None)
    comparison_models.train(entry, CONFIG, "sigmoid")
    assert entry.trouble is None, "of the attempt before"


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (RunFailed("it failed"), MemoryError()), (RunFailed("it failed"), OSError(28, "no space left")),
        (FileNotFoundError("the data are gone"), None), (MemoryError(), None), (KeyboardInterrupt(), None),
    ],
)  # fmt: skip
def test_what_is_no_fault_of_a_loss_ends_the_study_and_is_done_again(tmp_path, monkeypatch, error, cause):
    entry = entry_in(tmp_path)
    monkeypatch.setattr(comparison_models.run, "train", raising(error, cause))
    with pytest.raises(type(error)):
        comparison_models.train(entry, CONFIG, "sigmoid")
    assert comparison_models.ended(entry) is None
