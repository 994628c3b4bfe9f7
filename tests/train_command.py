"""What the tests of ``fastntk train`` share: the command in this process, and reading what it wrote."""

import csv
import json

import numpy as np

from fastntk import cli
from fastntk.study import training_folder

TINY_PICTURE = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + b"\0\0\0\x10"


def train(capsys, *arguments):
    """Exit status, standard output and standard error of ``fastntk train`` in this process."""
    status = cli.main(["train", *arguments])
    return status, *capsys.readouterr()


def record(folder):
    return json.loads((folder / "training.json").read_text(encoding="utf-8"))


def history(folder):
    """The columns of history.csv as float64 arrays, NaN where they are empty."""
    with (folder / "history.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in rows[0]}


def draw_nothing(monkeypatch):
    """Runs whose picture is of no interest are not drawn."""
    monkeypatch.setattr(training_folder.style, "save", lambda figure, path: path.write_bytes(TINY_PICTURE))
    monkeypatch.setattr(training_folder.figures, "training_figure", lambda watched: None)
