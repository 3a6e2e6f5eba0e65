"""Names to objects, with errors that know what you meant."""

import ast
from difflib import get_close_matches


def unknown(kind, value, expected):
    """The error for an unknown name: the value, what was expected, and the nearest name.

    Returns:
        ValueError: one line, to be raised by the caller.
    """
    expected = list(expected)
    near = get_close_matches(str(value), expected, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
    return ValueError(f"{kind} {value!r} is not known. Expected one of: {', '.join(expected)}.{hint}")


def call_options(kind, name, words):
    """{option: value} of `(option=value, ...)`; values are numbers, strings in quotes, tuples, True, False, None.

    Args:
        kind: what has the options, for the error.
        name: which of them.
        words: with both brackets.

    Raises:
        ValueError: anything else; nothing in it is executed.

    Example:
        >>> call_options("data", "toy", "(threshold=0.5, seed=1)")
        {'threshold': 0.5, 'seed': 1}
    """
    try:
        call = ast.parse(f"f{words}", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or not isinstance(call.func, ast.Name):
            raise ValueError
        options = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
        if len(options) < len(call.keywords):
            raise ValueError
        return options
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        raise ValueError(
            f"{kind} {name + words!r} cannot be read. Expected {name}(option=value, ...) with numbers, quoted words or "
            "tuples; quote all of it on the command line."
        ) from None


class Registry:
    """A mapping from names to objects, each with a few facts about it.

    Args:
        kind: what is registered, in the singular, as it appears in errors ("loss").
    """

    def __init__(self, kind):
        self.kind = kind
        self._entries = {}
        self._facts = {}

    def register(self, name, **facts):
        """Decorator that files an object under `name`, together with `facts`."""

        def file(entry):
            if name in self._entries:
                raise ValueError(f"{self.kind} {name!r} is registered twice.")
            self._entries[name] = entry
            self._facts[name] = facts
            return entry

        return file

    def get(self, name):
        """The object filed under `name`; an unknown name raises ValueError naming the nearest ones."""
        if name not in self._entries:
            raise unknown(self.kind, name, self._entries)
        return self._entries[name]

    def facts(self, name):
        """The facts filed with `name`."""
        self.get(name)
        return dict(self._facts[name])

    def names(self):
        """All names, in the order of registration."""
        return list(self._entries)
