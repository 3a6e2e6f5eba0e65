"""How far a long study is."""

import time

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Bar:
    """A bar with the time left on a terminal; elsewhere a line for each tenth.

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

    def __enter__(self):
        self._bar.start()
        return self

    def __exit__(self, *_):
        self._bar.stop()

    def tell(self, what, share):
        """Say what is being done, and which share of all is done."""
        self._bar.update(self._task, completed=share, description=what)
        if self._first is None:  # a study that goes on begins with what was done before
            self._first, self._told = (time.monotonic(), share), int(share * 10)
        if not self._terminal and "compiling" in what:
            self._console.print(f"begins with {what}", highlight=False, soft_wrap=True)
        if not self._terminal and int(share * 10) > self._told:
            self._told, minutes = int(share * 10), (time.monotonic() - self._first[0]) / 60
            left = minutes * (1 - share) / max(share - self._first[1], 1e-9)
            line = f"{share:.0%} done after {minutes:.1f} minutes, about {left:.1f} left ({what})"
            self._console.print(line, highlight=False, soft_wrap=True)
