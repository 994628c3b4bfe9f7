"""The folder of a training run: what is written, and read again to go on."""

import csv
import json
import math
from dataclasses import asdict

from ..figures import style
from ..figures import training as figures
from ..training import TrainingRun
from . import training_page
from .folder import read_again
from .provenance import fingerprint, provenance
from .scores import as_numbers, finite_or_none, from_numbers
from .settings import Settings
from .task import Task
from .watched import Curve, WatchedRun

MARK = "training.json"  # every folder of a run holds it, so that nothing else is ever replaced


def write(watched, folder, command):
    """Write all files into a folder."""
    watched.task.save(folder / "data.npz")
    watched.run.save(folder / "run.npz")
    _write_history(watched, folder / "history.csv")
    style.save(figures.training_figure(watched), folder / "training.png")
    record = {
        "settings": asdict(watched.settings),
        "results": {
            "status": watched.status,
            "steps_done": watched.run.steps_done,
            "step_size": watched.run.step_size,
            "scores": as_numbers(watched.scores),
        },
        "held_out": {
            name: [finite_or_none(v) for v in values] for name, values in asdict(watched.curve).items()
        },
        "data_sha256": fingerprint(watched.task.X),
        "command": command,
        "provenance": provenance(),
    }
    text = training_page.render(watched, folder / "training.png", record)
    (folder / "index.html").write_text(text, encoding="utf-8")
    (folder / MARK).write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _write_history(watched, path):
    """A CSV file: one row for each step at which anything was recorded, empty where something was not."""
    run, curve = watched.run, watched.curve
    columns = {
        name: dict(zip(steps.tolist(), getattr(run, name).tolist(), strict=True))
        for steps, names in (
            (run.recorded_steps, ("clean_loss", "masked_loss", "distance", "max_distance", "flipped")),
            (run.eigenvalue_steps, ("smallest_eigenvalue", "largest_eigenvalue", "masked_eigenvalue")),
            (run.audit_steps, ("audit_error",)),
            (run.expected_steps, ("smoothed_mse", "regulariser")),
        )
        for name in names
    }
    if run.accuracy is not None:
        columns["accuracy"] = dict(zip(run.recorded_steps.tolist(), run.accuracy.tolist(), strict=True))
    columns["held_out_loss_per_row"] = dict(zip(curve.steps, curve.loss, strict=True))
    columns["held_out_score"] = dict(zip(curve.steps, curve.score, strict=True))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["step", *columns])
        for step in sorted(set().union(*columns.values())):
            writer.writerow([step, *(column.get(step, "") for column in columns.values())])


def load(folder):
    """The run that :func:`write` left in a folder."""
    with read_again(folder, MARK, "run", " of fastntk train") as record:
        return WatchedRun(
            Task.load(folder / "data.npz"),
            Settings(**record["settings"]),
            TrainingRun.load(folder / "run.npz"),
            Curve(**{k: [math.nan if v is None else v for v in vs] for k, vs in record["held_out"].items()}),
            from_numbers(record["results"]["scores"]),
        )
