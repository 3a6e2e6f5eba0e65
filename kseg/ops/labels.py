"""Which kind of labels a tensor holds, told by static rank, channel count and dtype."""


def tell_labels(y, scores):
    """Tell class ids from one-hot or soft labels.

    Args:
        y: labels: integer ids `[B, *S]` or `[B, *S, 1]`, or one-hot or soft `[B, *S, K]`; for K = 1 also
            floats `[B, *S]`.
        scores: predictions `[B, *S, K]`.

    Returns:
        ("ids", `[B, *S]`) or ("dense", `[B, *S, K]`), dtype unchanged.

    Raises:
        ValueError: a shape or dtype that would have to be guessed; the message names the fix.
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
    if integer:
        return "ids", y
    if classes == 1:
        return "dense", y[..., None]
    raise ValueError(
        f"{got} Class ids must be integers: floats of this shape could be soft foreground labels as well. "
        f"Cast the masks to an integer type, or pass one-hot or soft labels [B, ..., {classes}]."
    )
