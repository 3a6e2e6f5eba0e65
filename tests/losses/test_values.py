import keras
import numpy as np
import pytest
import reference
import sklearn.metrics
import tensorflow as tf

import kseg.losses as L

# The 3 x 3 example of S2.10: prediction P and ground truth G; one channel, and background beside foreground.
P = np.array([[0.12, 0.83, 0.23], [0.89, 0.94, 0.36], [0.23, 0.06, 0.18]])
G = np.array([[0, 1, 0], [0, 1, 1], [0, 0, 0]])
PREDICTIONS = {1: P[None, ..., None], 2: np.stack([1 - P, P], -1)[None]}
LABELS = G[None]

WORKED = [  # loss, channels, value
    ("dice", 2, 0.304188),  # S2.15
    ("dice_square", 2, 0.192762),
    ("dicefg", 2, 0.377193),
    ("dicefg_square", 2, 0.246071),
    ("dice", 1, 0.377193),
    ("dicefg", 1, 0.377193),
    ("dice_square", 1, 0.246071),  # S2.10
    ("log_dice", 1, 0.282457),  # S2.13
    ("log_dice(include_background=False)", 2, 0.282457),
    ("bce", 1, 0.487558),  # S2.16, S3.5
    ("cce", 2, 0.487558),
    ("weighted_cce", 2, 0.487558),
    ("mse", 1, (2.6504 + 3 - 4.26) / 9),  # from the sums of S2.10
    ("dice_bce", 1, 0.864751),  # S3.6
    ("jaccard", 1, 0.547771),  # S3.7
    ("focal", 1, 0.160491),  # S3.8
    ("focal(alpha=0.8)", 1, 0.077352),
    ("focal(alpha=None, gamma=0)", 1, 0.487558),
    ("focal(alpha=None, gamma=1)", 1, 0.314302),
    ("focal(alpha=None)", 1, 0.245400),
    ("focal(gamma=1)", 2, 0.314302),
    ("focal(alpha=[0.75, 0.25])", 2, 0.160491),
    ("tversky(fp_weight=0.5, fn_weight=0.5)", 1, 1 - 0.622807),  # S3.9
    ("tversky", 1, 1 - 0.654982),
    ("tversky(fp_weight=0.7, fn_weight=0.3)", 1, 1 - 0.593645),
    ("focal_tversky", 1, 0.450175),
    ("focal_tversky(exponent=1.3333333333)", 1, 0.241986),
    ("focal_tversky(exponent=2)", 1, 0.119038),
    ("bce + dice + focal", 1, 1.025241),  # section 8
]


@pytest.mark.parametrize(("spec", "channels", "value"), WORKED)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_worked_example_of_nine_pixels(spec, channels, value, dtype):
    prediction = PREDICTIONS[channels].astype(dtype)
    result = L.get(spec)(LABELS, prediction)
    assert result.dtype == dtype
    assert float(result) == pytest.approx(value, abs=1e-6)
    logits = np.log(prediction / (1 - prediction)) if channels == 1 else np.log(prediction)
    assert float(L.get(spec, from_logits=True)(LABELS, logits)) == pytest.approx(value, abs=2e-6)


def probability_gradient(spec, prediction):
    p = tf.constant(prediction)
    with tf.GradientTape() as tape:
        tape.watch(p)
        value = L.get(spec)(LABELS, p)
    return value, tape.gradient(value, p).numpy()[0, ..., 0]


def test_gradient_of_the_dice_example():
    _, gradient = probability_gradient("dice_square", PREDICTIONS[1])
    score = [[-0.03202, 0.13246, -0.06138], [-0.23750, 0.10311, 0.25789], [-0.06138, -0.01601, -0.04803]]
    np.testing.assert_allclose(-gradient, score, atol=6e-6)


def test_gradient_of_the_binary_cross_entropy_example():
    _, gradient = probability_gradient("bce", PREDICTIONS[1])
    of_sum = [[1.1364, -1.2048, 1.2987], [9.0909, -1.0638, -2.7778], [1.2987, 1.0638, 1.2195]]
    np.testing.assert_allclose(9 * gradient, of_sum, atol=6e-5)


def test_gradient_of_bce_with_respect_to_logits_is_p_minus_g():
    logits = tf.constant(np.log(P / (1 - P))[None, ..., None])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = L.get("bce", from_logits=True)(LABELS, logits)
    np.testing.assert_allclose(9 * tape.gradient(value, logits)[0, ..., 0], P - G, atol=1e-12)


def test_gradient_of_log_dice_is_that_of_dice_over_the_score():
    _, of_dice = probability_gradient("dice_square", PREDICTIONS[1])
    _, of_log = probability_gradient("log_dice", PREDICTIONS[1])
    np.testing.assert_allclose(of_log, of_dice / 0.753929, rtol=1e-5)


def test_a_single_pixel_class_pulls_harder():
    single = np.zeros((1, 3, 3), int)
    single[0, 1, 1] = 1
    p = tf.constant(PREDICTIONS[1])
    with tf.GradientTape() as tape:
        tape.watch(p)
        value = L.get("dice_square")(single, p)
    assert float(value) == pytest.approx(0.484988, abs=1e-6)  # S2.11
    assert -float(tape.gradient(value, p)[0, 1, 1, 0]) == pytest.approx(0.282648, abs=1e-6)


@pytest.mark.parametrize(("pixels", "slope"), [(1, 2), (3, 0.666667), (9, 2 / 9)])
def test_dice_gradient_at_a_zero_prediction_is_inverse_to_the_size_of_the_class(pixels, slope):
    truth = np.zeros(9, int)
    truth[:pixels] = 1
    p = tf.zeros([1, 3, 3, 1], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(p)
        value = L.get("dice_square", smooth=1e-12)(truth.reshape(1, 3, 3), p)
    assert -float(tape.gradient(value, p)[0, 0, 0, 0]) == pytest.approx(slope, abs=1e-6)  # S2.12


def test_question_one_of_the_dice_gradient():
    prediction, truth = P.copy(), np.zeros((1, 3, 3), int)
    prediction[1, 2] = 0.377269
    truth[0, 0, 1] = truth[0, 1, 1] = 1
    p = tf.constant(prediction[None, ..., None])
    with tf.GradientTape() as tape:
        tape.watch(p)
        value = L.get("dice_square")(truth, p)
    score = -tape.gradient(value, p).numpy()[0, ..., 0]
    assert score[1, 1] == pytest.approx(0.122837, abs=1e-6)  # S2.14
    assert score[1, 2] == pytest.approx(-0.122837, abs=1e-6)


# S1.7: foreground share, constant foreground probability, cce, dice, dicefg, dice_square, dicefg_square.
CLIPPED = 16.118
CONSTANT = [
    (0.05, 0.5, 0.6931, 0.6270, 0.9091, 0.5208, 0.8333),
    (0.50, 0.5, 0.6931, 0.5000, 0.5000, 0.3333, 0.3333),
    (0.95, 0.5, 0.6931, 0.6270, 0.3448, 0.5208, 0.2083),
    (0.05, 0.05, 0.1985, 0.5000, 0.9500, 0.4652, 0.9048),
    (0.95, 0.95, 0.1985, 0.5000, 0.0500, 0.4652, 0.0256),
    (0.05, 1.0, 0.95 * CLIPPED, 0.9524, 0.9048, 0.9524, 0.9048),
    (0.50, 1.0, 0.50 * CLIPPED, 0.6667, 0.3333, 0.6667, 0.3333),
    (0.95, 1.0, 0.05 * CLIPPED, 0.5128, 0.0256, 0.5128, 0.0256),
    (0.05, 0.0, 0.05 * CLIPPED, 0.5128, 1.0000, 0.5128, 1.0000),
]


@pytest.mark.parametrize(("share", "q", "cce", "dice", "dicefg", "dice_square", "dicefg_square"), CONSTANT)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_constant_predictions(share, q, cce, dice, dicefg, dice_square, dicefg_square, dtype):
    ids = (np.arange(40) < round(40 * share)).astype(int).reshape(2, 4, 5)
    p = np.broadcast_to(np.array([1 - q, q], dtype), (2, 4, 5, 2))
    assert float(L.get("cce")(ids, p)) == pytest.approx(cce, abs=1.2e-2 if q in (0, 1) else 1e-4)
    for name, value in [
        ("dice", dice),
        ("dicefg", dicefg),
        ("dice_square", dice_square),
        ("dicefg_square", dicefg_square),
    ]:
        assert float(L.get(name)(ids, p)) == pytest.approx(value, abs=1e-4), name


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 3, (2, 3, 4))
    logits = rng.normal(size=(2, 3, 4, 3)) * 2
    return ids, reference.one_hot(ids, 3), logits, reference.softmax(logits)


def test_published_functions_agree_with_the_classes(batch):
    ids, y, _, p = batch
    assert float(L.cce_loss(p, y)) == pytest.approx(float(L.CCE()(ids, p)), abs=1e-12)
    flags = {
        (False, False): L.Dice,
        (False, True): L.DiceSquare,
        (True, False): L.DiceFG,
        (True, True): L.DiceFGSquare,
    }
    for (ignore_background, square), loss in flags.items():
        value = L.dice_loss(p, y, ignore_background=ignore_background, square=square)
        assert float(value) == pytest.approx(float(loss()(ids, p)), abs=1e-12)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (L.CCE, lambda **k: keras.losses.CategoricalCrossentropy(**k)),
        (L.WeightedCCE, lambda **k: keras.losses.CategoricalCrossentropy(**k)),
        (
            lambda **k: L.CCE(label_smoothing=0.2, **k),
            lambda **k: keras.losses.CategoricalCrossentropy(label_smoothing=0.2, **k),
        ),
        (
            lambda **k: L.Focal(alpha=[0.25] * 3, **k),
            lambda **k: keras.losses.CategoricalFocalCrossentropy(**k),
        ),
    ],
    ids=["cce", "weighted_cce", "label smoothing", "focal"],
)
def test_keras_categorical_losses(batch, ours, theirs):
    _, y, logits, _ = (np.float32(part) for part in batch)
    expected = float(theirs(from_logits=True)(y, logits))
    assert float(ours(from_logits=True)(y, logits)) == pytest.approx(expected, rel=1e-5)


def test_keras_sparse_categorical_crossentropy(batch):
    ids, _, logits, _ = batch
    ids, logits = ids.copy(), np.float32(logits)
    expected = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(ids, logits)
    assert float(L.CCE(from_logits=True)(ids, logits)) == pytest.approx(float(expected), rel=1e-5)
    ids[0, 0] = 255
    rows = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255, reduction="none")
    expected = np.sum(rows(ids, logits)) / np.sum(ids != 255)
    assert float(L.CCE(from_logits=True, ignore_class=255)(ids, logits)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (L.BCE, keras.losses.BinaryCrossentropy),
        (L.MSE, None),
        (L.Focal, lambda **k: keras.losses.BinaryFocalCrossentropy(apply_class_balancing=True, **k)),
        (
            lambda **k: L.Focal(alpha=None, gamma=3, **k),
            lambda **k: keras.losses.BinaryFocalCrossentropy(gamma=3, **k),
        ),
    ],
    ids=["bce", "mse", "focal", "focal without alpha"],
)
def test_keras_binary_losses(batch, ours, theirs):
    ids, _, logits, _ = batch
    y, z = np.float32(ids > 0)[..., None], np.float32(logits[..., :1])
    if theirs is None:
        expected = keras.losses.MeanSquaredError()(y, reference.sigmoid(z))
    else:
        expected = theirs(from_logits=True)(y, z)
    assert float(ours(from_logits=True)(y, z)) == pytest.approx(float(expected), rel=1e-5)


def test_keras_overlap_losses(batch):
    _, y, _, p = (np.float32(part) for part in batch)
    per_class = keras.losses.Dice(axis=(0, 1, 2), reduction="none")(y, p)  # one value per class
    assert float(L.Dice()(y, p)) == pytest.approx(float(np.mean(per_class)), abs=1e-6)
    # Keras documents alpha as the weight of false positives, but multiplies it by sum y (1 - p).
    tversky = keras.losses.Tversky(alpha=0.9, beta=0.2, axis=(0, 1, 2), reduction="none")(y, p)
    ours = L.Tversky(fp_weight=0.2, fn_weight=0.9)(y, p)
    assert float(ours) == pytest.approx(float(np.mean(tversky)), abs=1e-6)


def test_scikit_learn_log_loss(batch):
    ids, _, logits, p = batch
    expected = sklearn.metrics.log_loss(ids.ravel(), p.reshape(-1, 3))
    assert float(L.CCE(from_logits=True)(ids, logits)) == pytest.approx(expected, rel=1e-9)
    q = p[..., 1:2]
    expected = sklearn.metrics.log_loss(ids.ravel() == 1, q.ravel())
    assert float(L.BCE()((ids == 1).astype(int), q)) == pytest.approx(expected, rel=1e-9)


def test_bce_over_several_classes_is_the_mean_of_one_against_the_rest(batch):
    ids, _, logits, _ = batch
    parts = [sklearn.metrics.log_loss((ids == k).ravel(), reference.sigmoid(logits[..., k]).ravel()) for k in range(3)]
    assert float(L.BCE(from_logits=True)(ids, logits)) == pytest.approx(np.mean(parts), rel=1e-9)


def test_tversky_meets_dice_and_jaccard(batch):
    ids, _, _, p = batch
    half = L.get("tversky(fp_weight=0.5, fn_weight=0.5)", smooth=0)(ids, p)
    one = L.get("tversky(fp_weight=1, fn_weight=1)", smooth=0)(ids, p)
    assert float(half) == pytest.approx(float(L.get("dice", smooth=0)(ids, p)), abs=1e-12)
    assert float(one) == pytest.approx(float(L.get("jaccard", smooth=0)(ids, p)), abs=1e-12)


@pytest.mark.parametrize("name", ["dice", "dice_square", "dicefg", "dicefg_square"])
@pytest.mark.parametrize("classes", [2, 5])
def test_dice_losses_lie_between_zero_and_one(name, classes):
    rng = np.random.default_rng(classes)
    ids = rng.integers(0, classes, (2, 4, 4))
    for scale in (0.1, 3, 100):
        value = float(L.get(name, from_logits=True)(ids, scale * rng.normal(size=(2, 4, 4, classes))))
        assert 0 <= value <= 1
    assert float(L.get(name)(ids, reference.one_hot(ids, classes))) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", ["dice", "dice_square", "dicefg", "dicefg_square"])
def test_an_absent_class_that_is_not_predicted_costs_nothing(name):
    ids = np.array([[[0, 1], [1, 0]]])
    assert float(L.get(name)(ids, reference.one_hot(ids, 3))) == pytest.approx(0, abs=1e-12)


def test_dice_does_not_change_when_the_two_classes_swap_but_dicefg_does(batch):
    ids, _, logits, _ = batch
    ids, p = (ids > 0).astype(int), reference.softmax(logits[..., :2])
    swapped = (1 - ids, p[..., ::-1].copy())
    for name in ("dice", "dice_square", "cce"):
        assert float(L.get(name)(ids, p)) == pytest.approx(float(L.get(name)(*swapped)), abs=1e-12)
    assert abs(float(L.get("dicefg")(ids, p)) - float(L.get("dicefg")(*swapped))) > 0.01


def test_probabilities_are_clipped_as_in_the_document_and_logits_are_not():
    ids = np.array([[[1, 1]]])
    certain = np.array([[[[1.0, 0.0], [1.0, 0.0]]]])
    assert float(L.CCE()(ids, certain)) == pytest.approx(-np.log(1e-7), abs=1e-6)
    assert float(L.CCE(from_logits=True)(ids, 100 * certain)) == pytest.approx(100, abs=1e-6)
    assert float(L.BCE(from_logits=True)(ids, np.full((1, 1, 2, 1), -100.0))) == pytest.approx(100, abs=1e-6)


def test_a_loss_of_many_pixels_keeps_five_digits():
    """One pass over 16 million float32 terms would lose a third of their sum (XLA) without a word."""
    p = tf.constant(0.1, shape=[1, 4096, 4096, 1])
    loss = L.get("dice")
    for run in (loss, tf.function(loss, jit_compile=True)):
        assert float(run(p, p)) == pytest.approx(0.9, rel=1e-5)
