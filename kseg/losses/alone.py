"""Any loss as one value per image, each image a batch of its own: what gradients with respect to images need."""

import keras
import tensorflow as tf

from kseg.losses.base import SegmentationLoss
from kseg.losses.compose import Sum, get, parse


def image_losses(loss, head, weighted=False):
    """A function `(y_true, logits, weights) -> [B]`.

    Args:
        loss: a name or sum of `kseg.losses`, or a `keras.losses.Loss` that takes logits.
        head: "sigmoid" or "softmax": how the logits become probabilities.
        weighted: whether weights of pixels `[B, *S]` will be given, which only losses of kseg take; else None is.

    Raises:
        ValueError: no loss, one that takes probabilities, one for another head, or one that cannot leave pixels out.
    """
    if isinstance(loss, str):
        options = {"from_logits": True, "per_image": True}
        if any("head" in get(name, **own).options for _, name, own in parse(loss)):
            options["head"] = head
        loss = get(loss, **options)
    if not isinstance(loss, keras.losses.Loss):
        raise ValueError(f"loss={loss!r} is no loss. Expected a name such as 'bce + dice' or a keras.losses.Loss.")
    own = isinstance(loss, SegmentationLoss)
    given = loss.from_logits if own else loss.get_config().get("from_logits", True)
    if not given:
        raise ValueError(f"loss {loss.name!r} takes probabilities. Expected one that takes logits: from_logits=True.")
    if not own and weighted:
        raise ValueError(
            f"loss {loss.name!r} cannot leave pixels out. Expected a loss of kseg.losses, or all pixels to count "
            "(region='all', no ignore_class)."
        )
    if not own:
        return lambda y_true, logits, weights: _one_by_one(loss, y_true, logits)
    if loss.head not in ("auto", head):
        raise ValueError(
            f"loss {loss.name!r} needs a {loss.head} head, the model has a {head}. Expected a loss that fits, "
            f"{'cce' if head == 'softmax' else 'bce'!r} for one."
        )
    return _per_image(loss).call


def _per_image(loss):
    """The same loss with a value for each image, whatever the others of the batch are."""
    if isinstance(loss, Sum):
        return Sum([(weight, _per_image(term)) for weight, term in loss.terms], dtype=loss.options["dtype"])
    return type(loss)(**{**loss.get_config(), "per_image": True, "reduction": None})


def _one_by_one(loss, y_true, logits):
    """Any loss `[B]`, called for each image as a batch of one: what it does with a batch is not known."""

    def alone(pair):
        return tf.reduce_sum(loss(pair[0][None], pair[1][None]))

    return tf.map_fn(alone, (y_true, logits), fn_output_signature=tf.float32)
