from itertools import combinations, product

import keras
import numpy as np
import pytest
import tensorflow as tf

import kseg
from kseg.attacks import Attacker, attack
from kseg.attacks.search import DIVISORS, MARKS, _phases, number_of
from kseg.models import toy_net, unet

SEARCHES = {"square": {"budget": 0.06}, "sparse_rs": {"pixels": 9}}


@pytest.fixture(scope="module")
def trained():
    """A small U-Net that knows bright boxes from a dark ground, with new images and masks."""
    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(3)
    masks = np.zeros((72, 16, 16), np.uint8)
    for mask in masks:
        y, x = rng.integers(1, 7, 2)
        mask[y : y + rng.integers(5, 9), x : x + rng.integers(5, 9)] = 1
    images = np.clip(0.4 + 0.15 * masks[..., None] + rng.normal(0, 0.05, (*masks.shape, 2)), 0, 1).astype(np.float32)
    model = unet((16, 16, 2), 2, filters=4, depth=2)
    model.compile(keras.optimizers.Adam(0.01), kseg.losses.get("cce", from_logits=True))
    model.fit(images[:64], masks[:64], epochs=12, batch_size=8, verbose=0)
    return model, images[64:], masks[64:]


def changed(found, images):
    """Which pixels an attack changed, `[N, *S]`."""
    return (found.images != images).any(axis=-1)


@pytest.mark.parametrize(
    ("method", "direction"),
    [("square", "attack"), ("square", "fortify"), ("sparse_rs", "attack"), ("sparse_rs", "target")],
)
def test_searches_keep_their_bounds_and_make_nothing_worse(trained, method, direction):
    model, images, masks = trained
    ignored = np.where(np.arange(16) < 4, 255, masks)  # the first columns do not count
    found = attack(
        model, images, ignored, method, queries=40, direction=direction, ignore_class=255, **SEARCHES[method]
    )
    sign = 1 if direction == "attack" else -1
    assert (sign * (found.loss_after - found.loss_before) >= 0).all()
    assert (sign * (found.loss_after - found.loss_before) > 1e-3).any()
    assert found.images.min() >= 0 and found.images.max() <= 1
    np.testing.assert_array_equal(found.extra["queries"], 40)
    assert found.steps.max() <= 40 and (found.steps[found.loss_after != found.loss_before] >= 1).all()
    if method == "square":
        assert abs(found.images - images).max() <= 0.06 + 6e-8  # what rounding adds to values up to 1
    else:
        np.testing.assert_array_equal(found.extra["pixels"], changed(found, images))
        assert 1 <= changed(found, images).sum(axis=(1, 2)).max() <= 9
        assert np.isin(found.images[changed(found, images)], (0, 1)).all()
    # What the pixels that do not count are said to be makes no difference.
    logits = model.predict(found.images, verbose=0)[:, :, 4:]
    loss = -np.take_along_axis(tf.nn.log_softmax(logits).numpy(), masks[:, :, 4:, None].astype(int), -1).mean((1, 2, 3))
    np.testing.assert_allclose(found.loss_after, loss, rtol=1e-4, atol=1e-6)


class Counter(keras.layers.Layer):
    """Counts the images that come by."""

    def build(self, shape):
        self.seen = tf.Variable(0)

    def call(self, x):
        self.seen.assign_add(tf.shape(x)[0])
        return x


@pytest.mark.parametrize("method", SEARCHES)
def test_the_model_is_asked_as_often_as_is_told(method):
    inputs = keras.Input((8, 8, 2))
    counter = Counter()
    model = keras.Model(inputs, keras.layers.Conv2D(2, 1)(counter(inputs)))
    attacker = Attacker(model, method, queries=17, jit=False, **SEARCHES[method])
    images, masks = np.full((5, 8, 8, 2), 0.5, np.float32), np.zeros((5, 8, 8), np.uint8)
    before = int(counter.seen)
    found = attacker(images, masks)
    assert int(counter.seen) - before == 5 * (17 + 1)  # and the original
    assert found.extra["queries"].tolist() == [17] * 5
    other = attack(model, images, masks, method, queries=17, seed=1, **SEARCHES[method])
    assert (other.images != found.images).any(axis=(1, 2, 3)).all(), "the seed draws numbers"
    last = int(found.steps.max())
    again, fewer = (
        attack(model, images, masks, method, queries=queries, schedule=17, **SEARCHES[method])
        for queries in (last, last - 1)
    )
    np.testing.assert_array_equal(again.images, found.images)
    assert (fewer.images != found.images)[found.steps == last].any(axis=(1, 2, 3)).all(), "steps tell the query"


@pytest.mark.parametrize("method", SEARCHES)
def test_more_queries_of_one_schedule_begin_with_the_fewer(trained, method):
    model, images, masks = trained
    options = SEARCHES[method] | {"schedule": 80}
    few, many = (attack(model, images, masks, method, queries=queries, **options) for queries in (12, 80))
    same = many.steps <= 12
    np.testing.assert_allclose(many.loss_after[same], few.loss_after[same], rtol=1e-5)
    assert (many.loss_after[~same] > few.loss_after[~same]).all() and not same.all()
    assert few.steps.max() <= 12 and (many.loss_after > many.loss_before).all()


@pytest.mark.parametrize("method", SEARCHES)
def test_an_image_gets_the_same_in_any_batch_and_another_by_another_row(trained, method):
    model, images, masks = trained
    attacker = Attacker(model, method, jit=False, queries=25, seed=5, **SEARCHES[method] | {"budget": 0.2})
    rows = np.array([7, 10, 3, 12, 5])
    whole = attacker(images[:5], masks[:5], rows=rows, batch_size=3)
    alone = attacker(images[3:4], masks[3:4], rows=rows[3:4])
    np.testing.assert_allclose(alone.images, whole.images[3:4], atol=1e-6)
    other = attacker(images[:5], masks[:5])
    moved = (whole.steps > 0) & (other.steps > 0)
    assert moved.sum() > 2 and (other.images != whole.images)[moved].any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("method", SEARCHES)
def test_compiled_and_not_agree_on_sizes_that_are_not_known(method):
    rng = np.random.default_rng(0)
    options = {"queries": 12, "jit": True} | ({"budget": 0.1} if method == "square" else {"pixels": 0.15})
    compiled = Attacker(toy_net(seed=0), method, **options)
    for shape in ((3, 8, 12, 1), (3, 7, 9, 1)):
        images, masks = rng.uniform(size=shape).astype(np.float32), rng.integers(0, 2, shape[:3])
        found = compiled(images, masks, batch_size=2)
        expected = attack(toy_net(seed=0), images, masks, method, **options | {"jit": False})
        np.testing.assert_allclose(found.loss_after, expected.loss_after, rtol=1e-4)
        np.testing.assert_allclose(found.images, expected.images, atol=1e-6)
        assert (found.loss_after > found.loss_before).sum() > 1
        if method == "sparse_rs":
            assert 4 < changed(found, images).sum(axis=(1, 2)).max() <= round(0.15 * shape[1] * shape[2])


@pytest.mark.parametrize("method", SEARCHES)
def test_volumes_of_one_channel_are_searched(method):
    rng = np.random.default_rng(0)
    images, masks = rng.uniform(size=(3, 4, 8, 6, 1)).astype(np.float32), rng.integers(0, 2, (3, 4, 8, 6))
    inputs = keras.Input((4, 8, 6, 1))
    model = keras.Model(inputs, keras.layers.Conv3D(1, 3, padding="same")(inputs))
    found = attack(model, images, masks, method, queries=40, **SEARCHES[method])
    assert (found.loss_after > found.loss_before).all()
    moved = changed(found, images)
    if method == "sparse_rs":
        assert moved.shape == masks.shape and moved.sum(axis=(1, 2, 3)).max() <= 9
    first = attack(model, images, masks, method, queries=1, direction="fortify", **SEARCHES[method])
    first = first if (first.steps > 0).any() else attack(model, images, masks, method, queries=1, **SEARCHES[method])
    planes = np.sign(first.images - images)[first.steps > 0]
    if method == "square":  # one sign across a plane
        assert (abs(planes.sum(axis=(1, 2))) == 4 * 8).all() and len(np.unique(planes)) == 2


def test_square_finds_the_best_change_of_a_linear_model():
    """The best change of a model without neighbours is the sign of its weights, pixel by pixel."""
    inputs = keras.Input((12, 12, 3))
    weights = np.array([4.0, -2.0, 1.0])
    model = keras.Model(inputs, keras.layers.Conv2D(1, 1, use_bias=False)(inputs))
    model.layers[-1].set_weights([weights.reshape(1, 1, 3, 1)])
    images = np.random.default_rng(0).uniform(0.3, 0.7, (4, 12, 12, 3)).astype(np.float32)
    masks = np.zeros((4, 12, 12), int)
    masks[:, 6:, 3:] = 1

    def loss(images):
        z = (images @ weights) * np.where(masks, -1, 1)
        return np.log1p(np.exp(z)).mean(axis=(1, 2))

    best = loss(images + 0.1 * np.sign(weights) * np.where(masks, -1, 1)[..., None])
    found = attack(model, images, masks, "square", budget=0.1, queries=900)
    np.testing.assert_allclose(found.loss_after, loss(found.images), rtol=1e-4)
    share = (found.loss_after - found.loss_before) / (best - found.loss_before)
    assert (share <= 1 + 1e-4).all() and (share > 0.9).all(), share


def test_squares_have_the_side_of_the_schedule_and_any_place():
    inputs = keras.Input((12, 10, 1))
    model = keras.Model(inputs, keras.layers.Conv2D(1, 1, use_bias=False, kernel_initializer="ones")(inputs))
    images, masks = np.full((300, 12, 10, 1), 0.5, np.float32), np.zeros((300, 12, 10), int)
    options = {"budget": 0.25, "initial": 0.3, "schedule": 20}  # an eighth of the share from the second square on
    found = [
        attack(model, images, masks, "square", batch_size=300, queries=queries, **options) for queries in (1, 2, 3)
    ]
    stripes = found[0].images[found[0].steps == 1]
    assert (stripes == stripes[:, :1]).all() and set(np.unique(stripes)) == {0.25, 0.75}
    for before, after, queries, side in ((*found[:2], 2, 6), (*found[1:], 3, 2)):
        moved = (after.images != before.images)[(after.steps == queries) & (before.steps > 0)]
        edges = []
        for image in moved[..., 0]:
            y, x = np.nonzero(image)
            edges.append((y.min(), y.max(), x.min(), x.max()))
        top, bottom, left, right = np.transpose(edges)
        # A stripe or the square before may have the sign already.
        assert (bottom - top).max() == (right - left).max() == side - 1 and len(edges) > 30
        assert (bottom - top == side - 1).mean() > 0.9
        assert (top.min(), bottom.max(), left.min(), right.max()) == (0, 11, 0, 9)


def test_square_beats_random_signs(trained):
    model, images, masks = trained
    found = attack(model, images, masks, "square", budget=0.06, queries=100)
    rng, worst = np.random.default_rng(0), np.zeros(len(images))
    for _ in range(100):
        noisy = np.clip(images + 0.06 * rng.choice([-1, 1], images.shape), 0, 1).astype(np.float32)
        logits = tf.nn.log_softmax(model.predict_on_batch(noisy)).numpy()
        loss = -np.take_along_axis(logits, masks[..., None].astype(int), -1).mean((1, 2, 3))
        worst = np.maximum(worst, loss)
    assert (found.loss_after > worst).all()
    assert found.agreement_after.mean() < found.agreement_before.mean() - 0.02


def planted(weights):
    """A model of 4x4 images of 2 channels whose one output is a nonlinear function of a few pixels."""
    inputs = keras.Input((4, 4, 2))
    hidden = keras.layers.Dense(weights.shape[1], activation="tanh", use_bias=False)(keras.layers.Flatten()(inputs))
    outputs = keras.layers.Reshape((4, 4, 1))(keras.layers.Dense(16)(hidden))
    model = keras.Model(inputs, outputs)
    model.layers[2].set_weights([weights])
    return model


def test_sparse_rs_finds_the_pixels_that_an_exhaustive_search_finds():
    rng = np.random.default_rng(2)
    weights = np.zeros((4, 4, 2, 3))
    weights[0, 2], weights[3, 1], weights[2, 2] = rng.normal(size=(3, 2, 3))
    model = planted(weights.reshape(32, 3))
    image, mask = rng.uniform(0.2, 0.8, (4, 4, 2)).astype(np.float32), np.arange(16).reshape(1, 4, 4) % 2
    colours = list(product((0, 1), repeat=2))
    candidates = [image]
    for one, other in combinations(range(16), 2):
        for first, second in product(colours, repeat=2):
            candidate = image.copy().reshape(16, 2)
            candidate[one], candidate[other] = first, second
            candidates.append(candidate.reshape(4, 4, 2))
    candidates = np.array(candidates)
    z = model.predict(candidates, verbose=0)[..., 0] * np.where(mask, -1, 1)
    losses = np.log1p(np.exp(z.astype(np.float64))).mean(axis=(1, 2))
    found = attack(model, np.stack([image] * 8), np.repeat(mask, 8, axis=0), "sparse_rs", pixels=2, queries=1500)
    np.testing.assert_allclose(found.loss_after, losses.max(), rtol=1e-5)
    top = candidates[losses.argmax()]
    assert (found.images == top).all(axis=(1, 2, 3)).any()
    assert found.extra["pixels"][:, [0, 3, 2], [2, 1, 2]].sum(axis=1).min() == 2


def test_sparse_rs_of_all_pixels_and_within_a_budget():
    model = planted(np.random.default_rng(0).normal(size=(32, 4)))
    images, masks = np.full((2, 4, 4, 2), 0.5, np.float32), np.zeros((2, 4, 4), int)
    found = attack(model, images, masks, "sparse_rs", pixels=1.0, queries=60)
    assert (found.loss_after > found.loss_before).all() and set(np.unique(found.images)) <= {0, 0.5, 1}
    near = attack(model, images, masks, "sparse_rs", pixels=16, queries=60, budget=0.125, value_range=(0, 2))
    assert set(np.unique(near.images)) == {0.375, 0.625}
    far = attack(model, images, masks, "sparse_rs", pixels=16, queries=5, value_range=(-1, 2))
    assert set(np.unique(far.images)) == {-1, 2}


def test_schedules_are_those_of_the_papers():
    it = [0, 10, 11, 50, 51, 500, 501, 8000, 8001, 9999]
    halved = 0.5 ** _phases(0, 10000, None, MARKS)
    assert halved[it].tolist() == [1, 1, 0.5, 0.5, 0.25, 0.125, 0.0625, 2**-8, 2**-9, 2**-9]
    np.testing.assert_array_equal(0.5 ** _phases(0, 100, None, MARKS), halved[::100])
    np.testing.assert_array_equal(0.5 ** _phases(0, 100, 10000, MARKS), halved[:100])
    assert len(DIVISORS) == len(MARKS) + 1


def test_what_does_not_fit_is_refused():
    model = toy_net(seed=0)
    images, masks = np.zeros((1, 8, 8, 1), np.float32), np.zeros((1, 8, 8), int)
    for method, option, message in (
        ("square", {"norm": "l2"}, "norm='l2' does not fit attack 'square'"),
        ("square", {"queries": 0}, "queries=0 does not fit"),
        ("square", {"schedule": 0}, "schedule=0 does not fit"),
        ("sparse_rs", {"pixels": 0}, "pixels=0 does not fit"),
        ("sparse_rs", {"pixels": 1.5}, "pixels=1.5 does not fit"),
        ("sparse_rs", {"pixels": True}, "pixels=True does not fit"),
        ("sparse_rs", {"initial": 2}, "initial=2 does not fit"),
    ):
        with pytest.raises(ValueError, match=message):
            attack(model, images, masks, method, **option)
    with pytest.raises(ValueError, match="pixels=65 does not fit. Expected a whole number, at least 1 and at most 64"):
        number_of("pixels", 65, 64)
    assert [number_of("pixels", value, 64) for value in (3, 0.25, 1.0, 0.001)] == [3, 16, 64, 1]
