"""Figures of the part federated: scores over the steps and against the fading, and each faded feature."""

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from .style import INK, SIZE, finish, title

CLEAN, CHANNELS, ALONE = "#8a929b", "#1b4f9c", "#8a4fb0"
MARKERS = "osD^vP"
BINS = 5  # of the deviations of channels
MISSING_AT, SPREAD = (
    1.2,
    0.05,
)  # where missing features stand, and how far they scatter, in largest deviations


def figures(study):
    """{name: Figure} of a FederatedStudy."""
    return {
        "federated-steps": over_the_steps(study),
        "federated-fading": against_fading(study),
        "federated-features": by_feature(study),
    }


def over_the_steps(study):
    """Held-out scores over the steps, on rows as they are and through the channels."""
    at = rf"$\kappa$ up to {study.fading[study.shown]:g}"
    figure, panels = _score_panels(
        study, (f"Clean rows, trained at {at}", f"Rows through the channels, {at}")
    )
    for axes, scores in zip(panels, (study.clean_score, study.channel_score), strict=True):
        for score, style in zip(scores[study.shown], _styles(study), strict=True):
            recorded = np.isfinite(score)
            axes.plot(study.recorded_steps[recorded], score[recorded], **style)
        axes.set_xlabel("gradient steps")
    return _with_legend(figure, panels[0], ncols=3)


def against_fading(study):
    """The same scores at the end, against the strength of the fading."""
    figure, panels = _score_panels(study, ("Clean rows, in the end", "Rows through the channels, in the end"))
    for axes, scores in zip(panels, (study.clean_score, study.channel_score), strict=True):
        for score, style in zip(scores[:, :, -1].T, _styles(study), strict=True):
            axes.plot(study.fading, score, **style)
        axes.set_xticks(study.fading, [f"{strength:g}" for strength in study.fading])
        axes.set_xlabel(r"fading: the largest $\kappa$")
    return _with_legend(figure, panels[0], ncols=3)


def by_feature(study):
    """How far the weights of a feature move, and how much the outputs depend on it, against its channel."""
    figure = Figure(figsize=(10, 4.3), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, name, heading in zip(
        panels,
        ("movement", "sensitivity"),
        ("How far the weights of a feature move", "How much the outputs depend on it"),
        strict=True,
    ):
        axes.set_title(heading, **title())
        _draw_features(axes, study, name)
        finish(axes)
    panels[0].set_ylabel("over the same after training on clean rows")
    return _with_legend(figure, panels[0], ncols=4)


def _draw_features(axes, study, name):
    """Points for each client and feature with medians, and for each feature of an averaged network."""
    averaged, alone = (values[-1] for values in study.relative(name))
    received, kappas = study.received[:, study.varied], study.kappas[-1][:, study.varied]
    top = study.fading[-1] or 1.0
    axes.axhline(1, color=INK, lw=0.9)
    axes.plot(
        kappas[received], alone[received], ".", color=ALONE, ms=6, alpha=0.35, mew=0, label="clients alone"
    )
    edges = np.linspace(0, top, BINS + 1)
    bins = np.digitize(kappas, edges[1:-1])
    parts = [alone[received & (bins == place)] for place in range(BINS)]
    _draw_medians(axes, (edges[1:] + edges[:-1]) / 2, parts)
    ticks = {value: f"{value:g}" for value in edges}
    if not received.all():
        lacking = alone[~received]
        places = top * np.linspace(MISSING_AT - SPREAD, MISSING_AT + SPREAD, lacking.size)
        axes.plot(places, lacking, ".", color=ALONE, ms=6, alpha=0.35, mew=0)
        _draw_medians(axes, [MISSING_AT * top], [lacking])
        ticks[MISSING_AT * top] = "missing"
    some = received.any(axis=0)  # the features that one client has at least
    mean_square = np.mean(np.square(kappas), axis=0, where=received | ~some)
    axes.plot(
        np.sqrt(mean_square[some]),
        averaged[study.example, some],
        ls="none",
        mec="white",
        mew=0.5,
        **_styles(study)[study.example],
    )
    axes.set_xticks(list(ticks), ticks.values())
    axes.set_xlabel(r"$\kappa$ of the feature")


def _draw_medians(axes, places, parts):
    """Medians and quartiles of the parts that are not empty."""
    filled = [
        (place, *np.quantile(part, (0.25, 0.5, 0.75)))
        for place, part in zip(places, parts, strict=True)
        if part.size
    ]
    at, low, middle, high = np.array(filled).T
    axes.errorbar(
        at,
        middle,
        (middle - low, high - middle),
        fmt="o",
        color=ALONE,
        ms=7,
        mec="white",
        mew=0.8,
        lw=1.6,
        label="medians and quartiles of clients alone" if len(places) > 1 else None,
        zorder=4,
    )


def _score_panels(study, headings):
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, heading in zip(panels, headings, strict=True):
        axes.set_title(heading, **title())
        if study.classes:
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        finish(axes)
    panels[0].set_ylabel(f"held-out {study.score_name}")
    return figure, panels


def _styles(study):
    """How each run is drawn."""
    count = len(study.runs) - 3
    shades = colormaps["YlOrRd"](np.linspace(0.9, 0.45, count))
    federated = [
        {"color": shade, "marker": MARKERS[place % len(MARKERS)], "ms": 5, "lw": 1.6}
        for place, shade in enumerate(shades)
    ]
    styles = [
        {"color": CLEAN, "lw": 3.4},
        {"color": CHANNELS, "lw": 3.4},
        *federated,
        {"color": ALONE, "lw": 2, "ls": (0, (4, 2))},
    ]
    return [style | {"label": run} for style, run in zip(styles, study.runs, strict=True)]


def _with_legend(figure, axes, ncols):
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=ncols, frameon=False, fontsize=SIZE, labelcolor=INK
    )
    return figure
