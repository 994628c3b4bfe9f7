"""How the kernels are handed to Numba: lazily, cached on disk where that is possible."""

import hashlib
import inspect
import logging
from functools import cache
from pathlib import Path

logger = logging.getLogger("fastntk")


@cache
def _source_digest():
    """A hash of the kernel sources."""
    sources = sorted(Path(__file__).parent.parent.rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]


def compiled(function, reassociate=False):
    """``numba.njit`` without the GIL and with the disk cache; without it where no folder is writable.

    With ``reassociate`` the float sums of this function may be added in any order.

    What the function closes over has to be Python numbers: the cache goes by their pickles, and those of
    compiled functions differ from process to process.

    Numba renews a cached function when its own file changes.  Kernels use helpers of other files, so the
    name that the cache goes by carries a hash of them all.
    """
    from numba import njit

    closed_over = inspect.getclosurevars(function).nonlocals
    wrong = sorted(name for name, value in closed_over.items() if not isinstance(value, int | float))
    if wrong:
        raise TypeError(
            f"{function.__qualname__} closes over {', '.join(wrong)}; only numbers can be cached."
        )
    function.__qualname__ += "." + _source_digest()
    options = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc"} if reassociate else False}
    try:
        return njit(function, cache=True, **options)
    except RuntimeError as error:  # "cannot cache function: no locator available"
        logger.debug("compiling %s without a disk cache: %s", function.__name__, error)
        return njit(function, **options)
