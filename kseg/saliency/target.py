"""What is differentiated: one number per image, made of the logits of a model (S0.7)."""

from typing import Any, NamedTuple

import tensorflow as tf

from kseg import losses, ops
from kseg.registry import unknown

OUTPUTS = ("probability", "logit", "loss")
REGIONS = ("all", "predicted", "true", "given")


class Target(NamedTuple):
    """The score of an image: the sum of `terms(logits, region, masks)`.

    Attributes:
        output: of `OUTPUTS`.
        region: of `REGIONS`: the pixels that count.
        classes: ids of the classes that count; 1 is the foreground of a one-channel head.
        channels: K.
        head: "sigmoid" or "softmax".
        loss: `(y_true, logits, pixel weights) -> [B]`, for output "loss".
    """

    output: str
    region: str
    classes: tuple
    channels: int
    head: str
    loss: Any = None

    @property
    def needs_masks(self):
        return self.output == "loss" or self.region == "true"

    @property
    def needs_regions(self):
        return self.region == "given"

    def pixels(self, logits, masks, regions):
        """The weights of pixels `[B, *S]` float32, or None for all 1; constant for the gradient.

        Args:
            logits: function that gives the logits of the clean images.
            masks: class ids `[B, *S]`.
            regions: weights `[B, *S]`.
        """
        if self.region == "all":
            return None
        if self.region == "given":
            return tf.stop_gradient(regions)
        if self.region == "true":
            ids = masks
        elif self.channels == 1:
            ids = tf.cast(logits()[..., 0] > 0.0, tf.int32)
        else:
            ids = tf.argmax(logits(), axis=-1, output_type=tf.int32)
        chosen = tf.reduce_any(ids[..., None] == tf.constant(self.classes, tf.int32), axis=-1)
        return tf.stop_gradient(tf.cast(chosen, tf.float32))

    def terms(self, logits, region, masks):
        """Terms `[B, ...]` whose sum is the score of an image, each of its image alone; 0 where the region is empty.

        One per pixel, or one in all for a loss. Two scores are compared term by term: the difference of two sums
        over thousands of pixels would be rounding where a few pixels change a little.
        """
        logits = tf.cast(logits, tf.float32)
        if self.output == "loss":
            return self._loss_score(logits, region, masks)[:, None]
        values = self._probability(logits) if self.output == "probability" else _added(self._chosen(logits))
        return values if region is None else values * region

    def _loss_score(self, logits, region, masks):
        if region is None:
            return self.loss(masks, logits, None)
        # Without any pixel a mean is 0/0: the loss sees all pixels then, and its value does not count.
        some = tf.reduce_any(region > 0.0, axis=list(range(1, region.shape.rank)), keepdims=True)
        values = self.loss(masks, logits, tf.where(some, region, tf.ones_like(region)))
        return values * tf.cast(tf.reshape(some, [-1]), tf.float32)

    def _chosen(self, logits, others=False):
        """Channels of the classes that count, or of the others."""
        if self.channels == 1:
            return logits
        ids = [k for k in range(self.channels) if (k in self.classes) != others]
        if ids == list(range(ids[0], ids[-1] + 1)):
            return logits[..., ids[0] : ids[-1] + 1]
        return tf.stack([logits[..., k] for k in ids], axis=-1)

    def _probability(self, logits):
        """Probability that a pixel is of one of the classes `[B, *S]`; its gradient is exact in both tails.

        For a softmax this is the sigmoid of the log odds of the classes against the others.
        """
        if self.head == "sigmoid":
            return _added(ops.sigmoid_pair(self._chosen(logits))[0])
        odds = _log_sum(self._chosen(logits)) - _log_sum(self._chosen(logits, others=True))
        return ops.sigmoid_pair(odds)[0]


def _added(values):
    return values[..., 0] if values.shape[-1] == 1 else tf.reduce_sum(values, axis=-1)


def _log_sum(logits):
    return logits[..., 0] if logits.shape[-1] == 1 else tf.reduce_logsumexp(logits, axis=-1)


def total(terms):
    """Scores `[B]` from terms `[B, ...]`."""
    return ops.space_sum(terms[..., None])[:, 0]


def make_target(output, region, class_id, loss, channels, head):
    """Check what is asked for and make the `Target`; the options are those of `kseg.saliency.Explainer`."""
    if output not in OUTPUTS:
        raise unknown("output", output, OUTPUTS)
    if not isinstance(region, str) or region not in REGIONS:
        raise unknown("region", region if isinstance(region, str) else type(region).__name__, REGIONS)
    classes = _classes(class_id, channels)
    if output == "loss":
        if class_id is not None and region not in ("predicted", "true"):
            raise ValueError(
                f"class_id={class_id!r} does not fit output='loss': a loss sees all classes. Expected None, or "
                "region='predicted' or 'true', which class_id then chooses."
            )
        if loss is None:
            raise ValueError("output='loss' has no loss. Expected loss= a name such as 'bce + dice' or a keras Loss.")
        score = losses.image_losses(loss, head, weighted=region != "all")
        return Target(output, region, classes, channels, head, score)
    if loss is not None:
        raise ValueError(f"loss={loss!r} does not fit output={output!r}. Expected output='loss', or no loss.")
    if output == "probability" and head == "softmax" and len(classes) == channels:
        raise ValueError(
            f"class_id={class_id!r} asks for all {channels} classes, whose softmax probabilities sum to 1 in every "
            "pixel: the gradient is 0 but for rounding. Expected some of the classes, or output='logit'."
        )
    return Target(output, region, classes, channels, head)


def _classes(class_id, channels):
    if class_id is None:
        return tuple(range(1, max(channels, 2)))
    classes = tuple(class_id) if isinstance(class_id, tuple | list) else (class_id,)
    expected = range(channels) if channels > 1 else (1,)
    if not classes or any(isinstance(k, bool) or k not in expected for k in classes) or len({*classes}) < len(classes):
        known = f"ids of 0 to {channels - 1}" if channels > 1 else "1, the foreground of a one-channel head"
        raise ValueError(f"class_id={class_id!r} does not fit. Expected {known}, or None for all of the foreground.")
    return tuple(sorted(int(k) for k in classes))
