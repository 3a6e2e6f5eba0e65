"""Losses that fail: what is theirs to answer for, and what was wrong in one line."""

OF_THE_MACHINE = (MemoryError, OSError)  # no fault of a loss: no memory, no room on the disk, data that are gone
EMPTY = ("[[", "<stack traces", "Graph execution error", "Detected at node", "File ", "Error occurred", "via ")
LONGEST = 300


def reason(error):
    """What an exception says, in one line that begins with its kind; of TensorFlow's the line that says why.

    Example:
        >>> reason(ValueError("of two\\nlines"))
        'ValueError: of two'
    """
    lines = [line.strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line and not line.startswith(EMPTY)]
    told = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return told if len(told) <= LONGEST else f"{told[: LONGEST - 3]}..."
