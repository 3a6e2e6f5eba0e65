"""Studies that go on where they were broken off."""

import json
import shlex
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from kseg.training.record import RunFolder, check_output, environment, is_finished


def begun(config):
    """(config, record) of the study that `config.resume` names, or (config, None) of a new one.

    The config is the one that the study was begun with, `output` its folder.

    Raises:
        ValueError: the folder holds no study of this program, or one of other options than there are now.
    """
    path, kind = config.resume, type(config)
    if path is None:
        return config, None
    record = _record(path, config.program)
    options = {name: value for name, value in record["config"].items() if name not in ("resume", "output", "overwrite")}
    try:
        options = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
        options |= {name: options[name] and tuple(map(Path, options[name])) for name in config.paths}
        return replace(kind(**options), output=path), record
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(
            f"--resume {path} was begun with options that do not fit ({error}). Expected a study of this version."
        ) from None


def folder_of(config, record, data, kept):
    """The run folder of a study, new or gone on with.

    Args:
        config, record: of `begun`.
        data: the open data set, whose fingerprint goes into the record.
        kept: names of what the study writes, all that overwriting may remove.

    Raises:
        ValueError: the data changed since the study was begun.
    """
    facts = {"data": data.fingerprint(), "devices": environment(), "files": kept}
    if record and record.get("data") != facts["data"]:
        raise ValueError(f"data {config.data!r} changed since {config.output} was begun. Expected them as they were.")
    return RunFolder.reopen(config.output, record) if record else RunFolder(config, **facts)


def opened(config, check, kept):
    """(config, what `check` gave, run folder) of a study, new or gone on with; nothing is made of what does not fit.

    Args:
        config: of the study, as it was given.
        check: (config, folder) -> (open data set, ...); a ValueError says what does not fit.
        kept: of `folder_of`.
    """
    config, record = begun(config)
    if record is None:
        check_output(config)
    known = check(config, config.output or Path("runs"))
    known[0].verify()
    return config, known, folder_of(config, record, known[0], kept)


def models_so_far(folder):
    """{"trained": how many models there are} of a study that goes on, {} of a new one.

    Args:
        folder: `RunFolder` of a study whose models lie in `models/`.
    """
    if not folder.record.get("resumed"):
        return {}
    count = sum(map(is_finished, (folder / "models").glob("*")))
    return {"trained": f"{count} model{'s' * (count != 1)} so far, not trained again"}


@contextmanager
def telling_how_to_go_on(folder, config, console):
    """Print the command that goes on with a study if the block breaks off."""
    try:
        yield
    except BaseException:
        command = f"To go on: python scripts/{config.program}.py --resume {shlex.quote(str(folder.path))}"
        console.print(command, highlight=False, soft_wrap=True)
        raise


def _record(path, program):
    try:
        record = json.loads((path / "record.json").read_text(encoding="utf-8"))
        if record["program"] == program and isinstance(record["config"], dict):
            return record
    except (OSError, ValueError, KeyError, TypeError):
        pass
    what = "holds no study to go on with" if path.exists() else "does not exist"
    raise ValueError(f"--resume {path} {what}. Expected the run folder of {program}.py.")
