"""A loss and its gradient as one XLA program, inside a train step that is itself not compiled."""

import tensorflow as tf

from kseg import ops


def applies(y_pred):
    """Whether the program pays: in a graph, on one replica, for images of known size (each size compiles anew)."""
    if tf.executing_eagerly() or not tf.is_tensor(y_pred) or ops.replica_count() > 1:
        return False
    shape = y_pred.shape
    return shape.rank is not None and None not in shape[1:] and shape[0] != 0


def make(value):
    """`value(y_true, y_pred, sample_weight) -> scalar`, compiled together with its gradient.

    One program computes both, so what they share is computed once and nothing but the gradient is kept in between.
    The gradient is float32 whatever the dtype of `y_pred`: a loss scale comes after it, and half precision would have
    lost small values by then. Labels and weights that are floats get their gradient from the plain formula, and a
    second derivative is that of the program.
    """

    @tf.function(jit_compile=True, autograph=False)
    def program(y_true, wide, sample_weight):
        with tf.GradientTape() as tape:
            tape.watch(wide)
            result = value(y_true, wide, sample_weight)
        return result, tape.gradient(result, wide, unconnected_gradients="zero")

    def run(y_true, y_pred, sample_weight):
        given = [tensor for tensor in (y_true, sample_weight) if tensor is not None]

        @tf.custom_gradient
        def fused(y_pred, *given):
            wide = y_pred if y_pred.dtype == tf.float64 else tf.cast(y_pred, tf.float32)
            result, slope = program(given[0], wide, given[1] if len(given) > 1 else None)

            def gradient(upstream):
                d_pred = tf.cast(tf.cast(upstream, slope.dtype) * slope, y_pred.dtype)
                return d_pred, *_others(upstream, y_pred, given)

            return result, gradient

        def _others(upstream, y_pred, given):
            floats = [tensor for tensor in given if tensor.dtype.is_floating]
            if not floats:
                return [None] * len(given)
            with tf.GradientTape() as tape:
                tape.watch(floats)
                result = value(given[0], y_pred, given[1] if len(given) > 1 else None)
            slopes = iter(tape.gradient(result, floats, upstream, unconnected_gradients="zero"))
            return [next(slopes) if tensor.dtype.is_floating else None for tensor in given]

        return fused(y_pred, *given)

    return run
