"""What these tests change of the engine: when it saves, and how it cuts a matrix into tiles."""

import pytest

from fastntk.engine import checkpoint as checkpoints
from fastntk.engine import kernel_matrix, patterns


@pytest.fixture
def at_once(monkeypatch):
    """A save after every range of neurons."""
    monkeypatch.setattr(checkpoints, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "COST_FACTOR", 0.0)


@pytest.fixture
def tiles_of(monkeypatch):
    """A function that sets the size of the tiles: tiles_of(rows, columns)."""

    def set_size(rows, columns=None):
        def edges(n, p, threads_that_fit):
            threads_that_fit(min(rows, n), min(columns or rows, p))
            return min(rows, n), min(columns or rows, p)

        monkeypatch.setattr(kernel_matrix, "tile_edges", edges)

    return set_size


@pytest.fixture
def patterns_on_disk(monkeypatch):
    """Tiles share their patterns through a file, as if a disk cost nothing."""
    monkeypatch.setattr(patterns, "DISK_RATE", float("inf"))
