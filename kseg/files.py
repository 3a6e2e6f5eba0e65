"""Files that appear whole or not at all."""

import csv
import io
import json
import math
import os
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic(path):
    """Give a temporary path beside `path` with the same ending; rename it there when the block succeeds.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "a.txt"
        >>> with atomic(target) as part:
        ...     _ = part.write_text("whole")
        >>> target.read_text()
        'whole'
    """
    path = Path(path)
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    if path.parent.is_dir() and not os.access(path.parent, os.W_OK):
        raise PermissionError(f"{path} cannot be written. Expected a folder that can be written to; choose another.")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path, text):
    """Write UTF-8 text atomically."""
    with atomic(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path, value):
    """Write strict JSON atomically: nan and infinities become null, paths strings."""
    write_text(path, json.dumps(_strict(value), indent=1, default=str) + "\n")


def write_csv(path, rows):
    """Write a list of dicts with equal keys atomically; nan becomes an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if _is_nan(v) else v for k, v in row.items()} for row in rows)
    write_text(path, text.getvalue())


def _is_nan(value):
    return isinstance(value, float) and math.isnan(value)


def _strict(value):
    if isinstance(value, dict):
        return {str(k): _strict(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(v) for v in value]
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        return _strict(value.item())
    if hasattr(value, "tolist"):
        return _strict(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
