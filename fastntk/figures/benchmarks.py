"""Figures of a benchmark: time, memory, threads, and how near kernels come to the machine's peak."""

import itertools

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter

from .style import FAINT, INK, SIZE, finish, title

AXES = {"width": "neurons $m$", "n": "rows $n$", "d": "features $d$"}
LIMIT, GREY = "#b3261e", "#aab3bd"
LOOKS = {  # colour and marker
    "fastntk": ("#0b3d91", "o"),
    "fastntk-given": ("#5b8bd9", "o"),
    "numpy": ("#c8611a", "s"),
    "numkong": ("#8a6d1f", "P"),
    "torch": ("#b3266f", "^"),
    "torch-jacobian": ("#e08bb8", "^"),
    "jax": ("#22764a", "D"),
    "jax-jacobian": ("#83c5a0", "D"),
    "neural-tangents": ("#6a51a3", "v"),
}


def figures(results, methods):
    """{name: Figure} of what there is to show.

    Parameters
    ----------
    results : Results
    methods : dict of str to (label, nbytes)
        Every method that was chosen, by name; nbytes(n, d, m, threads) estimates what it takes.
    """
    sweeps = {axis: results.sweep(axis) for axis in AXES}
    found = {}
    if any(sweeps.values()):
        found["time"] = _time(sweeps, methods)
        if any(one.peak_bytes for sweep in sweeps.values() for _, cell in sweep for one in cell.values()):
            found["memory"] = _memory(sweeps, results, methods)
    threads = results.sweep("threads")
    if len(threads) > 1:
        found["threads"] = _threads(threads, methods)
    if results.roofline is not None:
        found["roofline"] = _roofline(results.roofline)
    return found


def _panels(ylabel, heading):
    figure = Figure(figsize=(11.6, 4.6), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12)  # so that the last tick of a panel is not the next one's first
    panels = dict(zip(AXES, figure.subplots(1, 3, sharey=True), strict=True))
    for axis, axes in panels.items():
        axes.set(xscale="log", yscale="log", xlabel=AXES[axis])
    panels["width"].set_ylabel(ylabel)
    panels["width"].set_title(heading, **title())
    return figure, panels


def _close(figure, panels, sweeps):
    for axis, axes in panels.items():
        values = [value for value, _ in sweeps[axis]]
        axes.xaxis.set_major_locator(FixedLocator(values))
        axes.xaxis.set_major_formatter(FixedFormatter([f"{value:,}" for value in values]))
        axes.xaxis.set_minor_formatter(NullFormatter())
        finish(axes)
    handles: dict = {}
    for axes in panels.values():
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    style = {"frameon": False, "fontsize": SIZE, "labelcolor": INK, "columnspacing": 1.6}
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=5, **style)


def _look(name):
    colour, marker = LOOKS[name]
    return {"color": colour, "marker": marker, "ms": 5, "mec": "white", "mew": 0.5}


def _time(sweeps, methods):
    figure, panels = _panels("seconds, the fastest round", "Time of one kernel")
    for axis, axes in panels.items():
        for name in LOOKS:
            timed = [(x, cell[name]) for x, cell in sweeps[axis] if name in cell and cell[name].seconds]
            if not timed:
                continue
            xs, best = [x for x, _ in timed], np.array([one.best for _, one in timed])
            above = np.array([max(one.seconds) for _, one in timed]) - best
            look = _look(name) | {"lw": 2.4 if name == "fastntk" else 1.4, "elinewidth": 0.8}
            axes.errorbar(xs, best, [np.zeros(len(xs)), above], label=methods[name][0], **look)
            if xs[-1] < sweeps[axis][-1][0]:
                axes.plot(xs[-1], best[-1], marker="x", ms=11, mew=1.6, color=look["color"])
    _close(figure, panels, sweeps)
    return figure


def _memory(sweeps, results, methods):
    figure, panels = _panels("bytes", "Peak memory of one kernel")
    middle, limit = results.middle, results.settings["memory_limit"]
    lowest = np.inf
    for axis, axes in panels.items():
        for name in filter(methods.__contains__, LOOKS):
            label, nbytes = methods[name]
            xs = [x for x, cell in sweeps[axis] if name in cell]
            sizes = [{"width": middle.width, "n": middle.n, "d": middle.d} | {axis: x} for x in xs]
            takes = [nbytes(one["n"], one["d"], one["width"], middle.threads) for one in sizes]
            axes.plot(xs, takes, color=LOOKS[name][0], lw=0.8, ls=(0, (4, 2)))
            peaks = [
                (x, cell[name].peak_bytes)
                for x, cell in sweeps[axis]
                if name in cell and cell[name].peak_bytes
            ]
            if peaks:
                axes.plot(*zip(*peaks, strict=True), label=label, lw=0, **_look(name))
                lowest = min(lowest, *(peak for _, peak in peaks))
        axes.axhline(limit, color=LIMIT, lw=1.2, label="limit of this run")
    panels["width"].set_ylim(bottom=lowest / 3)  # of all panels: a run that was stopped may have none in one
    _close(figure, panels, sweeps)
    return figure


def _threads(cells, methods):
    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    axes = figure.subplots()
    counts = [threads for threads, _ in cells]
    axes.plot(counts, counts, color=FAINT, lw=6, label="proportional", zorder=0)
    for name in LOOKS:
        timed = [(k, cell[name].best) for k, cell in cells if name in cell and cell[name].seconds]
        if len(timed) > 1 and timed[0][0] == 1:
            ks, seconds = zip(*timed, strict=True)
            axes.plot(ks, seconds[0] / np.array(seconds), label=methods[name][0], lw=1.6, **_look(name))
    axes.set(xlabel="threads", ylabel="times as fast as one", xticks=counts)
    axes.set_ylim(bottom=0)
    axes.set_title("What more threads bring", **title())
    finish(axes)
    style = {"frameon": False, "fontsize": SIZE, "labelcolor": INK}
    figure.legend(loc="outside right center", **style)
    return figure


def _roofline(roofline):
    figure = Figure(figsize=(11.6, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    _roof(left, roofline)
    _shares(right, roofline)
    return figure


def _roof(axes, roofline):
    """Rates in fp32 against operations for a byte, below what memory and multiply-adds allow."""
    peak, memory = roofline.peaks["fp32"], roofline.peaks["memory"]
    kernels = sorted(
        (kernel for kernel in roofline.kernels if kernel.against == "fp32"), key=lambda one: one.intensity
    )
    most = 4 * max([kernel.intensity for kernel in kernels] + [peak / memory])
    intensities = np.geomspace(0.5, most, 200)
    axes.plot(intensities, np.minimum(peak, memory * intensities) / 1e9, color=INK, lw=1.8)
    axes.text(most, peak * 1.1 / 1e9, f"{peak / 1e9:.0f} Gflop/s", ha="right", fontsize=SIZE, color=INK)
    axes.text(1.5, memory / 1e9, f"{memory / 1e9:.0f} GB/s", fontsize=SIZE, color=INK)
    for kernel, marker in zip(kernels, itertools.cycle("os^Dv"), strict=False):
        style = {"ms": 7, "mec": "white", "mew": 0.6, "color": _bar_colour(kernel), "label": kernel.label}
        axes.plot(kernel.intensity, kernel.rate / 1e9, marker, **style)
    axes.set(xscale="log", yscale="log", xlabel="operations for a byte of memory", ylabel="Gflop/s")
    axes.set_ylim(top=3 * peak / 1e9)
    axes.set_title("Roofline, fp32", **title())
    axes.legend(frameon=False, fontsize=SIZE - 1, labelcolor=INK, loc="lower right")
    finish(axes)


def _bar_colour(kernel):
    """Grey for those of peers."""
    peer = kernel.label.startswith("NumPy") or kernel.label.endswith("NumKong")
    return GREY if peer else LOOKS["fastntk"][0]


def _shares(axes, roofline):
    """Bars: the share of the peak that limits each kernel."""
    kernels = roofline.kernels[::-1]
    shares = [100 * kernel.rate / roofline.peaks[kernel.against] for kernel in kernels]
    axes.barh(range(len(kernels)), shares, height=0.6, color=[_bar_colour(kernel) for kernel in kernels])
    axes.set_yticks(range(len(kernels)), [kernel.label for kernel in kernels])
    for place, share in enumerate(shares):
        axes.text(share, place, f" {share:.0f} %", va="center", fontsize=SIZE, color=INK)
    axes.set_xlim(0, max(105, 1.1 * max(shares)))
    axes.set_xlabel("% of the peak of this run (grey: peers)")
    axes.set_title("Share of the peak", **title())
    finish(axes, grid="x")
