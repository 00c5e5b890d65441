"""Bars of long work: on a terminal alone, after two seconds, and without a lock that other processes wait for."""

import io
import itertools
import sys

from tqdm import tqdm

from betahat.data import progress as module
from betahat.data.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def _terminal(monkeypatch, seconds):
    """Return what stands for the terminal, while the clock goes on by so many seconds whenever it is read."""
    clock = itertools.count(0.0, seconds)
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(sys, "stderr", Terminal())
    return sys.stderr


def test_nothing_is_wrapped_off_a_terminal(monkeypatch):
    steps = range(5)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert progress(steps, "rows") is steps
    monkeypatch.setattr(sys, "stderr", None)
    assert progress(steps, "rows") is steps


def test_short_work_has_no_bar(monkeypatch):
    terminal = _terminal(monkeypatch, 0.1)
    assert list(progress(range(5), "rows")) == [0, 1, 2, 3, 4]
    assert terminal.getvalue() == ""


def test_long_work_has_one(monkeypatch):
    terminal = _terminal(monkeypatch, 1.0)
    assert list(progress(range(5), "rows")) == [0, 1, 2, 3, 4]
    assert "rows" in terminal.getvalue()
    terminal.truncate(0)
    assert list(progress(iter("abcde"), "letters")) == list("abcde")
    assert "letters" in terminal.getvalue()


def test_tqdms_lock_is_left_alone():
    """A process that was interrupted while it held it would stop the ones that it forks."""
    assert module._Bar.get_lock() is not tqdm.get_lock()
