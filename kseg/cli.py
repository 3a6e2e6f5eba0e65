"""The command line: parse, run, exit code.

Exit codes: 0 done, 1 the run failed, 2 bad input (one line says what), 130 interrupted (Ctrl-C, SIGTERM).
"""

import contextlib
import io
import logging
import os
import re
import signal
import sys
import tempfile
import threading
from dataclasses import fields
from importlib import import_module
from typing import Annotated

from kseg import __version__, configs
from kseg.registry import unknown

COMMANDS = {
    "train": (configs.Train, "kseg.training.run", "train"),
    "evaluate": (configs.Evaluate, "kseg.training.evaluation", "evaluate"),
    "predict": (configs.Predict, "kseg.training.prediction", "execute"),
    "attack": (configs.Attack, "kseg.studies.attack_model", "execute"),
    "compare_losses": (configs.CompareLosses, "kseg.studies.loss_comparison", "execute"),
    "toy_balance": (configs.ToyBalance, "kseg.studies.toy_balance", "execute"),
    "pixel_robustness": (configs.PixelRobustness, "kseg.studies.pixel_robustness", "execute"),
    "robust_training": (configs.RobustTraining, "kseg.studies.robust_training", "execute"),
    "worked_examples": (configs.WorkedExamples, "kseg.studies.worked_examples", "execute"),
    "losses": (configs.Losses, "kseg.studies.loss_cards", "execute"),
    "data": (configs.Data, "kseg.studies.data_sheet", "execute"),
    "prepare_folder": (configs.PrepareFolder, "kseg.data.folder", "execute"),
    "prepare_chest_xray": (configs.PrepareChestXray, "kseg.data.chest_xray", "execute"),
    "prepare_hippocampus": (configs.PrepareHippocampus, "kseg.data.hippocampus", "execute"),
    "prepare_histology": (configs.PrepareHistology, "kseg.data.histology", "execute"),
    "prepare_kandinsky": (configs.PrepareKandinsky, "kseg.data.figures", "execute"),
}
WITHOUT_TENSORFLOW = ("kseg.data", "kseg.studies.data_sheet")
BAD_INPUT = (ValueError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)
PLAIN = {  # what Python and tyro say, in words a user knows
    r"invalid literal for int\(\) with base 10: (.*)": r"\1. Expected a whole number",
    r"could not convert string to float: (.*)": r"\1. Expected a number",
    r"no type matching .* could be instantiated from \['(.*?)'\].*": r"\1. Expected a number",
    r"Error parsing (--\S+): ": r"\1=",
}
USAGE, FAILED, INTERRUPTED = 2, 1, 130


def main(command=None, argv=None):
    """Run one command and return its exit code.

    Args:
        command: a name of `COMMANDS`; None takes it from the first word of `argv`, as `kseg train` does.
        argv: the words of the command line after the program's name.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    with _stopped_like_ctrl_c():
        return _main(command, argv)


def _main(command, argv):
    program = f"{command}.py"
    if command is None:
        if not argv or argv[0] in ("-h", "--help"):
            print(_overview())
            return 0 if argv else USAGE
        if argv[0] == "--version":
            print(f"kseg {__version__}")
            return 0
        command = argv.pop(0).replace("-", "_")
        program = f"kseg {command}"
        if command not in COMMANDS:
            return _complain(unknown("command", command, COMMANDS), USAGE)
    try:
        config = _parse(COMMANDS[command][0], argv, program)
        return _run(command, config)
    except BAD_INPUT as error:
        return _complain(error, USAGE)
    except KeyboardInterrupt as stop:
        return _complain(f"interrupted; {str(stop) or 'nothing was written'}", INTERRUPTED)
    except RuntimeError as error:
        if type(error).__name__ != "RunFailed":
            raise
        return _complain(error, FAILED)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        return _complain(error, FAILED)


@contextlib.contextmanager
def _stopped_like_ctrl_c():
    """Within the block SIGTERM, which schedulers of clusters send, does what Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():  # signals are for the main thread alone
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)  # None: not set from Python


def _run(command, config):
    from rich.console import Console

    console = Console()
    _, module, function = COMMANDS[command]
    execute = getattr(_load(module, console), function)
    execute(config, console)
    return 0


def _parse(config, argv, program):
    """The config of a command line; what does not parse becomes a ValueError of one line."""
    import tyro

    for name in config.positional:  # configs know no tyro, so the names of positional words are told it here
        told = {"metavar": f"[{name.upper()}]"}
        if not hasattr(config, name):
            told = {"metavar": name.upper(), "help_behavior_hint": "(required)"}
        config.__annotations__[name] = tyro.conf.Positional[
            Annotated[config.__annotations__[name], tyro.conf.arg(**told)]
        ]
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            parsed = tyro.cli(config, args=argv, prog=program)
    except SystemExit as stop:
        if not stop.code:
            raise
        message = _one_line(complaint.getvalue()).removeprefix(f"Error parsing {config.__name__}: ")
        raise ValueError(f"{message.rstrip('.')}. See {program} --help.") from None
    words = {word.partition("=")[0][2:].replace("-", "_").removeprefix("no_") for word in argv if word.startswith("--")}
    parsed.typed(words & {field.name for field in fields(parsed)})
    return parsed


def _one_line(box):
    """The words of tyro's framed message, without its help texts."""
    words = []
    for line in box.splitlines():
        indent = len(line) - len(line.lstrip("│ "))
        if line.startswith(("╭", "╰")):
            continue
        line = line.strip("│─ ")
        if "helptext" in line:
            break
        if line and indent < 8:
            words.append(line.split(" STR")[0] if indent > 4 else line)
    message = " ".join(words) or "The options do not fit"
    for theirs, ours in PLAIN.items():
        message = re.sub(theirs, ours, message)
    return message[0].upper() + message[1:]


def _load(module, console):
    """Import a module; what TensorFlow's libraries print meanwhile is shown only if that fails."""
    if module.startswith(WITHOUT_TENSORFLOW) or "tensorflow" in sys.modules:
        return import_module(module)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Keep what was freed: large buffers come from the kernel anew otherwise, which takes a third of a compiled step.
    os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "true")
    with tempfile.TemporaryFile() as held, console.status("starting TensorFlow"):
        saved = os.dup(2)
        sys.stderr.flush()
        os.dup2(held.fileno(), 2)
        try:
            loaded = import_module(module)
            sys.modules["tensorflow"].config.list_physical_devices()
            logging.getLogger("tensorflow").setLevel(logging.ERROR)  # studies make many models, each traced anew
            return loaded
        except Exception:
            held.seek(0)
            os.write(saved, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)


def _overview():
    lines = [f"  {name:<22}{config.__doc__.splitlines()[0]}" for name, (config, *_) in COMMANDS.items()]
    return "usage: kseg COMMAND [OPTIONS]\n\n" + "\n".join(lines) + "\n\nkseg COMMAND --help tells a command's options."


def _complain(error, code):
    print("error:", " ".join(str(error).split()), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
