"""Studies: each is one function call that returns its numbers, which tables, figures and pages show.

parts/         the parts of `fastntk study`, one a module
report.py      parts computed into a folder that can go on
page.py        its page
pages/         the texts of all pages (Jinja2, with formulas in LaTeX) and their style
numbers.py     the numbers of a part in a file
table.py       numbers as text

width.py       how the masked kernel and its spectrum approach infinite width
scatter.py     how far one random network may be from the expected distance
pictures.py    kernels reduced to heat maps

training.py    all of `fastntk train` for one data set
task.py        what there is to learn from a data set, and which rows are held out
settings.py    what a training run does, complete and by name
watched.py     a training run that is looked at while it goes on
scores.py      how well a network does, with and without masks
training_page.py    its page
training_folder.py  what is written, and read again to go on

folder.py      a results folder that is there as a whole or not at all
layout.py      templates and figures made a self-contained page
provenance.py  versions and hardware
"""

from importlib import import_module

_HOME = {
    "smoothing_study": "parts.smoothing",
    "trajectory_study": "parts.trajectories",
    "regime_study": "parts.regime",
    "floor_study": "parts.floor",
    "width_study": "width",
    "movement_study": "parts.movement",
    "certificate_study": "parts.certificate",
    "data_study": "parts.data",
    "privacy_study": "parts.privacy",
    "federated_study": "parts.federated",
}

__all__ = list(_HOME)


def __getattr__(name):
    """Import a study when it is first used."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
