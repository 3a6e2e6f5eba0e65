"""What every loss sees of a batch: labels, scores and weights, made once and told apart statically."""

from functools import cached_property

import tensorflow as tf

from kseg import ops
from kseg.losses.lanes import Lanes


class Pixels:
    """One batch, ready for the maths.

    Attributes:
        weight: pixel weights `[B, *S]`, or None for all 1.
        valid: `[B, *S]` of 0 (ignored) and 1, or None for all 1.
        image_weight: `[B]`, or None for all 1.
        classes: K.
        head: "sigmoid" or "softmax": how logits become probabilities.

    Derived, each computed on first use only:
        y: labels `[B, *S, K]`, one-hot or soft, smoothed if asked for.
        labels: the same before smoothing, which alone tell whether a class is absent.
        p: probabilities `[B, *S, K]`.
        lanes: these without space, `[N, K]`: see `Lanes`.

    Logits are never clipped. Probabilities are clipped to [1e-7, 1 - 1e-7] where a logarithm or 1 - p is taken, and
    nowhere else, as in D1's snippets.
    """

    def __init__(self, source, scores, *, from_logits, head, smoothing=0.0, weight=None, valid=None, image_weight=None):
        self.weight = weight
        self.valid = valid
        self.image_weight = image_weight
        self.head = head
        self.classes = scores.shape[-1]
        self.source = source  # dense labels, or (ids, whether each is a class); id -1 belongs to no class
        self._smoothing = smoothing
        self.scores = scores
        self.from_logits = from_logits

    @property
    def softmax(self):
        """Whether the scores are logits of a softmax, for which `kseg.ops.softmax` has closed forms."""
        return self.from_logits and self.head == "softmax"

    @property
    def sparse(self):
        """Whether the labels came as class ids."""
        return isinstance(self.source, tuple)

    @property
    def smoothed(self):
        """Whether `y` differs from `labels`."""
        return bool(self._smoothing)

    @property
    def dtype(self):
        return self.scores.dtype

    @property
    def shape(self):
        """`[B, *S, K]` as a list of numbers where they are known and of scalar tensors where not."""
        known, dynamic = self.scores.shape.as_list(), tf.shape(self.scores)
        return [dynamic[i] if size is None else size for i, size in enumerate(known)]

    @cached_property
    def labels(self):
        if not self.sparse:
            return ops.shares_or_nan(self.source)
        ids, known = self.source
        if self.classes == 1:
            one_hot = tf.cast(ids == 1, self.dtype)[..., None]
        else:
            one_hot = tf.cast(ids[..., None] == tf.range(self.classes, dtype=ids.dtype), self.dtype)
        # An id outside the classes (a 0/255 mask, a forgotten ignore_class) must not pass for background.
        return tf.where(known[..., None], one_hot, tf.constant(float("nan"), self.dtype))

    @cached_property
    def y(self):
        return self.smooth(self.labels)

    @cached_property
    def lanes(self):
        return Lanes(self)

    def after(self, done):
        """The same pixels, whose scores are there once `done`, a scalar that is true, is known.

        Without it XLA would compute a softmax first and keep it through a long loop that has no need of it.
        """
        scores = tf.where(done, self.scores, tf.zeros_like(self.scores))
        options = {"from_logits": self.from_logits, "head": self.head, "smoothing": self._smoothing}
        weights = {"weight": self.weight, "valid": self.valid, "image_weight": self.image_weight}
        return Pixels(self.source, scores, **options, **weights)

    def smooth(self, labels):
        if not self._smoothing:
            return labels
        return labels * (1.0 - self._smoothing) + self._smoothing / (self.classes if self.head == "softmax" else 2)

    def plain_truth(self, per_image):
        """Sums `[G, K]` of dense labels without weights, read as they lie in memory; None for others."""
        if self.sparse or self.smoothed:
            return None
        return ops.group_sums(self.source, self.shape[:-1], per_image)

    def flat(self, tensor):
        """`[B, *S]` as `[N]`; None stays None."""
        return None if tensor is None else tf.reshape(tensor, [tf.size(tensor)])

    def image_sums(self, terms):
        """`[B]`, the sum over each image of `[N]` or `[N, K]`.

        Lines first: float32 sums of millions of pixels stay exact to about 1e-5.
        """
        terms = tf.reduce_sum(terms, axis=1) if terms.shape.rank == 2 else terms
        return ops.image_sums(terms, self.shape[:-1])

    @cached_property
    def p(self):
        return ops.probabilities(self.scores, self.head) if self.from_logits else self.scores


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
    head = _resolve_head(head, scores.shape[-1])
    source, valid = _labels(tf.convert_to_tensor(y_true), scores, ignore_class, dtype)
    weight, image_weight = _weights(sample_weight, scores, dtype)
    counted = [part != 0 for part in (valid, weight) if part is not None]
    if counted:  # what does not count may be anything, nan included
        counted = counted[0] if len(counted) == 1 else counted[0] & counted[1]
        scores = tf.where(counted[..., None], scores, tf.zeros_like(scores))
        if isinstance(source, tuple):
            ids, known = source
            source = tf.where(counted, ids, -tf.ones_like(ids)), known | ~counted
        else:
            source = tf.where(counted[..., None], source, tf.zeros_like(source))
    options = {"from_logits": from_logits, "head": head, "smoothing": label_smoothing}
    return Pixels(source, scores, weight=weight, valid=valid, image_weight=image_weight, **options)


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
    """Labels, dense or as (ids, known), and the mask of counted pixels `[B, *S]` or None."""
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
    return (y, ops.whole_ids(y, max(classes, 2))[1]), valid


def _dense(y, ignore_class, dtype):
    soft = tf.cast(y, dtype)
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
