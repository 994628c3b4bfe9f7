"""Code in docs/migration.md runs, and both sides of each row of its tables are the same numbers."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .pages import python_blocks, sections

PAGE = Path(__file__).parent.parent / "docs" / "migration.md"
OTHERS = {"neural-tangents": "neural_tangents", "torch.func": "torch"}
COMPARE = """
def assert_same(one, other):
    if isinstance(one, tuple):
        assert isinstance(other, tuple) and len(one) == len(other)
        for pair in zip(one, other):
            assert_same(*pair)
        return
    one, other = np.asarray(one), np.asarray(other)
    assert one.shape == other.shape, (one.shape, other.shape)
    # what is rounded to float32 here: sqrt(m) times weights, m no power of 4
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-7 * (1 + np.abs(one).max()))
"""


def section(title):
    """(blocks of code, rows of the table that has a column for fastntk)."""
    text = sections(PAGE.read_text(encoding="utf-8"))[title]
    blocks = python_blocks(text)
    rows = re.findall(r"^\| `([^`|]+)` \| `([^`|]+)` \|$", text, re.M)
    assert len(rows) == len(re.findall(r"^\|", text, re.M)) - 2  # but for the head
    return blocks, rows


def run(program, folder):
    """In a process of its own: what the other packages set up is not for other tests."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("title", OTHERS)
def test_the_side_of_fastntk(title, tmp_path):
    blocks, rows = section(title)
    own = [block for block in blocks if f"import {OTHERS[title]}" not in block]
    assert len(own) == len(blocks) - 1
    run("\n".join([*own, *(ours for _, ours in rows)]), tmp_path)


@pytest.mark.parametrize("title", OTHERS)
def test_both_sides(title, tmp_path):
    if importlib.util.find_spec(OTHERS[title]) is None:
        pytest.skip(f"{OTHERS[title]} is not installed")
    blocks, rows = section(title)
    checks = [f"assert_same({theirs}, {ours})" for theirs, ours in rows]
    run("\n".join([*blocks, COMPARE, *checks]), tmp_path)
