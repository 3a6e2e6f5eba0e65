"""What a long study tells where there is no terminal."""

import time

from rich.console import Console

from kseg.studies import bar


def told(monkeypatch, capsys, quiet, wait):
    monkeypatch.setattr(bar, "QUIET", quiet)
    with bar.Bar(Console(force_terminal=False, width=200)) as shown:
        shown.tell("the first (compiling first)", 0.0)
        time.sleep(wait)
        shown.tell("the last", 0.5)
    time.sleep(2 * quiet if quiet < 1 else 0)  # nothing more once it has ended
    return capsys.readouterr().out.splitlines()


def test_a_line_after_a_time_without_any(monkeypatch, capsys):
    first, *still, last = told(monkeypatch, capsys, 0.12, 0.5)
    assert first == "begins with the first (compiling first)" and last.startswith("50% done after")
    assert still and all(line.startswith("still at the first (compiling first), 0.") for line in still)


def test_no_line_before_that_time(monkeypatch, capsys):
    assert len(told(monkeypatch, capsys, 60, 0.1)) == 2
