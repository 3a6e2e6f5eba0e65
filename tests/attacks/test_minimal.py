import keras
import numpy as np
import pytest
from scipy.optimize import linprog

from kseg.attacks import Attacker
from kseg.models import unet

VOID = 9


def linear(weights, bias, size=(8, 8)):
    """A model whose logits are a linear function of each pixel's values."""
    inputs = keras.Input((*size, len(weights)))
    layer = keras.layers.Conv2D(len(bias), 1, name="logits") if len(size) == 2 else keras.layers.Conv3D(len(bias), 1)
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([np.reshape(weights, (*[1] * len(size), *np.shape(weights))), np.asarray(bias)])
    return model


def pairs(weights, bias):
    """Weights and bias of two logits (0, z) in place of one."""
    if np.shape(weights)[1] > 1:
        return np.asarray(weights, np.float64), np.asarray(bias, np.float64)
    return np.concatenate([0.0 * weights, weights], axis=1).astype(np.float64), np.array([0.0, bias[0]])


def flip(pixel, w, b, own):
    """The smallest Linf change of a pixel that leaves class `own`: margin over the L1 norm, of the nearest rival."""
    z = pixel @ w + b
    return max(0.0, min((z[own] - z[k]) / np.abs(w[:, own] - w[:, k]).sum() for k in range(len(b)) if k != own))


def reach(pixel, w, b, goal):
    """The smallest Linf change of a pixel that takes class `goal`, by linear programming: it may have many rivals."""
    z, others, c = pixel @ w + b, [k for k in range(len(b)) if k != goal], len(pixel)
    rivals = np.array([[*(w[:, k] - w[:, goal]), 0.0] for k in others])
    box = np.concatenate([np.c_[np.eye(c), -np.ones(c)], np.c_[-np.eye(c), -np.ones(c)]])
    bounds = np.concatenate([[z[goal] - z[k] for k in others], np.zeros(2 * c)])
    return linprog(
        [0.0] * c + [1.0], np.concatenate([rivals, box]), bounds, bounds=[(None, None)] * c + [(0, None)]
    ).fun


def smallest(images, masks, w, b, direction, goal):
    """Of each image the smallest change with enough pixels as wanted: the distances' quantile."""
    found, w, b = [], *pairs(w, b)
    for image, mask in zip(images.astype(np.float64), masks, strict=True):
        one = flip if direction == "attack" else reach
        each = sorted(one(pixel, w, b, k) for pixel, k in zip(image[mask != VOID], mask[mask != VOID], strict=True))
        found.append(each[int(np.ceil(goal * len(each) - 1e-9)) - 1])
    return np.array(found)


def case(channels, classes, seed=0):
    """(weights, bias, images in the middle of [0, 1], masks with ids of all classes and without a meaning)."""
    rng = np.random.default_rng(seed)
    weights, bias = rng.normal(size=(channels, classes)).astype(np.float32), np.zeros(classes, np.float32)
    images = rng.uniform(0.4, 0.6, (3, 8, 8, channels)).astype(np.float32)
    bias -= images.mean(axis=(0, 1, 2)) @ weights
    masks = rng.integers(0, max(classes, 2), (3, 8, 8))
    masks[:, :2] = VOID
    return weights, bias, images, masks


@pytest.mark.parametrize("goal", [1.0, 0.75])
@pytest.mark.parametrize("direction", ["attack", "target"])
def test_dag_ends_within_a_step_of_the_smallest_change(direction, goal):
    # With weights of one size the gradient is that of the sign, whose walk is the shortest.
    _, _, images, masks = case(3, 1)
    weights, bias = np.float32([[2.0], [-2.0], [2.0]]), np.float32([-1.0])
    attacker = Attacker(
        linear(weights, bias), "dag", direction=direction, goal=goal, ignore_class=VOID, step_size=0.004, steps=100,
    )  # fmt: skip
    found = attacker(images, masks)
    best = smallest(images, masks, weights, bias, direction, goal)
    assert found.success.all() and attacker.settings["budget"] == np.inf
    assert (found.size >= best - 1e-6).all() and (found.size <= best + 0.004 + 1e-6).all()
    np.testing.assert_array_equal(found.steps, np.ceil(best / 0.004 - 1e-3))
    change = np.abs(found.images - images).max(axis=-1)
    np.testing.assert_allclose(found.size, change.max(axis=(1, 2)))
    # Pixels that are as wanted, or do not count, stay.
    scores = (images @ weights + bias)[..., 0]
    pulled = (masks != VOID) & (((scores > 0) == masks) == (direction == "attack"))
    assert (change <= np.where(pulled, np.abs(scores) / 6 + 0.004, 0.0) + 1e-6).all()


@pytest.mark.parametrize(
    ("classes", "direction", "goal", "scale"),
    [(1, "target", 0.75, 1), (2, "attack", 0.75, 300), (4, "attack", 1.0, 1), (4, "target", 1.0, 0.01)],
)
def test_alma_prox_finds_the_smallest_change(classes, direction, goal, scale):
    weights, bias, images, masks = case(2, classes, seed=classes)
    if (classes, direction) == (4, "attack"):  # with random weights the rival of the next logit is not the nearest
        weights, bias, images, masks = np.eye(4, dtype=np.float32), np.zeros(4, np.float32), *case(4, 4)[2:]
    model = linear(scale * weights, scale * bias)  # where classes change does not depend on the scale
    attacker = Attacker(model, "alma_prox", direction=direction, goal=goal, ignore_class=VOID, steps=400)
    found, best = attacker(images, masks), smallest(images, masks, weights, bias, direction, goal)
    assert found.success.all() and best.min() > 0.01
    assert (found.size >= best * (1 - 1e-4)).all()
    np.testing.assert_allclose(found.size, best, rtol=0.01 if goal == 1.0 else 0.08)


def test_alma_prox_finds_changes_of_any_size():
    needed = np.array([0.001, 0.01, 0.1, 0.8])
    images = np.float32(0.9 - needed)[:, None, None, None] * np.ones((4, 8, 8, 1), np.float32)
    found = Attacker(linear(np.float32([[5.0]]), np.float32([-4.5])), "alma_prox")(images, np.zeros((4, 8, 8), int))
    assert found.success.all()
    np.testing.assert_allclose(found.size, needed, rtol=0.03)


def test_the_smallest_change_grows_with_the_range_of_values():
    weights, bias, images, masks = case(2, 3)
    options = {"ignore_class": VOID, "goal": 0.9, "steps": 80}
    for method in ("dag", "alma_prox"):
        one = Attacker(linear(weights, bias), method, **options)(images, masks)
        wide = linear(weights / 400.0, bias + weights.sum(axis=0) / 4.0)  # of values from -100 to 300
        many = Attacker(wide, method, value_range=(-100.0, 300.0), **options)(400.0 * images - 100.0, masks)
        assert one.success.all()
        np.testing.assert_allclose(many.size, 400.0 * one.size, rtol=2e-3)


@pytest.fixture(scope="module")
def trained():
    """(A small U-Net that tells four brightnesses apart, images, masks that it gets nearly right)."""
    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(3)
    masks = np.kron(rng.integers(0, 4, (36, 4, 4)), np.ones((4, 4), int))
    images = np.float32(0.2 + 0.2 * masks + rng.normal(0, 0.03, masks.shape))[..., None].clip(0, 1)
    model = unet((16, 16, 1), 4, filters=4, depth=2)
    model.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))

    def right():
        return (model.predict(images[:4], verbose=0).argmax(axis=-1) == masks[:4]).mean() > 0.88

    for _ in range(8):  # how soon it is there differs with the last bits of a processor's sums
        model.fit(images[4:], masks[4:], batch_size=16, epochs=25, verbose=0)
        if right():
            break
    assert right()
    return model, images[:4], masks[:4]


def halved_budgets(model, images, masks, steps, searches):
    """Of each image the smallest budget that PGD succeeds with, by bisection."""
    attacker, sizes = Attacker(model, "pgd", budget=0.1, judge="pixels", steps=steps, goal=0.75), []
    for image, mask in zip(images, masks, strict=True):
        low, high = 0.0, 0.4
        for _ in range(searches):
            middle = (low + high) / 2
            low, high = (low, middle) if attacker(image[None], mask[None], budget=middle).success[0] else (middle, high)
        sizes.append(high)
    return np.array(sizes)


def test_alma_prox_finds_smaller_changes_than_dag_and_than_pgd_with_halved_budgets(trained):
    model, images, masks = trained
    found = Attacker(model, "alma_prox", steps=200, goal=0.75)(images, masks)
    walked = Attacker(model, "dag", step_size=0.003, steps=200, goal=0.75)(images, masks)
    halved = halved_budgets(model, images, masks, steps=20, searches=10)
    assert found.success.all() and walked.success.all() and (halved < 0.4).all()
    assert (found.size < 0.9 * walked.size).all() and (found.size < 0.9 * halved).all()


@pytest.mark.parametrize("method", ["dag", "alma_prox"])
def test_images_do_not_know_of_each_other(trained, method):
    model, images, masks = trained
    attacker = Attacker(model, method, steps=12, jit=False)
    whole, alone = attacker(images, masks), attacker(images, masks, batch_size=1)
    compiled = Attacker(model, method, steps=12, jit=True)(images, masks, batch_size=3)
    for other in (alone, compiled):
        np.testing.assert_allclose(other.size, whole.size, rtol=1e-3)
        np.testing.assert_allclose(other.loss_after, whole.loss_after, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(other.agreement_after, whole.agreement_after, atol=1e-3)


@pytest.mark.parametrize("method", ["dag", "alma_prox"])
def test_a_budget_bounds_the_change(trained, method):
    model, images, masks = trained
    free = Attacker(model, method, goal=0.5, steps=120)(images, masks)
    tight = 0.25 * float(free.size.min())
    found = Attacker(model, method, goal=0.5, steps=120, budget=tight)(images, masks)
    assert free.success.all() and not found.success.any()
    assert (found.size <= tight * (1 + 1e-5)).all() and (found.size > 0.5 * tight).all()
    # Those nearest to success are given.
    assert (found.agreement_after < found.agreement_before).all() and (found.steps > 0).all()
    wide = Attacker(model, method, goal=0.5, steps=120, budget=2.0 * float(free.size.max()), step_size=0.01)(
        images, masks
    )
    np.testing.assert_allclose(wide.size, free.size, rtol=0.02)


@pytest.mark.parametrize("method", ["dag", "alma_prox"])
def test_what_succeeds_already_stays_and_volumes_work(method):
    model = linear(np.float32([[4.0]]), np.float32([-2.0]), size=(3, 4, 5))
    images = np.random.default_rng(0).uniform(0.3, 0.7, (2, 3, 4, 5, 1)).astype(np.float32)
    masks = (images[..., 0] > 0.5).astype(int)
    masks[0] = 1 - masks[0]  # the model is wrong all over
    found = Attacker(model, method, step_size=0.01, goal=1.0)(images, masks)
    np.testing.assert_array_equal(found.images[0], images[0])
    assert found.size[0] == found.steps[0] == 0 and found.success.all()
    assert found.size[1] == pytest.approx(np.abs(images[1] - 0.5).max(), abs=0.01)
    helped = Attacker(model, method, direction="fortify", step_size=0.01, goal=1.0)(images, masks)
    assert helped.success.all() and helped.size[1] == 0
    assert helped.size[0] == pytest.approx(np.abs(images[0] - 0.5).max(), abs=0.01)


def test_options_that_do_not_fit_are_refused(trained):
    model, images, masks = trained
    for options, told in (
        ({"masking": "all"}, "masking 'all' is not known"), ({"constraint": "dlr"}, "constraint 'dlr' is not known"),
        ({"average": 1.0}, "average=1.0 does not fit"),
        ({"scale_start": 2.0}, "scale_start=2.0 does not fit"), ({"norm": "l2"}, "norm='l2' does not fit"),
        ({"rate": 2.0}, "rate=2.0 does not fit"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=told):
            Attacker(model, "alma_prox", **options)(images, masks)
