"""What the configs of all commands share: checks, and the command line that gives a config again."""

import math
import shlex
from dataclasses import fields
from operator import ge, gt, le, lt

BOUNDS = {"low": (ge, "at least"), "above": (gt, "above"), "high": (le, "at most"), "below": (lt, "below")}


def check(condition, name, value, expected):
    if not condition:
        raise ValueError(f"{name}={value} does not fit. Expected {expected}.")


def check_number(config, *names, **bounds):
    """Each number of these options lies within bounds, such as `low=1, below=5`; None is not looked at."""
    wanted = " and ".join(f"{BOUNDS[key][1]} {bound}" for key, bound in bounds.items())
    given = [(name, getattr(config, name)) for name in names if getattr(config, name) is not None]
    for name, value in [(n, v) for n, values in given for v in (values if isinstance(values, tuple) else (values,))]:
        fits = math.isfinite(value) and all(BOUNDS[key][0](value, bound) for key, bound in bounds.items())
        kind = "a whole number" if isinstance(value, int) else "a number" if math.isfinite(value) else "a finite number"
        check(fits, flag(name), value, f"{kind} {wanted}")


class Command:
    """What all configs can do."""

    program = ""
    positional = ()
    given = frozenset()  # names of the options that stood on the command line
    otherwise = {}  # option: its value if not given, where that is not its default

    def typed(self, names):
        """Told the names of the options that stood on the command line, with their default or not."""
        object.__setattr__(self, "given", frozenset(names))

    def command(self):
        """The command line that gives this config again, defaults left out."""
        words = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value != self.otherwise.get(field.name, field.default):
                words += _option("" if field.name in self.positional else field.name, value)
        return " ".join(["python", f"scripts/{self.program}.py", *words])


class Study(Command):
    """A command with presets, whose run can be gone on with: has the options `preset` and `resume`."""

    PRESETS = {}  # preset: {option: its value}

    @property
    def otherwise(self):
        """{option: its value if not given}; with `resume` the run to go on with tells them."""
        return {} if self.resume else self.PRESETS[self.preset]

    def typed(self, names):
        """See `Command.typed`; refuses options beside `resume` that have their default too."""
        super().typed(names)
        for name in sorted(self.given - {"resume"}) if self.resume else ():
            check(False, flag(name), getattr(self, name), "no other option beside --resume")

    def complete(self):
        """Refuse options beside `resume`, and give those that are not given their values."""
        for field in fields(self) if self.resume else ():
            alone = field.name == "resume" or getattr(self, field.name) == field.default
            check(alone, flag(field.name), getattr(self, field.name), "no other option beside --resume")
        for name, value in self.otherwise.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)


def flag(name):
    return "--" + name.replace("_", "-")


def _option(name, value):
    if isinstance(value, bool):
        return [flag(name if value else f"no_{name}")]
    values = value if isinstance(value, tuple) else (value,)
    return [*([flag(name)] if name else []), *(shlex.quote(str(v)) for v in values)]
