"""Times operations of the fastntk that is installed here, one at a time, as it is asked to on standard input.

``python -m bench.timed_operations`` reads lines of JSON, [operation, quick], and answers each with the
seconds of one call, or with null where this version cannot run it.  The first call is not timed.
"""

import json
import sys
from functools import cache
from time import perf_counter

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
        start = perf_counter()
        if call is not None:
            call()
        print(json.dumps(call and perf_counter() - start), flush=True)


if __name__ == "__main__":
    main()
