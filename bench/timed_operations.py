"""Times operations of the fastntk that is installed here, one at a time, as it is asked to on standard input.

``python -m bench.timed_operations`` reads lines of JSON, [operation, quick], and answers each with the
seconds of one call, [on the clock, of all processors together], or with null where this version cannot run
it.  A first call that compiles is not timed.
"""

import json
import sys
from functools import cache
from time import perf_counter, process_time

from .operations import operation


@cache
def prepared(name, quick):
    """The operation as a call, compiled; None where this version lacks it."""
    try:
        call = operation(name, quick)
        call()
    except (AttributeError, TypeError, ValueError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return None
    return call


def main():
    for line in sys.stdin:
        call = prepared(*json.loads(line))
        start, start_cpu = perf_counter(), process_time()
        if call is not None:
            call()
        seconds = perf_counter() - start, process_time() - start_cpu
        print(json.dumps(call and seconds), flush=True)


if __name__ == "__main__":
    main()
