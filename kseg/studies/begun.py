"""Studies that go on where they were broken off."""

from dataclasses import replace
from pathlib import Path

from kseg.training.record import RunFolder, check_output, environment, is_finished
from kseg.training.recorded import config_of, read_record, telling_how_to_go_on

__all__ = ["begun", "folder_of", "models_so_far", "opened", "telling_how_to_go_on"]


def begun(config):
    """(config, record) of the study that `config.resume` names, or (config, None) of a new one.

    The config is the one that the study was begun with, `output` its folder.

    Raises:
        ValueError: the folder holds no study of this program, or one of other options than there are now.
    """
    path = config.resume
    if path is None:
        return config, None
    record = read_record(path, config.program)
    old = config_of(record, type(config), path, ("resume", "output", "overwrite"))
    return replace(old, output=path), record


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
