"""The page of a width study."""

import numpy as np

from . import formulas, layout, table
from .template import TEMPLATE

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


def render(study, figures, settings, provenance, save_kernels):
    """The page as a text.

    Parameters
    ----------
    study : WidthStudy
    figures : dict of str to Path
        The PNG files named distance, eigenvalues, kernels and ridge.
    settings, provenance : dict
        What was computed, and on what; shown as two lists.
    save_kernels : {"none", "widest", "all"}

    Returns
    -------
    str
    """
    return layout.render(
        TEMPLATE,
        study=study,
        settings=settings,
        provenance=provenance,
        rows_as=ROWS_AS[settings["preprocessing"]],
        kept_kernels=KEPT_KERNELS[save_kernels],
        summary=_summary(study),
        headings=table.HEADINGS,
        groups=_groups(table.rows(study)),
        figures=figures,
        noise=table.number(study.rows * np.finfo(float).eps * study.limit_largest.max(), 1),
        formulas=formulas,
    )


def _groups(rows):
    """The table's rows, split by mask strength: a list of lists."""
    groups: list[list[tuple]] = []
    for row in rows:
        if not groups or groups[-1][0][0] != row[0]:
            groups.append([])
        groups[-1].append(row)
    return groups


def _summary(study):
    """The findings at the head of the page: (figure, what it is) pairs."""
    low, high = study.typical[:, :1], study.typical[:, 1:]
    inside = int(np.count_nonzero((study.ratio >= low) & (study.ratio <= high)))
    widest = f"width {study.widths[-1]:,}"
    findings = []
    if len(study.widths) > 1:
        slopes = sorted({f"\N{MINUS SIGN}{-slope:.2f}" for slope in study.slope})
        theory = "slope of log distance against log width; \N{MINUS SIGN}0.50 is expected"
        findings.append((" to ".join(dict.fromkeys((slopes[0], slopes[-1]))), theory))
    findings.append((f"{inside} of {study.ratio.size}", "distances are where 95 % of random networks are"))
    relative = study.relative_distance[:, -1].max()
    findings.append((table.percent(relative), f"relative distance to the limit at {widest}, at most"))
    if len(study.kappas) > 1:
        first, last = (table.number(study.smallest[k, -1], 3) for k in (0, -1))
        kappas = f"from \N{GREEK SMALL LETTER KAPPA} = {study.kappas[0]:g} to {study.kappas[-1]:g}"
        findings.append(
            (f"{first} \N{RIGHTWARDS ARROW} {last}", f"smallest eigenvalue at {widest}, {kappas}")
        )
    return findings
