"""What a run was begun with, read from its record: to go on with it, or to run it again."""

import json
import shlex
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Literal, Union, get_args, get_origin, get_type_hints

from kseg.configs.command import flag

LARGEST = 64 * 1024**2  # bytes of a record


def read_record(path, program, option="--resume"):
    """The record of a run, a dict.

    Args:
        path: a run folder, or its record.json.
        program: the run's.
        option: that names the path, for the error.

    Raises:
        ValueError: there is no record of this program.
    """
    file = path / "record.json" if path.is_dir() else path
    try:
        if file.stat().st_size <= LARGEST:
            record = json.loads(file.read_text(encoding="utf-8"))
            if record["program"] == program and isinstance(record["config"], dict):
                return record
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    what = f"holds no record of a run of {program}" if path.exists() else "does not exist"
    expected = "the record.json of a run" if option == "--config" else "the run folder"
    raise ValueError(f"{option} {path} {what}. Expected {expected} of {program}.py.")


def config_of(record, kind, path, without=(), option="--resume"):
    """The config of a record, but for the options `without`, which have their defaults.

    Args:
        record: of `read_record`.
        kind: a class of `kseg.configs`.
        path, option: for the error.

    Raises:
        ValueError: options that this version does not have, or values that do not fit.
    """
    try:
        hints, known = get_type_hints(kind), {field.name for field in fields(kind)}
        options = {name: value for name, value in record["config"].items() if name not in without}
        if strangers := sorted(options.keys() - known):
            raise ValueError(f"{flag(strangers[0])} is not known")
        return kind(**{name: _typed(name, value, hints[name]) for name, value in options.items()})
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{option} {path} was begun with options that do not fit ({error}). Expected a run of this version."
        ) from None


def recorded(config, record, path, own):
    """The config of a record with the options `own` of `config`.

    Args:
        config: as it was given, beside the record.
        record: of `read_record`.
        path: of the record.
        own: names of the options that are not taken from the record; first the one that names the record.

    Raises:
        ValueError: another option that was given is not the record's; it is named.
    """
    option = flag(own[0])
    old = config_of(record, type(config), path, own, option)
    for field in fields(config):
        new, former = getattr(config, field.name), getattr(old, field.name)
        if field.name not in own and new != former and (new != field.default or field.name in config.given):
            raise ValueError(
                f"{flag(field.name)}={_told(new)} differs from the {_told(former)} that {path} was begun with. "
                f"Expected its options beside {option}; leave {flag(field.name)} out, or begin a new run."
            )
    return replace(old, **{name: getattr(config, name) for name in own})


def _told(value):
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _typed(name, value, hint):
    """A value of a JSON file as an option's type; a ValueError if it is none."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        for each in inner:
            try:
                return _typed(name, value, each)
            except ValueError:
                continue
    elif origin is Literal:
        if any(value == each and type(value) is type(each) for each in inner):
            return value
    elif origin is tuple and isinstance(value, list):
        kinds = inner[:1] * len(value) if Ellipsis in inner else inner
        if len(kinds) == len(value):
            return tuple(_typed(name, each, kind) for each, kind in zip(value, kinds, strict=True))
    elif hint is float and type(value) in (int, float):
        return float(value)
    elif hint is Path and isinstance(value, str):
        return Path(value)
    elif hint in (NoneType, None) and value is None:
        return None
    elif type(value) is hint:
        return value
    raise ValueError(f"{flag(name)}={value!r} is of no type that it takes")


@contextmanager
def telling_how_to_go_on(folder, config, console):
    """Print the command that goes on with a run if the block breaks off."""
    try:
        yield
    except BaseException:
        command = f"To go on: python scripts/{config.program}.py --resume {shlex.quote(str(folder.path))}"
        console.print(command, highlight=False, markup=False, soft_wrap=True)
        raise
