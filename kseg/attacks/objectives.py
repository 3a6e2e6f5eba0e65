"""What attacks climb: one number per image, made of logits and masks."""

import math
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from kseg import losses, ops
from kseg.registry import Registry, unknown

OBJECTIVES = Registry("attack loss")


class Seen(NamedTuple):
    """What a model says of a batch, beside what the masks say.

    Attributes:
        logits: `[B, *S, K]` float32.
        ids: class of each pixel `[B, *S]` int32; 0 where it does not count.
        counted: 1 for pixels that count, 0 for others, `[B, *S]` float32.
        head: "sigmoid" or "softmax".
        progress: share of the steps that are done, a scalar in [0, 1).
        sign: 1 where pixels shall leave the class of the mask, -1 where they shall take it.
    """

    logits: Any
    ids: Any
    counted: Any
    head: str
    progress: Any
    sign: float = 1.0

    @property
    def missing(self):
        """Whether a pixel is not yet as wanted, `[B, *S]`; no gradient knows of it."""
        return tf.stop_gradient(self.agrees if self.sign > 0 else ~self.agrees)

    @property
    def agrees(self):
        """Whether the model gives each pixel the class of the mask, `[B, *S]`."""
        if self.logits.shape[-1] == 1:
            return (self.logits[..., 0] > 0.0) == (self.ids == 1)
        return self.predicted == self.ids

    @property
    def predicted(self):
        """Class of each pixel `[B, *S]` int32."""
        if self.logits.shape[-1] == 1:
            return tf.cast(self.logits[..., 0] > 0.0, tf.int32)
        return tf.argmax(self.logits, axis=-1, output_type=tf.int32)

    @property
    def log_likelihood(self):
        """Logarithm of the probability of the mask's class; for several sigmoids the mean over channels, `[B, *S]`."""
        if self.head == "softmax":
            return -tf.nn.sparse_softmax_cross_entropy_with_logits(labels=self.ids, logits=self.logits)
        return tf.reduce_mean(tf.math.log_sigmoid(tf.where(self._one_hot, self.logits, -self.logits)), axis=-1)

    @property
    def _one_hot(self):
        channels = self.logits.shape[-1]
        return self.ids[..., None] == tf.range(1 if channels == 1 else 0, max(channels, 2))

    @property
    def rivalry(self):
        """By how much the logit of the best other class is above that of the mask's class, `[B, *S]`."""
        if self.logits.shape[-1] == 1:
            return self.logits[..., 0] * tf.where(self.ids == 1, -1.0, 1.0)
        one_hot = self.ids[..., None] == tf.range(self.logits.shape[-1])
        own = tf.reduce_sum(tf.where(one_hot, self.logits, 0.0), axis=-1)
        return tf.reduce_max(tf.where(one_hot, -math.inf, self.logits), axis=-1) - own

    def mean(self, values):
        """Mean `[B]` of values `[B, *S]` over the pixels that count; 0 where none does."""
        return _sum(tf.where(self.counted > 0.0, values, 0.0)) / tf.maximum(_sum(self.counted), 1.0)


def _sum(values):
    return ops.space_sum(values[..., None])[:, 0]


@OBJECTIVES.register("cce", source="S4.1")
def cce(seen):
    """Mean cross-entropy; for a sigmoid head binary cross-entropy."""
    return seen.mean(-seen.log_likelihood)


@OBJECTIVES.register("balanced_cce", source="mean of class means; Croce et al. 2024 weigh by 1 minus the class's share")
def balanced_cce(seen):
    """Mean over the classes of the mask of the mean cross-entropy in the class: small classes count as large ones."""
    classes = max(seen.logits.shape[-1], 2)
    one_hot = tf.cast(seen.ids[..., None] == tf.range(classes), tf.float32) * seen.counted[..., None]
    pixels = ops.space_sum(one_hot)
    share = tf.math.divide_no_nan(1.0, pixels)
    weight = tf.reduce_sum(one_hot * _spread(share, one_hot), axis=-1)
    present = tf.reduce_sum(tf.cast(pixels > 0.0, tf.float32), axis=-1)
    total = _sum(tf.where(weight > 0.0, -seen.log_likelihood * weight, 0.0))
    return tf.math.divide_no_nan(total, present)


def _spread(values, like):
    return tf.reshape(values, [-1, *[1] * (like.shape.rank - 2), like.shape[-1]])


@OBJECTIVES.register("masked_cce", told="cce", source="Croce et al. 2024; masked as in Xie et al. 2017")
def masked_cce(seen):
    """Cross-entropy of those pixels alone that are not yet as wanted, over all that count."""
    return seen.mean(tf.where(seen.missing, -seen.log_likelihood, 0.0))


@OBJECTIVES.register("segpgd", told="cce", source="Gu et al. 2022, equation 4")
def segpgd(seen):
    """Cross-entropy, at first of the pixels that are not yet as wanted, and more and more of those that are.

    The former weigh 1 - t, the latter t, with t running from 0 to one half.
    """
    done = 0.5 * tf.cast(seen.progress, tf.float32)
    weight = tf.where(seen.missing, 1.0 - done, done)
    return seen.mean(-weight * seen.log_likelihood)


@OBJECTIVES.register("cospgd", told="cce", source="Agnihotri et al. 2024, equation 6")
def cospgd(seen):
    """Cross-entropy, each pixel weighted by how alike probabilities and mask are: the cosine of the angle between.

    Towards a mask the weight is 1 less the cosine.
    """
    if seen.head == "softmax":
        p = tf.nn.softmax(seen.logits)
    elif seen.logits.shape[-1] == 1:
        p = tf.concat([tf.sigmoid(-seen.logits), tf.sigmoid(seen.logits)], axis=-1)
    else:
        p = tf.sigmoid(seen.logits)
    own = tf.where(seen.ids[..., None] == tf.range(p.shape[-1]), p, 0.0)
    cosine = tf.reduce_sum(own, axis=-1) / tf.sqrt(tf.maximum(tf.reduce_sum(tf.square(p), axis=-1), 1e-12))
    weight = cosine if seen.sign > 0 else 1.0 - cosine
    return seen.mean(-tf.stop_gradient(weight) * seen.log_likelihood)


@OBJECTIVES.register("js", source="Croce et al. 2024")
def js(seen):
    """Mean Jensen-Shannon divergence of probabilities and mask, at most log 2: pixels that are wrong let go.

    Of a mask that is sure of its class it is log 2 + (p log p - (1 + p) log(1 + p)) / 2, p the probability of that.
    """
    log_p = seen.log_likelihood
    p = tf.exp(log_p)
    return seen.mean(math.log(2.0) + 0.5 * (p * log_p - (1.0 + p) * tf.math.log1p(p)))


@OBJECTIVES.register("margin", source="Carlini and Wagner 2017")
def margin(seen):
    """Mean of what the logit of the best other class is above that of the mask's, of pixels not yet as wanted."""
    return seen.mean(tf.where(seen.missing, seen.rivalry, 0.0))


def _of_function(function):
    """`Seen -> [B]` of a function of class ids and logits; numbers a pixel are averaged over those that count."""

    def own(seen):
        values = tf.cast(function(seen.ids, seen.logits), tf.float32)
        if values.shape.rank not in (1, seen.ids.shape.rank):
            raise ValueError(
                f"the loss gives shape {values.shape}. Expected a number an image [B] or a pixel {seen.ids.shape}."
            )
        return values if values.shape.rank == 1 else seen.mean(values)

    return own


def make_objective(loss, head, ignoring):
    """(`Seen -> [B]` to climb, `Seen -> [B]` to tell) of a name, a sum of losses or a `keras.losses.Loss`.

    Args:
        loss: of `OBJECTIVES.names()`, what `kseg.losses.get` takes, a `keras.losses.Loss` of logits, or a function of
            class ids `[B, *S]` int32 and logits `[B, *S, K]` that gives a number a pixel `[B, *S]` or an image `[B]`.
        head: "sigmoid" or "softmax".
        ignoring: whether some pixels will not count.

    Raises:
        ValueError: none of these, or a loss that does not fit.
    """
    if isinstance(loss, str) and loss in OBJECTIVES.names():
        climbed = OBJECTIVES.get(loss)
        return climbed, OBJECTIVES.get(OBJECTIVES.facts(loss).get("told", loss))
    if isinstance(loss, str) and loss.isidentifier() and loss not in losses.names():
        raise unknown("attack loss", loss, [*OBJECTIVES.names(), *losses.names()])
    if callable(loss) and not isinstance(loss, keras.losses.Loss):
        return (own := _of_function(loss)), own
    score = losses.image_losses(loss, head, weighted=ignoring)

    def whole(seen):
        if not ignoring:
            return score(seen.ids, seen.logits, None)
        # Without any pixel a mean is 0/0: the loss sees all pixels then, and its value does not count.
        some = tf.reduce_any(seen.counted > 0.0, axis=list(range(1, seen.counted.shape.rank)), keepdims=True)
        values = score(seen.ids, seen.logits, tf.where(some, seen.counted, tf.ones_like(seen.counted)))
        return values * tf.cast(tf.reshape(some, [-1]), tf.float32)

    return whole, whole
