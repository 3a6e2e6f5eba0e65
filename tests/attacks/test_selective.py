"""Method two against all choices tried one by one."""

from itertools import product

import keras
import numpy as np
import pytest
import reference_attacks as ref
import tensorflow as tf

from kseg.attacks import Attacker, attack, rebuild
from kseg.attacks.selective import combinations

RNG = np.random.default_rng(0)
BUDGET = 0.04


def network(classes):
    """A small net, which is traced and compiled sooner than a U-Net."""
    keras.utils.set_random_seed(classes)
    inputs = keras.Input((8, 8, 2))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    return keras.Model(inputs, keras.layers.Conv2D(classes, 3, padding="same", name="logits")(x))


def batch(classes):
    images = RNG.uniform(0, 1, (3, 8, 8, 2)).astype(np.float32)
    return images, RNG.integers(0, max(classes, 2), (3, 8, 8))


def one_by_one(model, images, masks, classes):
    """{choice: images, loss `[N]`} of every choice, from signs that Keras and NumPy give."""
    signs = []
    for class_id in range(classes):
        with tf.GradientTape() as tape:
            x = tf.constant(images)
            tape.watch(x)
            z = model(x, training=False)
            target = tf.fill(masks.shape, class_id)
            if z.shape[-1] == 1:
                loss = tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(target, tf.float32)[..., None], z)
            else:
                loss = tf.nn.sparse_softmax_cross_entropy_with_logits(target, z)
            loss = tf.reduce_sum(loss)
        signs.append(np.sign(tape.gradient(loss, x).numpy()))
    choices = [*product((0, 1, -1), repeat=classes)]
    totals = [sum(s * sign for s, sign in zip(choice, signs, strict=True)) for choice in choices]
    moved = [np.clip(images + np.float32(BUDGET) * total, 0, 1).astype(np.float32) for total in totals]
    z = ref.two_logits(model.predict(np.concatenate(moved), verbose=0).astype(np.float64))
    loss = -ref.picked(ref.log_softmax(z), np.concatenate([masks] * len(choices))).mean(axis=(1, 2))
    return dict(zip(choices, zip(moved, loss.reshape(len(choices), -1), strict=True), strict=True))


@pytest.mark.parametrize(("channels", "jit"), [(1, False), (2, False), (3, False), (4, False), (1, True), (3, True)])
def test_the_best_of_all_choices_is_found(channels, jit):
    classes = max(channels, 2)
    model, (images, masks) = network(channels), batch(channels)
    found = attack(model, images, masks, "selective", budget=BUDGET, jit=jit, batch_size=2, chunk=20)
    tried = one_by_one(model, images, masks, classes)
    losses = np.stack([loss for _, loss in tried.values()])
    for i, choice in enumerate(found.extra["choices"]):
        moved, loss = tried[tuple(choice.tolist())]
        assert loss[i] <= losses[:, i].min() + 1e-6
        np.testing.assert_allclose(found.images[i], moved[i], atol=1e-6)
        assert found.loss_after[i] == pytest.approx(loss[i], abs=2e-6)
    assert (found.extra["evaluations"] == 3**classes).all()
    assert (found.loss_after <= found.loss_before).all() and (found.loss_after < found.loss_before).any()


def test_choices_come_by_number_of_steps_then_by_the_fixed_order():
    assert combinations(2).tolist() == [
        [0, 0], [0, 1], [0, 2], [1, 0], [2, 0], [1, 1], [1, 2], [2, 1], [2, 2],
    ]  # fmt: skip
    assert len(combinations(6)) == 729


class Squared(keras.losses.Loss):
    """(x - 1)^2 of the last logit, whatever the mask says."""

    def __init__(self, sign=1.0):
        super().__init__()
        self.sign = sign

    def call(self, y_true, y_pred):
        return self.sign * tf.square(y_pred[..., -1] - 1.0)

    def get_config(self):
        return {"sign": self.sign, "from_logits": True}


def test_the_worked_examples():
    """S4.5 with J = (x - 1)^2 and steps of 0.1: both classes have the same gradient, so that both steps are taken."""
    model = ref.linear_model([[1.0]], [0.0], (1, 1))
    images = np.reshape([0.5, 1.0, 1.5], (3, 1, 1, 1))
    options = {"budget": 0.1, "value_range": (0, 2), "loss": Squared()}
    found = attack(model, images, np.zeros((3, 1, 1), int), "selective", **options)
    np.testing.assert_allclose(found.images.ravel(), [0.7, 1.0, 1.3], atol=1e-6)
    np.testing.assert_array_equal(found.extra["choices"], [[-1, -1], [0, 0], [-1, -1]])
    np.testing.assert_allclose(found.loss_after, [0.09, 0.0, 0.09], atol=1e-6)
    assert found.steps.tolist() == [1, 0, 1]


def test_of_equal_losses_nothing_at_all_is_chosen():
    model = ref.linear_model([[0.0, 1.0]], [50.0, -50.0])  # sure of class 0 whatever is added
    images, masks = np.full((2, 4, 5, 1), 0.5), np.zeros((2, 4, 5), int)
    found = attack(model, images, masks, "selective", budget=0.01, judge="pixels")
    assert not found.extra["choices"].any() and not found.extra["pattern"].any()
    np.testing.assert_array_equal(found.images, images.astype(np.float32))


def squared(ids, logits):
    return tf.square(logits[..., -1] - 1.0)


def test_a_plain_function_will_do_as_a_loss():
    model = ref.linear_model([[1.0]], [0.0], (2, 3))
    images, masks = RNG.uniform(0, 2, (3, 2, 3, 1)), np.zeros((3, 2, 3), int)
    options = {"budget": 0.1, "value_range": (0, 2)}
    kept, other = (attack(model, images, masks, "selective", loss=loss, **options) for loss in (squared, Squared()))
    np.testing.assert_array_equal(kept.images, other.images)
    np.testing.assert_allclose(kept.loss_after, ((kept.images - 1) ** 2).mean(axis=(1, 2, 3)), rtol=1e-5)
    assert kept.settings["loss"] == "squared"
    with pytest.raises(ValueError, match="the loss gives shape"):
        attack(model, images, masks, "pgd", loss=lambda ids, logits: tf.square(logits), **options)


class Tied(keras.losses.Loss):
    """-(x - 1)^2 of the last logit where the mask is 0, and x where it is 1."""

    def call(self, y_true, y_pred):
        x = y_pred[..., -1]
        return tf.where(tf.reshape(y_true, tf.shape(x)) == 0, -tf.square(x - 1.0), x)

    def get_config(self):
        return {"from_logits": True}


def test_of_equal_choices_the_first_in_the_fixed_order_is_taken():
    """S4.5: with J = -(x - 1)^2 at x = 1 adding and taking away are as good as each other; adding comes first."""
    model = ref.linear_model([[1.0]], [0.0], (1, 1))
    for chunk in (1, 8, 100):
        found = attack(
            model, np.ones((2, 1, 1, 1)), np.zeros((2, 1, 1), int), "selective", budget=0.25, value_range=(0, 2),
            loss=Tied(), chunk=chunk,
        )  # fmt: skip
        np.testing.assert_array_equal(found.extra["choices"], [[0, 1], [0, 1]])
        np.testing.assert_array_equal(found.images.ravel(), 1.25)


@pytest.mark.parametrize("search", ["exact", "beam"])
def test_where_every_change_does_harm_nothing_is_done(search):
    model = ref.linear_model([[1.0]], [0.0], (1, 1))
    options = {"budget": 0.1, "value_range": (0, 2), "loss": Squared(), "search": search}
    found = attack(model, np.ones((2, 1, 1, 1)), np.zeros((2, 1, 1), int), "selective", **options)
    assert not found.extra["choices"].any() and (found.images == 1).all()


def test_too_many_classes_are_refused_unless_by_a_beam():
    model = ref.linear_model(np.ones((1, 11)), np.zeros(11), (1, 1))
    with pytest.raises(ValueError, match="3.11 choices. Expected at most 10 classes; take search='beam'"):
        attack(model, np.ones((1, 1, 1, 1)), np.zeros((1, 1, 1), int), "selective")


@pytest.mark.parametrize("judge", ["pixels", "iou"])
def test_pixel_error_and_iou_can_be_what_is_chosen_by(judge):
    model, (images, masks) = network(3), batch(3)
    found = attack(model, images, masks, "selective", budget=BUDGET, judge=judge)
    tried = one_by_one(model, images, masks, 3)
    ones = np.ones(masks.shape)
    scores = []
    for moved, _ in tried.values():
        ids = model.predict(moved, verbose=0).argmax(axis=-1)
        scores.append((ids == masks).mean(axis=(1, 2)) if judge == "pixels" else ref.mean_iou(ids, masks, ones))
    ids = model.predict(found.images, verbose=0).argmax(axis=-1)
    got = (ids == masks).mean(axis=(1, 2)) if judge == "pixels" else ref.mean_iou(ids, masks, ones)
    np.testing.assert_allclose(got, np.max(scores, axis=0), atol=1e-6)


def test_an_attack_chooses_the_worst():
    model, (images, masks) = network(3), batch(3)
    found = attack(model, images, masks, "selective", budget=BUDGET, direction="attack")
    losses = np.stack([loss for _, loss in one_by_one(model, images, masks, 3).values()])
    np.testing.assert_allclose(found.loss_after, losses.max(axis=0), atol=2e-6)


def test_a_beam_is_never_worse_than_nothing_and_mostly_as_good_as_all():
    model, (images, masks) = network(4), batch(4)
    exact = attack(model, images, masks, "selective", budget=BUDGET)
    for width in (1, 9):
        beam = attack(model, images, masks, "selective", budget=BUDGET, search="beam", width=width)
        assert (exact.loss_after <= beam.loss_after + 1e-6).all() and (beam.loss_after <= beam.loss_before).all()
        assert (beam.extra["evaluations"] == 1 + 16 * width).all()
        assert beam.settings["search"] == "beam"
    gain = (beam.loss_before - beam.loss_after) / (exact.loss_before - exact.loss_after)
    assert gain.min() > 0.9


@pytest.mark.parametrize("jit", [False, True])
def test_the_record_gives_the_images_bit_for_bit(jit):
    model, (images, masks) = network(3), batch(3)
    found = attack(model, images, masks, "selective", budget=BUDGET, value_range=(-0.5, 1.0), jit=jit)
    again = rebuild(images, found.extra["pattern"], BUDGET, (-0.5, 1.0))
    assert found.extra["pattern"].dtype == np.int8 and (again != images).any()
    np.testing.assert_array_equal(again, found.images)


def test_the_same_program_takes_another_budget():
    model, (images, masks) = network(2), batch(2)
    attacker = Attacker(model, "selective", budget=BUDGET)
    direct = attack(model, images, masks, "selective", budget=0.01)
    np.testing.assert_array_equal(attacker(images, masks, budget=0.01).images, direct.images)
