"""What a long study tells where there is no terminal."""

import io
import re
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from kseg.studies import bar


def told(monkeypatch, capsys, quiet, wait):
    monkeypatch.setattr(bar, "QUIET", quiet)
    with bar.Bar(Console(force_terminal=False, width=200)) as shown:
        shown.tell("the first", 0.0, begins=True)
        time.sleep(wait)
        shown.tell("the last", 0.5)
    time.sleep(2 * quiet if quiet < 1 else 0)  # nothing more once it has ended
    return capsys.readouterr().out.splitlines()


def test_a_line_after_a_time_without_any(monkeypatch, capsys):
    first, *still, last = told(monkeypatch, capsys, 0.12, 0.5)
    assert first == "begins with the first" and last.startswith("50% done after")
    assert still and all(line.startswith("still at the first, 0.") for line in still)


def test_no_line_before_that_time(monkeypatch, capsys):
    assert len(told(monkeypatch, capsys, 60, 0.1)) == 2


class Told(io.StringIO):
    """A file that keeps the minute of each line."""

    def __init__(self, clock):
        super().__init__()
        self.clock, self.lines = clock, []

    def write(self, text):
        self.lines += [(self.clock.seconds / 60, line) for line in text.splitlines() if line.strip()]
        return len(text)


class Clock:
    """Time that passes while the bar's thread waits, and what the study says at some minutes."""

    def __init__(self, monkeypatch, said):
        self.seconds, self.said, self.threads, self.ended = 0.0, dict(said), [], False
        monkeypatch.setattr(bar, "time", SimpleNamespace(monotonic=lambda: 5000 + self.seconds))
        event = SimpleNamespace(wait=self.wait, set=lambda: setattr(self, "ended", True))
        monkeypatch.setattr(bar, "threading", SimpleNamespace(Event=lambda: event, Thread=self.thread))

    def thread(self, target, daemon):
        assert daemon  # a study that fails ends all the same
        return SimpleNamespace(start=lambda: self.threads.append(target))

    def wait(self, seconds):
        """Minutes pass until the next look; ends with the last word."""
        until = self.seconds + seconds
        for minute in sorted(self.said):
            if minute * 60 <= until:
                self.seconds = max(self.seconds, minute * 60)
                word = self.said.pop(minute)
                if word is None:
                    return True
                self.bar.tell(*word)
        self.seconds = until
        return self.ended

    def run(self, terminal=False):
        """(minute, line) of all that is told."""
        file = Told(self)
        with bar.Bar(Console(file=file, force_terminal=terminal, width=200)) as self.bar:
            if terminal:
                assert not self.threads
                while not self.wait(15):
                    pass
            for target in self.threads:
                target()
        assert self.ended
        return file.lines


SAID = {
    0: ("model 1", 0.4, True), 1: ("model 1: epoch 3", 0.42), 10: ("model 2: epoch 1", 0.5),
    15: ("model 2: epoch 9", 0.55), 17: None,
}  # fmt: skip


def test_a_quiet_study_says_every_three_minutes_what_it_is_at(monkeypatch):
    lines = Clock(monkeypatch, SAID).run()
    assert lines[0] == (0, "begins with model 1")
    (tenth,) = (each for each in lines if "done after" in each[1])
    assert tenth == (10, "50% done after 10.0 minutes, about 50.0 left (model 2: epoch 1)")  # a tenth in ten minutes
    still = [each for each in lines if each[1].startswith("still at ")]
    assert len(lines) == 2 + len(still) == 2 + 3 + 2
    spaces = [later - minute for (minute, _), (later, _) in zip(lines, lines[1:], strict=False)]
    assert all(3 < space <= 3.3 for space, (_, line) in zip(spaces, lines[1:], strict=True) if "still" in line)
    for minute, line in still:
        what, told = re.fullmatch(r"still at (.*), (.*) minutes after the begin", line).groups()
        assert what == [said for since, said in SAID.items() if since <= minute][-1][0]
        assert float(told) == pytest.approx(minute, abs=0.051)


def test_a_terminal_shows_the_bar_alone(monkeypatch):
    lines = [line for _, line in Clock(monkeypatch, SAID).run(terminal=True)]
    assert any("model 2: epoch 9" in line and "55%" in line for line in lines)
    assert not any(words in line for line in lines for words in ("still at", "done after", "begins with"))
