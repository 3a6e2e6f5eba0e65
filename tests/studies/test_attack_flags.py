"""Each flag is up where its numbers say so, and only there."""

from types import SimpleNamespace

import numpy as np
import pytest

from kseg.configs import Attack
from kseg.studies import attack_flags as flags
from kseg.studies.attack_checks import CHECKS
from kseg.studies.attack_questions import FINE, MEANING, SUSPICIOUS, unchecked

SPREAD = np.linspace(-0.1, 0.1, 12)  # of scores over cases
WOBBLE = 0.002 * np.cos(np.arange(12))  # between two attacks, by case


def around(mean, wobble=0.0):
    return mean + SPREAD + wobble * WOBBLE


def verdict(flag):
    assert flag.name in MEANING and flag.found
    told = flag.told()
    assert bool(told["advice"]) == (flag.verdict == SUSPICIOUS)
    return flag.verdict


@pytest.mark.parametrize(
    ("attack", "noise", "expected"),
    [(0.5, 0.8, FINE), (0.8, 0.8, FINE), (0.8, 0.795, FINE), (0.8, 0.75, SUSPICIOUS)],
)
def test_noise_must_not_beat_an_attack(attack, noise, expected):
    control = {0.01: around(0.85), 0.02: around(noise, 1)}
    strong = {0.01: around(0.4), 0.02: around(0.3)}
    flag = flags.noise(control, {"apgd": strong, "pgd": {0.01: around(0.3), 0.02: around(attack)}})
    assert verdict(flag) == expected
    assert (flag.numbers["attack"], flag.numbers["eps"]) == ("pgd", 0.02)
    assert flag.numbers["difference"] == pytest.approx(attack - noise, abs=1e-3)


def test_what_may_be_chance_is_no_reason_for_doubt():
    """The noise is better by 0.05 in the mean, because of one case in twelve."""
    lucky = around(0.8)
    lucky[3] -= 0.6
    assert verdict(flags.noise({0.01: lucky}, {"pgd": {0.01: around(0.8)}})) == FINE
    assert verdict(flags.noise({0.01: around(0.75, 1)}, {"pgd": {0.01: around(0.8)}})) == SUSPICIOUS
    assert verdict(flags.noise({0.01: [0.75]}, {"pgd": {0.01: [0.8]}})) == SUSPICIOUS  # one case has no interval


@pytest.mark.parametrize(("box", "expected"), [(0.6, FINE), (0.5, FINE), (0.35, SUSPICIOUS)])
def test_a_black_box_must_not_beat_the_strongest_attack(box, expected):
    attacks = {"fgsm": around(0.7), "apgd": around(0.4, 1), "pgd": around(0.5)}
    flag = flags.black_box(around(box), attacks, 0.01)
    assert verdict(flag) == expected
    assert flag.numbers["attack"] == "apgd" and flag.numbers["square_mean_iou"] == pytest.approx(box)


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        ((0.8, 0.6, 0.4), FINE), ((0.8, 0.6, 0.605), FINE), ((0.4, 0.4, 0.4), FINE), ((0.8, 0.6, 0.64), SUSPICIOUS),
        ((0.9, 0.897, 0.895), SUSPICIOUS),
    ],
)  # fmt: skip
def test_scores_fall_with_the_budget(means, expected):
    curve = {0.01 * 2**i: around(mean, i) for i, mean in enumerate(means)}
    flag = flags.budget(around(0.9), {"pgd": curve, "apgd": {0.01: around(0.2), 0.02: around(0.1)}}, {})
    assert verdict(flag) == expected
    assert flag.numbers["attack"] == "pgd"


@pytest.mark.parametrize(("loss", "expected"), [(1.3, FINE), (0.998, FINE), (0.9, SUSPICIOUS)])
def test_losses_rise_with_the_budget(loss, expected):
    curves = {"pgd": {0.01: around(0.5), 0.02: around(0.3)}}
    flag = flags.budget(around(0.9), curves, {"pgd": {0.01: around(1.0), 0.02: around(loss, 1)}})
    assert verdict(flag) == expected


@pytest.mark.parametrize(("one", "many", "expected"), [(1.0, 1.5, FINE), (1.5, 1.0, SUSPICIOUS)])
def test_the_one_step_is_that_of_fgsm(one, many, expected):
    """The evaluation hands the attacks to the check the right way round."""
    case, score = np.arange(12), around(0.5)

    def row(loss):
        scores = {"mean_iou": score}
        climbed = np.stack([around(0.2), around(loss)], axis=1)
        return SimpleNamespace(found=SimpleNamespace(climbed=climbed, scores=lambda case: scores))

    rows, clean = {"fgsm": row(one), "pgd": row(many)}, SimpleNamespace(scores=lambda case: {"mean_iou": around(0.9)})
    result = SimpleNamespace(
        case=case, middle=0.01, eps=[0.01], attacks=["fgsm", "pgd"], clean=SimpleNamespace(found=clean),
        row=lambda name, eps, kinds=(): rows.get(name),
        cases=lambda name, eps, kinds=(): score if name in rows else None,
    )  # fmt: skip
    flag = CHECKS["one step"](result, Attack("", "toy"))
    assert verdict(flag) == expected
    assert flag.numbers["one_loss"] == pytest.approx(one)


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ((0.1, 1.0, 2.0, 2.2), FINE), ((0.1, 1.0, 2.0, 2.0), FINE), ((0.1, 1.0, 2.0, 1.995), FINE),
        ((0.1, 1.0, 2.0, 1.6), SUSPICIOUS), ((0.1, 0.1, 0.1, 0.1), SUSPICIOUS),
    ],
)  # fmt: skip
def test_the_loss_rises_with_steps(last, expected):
    steps = (0, 5, 20, 80)
    losses = {
        "best": {n: around(1.0 + n / 100) for n in steps},
        "last": {n: loss + 0.1 * SPREAD for n, loss in zip(steps, last, strict=True)},
    }
    flag = flags.steps(losses)
    assert verdict(flag) == expected
    assert flag.numbers["last"][20] == pytest.approx(last[2])


@pytest.mark.parametrize(("after", "expected"), [(0.5, FINE), (0.47, FINE), (0.4, SUSPICIOUS)])
def test_many_more_steps_change_little(after, expected):
    assert verdict(flags.converged({20: around(0.5)}, {80: around(after, 1)})) == expected


@pytest.mark.parametrize(
    ("accuracy", "iou", "expected"),
    [(0.02, 0.0, FINE), (0.7, 0.0, FINE), (0.75, 0.0, SUSPICIOUS), (0.2, 0.04, FINE), (0.2, 0.3, SUSPICIOUS)],
)
def test_a_budget_as_large_as_the_range_leaves_nothing(accuracy, iou, expected):
    flag = flags.large_budget(np.full(4, accuracy), np.full(4, iou), (0.7, 0.03))
    assert verdict(flag) == expected


def test_one_class_all_over_may_leave_some_foreground():
    assert verdict(flags.large_budget([0.3], [0.3], (0.7, 0.3))) == FINE


@pytest.mark.parametrize(
    ("loss", "probability", "expected"),
    [(1e-9, 1e-9, FINE), (0.0, 1e-9, SUSPICIOUS), (1e-20, 1e-9, FINE), (1.0, 1e-13, SUSPICIOUS),
     (float("nan"), 1.0, SUSPICIOUS), (1.0, float("nan"), SUSPICIOUS)],
)  # fmt: skip
def test_images_without_gradients_are_seen(loss, probability, expected):
    flag = flags.gradients([1.0, 0.5, loss, 2.0], [0.1, 0.2, 0.3, probability])
    assert verdict(flag) == expected
    assert flag.numbers["none_of_loss"] == (0.25 if not loss > 0 else 0)


@pytest.mark.parametrize(
    ("iou", "loss", "expected"),
    [(0.6, 1.0, FINE), (0.5, 2.0, FINE), (0.42, 1.0, SUSPICIOUS), (0.6, 2.3, SUSPICIOUS), (0.495, 2.01, FINE)],
)
def test_one_step_must_not_beat_many(iou, loss, expected):
    many = {"mean_iou": around(0.5, 1), "loss": around(2.0, 1)}
    assert verdict(flags.one_step({"mean_iou": around(iou), "loss": around(loss)}, many)) == expected


@pytest.mark.parametrize(("ensemble", "expected"), [(0.5, FINE), (0.47, FINE), (0.6, FINE), (0.4, SUSPICIOUS)])
def test_one_loss_must_not_be_far_weaker_than_all(ensemble, expected):
    assert verdict(flags.losses(around(0.5), around(ensemble, 1), "dice")) == expected


def test_what_was_not_checked_says_why():
    told = unchecked("noise", "switched off").told()
    assert told["verdict"] == "not checked" and told["found"] == "switched off" and told["advice"] == ""
