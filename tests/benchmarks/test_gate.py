"""The gate for speed: what fails, what is measured again, and what cannot be compared."""

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def compare(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)  # bench/ is not installed
    return importlib.import_module("bench.compare")


class Side:
    """Answers with given seconds, one after the other, and the last again and again."""

    def __init__(self, *seconds):
        self.left = list(seconds)

    def seconds(self, name, quick):
        return self.left.pop(0) if len(self.left) > 1 else self.left[0]


@pytest.mark.parametrize(
    ("base", "head", "ratio", "failed"),
    [
        ([1.0], [1.0], 1.0, False),
        ([1.0], [1.24], 1.24, False),
        ([1.0], [1.3], 1.3, True),
        ([1.0], [9.0, 9.0, 1.1], 1.1, False),  # noise in the first calls
        ([1.0], [9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 1.2], 1.2, False),  # that the second try sees through
        ([1.0, 2.0, 2.0], [1.6], 1.6, False),  # a base that is as slow itself, mostly
        ([None], [1.0], None, False),  # an operation that is new
        ([1.0], [None], None, True),  # one that is gone
    ],
)
def test_verdicts(compare, base, head, ratio, failed):
    sides = {"base": Side(*base), "head": Side(*head)}
    assert compare.compared(sides, "outputs", False, 3) == (ratio, failed)


def test_without_a_commit_before_nothing_is_compared(compare, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["compare", "--base", "no-such-commit"])
    assert compare.main() == 0
    assert "speed is not compared: there is no no-such-commit here" in capsys.readouterr().out
