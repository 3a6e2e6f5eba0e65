"""What a score is where there is none: one grammar for all metrics."""

WORDS = {"nan": float("nan"), "zero": 0.0, "one": 1.0}


def empty_score(empty):
    """The number that `empty` stands for.

    Args:
        empty: "nan", "zero", "one", or a number.

    Raises:
        ValueError: anything else.

    Example:
        >>> empty_score("one"), empty_score(0.5)
        (1.0, 0.5)
    """
    if isinstance(empty, str) and empty in WORDS:
        return WORDS[empty]
    if isinstance(empty, (str, bool)) or not hasattr(empty, "__float__"):
        raise ValueError(
            f"empty={empty!r} does not fit a metric. Expected 'nan' (left out of means, and counted), 'zero', 'one', "
            "or a number."
        )
    return float(empty)


def empty_config(value):
    """`value` in a form that JSON holds."""
    return "nan" if value != value else value
