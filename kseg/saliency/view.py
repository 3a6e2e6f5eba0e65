"""What a method sees of a model: scores of images and their gradients, with the region held fixed."""

import tensorflow as tf

from kseg.saliency.target import total


class View:
    """Scores of a batch of images and their gradients, as steps that a loop can repeat.

    Args:
        target: `Target`.
        region: weights of pixels `[B, *S]` or None; of the clean images, whatever images the steps see.
        masks: class ids `[B, *S]` or None.
        models: {"logits", "guided", "features": `keras.Model`}, those that the method needs.
        jit: compile each step by XLA. The loops around them stay ordinary graph loops: XLA on a CPU runs
            convolutions within its own loops 10 to 30 times slower (jax#12868).
    """

    def __init__(self, target, region, masks, models, jit):
        self.target, self.region, self.masks, self.models = target, region, masks, models
        self.terms, self.slope, self.guided_slope, self.feature_slope = (
            tf.function(step, jit_compile=True, autograph=False) if jit else step
            for step in (self._terms, self._slope, self._guided_slope, self._feature_slope)
        )

    def change(self, before, images):
        """By how much the scores of images `[B]` are above those of which `before` are the terms."""
        return total(self.terms(images) - before)

    def _terms(self, images):
        """Terms `[B, ...]` whose sums are the scores."""
        return self._terms_of(self.models["logits"](images, training=False))

    def _terms_of(self, logits):
        return self.target.terms(logits, self.region, self.masks)

    def _slope(self, images, model="logits"):
        """Gradient of the score with respect to the images, of their shape."""
        with tf.GradientTape() as tape:
            tape.watch(images)
            score = total(self._terms_of(self.models[model](images, training=False)))
        return tape.gradient(score, images, unconnected_gradients="zero")

    def _guided_slope(self, images):
        """The same through ReLUs that let no negative gradient pass."""
        return self._slope(images, "guided")

    def _feature_slope(self, images):
        """Feature maps `[B, *s, F]` and the gradient of the score with respect to them."""
        with tf.GradientTape() as tape:
            tape.watch(images)
            features, logits = self.models["features"](images, training=False)
            score = total(self._terms_of(logits))
        slope = tape.gradient(score, features, unconnected_gradients="zero")
        return tf.cast(features, tf.float32), tf.cast(slope, tf.float32)
