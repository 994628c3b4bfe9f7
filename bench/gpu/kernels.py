"""The part "kernels": each kernel of the backend beside what the chip can do.

A kernel needs so many operations of some kind and so many bytes of memory; each over its ceiling is a time,
and the longer of the two is the floor: no version runs much faster.  The figure is the floor over the time.
"""

from ..figures import Figure
from . import ceilings, profiler
from .cases import CASES
from .ceilings import UNITS

AT_LEAST = 50  # % of the ceiling


def floor(needs, rates):
    """(seconds, ceiling) of what takes longest."""
    return max((amount / rates[name], name) for name, amount in needs.items())


def measure(lab, name, rates):
    """The figure of a case; ``rates`` are those of ``ceilings.measure``."""
    case = CASES[name](lab.device, lab.quick)
    seconds = lab.seconds(case.call)
    least, ceiling = floor(case.needs, rates)
    rate = case.needs[ceiling] / min(seconds)
    return Figure(
        case=f"{name}: {case.kernel} ({rate / 1e12:.4g} T/s)",
        against=f"{rates[ceiling] / 1e12:.4g} T/s, {UNITS[ceiling]}",
        value=100 * least / min(seconds),
        unit="% of ceiling",
        limit=case.limit,
        at_least=AT_LEAST,
        seconds={name: seconds},
    )


def run(lab, say):
    """The figures, and the profiler's reasons for those that are far below."""
    rates = ceilings.measure(lab)
    figures, failed = {}, {}
    for name in CASES:
        try:
            figure = measure(lab, name, rates)
        except Exception as error:  # the others are still measured
            failed[name] = f"{type(error).__name__}: {error}"
            say(f"FAILED {name}: {failed[name]}")
            continue
        mark = "" if figure.reached else f"   <-- below {AT_LEAST} %"
        say(f"{figure.value:7.1f} {figure.unit}  {figure.case}; {figure.limit}{mark}")
        figures[name] = figure
        lab.device.free_memory()
    below = sorted(
        (name for name in figures if not figures[name].reached), key=lambda name: figures[name].value
    )
    return {
        "figures": {name: figure.record() for name, figure in figures.items()},
        "reasons": reasons(lab, below, say),
        "not run": failed,
        "failed": bool(failed),
    }


def reasons(lab, names, say):
    """{name: what the profiler says of it}, of the slowest."""
    missing = profiler.why_missing()
    if names and missing:
        say(missing)
    if missing or lab.quick:
        return {}
    found = {}
    for name in names[: profiler.MOST]:
        found[name] = profiler.explain(name, CASES[name](lab.device, True).kernel)
        for rule in found[name].get("rules", ["nothing that could be read"]):
            say(f"{name}: {rule}")
    return found
