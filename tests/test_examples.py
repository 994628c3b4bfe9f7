"""The examples run as they are shown."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_example(example):
    if "import torch" in example.read_text(encoding="utf-8"):
        pytest.importorskip("torch")
    run = subprocess.run([sys.executable, example, "2000"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert not run.stderr
    assert run.stdout
