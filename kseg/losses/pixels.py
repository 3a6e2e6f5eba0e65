"""What every loss sees of a batch: labels, scores and weights, made once and told apart statically."""

from functools import cached_property

import tensorflow as tf

from kseg import ops

CLIP = 1e-7


class Pixels:
    """One batch, ready for the maths.

    Attributes:
        y: labels `[B, *S, K]`, one-hot or soft, smoothed if asked for.
        labels: the same before smoothing, which alone tell whether a class is absent.
        weight: pixel weights `[B, *S]`, or None for all 1.
        valid: `[B, *S]` of 0 (ignored) and 1, or None for all 1.
        image_weight: `[B]`, or None for all 1.
        classes: K.
        head: "sigmoid" or "softmax": how logits become probabilities.

    Derived, each computed on first use only: `p`, `log_p`, `log_q` (= log(1 - p)), all `[B, *S, K]`.
    Logits are never clipped. Probabilities are clipped to [1e-7, 1 - 1e-7] where a logarithm is taken,
    and nowhere else, as in D1's snippets.
    """

    def __init__(self, y, scores, *, labels, from_logits, head, weight=None, valid=None, image_weight=None):
        self.y = y
        self.labels = labels
        self.weight = weight
        self.valid = valid
        self.image_weight = image_weight
        self.head = head
        self.classes = scores.shape[-1]
        self._scores = scores
        self._from_logits = from_logits

    @cached_property
    def p(self):
        return ops.probabilities(self._scores, self.head) if self._from_logits else self._scores

    @cached_property
    def log_p(self):
        if self._from_logits:
            return ops.log_probabilities(self._scores, self.head)
        return tf.math.log(self._clipped)

    @cached_property
    def log_q(self):
        """log(1 - p) of sigmoid channels."""
        if self._from_logits:
            return ops.log_one_minus(self._scores)
        return tf.math.log(1.0 - self._clipped)

    @cached_property
    def _clipped(self):
        return tf.clip_by_value(self._scores, CLIP, 1.0 - CLIP)


def prepare(y_true, y_pred, sample_weight, *, from_logits, head, ignore_class, label_smoothing, dtype):
    """Labels, scores and weights as `Pixels`; see `kseg.losses.base.SegmentationLoss` for what is taken."""
    scores = tf.convert_to_tensor(y_pred)
    if scores.shape.rank is None or scores.shape.rank < 3 or scores.shape[-1] is None:
        raise ValueError(
            f"y_pred has shape {scores.shape}. Expected [B, ..., K] with at least one spatial axis and a "
            "known number of channels; give the model's output a static channel count."
        )
    dtype = tf.as_dtype(dtype) if dtype else scores.dtype
    dtype = tf.float64 if dtype == tf.float64 else tf.float32
    scores = tf.cast(scores, dtype)
    classes = scores.shape[-1]
    head = _resolve_head(head, classes)
    y, valid = _labels(tf.convert_to_tensor(y_true), scores, ignore_class, dtype)
    weight, image_weight = _weights(sample_weight, scores, dtype)
    counted = [(part > 0)[..., None] for part in (valid, weight) if part is not None]
    if counted:  # what does not count may be anything, nan included
        counted = counted[0] if len(counted) == 1 else counted[0] & counted[1]
        scores = tf.where(counted, scores, tf.zeros_like(scores))
        y = tf.where(counted, y, tf.zeros_like(y))
    labels = y
    if label_smoothing:
        y = y * (1.0 - label_smoothing) + label_smoothing / (classes if head == "softmax" else 2)
    options = {"from_logits": from_logits, "head": head, "weight": weight, "valid": valid, "image_weight": image_weight}
    return Pixels(y, scores, labels=labels, **options)


def _resolve_head(head, classes):
    if head == "auto":
        return "sigmoid" if classes == 1 else "softmax"
    if head == "softmax" and classes == 1:
        raise ValueError(
            "A softmax over one channel is always 1. Expected K >= 2 channels for head='softmax'; "
            "give the model two channels, or use a loss with head='sigmoid' such as 'bce' or 'dice'."
        )
    return head


def _labels(y, scores, ignore_class, dtype):
    """One-hot or soft labels `[B, *S, K]` and the mask of counted pixels `[B, *S]` or None."""
    kind, y = ops.tell_labels(y, scores)
    if kind == "ids":
        return _sparse(ops.widen(y), scores.shape[-1], ignore_class, dtype)
    return _dense(y, ignore_class, dtype)


def _sparse(y, classes, ignore_class, dtype):
    valid = None
    if ignore_class is not None:
        counted = y != tf.cast(ignore_class, y.dtype)
        valid = tf.cast(counted, dtype)
        y = tf.where(counted, y, tf.zeros_like(y))
    ids, known = ops.whole_ids(y, max(classes, 2))
    one_hot = tf.cast(ids, dtype)[..., None] if classes == 1 else tf.one_hot(ids, classes, dtype=dtype)
    # An id outside the classes (a 0/255 mask, a forgotten ignore_class) must not pass for background.
    return tf.where(known[..., None], one_hot, tf.constant(float("nan"), dtype)), valid


def _dense(y, ignore_class, dtype):
    soft = tf.cast(y, dtype)
    soft = tf.where(ops.are_shares(soft), soft, tf.constant(float("nan"), dtype))
    if ignore_class is None:
        return soft, None
    if y.shape[-1] == 1:
        valid = tf.cast(y[..., 0] != tf.cast(ignore_class, y.dtype), dtype)
    elif 0 <= ignore_class < y.shape[-1]:
        valid = 1.0 - tf.cast(y[..., ignore_class], dtype)
    else:
        raise ValueError(
            f"One-hot labels of shape {y.shape} cannot hold ignore_class={ignore_class}. "
            "Pass integer class ids, or a pixel map of zeros and ones as sample_weight."
        )
    return soft, valid


def _weights(sample_weight, scores, dtype):
    """Pixel weights `[B, *S]` or None, and image weights `[B]` or None."""
    if sample_weight is None:
        return None, None
    weight = tf.cast(sample_weight, dtype)
    rank = scores.shape.rank
    if weight.shape.rank == 0:
        return None, tf.fill(tf.shape(scores)[:1], weight)
    if weight.shape.rank == rank and weight.shape[-1] == 1:
        weight = weight[..., 0]
    if weight.shape.rank == rank - 1 and weight.shape.is_compatible_with(scores.shape[:-1]):
        return weight, None
    if weight.shape.rank == 2 and weight.shape[-1] == 1:
        weight = weight[:, 0]
    if weight.shape.rank == 1 and weight.shape.is_compatible_with(scores.shape[:1]):
        return None, weight
    raise ValueError(
        f"sample_weight has shape {weight.shape}, predictions {scores.shape}. Expected one weight per image "
        "[B], or one per pixel [B, ...] or [B, ..., 1]."
    )
