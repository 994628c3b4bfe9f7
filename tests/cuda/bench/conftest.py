"""``python -m bench.gpu`` without a GPU: on an emulated device, with a clock on the wall."""

import importlib
from pathlib import Path

import pytest

from .. import emulator

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def part(monkeypatch):
    """part("calls"): the module bench.gpu.calls."""
    monkeypatch.syspath_prepend(ROOT)  # bench/ is not installed
    return lambda name: importlib.import_module(f"bench.gpu.{name}")


@pytest.fixture
def lab(part, emulator_folder):
    module = part("lab")
    device = emulator.EmulatedDevice(emulator_folder, "shuffled", 1, sources=module.sources)
    return module.WallClockLab(device, quick=True)


@pytest.fixture
def said():
    """What a part prints."""
    return []
