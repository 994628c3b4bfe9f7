"""The numbers of a benchmark as rows of text."""

from ..network import MAX_WIDTH
from ..study.table import number, percent
from .methods import METHODS, OURS, largest
from .roofline import PEAKS, forward_of_peak
from .sizes import Cell

METHOD_COLUMNS = (
    "quantity", "n", "d", "m", "threads", "method", "seconds", "slowest", "peak_bytes", "estimated_bytes",
    "difference", "allowed", "why_left_out",
)  # fmt: skip
KERNEL_COLUMNS = ("kernel", "against", "rate", "peak", "unit", "operations_per_byte")
HEADINGS = ("method", "ms", "spread", "fastntk is", "peak MB", "estimate MB", "difference", "allowed")


def problem_text(cell):
    """A problem in a few words."""
    problem = cell.problem
    if cell.quantity == "limit":
        return f"limit, n={problem.n:,}, d={problem.d}"
    threads = f"{problem.threads} thread{'s' * (problem.threads > 1)}"
    return f"n={problem.n:,}, d={problem.d}, m={problem.width:,}, {threads}"


def rows(measured):
    """One row a method of a problem, as HEADINGS names them; what was left out has a text for its times."""
    ours = next((one for name, one in measured.items() if METHODS[name].peer == OURS), None)
    return [_row(METHODS[name].label, one, ours) for name, one in measured.items()]


def _row(label, one, ours):
    estimate = number(one.estimated_bytes / 1e6, 3)
    difference = "" if one.difference is None else f"{one.difference:.1e}"
    allowed = "" if one.tolerance is None else f"{one.tolerance:.1e}"
    if one.stopped is not None:
        return (label, "left out", "", "", "", estimate, difference, allowed)
    ratio = f"{number(one.best / ours.best, 3)} x as fast" if ours.seconds and one is not ours else ""
    peak = "" if one.peak_bytes is None else number(one.peak_bytes / 1e6, 3)
    return (label, number(1e3 * one.best, 3), percent(one.spread), ratio, peak, estimate, difference, allowed)


def method_numbers(results):
    """One row a method of a problem, as METHOD_COLUMNS names them: for other programs."""
    for cell, methods in results.measured.items():
        problem = cell.problem
        for name, one in methods.items():
            times = (one.best, max(one.seconds)) if one.seconds else (None, None)
            yield (
                cell.quantity, problem.n, problem.d, problem.width if cell.quantity == "kernel" else None,
                problem.threads, name, *times, one.peak_bytes, round(one.estimated_bytes),
                one.difference, one.tolerance, one.stopped,
            )  # fmt: skip


def kernel_numbers(roofline):
    """One row a kernel, as KERNEL_COLUMNS names them: for other programs."""
    for kernel in roofline.kernels:
        label, unit = PEAKS[kernel.against]
        yield (kernel.label, label, kernel.rate, roofline.peaks[kernel.against], unit, kernel.intensity)


def left_out(results):
    """[(problem, method, why)] of what was not measured."""
    return [
        (problem_text(cell), METHODS[name].label, one.stopped)
        for cell, methods in results.measured.items()
        for name, one in methods.items()
        if one.stopped is not None
    ]


def reach(results):
    """[(method, widest network, most rows)] that the estimates allow, the rest as in the middle problem."""
    middle, limit = results.middle, results.settings["memory_limit"]
    n, d, m, threads = middle.n, middle.d, middle.width, middle.threads
    found = []
    for name in results.settings["methods"]:
        method = METHODS[name]
        if method.quantity == "kernel":
            widest = largest(lambda width, take=method.nbytes: take(n, d, width, threads) <= limit)
            most = largest(lambda rows, take=method.nbytes: take(rows, d, m, threads) <= limit, high=10**8)
            found.append((name, widest, most))
    return found


def reach_rows(results):
    """:func:`reach` as texts."""
    return [
        (METHODS[name].label, "any" if widest == MAX_WIDTH else f"{widest:,}", f"{most:,}")
        for name, widest, most in reach(results)
    ]


def kernel_rows(roofline):
    """[(kernel, rate, peak, % of it, operations for a byte)]."""
    return [
        (
            kernel.label,
            _rate(kernel.rate, kernel.against),
            f"{PEAKS[kernel.against][0]}: {_rate(roofline.peaks[kernel.against], kernel.against)}",
            percent(kernel.rate / roofline.peaks[kernel.against]),
            number(kernel.intensity, 3),
        )
        for kernel in roofline.kernels
    ]


def _rate(rate, against):
    unit = PEAKS[against][1]
    return f"{rate / 1e12:.2f} T{unit}" if rate >= 1e12 else f"{rate / 1e9:.0f} G{unit}"


def findings(results):
    """The heads of the page: [(figure, what it is)]."""
    found = []
    sweep, cell = dict(results.sweep("width")), Cell("kernel", results.middle)
    measured = results.measured.get(cell, {})
    ours = measured.get(OURS)
    if ours is not None and ours.seconds:
        peers = {
            name: one.best for name, one in measured.items() if one.seconds and METHODS[name].peer != OURS
        }
        if peers:
            best = min(peers, key=peers.__getitem__)
            found.append(
                (
                    f"{number(peers[best] / ours.best, 3)} x",
                    f"as fast as {METHODS[best].label}, the fastest peer, at {problem_text(cell)}",
                )
            )
    widest = max((m for m, methods in sweep.items() if _peak(methods)), default=None)
    if widest is not None:
        taken = f"{number(_peak(sweep[widest]) / 1e6, 3)} MB"
        found.append((taken, f"taken at m={widest:,}, where no weights are stored"))
    if results.roofline is not None:
        share = percent(forward_of_peak(results.roofline))
        found.append((share, "of the fp32 peak, the forward pass to exact bits"))
    return found


def _peak(methods):
    return methods[OURS].peak_bytes if OURS in methods else None
