"""How far a long study is."""

import threading
import time

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

QUIET = 180  # seconds without a word after which, where there is no bar, it is told what goes on


class Bar:
    """A bar with the time left on a terminal; elsewhere a line for each tenth, and one after minutes without any.

    Args:
        console: a `rich.console.Console`.

    Example:
        >>> from rich.console import Console
        >>> with Bar(Console(quiet=True)) as bar:
        ...     bar.tell("half of it", 0.5)
    """

    def __init__(self, console):
        columns = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
                   TextColumn("left"), TimeRemainingColumn()]  # fmt: skip
        self._console, self._terminal, self._told, self._first = console, console.is_terminal, 0, None
        self._bar = Progress(*columns, console=console, disable=not self._terminal, speed_estimate_period=600)
        self._task = self._bar.add_task("", total=1.0)
        self._what, self._said, self._ended = "", time.monotonic(), threading.Event()

    def __enter__(self):
        self._bar.start()
        if not self._terminal:
            threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._bar.stop()

    def _watch(self):
        began = time.monotonic()
        while not self._ended.wait(QUIET / 12):
            if self._what and time.monotonic() - self._said > QUIET:
                self._say(f"still at {self._what}, {(time.monotonic() - began) / 60:.1f} minutes after the begin")

    def _say(self, line):
        self._said = time.monotonic()
        self._console.print(line, highlight=False, soft_wrap=True, markup=False)

    def tell(self, what, share, begins=False):
        """Say what is being done or, without a terminal, begins (a line of its own), and which share of all is done."""
        self._bar.update(self._task, completed=share, description=what)
        self._what = what
        if self._first is None:  # a study that goes on begins with what was done before
            self._first, self._told = (time.monotonic(), share), int(share * 10)
        if begins and not self._terminal:
            self._say(f"begins with {what}")
        if not self._terminal and int(share * 10) > self._told:
            self._told, minutes = int(share * 10), (time.monotonic() - self._first[0]) / 60
            left = minutes * (1 - share) / max(share - self._first[1], 1e-9)
            self._say(f"{share:.0%} done after {minutes:.1f} minutes, about {left:.1f} left ({what})")
