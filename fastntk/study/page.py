"""The page of a study: a section for each part."""

from . import layout
from .parts.registry import PARTS

ROWS_AS = {
    "unit": "each row divided by its Euclidean norm",
    "standardize": "features standardized (mean 0, variance 1), then each row divided by its norm",
    "none": "as they are in the data set",
}
KEPT_KERNELS = {
    "none": "The kernels themselves were not kept (<code>--save-kernels none</code>).",
    "widest": "<code>kernels/</code> has the kernel of each mask strength at the largest width, float64.",
    "all": "<code>kernels/</code> has every kernel, float64.",
}


def render(report, figures, record):
    """The page as a text.

    Parameters
    ----------
    report : Report
    figures : list of Path
        The PNG files.
    record : dict
        Settings, command and provenance, as ``study.json`` has them.

    Returns
    -------
    str
    """
    images = {path.stem: path for path in figures}
    shared = {"rows_as": ROWS_AS, "kept_kernels": KEPT_KERNELS}
    done = [name for name in report.settings["parts"] if name in report.finished]
    sections = {}
    for name in done:
        sections[name] = layout.render(
            f"parts/{name}.html", figures=images, study=report.finished[name], **shared
        )
    return layout.render(
        "study.html",
        sections=sections,
        parts={name: PARTS[name] for name in done},
        findings={name: PARTS[name].findings(report.finished[name]) for name in done},
        tables={name: PARTS[name].table(report.finished[name]) for name in done},
        missing=report.missing,
        settings=report.settings,
        facts_of_study={**report.settings, "command": record["command"]},
        provenance=record["provenance"],
    )
