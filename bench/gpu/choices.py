"""The part "choices": the form of the counts that is the fastest here, for kernels/cuda/tables.py."""

import numpy as np

from fastntk.kernels.cuda import tables

from .cases import count_case

FORMS = [tables.Counting(kernel, stages) for kernel in ("count_b1", "count_u8") for stages in (2, 3, 4)]
NOISE = 1.02  # times that are no further apart are the same


def measure(lab, forms=FORMS):
    """({form: seconds}, {form: why it did not run}); AssertionError where two of them count differently."""
    seconds, failed, expected = {}, {}, None
    for form in forms:
        try:
            case, counts = count_case(lab.device, form, lab.quick)
            case.call()
            result = lab.device.download(counts)
            seconds[form] = min(lab.seconds(case.call))
        except Exception as error:  # stages that do not fit are one
            failed[form] = f"{type(error).__name__}: {error}"
            continue
        expected = result if expected is None else expected
        if not np.array_equal(result, expected):
            raise AssertionError(f"{form} and {forms[0]} count differently")
    return seconds, failed


def run(lab, say):
    """The times of all forms, and what the table should say."""
    arch = lab.device.arch
    seconds, failed = measure(lab)
    for form, reason in failed.items():
        say(f"{form.kernel}, {form.stages} stages: {reason}")
    if not seconds:
        raise RuntimeError("no form of the counts ran")
    fastest = min(seconds, key=seconds.get)
    for form, one in seconds.items():
        mark = "   <-- the fastest" if form == fastest else ""
        say(f"{form.kernel}, {form.stages} stages: {one * 1e3:.4g} ms{mark}")
    chosen = tables.COUNTING.get(arch, tables.OTHER_COUNTING)
    if seconds.get(chosen, np.inf) > NOISE * seconds[fastest]:
        say(
            f'kernels/cuda/tables.py has {chosen.kernel}, {chosen.stages}; the fastest is "{arch}": {fastest}'
        )
    return {
        "arch": arch,
        "seconds": {f"{form.kernel}, {form.stages}": one for form, one in seconds.items()},
        "failed": {f"{form.kernel}, {form.stages}": reason for form, reason in failed.items()},
        "fastest": list(fastest),
        "in the table": list(chosen),
    }
