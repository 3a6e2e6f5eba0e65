"""Method one against passes written out in NumPy for a model whose gradient is known."""

import numpy as np
import pytest
import reference_attacks as ref

from kseg.attacks import attack

WEIGHTS = np.array([[1.0, -0.5, 0.2], [-0.7, 0.9, 0.1]])
BIAS = np.array([0.3, 0.0, -0.1])
RNG = np.random.default_rng(5)
IMAGES = RNG.uniform(0.3, 0.7, (4, 4, 5, 2)).astype(np.float32)
MASKS = RNG.integers(0, 3, (4, 4, 5))
MASKS[1], MASKS[2] = 2, np.where(MASKS[2] == 1, 0, MASKS[2])  # one class; two classes
STEPS, BUDGET, STEP = 4, 0.06, 0.02


def gradient(images, class_id):
    """Of the cross-entropy of each pixel with respect to its values, up to the factor 1 / pixels."""
    p = np.exp(ref.log_softmax(images @ WEIGHTS + BIAS))
    return (p - np.eye(3)[class_id]) @ WEIGHTS.T


def written_out(image, classes, anchor):
    x = image.astype(np.float64)
    for class_id in classes:
        start = x if anchor == "pass" else image
        for _ in range(STEPS):
            x = x - STEP * np.sign(gradient(x, class_id))
            x = np.clip(np.clip(x, start - BUDGET, start + BUDGET), 0, 1)
    return x


@pytest.fixture(scope="module")
def model():
    return ref.linear_model(WEIGHTS, BIAS)


def layered(model, **options):
    options = {"budget": BUDGET, "step_size": STEP, "steps": STEPS} | options
    return attack(model, IMAGES, MASKS, "layered", **options)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("anchor", ["pass", "input"])
def test_each_pass_goes_on_from_the_last_and_stops_when_classes_are_used_up(model, anchor, jit):
    found = layered(model, anchor=anchor, jit=jit)
    for image, mask, result in zip(IMAGES, MASKS, found.images, strict=True):
        np.testing.assert_allclose(result, written_out(image, np.unique(mask), anchor), atol=1e-5)
    limit = BUDGET * (3 if anchor == "pass" else 1)
    assert np.abs(found.images - IMAGES).max() <= limit + 1e-6
    np.testing.assert_allclose(found.size, np.abs(found.images - IMAGES).max(axis=(1, 2, 3)), rtol=1e-5)
    passes = [len(np.unique(mask)) for mask in MASKS]
    assert found.extra["passes"].tolist() == passes and found.steps.tolist() == [STEPS * n for n in passes]
    expected = [BUDGET * (n if anchor == "pass" else 1) for n in passes]
    np.testing.assert_allclose(found.extra["total_budget"], expected, rtol=1e-6)


def test_classes_are_those_of_the_mask_of_the_prediction_all_or_given(model):
    predicted = (IMAGES @ WEIGHTS + BIAS).argmax(axis=-1)
    for classes, expected in (
        ("prediction", [np.unique(p) for p in predicted]), ("all", [[0, 1, 2]] * 4), ((2, 1), [[1, 2]] * 4),
    ):  # fmt: skip
        found = layered(model, classes=classes)
        for image, ids, result in zip(IMAGES, expected, found.images, strict=True):
            np.testing.assert_allclose(result, written_out(image, ids, "pass"), atol=1e-5)


@pytest.mark.parametrize("anchor", ["pass", "input"])
def test_formula_2_as_written_adds_up_the_steps_of_all_classes(model, anchor):
    found = layered(model, mode="sum", anchor=anchor, classes="all")
    x = IMAGES.astype(np.float64)
    for _ in range(STEPS):
        x = np.clip(x - STEP * sum(np.sign(gradient(x, c)) for c in range(3)), 0, 1)
        if anchor == "input":
            x = np.clip(x, IMAGES - BUDGET, IMAGES + BUDGET)
    np.testing.assert_allclose(found.images, x, atol=1e-5)


def test_one_class_alone_is_plain_pgd_towards_its_full_area(model):
    found = layered(model, classes=(1,))
    plain = attack(
        model, IMAGES, np.ones_like(MASKS), "pgd", direction="target", budget=BUDGET, step_size=STEP, steps=STEPS,
        keep="last",
    )  # fmt: skip
    np.testing.assert_allclose(found.images, plain.images, atol=1e-6)


def test_ignored_pixels_add_no_class(model):
    hidden = np.where(MASKS == 1, 255, MASKS)
    found = attack(model, IMAGES, hidden, "layered", budget=BUDGET, step_size=STEP, steps=STEPS, ignore_class=255)
    for image, mask, result in zip(IMAGES, hidden, found.images, strict=True):
        np.testing.assert_allclose(result, written_out(image, np.setdiff1d(mask, [255]), "pass"), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": (0, 3)}, "classes=.* Expected ids of 0 to 2"),
        ({"classes": "some"}, "classes 'some' is not known"),
        ({"classes": ()}, "classes=.* Expected ids"),
        ({"anchor": "start"}, "anchor 'start' is not known"),
        ({"mode": "mean"}, "mode 'mean' is not known"),
    ],
)
def test_what_does_not_fit_is_refused(model, options, message):
    with pytest.raises(ValueError, match=message):
        layered(model, **options)
