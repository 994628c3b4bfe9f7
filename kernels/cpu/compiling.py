"""How the kernels are handed to Numba: lazily, cached on disk where that is possible."""

import hashlib
import logging
from functools import cache
from pathlib import Path

logger = logging.getLogger("fastntk")


@cache
def source_digest():
    """A hash of the kernel sources.

    Numba's disk cache looks only at the file of the function itself; kernels mention this string, so
    an edit of any helper file makes a new cache entry.
    """
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def compiled(function):
    """``numba.njit`` without the GIL and with the disk cache; without it where no folder is writable."""
    from numba import njit

    try:
        return njit(function, nogil=True, cache=True, error_model="numpy")
    except RuntimeError as error:  # "cannot cache function: no locator available"
        logger.debug("compiling %s without a disk cache: %s", function.__name__, error)
        return njit(function, nogil=True, error_model="numpy")
