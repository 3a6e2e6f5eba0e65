"""Which losses are compared: heads, losses that fit no head, and losses that are the same function."""

import re

import numpy as np
import pytest
import tensorflow as tf

from kseg import losses
from kseg.cli import main
from kseg.studies import comparison_notes, comparison_same, loss_comparison
from kseg.training.run import loss_of

SHAPE = (32, 32, 1)


def test_of_all_losses_each_function_is_compared_once():
    """On binary images Dice of the foreground is Dice, and Wasserstein's of two classes as well."""
    found = comparison_same.chosen(("all",), 2, SHAPE)
    assert found.same == {
        "weighted_cce": "cce", "dicefg": "dice", "dicefg_square": "dice_square", "wasserstein_dice": "dice",
    }  # fmt: skip
    assert set(found.losses) == set(losses.names()) - set(found.same) == set(found.heads) and not found.unfit
    more = comparison_same.chosen(("all",), 3, SHAPE)
    assert more.same == {"weighted_cce": "cce"} and len(more.losses) == len(losses.names()) - 1


def test_losses_that_a_user_names_are_all_compared_and_the_same_ones_told():
    given = ("dicefg", "dice", "tversky(fp_weight=0.5, fn_weight=0.5)", "focal", "focal(gamma=2.0)", "2*dice")
    found = comparison_same.chosen(given, 2, SHAPE)
    assert found.losses == given
    assert found.same["dice"] == "dicefg" and found.same["focal(gamma=2.0)"] == "focal"
    assert "2*dice" not in found.same, "another scale is another function for a learning rate"
    assert "focal" not in found.same and "dicefg" not in found.same
    both = comparison_notes.of_losses(given, {"dice": "dicefg"}, {})
    assert both == ["dice is the same function as dicefg on these data: both are trained, and any difference is chance"]
    one = comparison_notes.of_losses(("dicefg",), {"dice": "dicefg"}, {"mcc": "loss 'mcc' is odd."})
    assert one == [
        "dice is the same function as dicefg on these data: dicefg stands for both", "left out: loss 'mcc' is odd.",
    ]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), [("dice", "dicefg"), ("dice", "wasserstein_dice")])
def test_what_is_found_to_be_the_same_is_so_for_other_images(one, other):
    rng = np.random.default_rng(5)
    masks, logits = rng.integers(0, 2, (4, 9, 7)).astype(np.uint8), rng.normal(0, 3, (4, 9, 7, 1)).astype(np.float32)
    masks[1], masks[2] = 0, 1
    values = [float(loss_of(name, "sigmoid")(masks, logits)) for name in (one, other)]
    assert values[0] == pytest.approx(values[1], rel=1e-5)


def test_functions_that_part_only_without_foreground_are_different():
    specs = ("dice", "dice(empty='penalise_fp')", "dice(smooth=1.0)")
    heads = comparison_same.heads_of(specs, 2, SHAPE)
    assert comparison_same.same_functions(heads, 2) == {}
    alone = {"dice": (1, "sigmoid"), "dicefg": (2, "softmax")}
    assert comparison_same.same_functions(alone, 2) == {}, "another head is another model"


def test_of_all_losses_those_that_fail_on_the_data_are_left_out(monkeypatch):
    """A named loss that fails is refused, whatever its error."""
    real = losses.Dice.call

    def odd(self, y_true, y_pred, sample_weight=None):
        if type(self) is losses.Dice:
            raise tf.errors.InvalidArgumentError(None, None, "the image is odd")
        return real(self, y_true, y_pred, sample_weight)

    monkeypatch.setattr(losses.Dice, "call", odd)
    found = comparison_same.chosen(("all",), 2, SHAPE)
    told = (
        "loss 'dice' does not fit 2 classes in images of 32x32x1: InvalidArgumentError: the image is odd (tried under "
        "a sigmoid head). Expected one that takes them; leave 'dice' out, or change its options"
    )
    assert found.unfit == {"dice": told}
    assert "dice" not in found.losses and "dicefg" in found.losses and len(found.losses) > 20
    with pytest.raises(ValueError, match="the image is odd"):
        comparison_same.chosen(("focal", "dice"), 2, SHAPE)


@pytest.mark.parametrize(
    ("spec", "classes", "told"),
    [
        ("dice(class_weights=(1,2,3,4))", 3, r"class_weights=\[1.0, 2.0, 3.0, 4.0\] has 4 values. Expected 3"),
        ("wasserstein_dice(distances=((0,1),(1,0)))", 3, r"has 2 rows. Expected 3"),
        ("focal(alpha=(1,2))", 3, r"alpha=\[1.0, 2.0\] does not fit a softmax over 3 classes. Expected None or 3"),
    ],
)
def test_a_loss_that_fits_no_head_is_named_with_the_data_and_the_fix(spec, classes, told):
    with pytest.raises(ValueError, match=told) as error:
        comparison_same.heads_of(("cce", spec), classes, SHAPE)
    assert str(error.value).startswith(f"loss {spec!r} does not fit {classes} classes in images of 32x32x1: ")


def test_the_plan_says_which_loss_stands_for_which(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loss_comparison, "run", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    words = ["--data", "lungs(size=32,counts=(4,2,2))", "--preset", "quick", "--depth", "1", "--losses"]
    assert main("compare_losses", [*words, "all"]) == 130
    told = " ".join(capsys.readouterr().out.split())
    assert told.startswith("Trying all losses: which fit the data, and which are the same function there ..")
    assert "dicefg is the same function as dice on these data: dice stands for both" in told
    assert re.search(r"losses cce, bce, .*, dice, .* dicefg is the same", told) and ", dicefg," not in told
    assert main("compare_losses", [*words, "dice", "dicefg"]) == 130
    told = " ".join(capsys.readouterr().out.split())
    assert "losses dice, dicefg dicefg is the same function as dice on these data: both are trained" in told
    assert "Trying all" not in told


@pytest.mark.parametrize(("spec", "channels"), [("dice_bce", 1), ("bce + 0.5*dice", 1), ("dice", 3)])
def test_a_loss_is_told_the_head_of_its_model(spec, channels):
    """A model of several sigmoids is no softmax."""
    rng = np.random.default_rng(2)
    masks = rng.integers(0, max(2, channels), (2, 8, 8))
    logits = rng.normal(size=(2, 8, 8, channels)).astype(np.float32)
    loss = loss_of(spec, "sigmoid")
    assert loss.head == "sigmoid" and loss.from_logits
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    plain = losses.get(spec, from_logits=False, **({"head": "sigmoid"} if channels > 1 else {}))
    assert float(loss(masks, logits)) == pytest.approx(float(plain(masks, p)), rel=1e-4)
