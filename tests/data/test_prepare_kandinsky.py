"""Kandinsky figures as a file (S4.9)."""

import inspect
from dataclasses import fields

import numpy as np
import pytest

from kseg.cli import main
from kseg.configs import PrepareKandinsky
from kseg.data import DataFile, card, open_data
from kseg.data.figures import open_figures
from kseg.data.synthetic.kandinsky import Kandinsky

SIX = ["background", "circle", "square", "triangle", "cross", "ring"]
SMALL = ("--counts", 6, 2, 2)


def prepare(out, *words):
    assert main("prepare_kandinsky", [str(word) for word in (out, *words)]) == 0
    return out


def test_the_options_are_those_of_the_set():
    own = {field.name for field in fields(PrepareKandinsky)} - {"out", "overwrite"}
    assert own == set(inspect.signature(Kandinsky).parameters)


def test_six_classes_by_default(tmp_path, capfd):
    assert PrepareKandinsky(tmp_path).counts == (600, 100, 100)
    with DataFile(prepare(tmp_path / "set.h5", *SMALL)) as data:
        data.verify()
        assert data.classes == SIX
        assert data.sizes == {"train": 6, "validation": 2, "test": 2}
        assert data.instances("train").max() >= 1
        drawn = open_data("kandinsky", shapes=tuple(SIX[1:]), counts=(6, 2, 2))
        for stored, made in zip(data.read("train"), drawn.read("train"), strict=True):
            np.testing.assert_array_equal(stored, made)
    out = capfd.readouterr().out
    assert "6 train, 2 validation, 2 test" in out and f"robust_training.py --data {tmp_path / 'set.h5'}" in out


def test_every_option_reaches_the_set(tmp_path):
    words = [*SMALL, "--classes", "colour", "--shapes", "circle", "ring", "--colours", "red", "blue", "--size", 48,
             "--objects", 2, 3, "--foreground", 0.1, "--fractions", 0.7, 0.3, "--label-noise", 0.2, "--noise", 0.05,
             "--seed", 4]  # fmt: skip
    expected = open_data(
        "kandinsky", classes="colour", shapes=("circle", "ring"), colours=("red", "blue"), size=48, objects=(2, 3),
        foreground=0.1, fractions=(0.7, 0.3), label_noise=0.2, noise=0.05, counts=(6, 2, 2), seed=4,
    )  # fmt: skip
    with DataFile(prepare(tmp_path / "set.h5", *words)) as data:
        assert data.attributes()["command"] == expected.attributes()["command"]
        np.testing.assert_array_equal(data.read("test")[0], expected.read("test")[0])
        np.testing.assert_array_equal(data.read("test")[1], expected.read("test")[1])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--shapes", "circle", "sqare"], ["'sqare'", "Did you mean 'square'"]),
        (["--colours", "red", "red"], ["names one twice"]),
        (["--size", 31], ["size=31", "32 to 1024"]),
        (["--objects", 0, 3], ["objects=(0, 3)", "at least 1"]),
        (["--foreground", 0.5], ["foreground=0.5", "0.25"]),
        (["--fractions", 1, 1], ["fractions=", "Expected 5 numbers"]),
        (["--label-noise", 2], ["label_noise=2.0", "from 0 to 1"]),
        (["--noise", -1], ["noise=-1.0"]),
        (["--counts", 0, 0, 0], ["counts=(0, 0, 0)", "not all 0"]),
        (["--counts", 5, 5], ["--counts"]),
        (["--seed", -1], ["seed=-1"]),
        (["--classes", "size"], ["size", "shape"]),
    ],
)
def test_options_that_do_not_fit_are_told_in_one_line(refused, tmp_path, options, words):
    error = refused("prepare_kandinsky", tmp_path / "out.h5", *options)
    assert all(word in error for word in words), error


def test_an_existing_file_is_kept_unless_told(refused, tmp_path):
    out = prepare(tmp_path / "set.h5", *SMALL)
    before = out.read_bytes()
    assert "--overwrite" in refused("prepare_kandinsky", out, *SMALL, "--seed", 1)
    assert out.read_bytes() == before
    prepare(out, *SMALL, "--seed", 1, "--overwrite")
    assert out.read_bytes() != before
    assert "nowhere" in refused("prepare_kandinsky", tmp_path / "nowhere/set.h5", *SMALL)


def test_the_card_has_the_numbers_of_the_file(tmp_path, pytestconfig):
    """The set in memory stands for the file, which takes longer to write; other tests hold that they are equal."""
    text = (pytestconfig.rootpath / "data_cards/kandinsky.md").read_text(encoding="utf-8")
    table = card.numbers(open_figures(PrepareKandinsky(tmp_path / "kandinsky.h5"))).partition("\n\n")[0]
    assert table.count("\n") == 5 and table in text
