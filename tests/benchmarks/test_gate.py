"""The gate for speed: what fails, what is measured again, and what cannot be compared."""

import importlib
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def compare(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)  # bench/ is not installed
    return importlib.import_module("bench.compare")


class Side:
    """Answers with given (wall, cpu), one after the other, and the last again and again."""

    def __init__(self, *seconds):
        self.left = list(seconds)

    def begin(self, name, quick):
        pass

    def seconds(self):
        return self.left.pop(0) if len(self.left) > 1 else self.left[0]


def both(*seconds):
    """Calls whose processors have nothing else to do."""
    return [(one, one) for one in seconds]


@pytest.mark.parametrize(
    ("base", "head", "said", "failed"),
    [
        (both(1.0), both(1.0), "  1.00 x the time of base", False),
        (both(1.0), both(1.24), "  1.24 x the time of base", False),
        (both(1.0), both(1.3), "  1.30 x the time of base", True),
        (both(1.0), both(9.0, 9.0, 1.1), "  1.10 x the time of base", False),  # noise in the first calls
        (
            both(1.0),
            both(*[9.0] * 12, 1.2),
            "  1.20 x the time of base",
            False,
        ),  # that the third try sees through
        # The base's own calls differ: the time of the processors decides, or nothing does.
        ([(1.0, 1.0), (3.0, 1.0)] * 9, [(3.0, 1.1)], "  1.10 x the time of base", False),
        ([(1.0, 1.0), (3.0, 1.0)] * 40, [(3.0, 1.5)], "  1.50 x the time of base", True),
        (both(*[1.0, 3.0] * 9), both(3.0), "not compared: the machine is too busy to tell", False),
        ([None], both(1.0), "not compared: the base does not have it", False),
        (both(1.0), [None], "gone: the base has it", True),
    ],
)
def test_verdicts(compare, base, head, said, failed):
    sides = {"base": Side(*base), "head": Side(*head)}
    started = lambda: nullcontext(sides)  # noqa: E731
    assert compare.verdict(started, "outputs", False, 3) == (said, failed)


def test_every_measurement_has_new_processes(compare):
    """One that is slow for its whole life, by where its memory lies, does not fail."""
    lives = iter([9.0, 9.0, 1.0])
    started = []

    def start():
        started.append({"base": Side((1.0, 1.0)), "head": Side((next(lives), 9.0))})
        return nullcontext(started[-1])

    assert compare.verdict(start, "outputs", False, 3) == ("  1.00 x the time of base", False)
    assert len(started) == 3


def test_without_a_commit_before_nothing_is_compared(compare, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["compare", "--base", "no-such-commit"])
    assert compare.main() == 0
    assert "speed is not compared: there is no no-such-commit here" in capsys.readouterr().out


def test_a_base_that_cannot_be_installed_is_not_compared(compare, monkeypatch, capsys):
    def install(commit, folder):
        raise subprocess.CalledProcessError(1, ["pip"])

    monkeypatch.setattr(sys, "argv", ["compare", "--base", "abc"])
    monkeypatch.setattr(compare, "commit_of", lambda name: name)
    monkeypatch.setattr(compare, "install", install)
    assert compare.main() == 0
    assert "speed is not compared: abc cannot be installed here" in capsys.readouterr().out


def test_a_side_that_ends_cannot_run_anything(compare, tmp_path):
    """As one does whose fastntk lacks what is imported."""
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "timed_operations.py").write_text("raise ImportError('an old version')")
    with compare.Side(tmp_path / "base") as side:
        side.begin("outputs", True)
        assert side.seconds() is None
        side.begin("outputs", True)
        assert side.seconds() is None
