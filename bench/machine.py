"""The machine, the versions and the commit behind a result."""

import subprocess
from pathlib import Path

from fastntk.benchmarks import hardware

ROOT = Path(__file__).resolve().parent.parent


def name():
    """A file name for this machine."""
    return hardware.slug(hardware.processor())


def describe():
    """What a result needs to be read later."""
    return {**hardware.describe("numkong", "torch"), "commit": _commit()}


def _commit():
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() or None
