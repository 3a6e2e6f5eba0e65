"""Kinds of augmentation as they are spelled, without TensorFlow."""

import pytest

from kseg.data.kinds import KINDS, Rotate, read_kinds


def test_words_give_kinds_with_their_strengths():
    found = read_kinds(("flip(axes='xy')", " rotate ( degrees = 30 , share=0.2)", "zoom"))
    assert list(found) == ["flip", "rotate", "zoom"]
    assert found["flip"].axes == "xy"
    assert (found["rotate"].degrees, found["rotate"].share) == (30, 0.2)
    assert found["zoom"] == KINDS.get("zoom")()
    assert read_kinds("rotate(degrees=30)") == read_kinds([Rotate(30)])


def test_strengths_that_are_not_told_are_those_of_the_documentation():
    assert {name: str(KINDS.get(name)()) for name in KINDS.names()} == {
        "flip": "flip(axes='x', share=0.5)",
        "rotate": "rotate(degrees=15.0, share=0.5)",
        "zoom": "zoom(factor=1.25, share=0.5)",
        "elastic": "elastic(strength=0.3, grid=4, share=0.5)",
        "intensity": "intensity(brightness=0.1, contrast=1.25, gamma=1.4, share=0.5)",
    }


@pytest.mark.parametrize("name", KINDS.names())
def test_what_a_kind_prints_can_be_read_again(name):
    (kind,) = read_kinds([name]).values()
    assert read_kinds([str(kind)]) == {name: kind}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["rotat"], "augmentation 'rotat' is not known. Expected one of: flip, .* Did you mean 'rotate'"),
        (["rotate(degree=3)"], "option of augmentation 'rotate' 'degree' is not known.*Did you mean 'degrees'"),
        (["flip", "flip(axes='y')"], "'flip' is given twice"),
        (["rotate(degrees=181)"], r"rotate\(degrees=181\) does not fit.*at least 0 and at most 180"),
        (["rotate(degrees='a')"], r"rotate\(degrees='a'\)"),
        (["rotate(degrees=True)"], r"rotate\(degrees=True\)"),
        (["zoom(factor=0.9)"], "at least 1"),
        (["elastic(strength=0.48)"], "at least 0 and below 0.48"),
        (["elastic(grid=2.5)"], "whole number"),
        (["intensity(gamma=0)"], "at least 1"),
        (["flip(share=1.5)"], "at most 1"),
        (["flip(axes='z')"], "'x', 'y' or 'xy'"),
        (["rotate(15)"], r"cannot be read. Expected rotate\(option=value, ...\)"),
        (["rotate(degrees=15"], "cannot be read"),
        (["rotate(degrees=__import__('os'))"], "cannot be read"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(words, told):
    with pytest.raises(ValueError, match=told) as error:
        read_kinds(words)
    assert "\n" not in str(error.value)
