"""Which kind of labels a tensor holds, told by static rank, channel count and dtype."""

import tensorflow as tf


def tell_labels(y, scores):
    """Tell class ids from one-hot or soft labels.

    Args:
        y: labels: ids `[B, *S]` or `[B, *S, 1]`, or one-hot or soft `[B, *S, K]`; for K = 1, floats `[B, *S]` are
            soft labels too. Ids may be floats of whole numbers: Keras turns integer masks into floats before
            the first step under `tf.distribute`, and many pipelines do.
        scores: predictions `[B, *S, K]`.

    Returns:
        ("ids", `[B, *S]`) or ("dense", `[B, *S, K]`), dtype unchanged.

    Raises:
        ValueError: a shape that does not fit; the message names the fix.
    """
    rank, classes = scores.shape.rank, scores.shape[-1]
    integer = y.dtype.is_integer or y.dtype.is_bool
    channels = y.shape[-1] if y.shape.rank == rank else None
    got = f"Labels have shape {y.shape} and dtype {y.dtype.name}, predictions {scores.shape}."
    if not y.shape[: rank - 1].is_compatible_with(scores.shape[:-1]):
        raise ValueError(f"{got} Expected the same batch and spatial sizes in both.")
    if channels == classes and (classes > 1 or not integer):
        return "dense", y
    if channels == 1:
        y = y[..., 0]
    elif y.shape.rank != rank - 1:
        fix = " Pass y_true[..., 1:]." if classes == 1 and channels == 2 else ""
        raise ValueError(
            f"{got} Expected class ids [B, ...] or [B, ..., 1], or one-hot or soft labels [B, ..., {classes}].{fix}"
        )
    return ("ids", y) if classes > 1 or integer else ("dense", y[..., None])


def widen(y):
    """Booleans and integers in a signed type that holds them and any `ignore_class`; floats as they are."""
    if y.dtype.is_floating:
        return y
    return tf.cast(y, tf.int64 if y.dtype in (tf.int64, tf.uint32, tf.uint64) else tf.int32)


def whole_ids(y, classes):
    """Ids as int32, and where they are whole numbers in [0, classes); elsewhere the id is 0.

    Args:
        y: ids of any dtype and shape.
        classes: number of classes.

    Returns:
        (int32, bool), both of the shape of `y`.
    """
    y = widen(y)
    known = (y >= 0) & (y < classes)
    if y.dtype.is_floating:
        known &= tf.floor(y) == y
    return tf.cast(tf.where(known, y, tf.zeros_like(y)), tf.int32), known


def are_shares(y):
    """Where soft labels lie in [0, 1], to within the rounding of a resize (1e-3)."""
    return tf.abs(y - tf.cast(0.5, y.dtype)) <= tf.cast(0.501, y.dtype)


def shares_or_nan(y):
    """Soft labels, nan where they lie outside [0, 1]: a 0/255 mask must not pass for one."""
    return tf.where(are_shares(y), y, tf.constant(float("nan"), y.dtype))
