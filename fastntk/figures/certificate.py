"""The figure of the part certificate: where there is a certificate, and one of them beside its run."""

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from .style import INK, SIZE, finish, short_count, title

CERTIFIED, NOT = "#1b4f9c", "#d1572c"


def figures(study):
    """{name: Figure} of a CertificateStudy."""
    figure = Figure(figsize=(10.4, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    left.set_title("Radius over movement of the best proof", **title())
    shown = np.clip(np.log10(np.maximum(study.slack, 1e-2)), -2, 0.3)
    colours = mpl.colormaps["RdBu"]
    norm = mpl.colors.TwoSlopeNorm(0.0, -2.0, 0.3)
    left.imshow(shown, cmap=colours, norm=norm, aspect="auto", origin="lower")
    for k, w in np.ndindex(study.ok.shape):
        slack = study.slack[k, w]
        text = f"{slack:.2f}" if slack >= 0.1 else f"{slack:.1g}" if slack else "none"
        certified = study.ok[k, w]
        dark = abs(shown[k, w]) > 0.9 or shown[k, w] > 0.18
        style = {"color": "white" if dark else INK, "fontweight": "bold" if certified else "normal"}
        left.text(
            w,
            k,
            text + ("\nproof" if certified else ""),
            ha="center",
            va="center",
            fontsize=SIZE - 1,
            **style,
        )
    left.set_xticks(range(len(study.widths)), [short_count(width) for width in study.widths])
    left.set_yticks(range(len(study.kappas)), [f"{kappa:g}" for kappa in study.kappas])
    left.set_xlabel("width (neurons)")
    left.set_ylabel(r"mask strength $\kappa$")
    left.tick_params(length=0, colors=INK, labelsize=SIZE - 1)
    left.xaxis.label.set(color=INK, fontsize=SIZE)
    left.yaxis.label.set(color=INK, fontsize=SIZE)
    for spine in left.spines.values():
        spine.set_visible(False)

    k, w = study.shown
    right.set_title(rf"$\kappa$ = {study.kappas[k]:g}, width {study.widths[w]:,}", **title())
    steps = np.arange(study.steps + 1)
    right.plot(steps, study.shown_bound, color=NOT, lw=1.8, label="the certificate allows")
    right.plot(steps, study.shown_residuals, color=CERTIFIED, lw=1.8, label="training")
    right.set_yscale("log")
    right.set_xlabel("step")
    right.set_ylabel(r"$|f(X) - y|$")
    right.legend(frameon=False, fontsize=SIZE, labelcolor=INK)
    finish(right)
    return {"certificate": figure}
