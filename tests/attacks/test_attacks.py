"""What every attack has in common, over the table of all of them; and what single ones are known to find."""

import keras
import numpy as np
import pytest
import reference_attacks as ref

from kseg.attacks import ATTACKS, OBJECTIVES, Attacker, attack, problem
from kseg.attacks.gradient import checkpoints
from kseg.models import with_probabilities

RNG = np.random.default_rng(1)
# Of each attack: options that make it quick; and what it is not there for.
QUICK = {
    "fgsm": {}, "pgd": {"steps": 5, "random_start": True, "restarts": 2, "momentum": 0.5}, "segpgd": {"steps": 5},
    "cospgd": {"steps": 5}, "apgd": {"steps": 8}, "ensemble": {"steps": 6}, "layered": {"steps": 3},
    "selective": {"search": "beam", "width": 3}, "dag": {"steps": 6}, "alma_prox": {"steps": 12, "rate": 1.0},
    "square": {"queries": 30}, "sparse_rs": {"queries": 30, "pixels": 9}, "patch": {"steps": 5, "count_patch": True},
    "universal": {"steps": 5, "together": 2},
}  # fmt: skip
UNJUDGED = ("fgsm", "layered", "universal")  # which do not keep the best
BY_PIXELS = ("ensemble", "dag", "alma_prox")  # which do not look at the loss
IMAGES = RNG.uniform(0, 1, (5, 8, 12, 2)).astype(np.float32)
MASKS = RNG.integers(0, 3, (5, 8, 12)).astype(np.uint8)


@pytest.fixture(scope="module")
def model():
    """A small net with batch normalisation, that is traced and compiled sooner than a U-Net."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((8, 12, 2))
    x = keras.layers.Conv2D(4, 3, padding="same")(inputs)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    net = keras.Model(inputs, keras.layers.Conv2D(3, 3, padding="same", name="logits")(x))
    for layer in net.layers:  # statistics that differ from those of the batch
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([RNG.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return with_probabilities(net, "softmax")


@pytest.fixture(scope="module")
def ran(model):
    """`ran(name, **options)`: an attack's result and its attacker, made once."""
    made = {}

    def run(name, budget=0.05, **options):
        key = (name, budget, *sorted(options.items()))
        if key not in made:
            attacker = Attacker(model, name, budget=budget, **QUICK[name] | options)
            made[key] = attacker(IMAGES, MASKS, batch_size=2), attacker
        return made[key]

    return run


def test_the_table_has_every_attack():
    assert set(QUICK) == set(ATTACKS.names())
    assert all(ATTACKS.facts(name)["source"] for name in QUICK)


@pytest.mark.parametrize("name", QUICK)
def test_changes_stay_in_the_ball_and_in_the_range(ran, name):
    found, _ = ran(name)
    change = np.abs(found.images - IMAGES)
    passes = 3 if name in ("layered", "selective") else 1  # a ball around each pass; a step for each class
    assert change.max() <= 0.05 * passes * (1 + 1e-5) and change.max() > 0.01
    assert found.images.min() >= 0 and found.images.max() <= 1
    np.testing.assert_allclose(found.size, change.max(axis=(1, 2, 3)), rtol=1e-6)


@pytest.mark.parametrize("name", QUICK)
def test_what_is_told_is_what_the_model_says(ran, model, name):
    found, attacker = ran(name)
    for images, loss, agreement in (
        (IMAGES, found.loss_before, found.agreement_before), (found.images, found.loss_after, found.agreement_after),
    ):  # fmt: skip
        p = model.predict(images, verbose=0)
        expected = -np.log(ref.picked(p.astype(np.float64), MASKS)).mean(axis=(1, 2))
        np.testing.assert_allclose(loss, expected, rtol=1e-4)
        np.testing.assert_allclose(agreement, (p.argmax(axis=-1) == MASKS).mean(axis=(1, 2)), atol=1e-6)
    reached = found.agreement_after >= 0.99 if name == "selective" else found.agreement_after <= 0.01
    np.testing.assert_array_equal(found.success, reached)
    if name not in UNJUDGED:
        sign = -1 if name == "selective" else 1
        before, after = found.loss_before, found.loss_after
        if name in ("dag", "alma_prox"):
            before, after = -found.agreement_before, -found.agreement_after
        if name == "ensemble":  # judged by IoU
            before, after = (
                -ref.mean_iou(model.predict(x, verbose=0).argmax(-1), MASKS, np.ones(MASKS.shape))
                for x in (IMAGES, found.images)
            )
        assert (sign * after >= sign * before - 1e-6).all()
        np.testing.assert_array_equal(found.steps == 0, (found.images == IMAGES).all(axis=(1, 2, 3)))
    assert found.settings["method"] == name and found.settings["budget"] == 0.05


@pytest.mark.parametrize("name", [name for name in QUICK if name != "universal"])
def test_an_image_gets_the_same_in_any_batch(ran, name):
    found, attacker = ran(name)
    alone = attacker(IMAGES[3:4], MASKS[3:4], rows=[3])
    np.testing.assert_allclose(alone.loss_after, found.loss_after[3:4], rtol=2e-4)
    same = np.isclose(alone.images, found.images[3:4], atol=1e-5)
    assert same.mean() > 0.98  # a gradient of rounding noise has either sign


def test_batches_tell_how_many_images_are_done(ran):
    told, (_, attacker) = [], ran("fgsm")
    attacker(IMAGES, MASKS, batch_size=len(IMAGES) - 1, tell=told.append)
    assert told == [len(IMAGES) - 1, len(IMAGES)]


@pytest.mark.parametrize("name", QUICK)
def test_compiled_and_not_agree(ran, name):
    found, (compiled, attacker) = ran(name)[0], ran(name, jit=True)
    assert attacker.jit
    near = 1e-2 if name == "alma_prox" else 1e-3  # which goes to and fro at the border, by the sign of rounding noise
    np.testing.assert_allclose(compiled.loss_after, found.loss_after, atol=near)
    np.testing.assert_allclose(compiled.loss_before, found.loss_before, rtol=1e-5)


def test_one_compiled_step_flips_no_sign(ran):
    (found, _), (compiled, _) = ran("fgsm"), ran("fgsm", jit=True)
    np.testing.assert_allclose(compiled.images, found.images, atol=1e-7)


@pytest.mark.parametrize("loss", OBJECTIVES.names())
def test_measures_made_in_one_program_are_the_same(model, loss, monkeypatch):
    options = {"loss": loss, "budget": 0.05, "steps": 1, "ignore_class": 255, "jit": False}
    masks, found = np.where(MASKS == 2, 255, MASKS), []
    for size in (10**9, 1):
        monkeypatch.setattr(problem, "FUSED", size)
        attacker = Attacker(model, "pgd", **options)
        found.append(attacker(IMAGES, masks))
        library = attacker._program.graph.as_graph_def().library.function
        assert any(function.attr["_XlaMustCompile"].b for function in library) == (size == 1)
    np.testing.assert_allclose(found[1].images, found[0].images, atol=1e-7)
    np.testing.assert_allclose(found[1].loss_after, found[0].loss_after, rtol=1e-5)
    np.testing.assert_array_equal(found[1].agreement_after, found[0].agreement_after)


@pytest.mark.parametrize("name", QUICK)
def test_pixels_that_do_not_count_do_not_matter(model, name):
    hidden = RNG.uniform(size=MASKS.shape) < 0.4
    attacker = Attacker(model, name, budget=0.05, ignore_class=255, **QUICK[name])
    found = attacker(IMAGES, np.where(hidden, 255, MASKS))
    p = model.predict(found.images, verbose=0)
    right = np.ma.array(p.argmax(axis=-1) == MASKS, mask=hidden).mean(axis=(1, 2))
    np.testing.assert_allclose(found.agreement_after, right, atol=1e-6)
    cross = np.ma.array(-np.log(ref.picked(p.astype(np.float64), MASKS)), mask=hidden).mean(axis=(1, 2))
    np.testing.assert_allclose(found.loss_after, cross, rtol=1e-4)


@pytest.mark.parametrize("name", QUICK)
def test_no_budget_changes_nothing(ran, name):
    found, _ = ran(name)[1], None
    nothing = found(IMAGES, MASKS, budget=0.0)
    np.testing.assert_array_equal(nothing.images, IMAGES)
    assert nothing.settings["budget"] == 0 and found.settings["budget"] == 0.05


@pytest.mark.parametrize("name", [name for name in QUICK if name not in (*UNJUDGED, "selective")])
@pytest.mark.parametrize("direction", ["target", "fortify"])
def test_the_other_directions_bring_the_model_towards_the_masks(ran, name, direction):
    found, _ = ran(name, budget=0.5 if name in BY_PIXELS else 0.05, direction=direction)
    if name in BY_PIXELS:
        assert (found.agreement_after >= found.agreement_before - (0.1 if name == "ensemble" else 0)).all()
        assert found.agreement_after.mean() > found.agreement_before.mean()
    else:
        assert (found.loss_after < found.loss_before).all()


@pytest.mark.parametrize("name", QUICK)
def test_volumes_of_one_sigmoid_are_attacked(name):
    rng = np.random.default_rng(0)
    model = ref.linear_model(rng.normal(size=(2, 1)), [0.1], (3, 4, 2), "sigmoid")
    images, masks = rng.uniform(0, 1, (3, 3, 4, 2, 2)), rng.integers(0, 2, (3, 3, 4, 2))
    found = attack(model, images, masks, name, budget=0.1, batch_size=2, **QUICK[name])
    assert found.images.shape == images.shape and np.isfinite(found.loss_after).all()
    if name in ("dag", "alma_prox"):
        assert found.agreement_after.mean() < found.agreement_before.mean()
    elif name not in UNJUDGED and name != "ensemble":
        better = found.loss_after < found.loss_before if name == "selective" else found.loss_after > found.loss_before
        assert better.all()


def test_the_model_is_left_as_it_was(model, ran):
    before = [w.copy() for w in model.get_weights()]
    ran("pgd", judge="iou")
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_masks_may_be_one_hot_or_have_a_channel(ran):
    found, attacker = ran("apgd")
    for masks in (np.eye(3)[MASKS], MASKS[..., None], MASKS.astype(float)):
        np.testing.assert_array_equal(attacker(IMAGES, masks, batch_size=2).images, found.images)


def test_fgsm_is_the_formula():
    """S4.1 on a linear sigmoid model, whose gradient is (p - y) w; a weight of 0 moves nothing."""
    model = ref.linear_model([[1.5], [0.0], [-0.5]], [0.2])
    rng = np.random.default_rng(2)
    images, masks = rng.uniform(0.2, 0.8, (2, 4, 5, 3)).astype(np.float32), rng.integers(0, 2, (2, 4, 5))
    for direction, sign in (("attack", 1), ("fortify", -1)):
        found = attack(model, images, masks, "fgsm", budget=0.1, direction=direction, value_range=(0, 1))
        up = np.where(masks == 1, -1, 1)[..., None] * np.sign([1.5, 0, -0.5])
        np.testing.assert_allclose(found.images, images + sign * 0.1 * up, atol=1e-6)
        assert (sign * (found.loss_after - found.loss_before) > 0).all()


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("name", ["pgd", "apgd"])
def test_the_best_change_of_a_linear_model_is_found(name, norm):
    """The margin loss of a linear model is linear; with images far from the ends its maximum is known."""
    if (name, norm) == ("apgd", "l1"):
        with pytest.raises(ValueError, match="norm='l1' does not fit attack 'apgd'"):
            Attacker(ref.linear_model([[1.0]], [0.0]), name, norm=norm, budget=1.0)
        return
    weights = np.array([[3.0], [-1.0]])
    model = ref.linear_model(weights, [10.0])  # right by far everywhere: all pixels count alike
    images, masks = np.full((2, 4, 5, 2), 0.5, np.float32), np.ones((2, 4, 5), int)
    budget = 0.05 if norm == "linf" else 0.3
    found = attack(model, images, masks, name, loss="margin", norm=norm, budget=budget, steps=30, judge="loss")
    flat = np.tile(weights.ravel(), 20) / 20
    dual = {"linf": 1, "l2": 2, "l1": np.inf}[norm]
    np.testing.assert_allclose(found.loss_after - found.loss_before, budget * np.linalg.norm(flat, dual), rtol=2e-2)


def test_more_steps_never_hurt_on_a_convex_loss(model):
    net = ref.linear_model([[2.0, -1.0, 0.0], [0.0, 1.0, -2.0]], [0.0, 0.1, 0.0])
    images, masks = RNG.uniform(0, 1, (3, 4, 5, 2)), RNG.integers(0, 3, (3, 4, 5))
    losses = [attack(net, images, masks, "pgd", budget=0.2, step_size=0.02, steps=n).loss_after for n in (1, 3, 9, 15)]
    assert (np.diff(losses, axis=0) >= -1e-6).all() and (losses[-1] > losses[0]).all()


def test_without_a_ball_steps_accumulate_up_to_the_range():
    """S4.2, the literal reading: 100 steps of 1 % of the range."""
    net = ref.linear_model([[1.0]], [5.0])
    images, masks = np.full((1, 4, 5, 1), 0.97, np.float32), np.ones((1, 4, 5), int)
    found = attack(net, images, masks, "pgd", budget=np.inf, steps=30)
    np.testing.assert_allclose(found.images, 0.67, atol=1e-5)
    assert found.settings["step_size"] == pytest.approx(0.01)
    assert attack(net, images, masks, "pgd", budget=np.inf, steps=100).images.max() == 0


def test_checkpoints_are_those_of_the_paper():
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]


def test_segpgd_sees_the_wrong_pixels_later(ran):
    """Its first gradient is that of masked cross-entropy (Gu et al. 2022: the weight of wrong pixels begins at 0)."""
    (one, _), (masked, _) = ran("segpgd", steps=1), ran("pgd", loss="masked_cce", steps=1, random_start=False,
                                                        restarts=1, momentum=0.0)  # fmt: skip
    np.testing.assert_allclose(one.images, masked.images, atol=1e-6)


def test_no_member_beats_the_ensemble_on_any_image(ran, model):
    found, _ = ran("ensemble", steps=18)
    ones = np.ones(MASKS.shape)
    iou = lambda images: ref.mean_iou(model.predict(images, verbose=0).argmax(-1), MASKS, ones)  # noqa: E731
    worst = iou(found.images)
    for loss in ("js", "masked_cce", "balanced_cce"):
        member, _ = ran("apgd", loss=loss, steps=6, judge="iou")
        assert (worst <= iou(member.images) + 1e-6).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "pdg"}, "attack 'pdg' is not known.*'pgd'"),
        ({"direction": "up"}, "direction 'up' is not known"),
        ({"norm": "l3"}, "norm 'l3' is not known"),
        ({"norm": "l2"}, "norm='l2' has no budget"),
        ({"budget": -1}, "budget=-1 does not fit"),
        ({"budget": float("nan")}, "budget=nan does not fit"),
        ({"step_size": -0.1}, "step_size=-0.1 does not fit"),
        ({"steps": 0}, "steps=0 does not fit"),
        ({"stpes": 3}, "option of attack 'pgd' 'stpes' is not known.*'steps'"),
        ({"judge": "dice"}, "judge 'dice' is not known"),
        ({"goal": 2}, "goal=2 does not fit"),
        ({"value_range": (1, 0)}, "value_range=.* is no range"),
        ({"keep": "last", "restarts": 3}, "keep='last' does not fit restarts"),
        ({"loss": "bce"}, "needs a sigmoid head"),
        ({"loss": "nothing"}, "attack loss 'nothing' is not known"),
        ({"jit": "yes"}, "jit='yes' is not known"),
        ({"seed": 1.5}, "seed=1.5 does not fit"),
        ({"loss": "balanced_ce"}, "attack loss 'balanced_ce' is not known.*'balanced_cce'"),
        ({"method": "segpgd", "loss": "cce"}, "loss='cce' does not fit attack 'segpgd', whose loss is its own"),
        ({"method": "ensemble", "loss": "cce"}, "does not fit attack 'ensemble'"),
        ({"bugdet": 1.0}, "'bugdet' is not known.*budget"),
    ],
)
def test_what_does_not_fit_is_refused(model, options, message):
    with pytest.raises(ValueError, match=message):
        Attacker(model, **{"method": "pgd"} | options)


def test_scores_have_to_be_those_of_pixels():
    inputs = keras.Input((8, 12, 2))
    coarse = keras.Model(inputs, keras.layers.Conv2D(3, 3, strides=2, padding="same")(inputs))
    with pytest.raises(ValueError, match=r"gives scores of \(4, 6\) for images of \(8, 12\)"):
        Attacker(coarse)


def test_an_ensemble_has_members(model):
    with pytest.raises(ValueError, match=r"members=\(\) does not fit. Expected pairs"):
        attack(model, IMAGES, MASKS, "ensemble", members=())


@pytest.mark.parametrize(
    ("images", "masks", "message"),
    [
        (np.full_like(IMAGES, np.nan), MASKS, "images hold nan or infinite values"),
        (IMAGES, np.full(MASKS.shape, np.nan), "masks hold nan or infinite values"),
        (2 * IMAGES, MASKS, "values from .* Expected 0 to 1; tell the range"),
        (IMAGES[:, :4], MASKS[:, :4], "images have shape"),
        (IMAGES, MASKS[:4], "masks have shape"),
        (IMAGES, MASKS + 2, "masks hold [34]. Expected class ids from 0 to 2; set ignore_class"),
        (IMAGES, MASKS + 0.5, "masks hold .*Expected class ids"),
        (IMAGES, np.full((*MASKS.shape, 3), 1 / 3), "are not one-hot"),
        (IMAGES[:0], MASKS[:0], "at least one image"),
    ],
)
def test_images_and_masks_that_do_not_fit_are_refused(ran, images, masks, message):
    with pytest.raises(ValueError, match=message):
        ran("fgsm")[1](images, masks)
