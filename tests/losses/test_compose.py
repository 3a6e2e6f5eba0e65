import json

import keras
import numpy as np
import pytest
import reference
import tensorflow as tf

import kseg.losses as L


@pytest.fixture(scope="module")
def one_channel():
    rng = np.random.default_rng(0)
    return rng.integers(0, 2, (2, 3, 4)), 2 * rng.normal(size=(2, 3, 4, 1))


@pytest.fixture(scope="module")
def three_channels():
    rng = np.random.default_rng(0)
    return rng.integers(0, 3, (2, 3, 4)), 2 * rng.normal(size=(2, 3, 4, 3))


def value(spec, batch, **options):
    return float(L.get(spec, from_logits=True, **options)(*batch))


@pytest.mark.parametrize(
    ("spec", "terms"),
    [
        ("dice", [(1, "dice", {})]),
        ("  dice ", [(1, "dice", {})]),
        ("dice()", [(1, "dice", {})]),
        ("bce+dice", [(1, "bce", {}), (1, "dice", {})]),
        ("bce + 0.5*dice", [(1, "bce", {}), (0.5, "dice", {})]),
        ("2*bce + dice*3", [(2, "bce", {}), (3, "dice", {})]),
        ("bce + 0.5*dice + focal(gamma=3)", [(1, "bce", {}), (0.5, "dice", {}), (1, "focal", {"gamma": 3})]),
        ("dice(smooth=(1, 2), empty='skip')", [(1, "dice", {"smooth": (1, 2), "empty": "skip"})]),
        ("1e-3 * (dice)", [(0.001, "dice", {})]),
        ("bce + (dice + mse)", None),
    ],
)
def test_the_grammar(spec, terms):
    if terms is None:
        with pytest.raises(ValueError, match="cannot be read"):
            L.parse(spec)
    else:
        assert L.parse(spec) == terms


@pytest.mark.parametrize("spec", ["bce + 0.5*dice", "0.25*dice", "mse + mse", "2*focal(gamma=3) + jaccard + log_dice"])
def test_a_sum_is_the_weighted_sum_of_its_terms(spec, one_channel):
    ids, logits = one_channel
    y = ids[..., None]
    parts = [weight * reference.loss(name, y, logits, **options) for weight, name, options in L.parse(spec)]
    assert value(spec, one_channel) == pytest.approx(sum(parts), rel=1e-10)


def test_gradient_of_a_sum_is_the_sum_of_gradients(three_channels):
    ids, logits = three_channels

    def gradient(spec):
        z = tf.constant(logits)
        with tf.GradientTape() as tape:
            tape.watch(z)
            result = L.get(spec, from_logits=True)(ids, z)
        return tape.gradient(result, z)

    np.testing.assert_allclose(gradient("cce + 2*dicefg"), gradient("cce") + 2 * gradient("dicefg"), rtol=1e-9)


def test_options_go_to_every_term_that_has_them(three_channels):
    together = value("cce + dice", three_channels, class_weights=[1, 2, 3], smooth=0.5, per_image=True)
    apart = value("cce", three_channels, class_weights=[1, 2, 3], per_image=True)
    apart += value("dice", three_channels, class_weights=[1, 2, 3], smooth=0.5, per_image=True)
    assert together == pytest.approx(apart, rel=1e-12)


def test_an_option_in_the_spelling_wins(three_channels):
    inside = value("cce + dice(smooth=2)", three_channels, smooth=0.5)
    apart = value("cce", three_channels) + value("dice", three_channels, smooth=2)
    assert inside == pytest.approx(apart, rel=1e-12)
    assert L.get("dice(smooth=2)", smooth=0.5).smooth == 2


def test_reduction_name_and_dtype_belong_to_the_sum(three_channels):
    loss = L.get("cce + dice", from_logits=True, reduction=None, name="both", dtype="float64")
    ids, logits = three_channels
    values = loss(ids, logits.astype("float32"))
    assert loss.name == "both"
    assert values.shape == (2,)
    assert values.dtype == tf.float64


def test_sample_weights_and_ignored_pixels_reach_every_term(three_channels):
    ids, logits = three_channels
    ids = ids.copy()
    ids[0, 0] = 255
    weight = np.random.default_rng(1).uniform(0.5, 2, ids.shape)
    options = {"from_logits": True, "ignore_class": 255}
    total = float(L.get("cce + dice", **options)(ids, logits, weight))
    apart = [float(L.get(name, **options)(ids, logits, weight)) for name in ("cce", "dice")]
    assert total == pytest.approx(sum(apart), rel=1e-12)


def test_terms_may_see_the_batch_in_different_ways(three_channels):
    spec = "cce(label_smoothing=0.1) + dice + dice(per_image=True)"
    apart = value("cce", three_channels, label_smoothing=0.1) + value("dice", three_channels)
    apart += value("dice", three_channels, per_image=True)
    assert value(spec, three_channels) == pytest.approx(apart, rel=1e-12)


@pytest.mark.parametrize("spec", ["bce + dice", "dice + bce", "dice_bce + dice", "focal + 2*dice_bce + tversky"])
def test_the_sigmoid_head_of_one_term_holds_for_all(spec, three_channels):
    ids, logits = three_channels
    y = np.eye(3)[ids]
    parts = [w * reference.loss(name, y, logits, head="sigmoid") for w, name, _ in L.parse(spec)]
    assert L.get(spec).head == "sigmoid"
    assert value(spec, three_channels) == pytest.approx(sum(parts), rel=1e-10)


def test_heads_of_sums():
    assert L.get("cce + dice").head == "softmax"
    assert L.get("dice + focal").head == "auto"
    for spec in ("cce + bce", "cce + dice_bce", "bce + dice(head='softmax')"):
        with pytest.raises(ValueError, match="mixes a sigmoid and a softmax head"):
            L.get(spec)


def test_a_loss_object_is_returned_as_it_is():
    for loss in (L.Dice(), keras.losses.Dice(), L.get("bce + dice")):
        assert L.get(loss) is loss
    with pytest.raises(ValueError, match="ready loss and options"):
        L.get(L.Dice(), smooth=1)


def test_round_trip_through_keras_config(three_channels):
    loss = L.get("cce + 0.5*dice(empty='skip', smooth=(1, 2))", from_logits=True, reduction="sum", name="both")
    config = json.loads(json.dumps(keras.losses.serialize(loss)))
    again = keras.losses.deserialize(config)
    assert again.spec == loss.spec == "cce + 0.5*dice"
    assert again.name == "both"
    assert float(again(*three_channels)) == float(loss(*three_channels))
    assert again.get_config() == loss.get_config()


def test_a_model_compiled_with_a_sum_saves_and_loads(three_channels, tmp_path):
    ids, images = three_channels
    inputs = keras.Input((3, 4, 3))
    model = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    model.compile(optimizer="sgd", loss=L.get("cce + 0.5*dicefg", from_logits=True))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.loss.spec == "cce + 0.5*dicefg"
    assert float(loaded.loss(ids, loaded(images))) == float(model.loss(ids, model(images)))


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("dicfg", {}, "loss 'dicfg' is not known.*Expected one of: .*Did you mean 'dicefg'"),
        ("bce + dics", {}, "loss 'dics' is not known.*Did you mean 'dice'"),
        ("bce + dice", {"smoth": 1}, "'smoth' is not known.*Did you mean 'smooth'"),
        ("bce + mse", {"smooth": 1}, "'smooth' is not known"),
        ("bce + dice", {"smooth": -1}, "smooth=-1 does not fit loss 'dice'"),
        ("dice(gama=3)", {}, "'gama' is not known"),
        ("focal(gama=3)", {}, "Did you mean 'gamma'"),
        ("bce(from_logits=True) + dice", {}, "sets from_logits for one term"),
        ("", {}, "no loss. Expected a name or a sum"),
        (None, {}, "no loss"),
        (3, {}, "no loss"),
    ],
)
def test_errors_name_the_value_and_the_nearest_name(spec, options, message):
    with pytest.raises(ValueError, match=message):
        L.get(spec, **options)


@pytest.mark.parametrize(
    "spec",
    [
        "__import__('os').system('touch {path}')",
        "dice(smooth=open('{path}', 'w'))",
        "dice(smooth=[open('{path}', 'w')])",
        "open('{path}', 'w')*dice",
        "dice + (lambda: open('{path}', 'w'))()",
        "dice(**dict(smooth=open('{path}', 'w')))",
        "dice if open('{path}', 'w') else bce",
        "[open('{path}', 'w'), dice][1]",
    ],
)
def test_spellings_are_never_evaluated(spec, tmp_path):
    path = tmp_path / "evaluated"
    with pytest.raises(ValueError):
        L.get(spec.format(path=path))
    assert not path.exists()


@pytest.mark.parametrize(
    "spec",
    [
        "dice bce",
        "dice +",
        "dice - bce",
        "-dice",
        "0*dice",
        "-1*dice",
        "1e999*dice",
        "True*dice",
        "'2'*dice",
        "dice*bce",
        "2*3",
        "2",
        "dice(3)",
        "dice(smooth=x)",
        "dice.fn",
        "dice/2",
        "dice and bce",
        "2*(bce + dice)",
        "dice(**{'smooth': 1})",
        "dice(smooth={[]: 1})",
        "dice\x00",
        "(" * 300,
        "dice" + " + dice" * 200,
        "dice(smooth=" + "-" * 900 + "1)",
        "dice(smooth=1, smooth=2)",
    ],
    ids=lambda spec: repr(spec[:24]),
)
def test_bad_spellings_are_refused_in_one_line(spec):
    with pytest.raises(ValueError) as caught:
        L.get(spec)
    assert "\n" not in str(caught.value)
