"""The figure of a training run."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ..spectrum import rounding
from .style import INK, SIZE, finish, plain_log_ticks, title

TRAINING, MASKED, HELD_OUT, OTHER = "#1b4f9c", "#8fb2e0", "#d1572c", "#7a3b8f"
LIMIT = {"color": INK, "lw": 1.2, "ls": (0, (5, 3)), "zorder": 1}
RING = {"marker": "o", "markersize": 5, "markerfacecolor": "white"}
UNDER_MASKS = RING | {"capsize": 2.5, "lw": 1.2, "zorder": 5, "clip_on": False}
FEW = 25  # up to so many records are marked one by one
LEAST_PLAIN = 1e-4  # on a logarithmic axis; smaller numbers are written as powers
EARLY = 0.05  # share of the run whose scores may lie below the panel


def training_figure(watched):
    """Loss, score, distance from the start, step size against the kernel's eigenvalues, audits.

    The last two have panels where they were recorded.

    Parameters
    ----------
    watched : fastntk.study.watched.WatchedRun

    Returns
    -------
    matplotlib.figure.Figure
    """
    run = watched.run
    panels = [_loss, _score, _distance, _flipped]
    panels += [_stability] if len(run.eigenvalue_steps) else []
    panels += [_audit] if len(run.audit_steps) else []
    columns = 2 if len(panels) == 4 else 3
    figure = Figure(figsize=(3.9 * columns + 0.6, 6.8), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.09, w_pad=0.08)
    grid = figure.subplots(2, columns).ravel()
    for axes, draw in zip(grid, panels, strict=False):
        draw(axes, watched)
        axes.set_xlabel("step")
        axes.set_xlim(0, max(run.steps_done, 1) * 1.03)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 2.5, 5, 10), integer=True))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        if axes.get_ylim()[0] > LEAST_PLAIN:
            plain_log_ticks(axes)
        finish(axes)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    keys = [key for axes in grid[:2] for key in axes.get_legend_handles_labels()[0]]
    keys = list({key.get_label(): key for key in keys}.values())  # each once
    if _has_ends(watched):
        keys.append(Line2D([], [], color=INK, lw=0, label="in the end, under new masks", **RING))
    style = {"frameon": False, "fontsize": SIZE, "labelcolor": INK, "columnspacing": 2.5}
    figure.legend(handles=keys, loc="outside lower center", ncols=4, **style)
    return figure


def _loss(axes, watched):
    run, rows = watched.run, len(watched.task.X)
    axes.set_title("Loss", **title())
    axes.set_ylabel(r"mean of $\frac{1}{2}\,|f(x) - y|^2$ over the rows")
    if watched.settings.mask != "none":
        _line(axes, run.recorded_steps, run.masked_loss / rows, MASKED, "training rows, masked", lw=1.1)
    _both_kinds(axes, watched, "loss", run.clean_loss / rows)
    if len(run.expected_steps):
        _line(axes, run.expected_steps, run.expected_loss / rows, OTHER, "training rows, mean over masks")
        axes.plot(run.expected_steps, run.regulariser / rows, color=OTHER, lw=1.1, ls=(0, (5, 3)))
    _logarithmic(axes)


def _score(axes, watched):
    task, last = watched.task, watched.run.steps_done
    axes.set_title("Accuracy" if task.classes else "Variance explained, $R^2$", **title())
    _both_kinds(axes, watched, "score", watched.training_score)
    shown = [np.asarray(values)[np.asarray(at) >= EARLY * last] for at, values in _curves(axes)]
    for kind, score in watched.scores.items() if _has_ends(watched) else ():
        color = HELD_OUT if kind == "held out" else TRAINING
        axes.errorbar(last, score.masked_score, score.masked_score_spread, color=color, **UNDER_MASKS)
        shown.append([score.masked_score - score.masked_score_spread])
    _zoom(axes, np.concatenate(shown) if shown else np.array([]))
    if task.classes:
        _per_cent(axes)


def _distance(axes, watched):
    run = watched.run
    typical = np.sqrt(watched.task.X.shape[1])  # norm of a neuron's standard normal weights
    axes.set_title("How far the weights have moved", **title())
    axes.set_ylabel(r"of the norm they started with, $\sqrt{d}$")
    average = run.distance / np.sqrt(watched.settings.width)
    for values, color, name in (
        (run.max_distance / typical, OTHER, "farthest neuron"),
        (average / typical, TRAINING, "all neurons, root mean square"),
    ):
        _line(axes, run.recorded_steps, values, color)
        if len(values):
            axes.annotate(name, (run.recorded_steps[-1], values[-1]), (0, 5), **_note())
    axes.margins(y=0.1)  # room for the name above the upper line
    _from_zero(axes)


def _flipped(axes, watched):
    run = watched.run
    axes.set_title("Activations that have flipped", **title())
    axes.set_ylabel(r"of all neurons $\times$ training rows")
    _line(axes, run.recorded_steps, run.flipped, TRAINING)
    _from_zero(axes)


def _stability(axes, watched):
    run, settings = watched.run, watched.settings
    steps, scale = run.eigenvalue_steps, run.step_size * watched.output_gain
    clean_scale = scale * watched.batch_share
    axes.set_title(r"Step size $\times$ eigenvalues of the kernel", **title())
    if settings.mask != "none" and settings.mode != "clean":
        wide = {"markersize": 7.5, "lw": 3.5}
        _line(axes, steps, scale * run.masked_eigenvalue, MASKED, "largest, masked", **wide)
    _line(axes, steps, clean_scale * run.largest_eigenvalue, TRAINING, "largest")
    noise = rounding(len(watched.task.X), run.largest_eigenvalue)
    smallest = np.where(run.smallest_eigenvalue > noise, run.smallest_eigenvalue, np.nan)
    if np.isfinite(smallest).any():
        _line(axes, steps, clean_scale * smallest, OTHER, "smallest")
    _logarithmic(axes)
    low, high = axes.get_ylim()
    low = low if low > 0 else 1e-3  # nothing is positive where all neurons are dead
    low, high = low / 1.5, max(1.5 * high, 2 * (2 / low) ** 0.55)  # with room for the legend
    axes.set_ylim(low, high)
    axes.axhspan(2, high, color=INK, alpha=0.06, lw=0)
    axes.axhline(2, **LIMIT)
    axes.annotate("unstable above 2", (watched.run.steps_done, 2), (0, 3), **_note())
    axes.legend(loc="upper right", frameon=False, fontsize=SIZE - 1, labelcolor=INK)


def _audit(axes, watched):
    axes.set_title("Audit of the steps", **title())
    axes.set_ylabel("error of the exact step identity")
    _line(axes, watched.run.audit_steps, watched.run.audit_error, TRAINING)
    _logarithmic(axes)


# ------------------------------------------------------------------------------------- pieces


def _line(axes, steps, values, color, label=None, lw=1.8, markersize=4):
    """A curve; its points too where there are few."""
    if len(steps):
        marker = "o" if len(steps) <= FEW else None
        axes.plot(steps, values, color=color, lw=lw, label=label, marker=marker, markersize=markersize)


def _both_kinds(axes, watched, name, training):
    """The curves of "loss" or "score": of the rows to train on, as recorded, and of those held out.

    They end with what was found in the end, which may be between two records.
    """
    run, curve = watched.run, watched.curve
    for kind, label, color, steps, values in (
        ("training", "training rows", TRAINING, run.recorded_steps, training),
        ("held out", "rows held out", HELD_OUT, curve.steps, getattr(curve, name)),
    ):
        if kind in watched.scores and run.steps_done not in steps:
            steps = [*steps, run.steps_done]
            values = [*values, getattr(watched.scores[kind], name)]
        _line(axes, steps, values, color, label)


def _curves(axes):
    """(steps, values) of the curves of a panel."""
    return [line.get_data() for line in axes.lines]


def _logarithmic(axes):
    """A logarithmic y axis, where there is anything to show on it."""
    if any((np.asarray(values) > 0).any() for _, values in _curves(axes)):
        axes.set_yscale("log")


def _zoom(axes, values):
    """Limits of the y axis that show these values."""
    values = values[np.isfinite(values)]
    if len(values) and values.min() < values.max():
        margin = 0.06 * (values.max() - values.min())
        axes.set_ylim(values.min() - margin, values.max() + margin)


def _from_zero(axes):
    _per_cent(axes)
    axes.set_ylim(bottom=0)


def _per_cent(axes):
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{round(100 * share, 6):,g} %"))


def _has_ends(watched):
    """Whether there are scores under masks to show at the end."""
    return bool(watched.scores) and watched.settings.mask != "none"


def _note():
    """How a note above the right end of a line looks."""
    return {"textcoords": "offset points", "ha": "right", "va": "bottom", "color": INK, "fontsize": SIZE - 1}
