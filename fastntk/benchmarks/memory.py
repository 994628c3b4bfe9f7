"""What a process holds in memory, from what Linux tells of it; elsewhere there is nothing to ask."""

import ctypes
import gc
import sys
from contextlib import suppress
from pathlib import Path

MEASURED = sys.platform == "linux"


def resident(entry="VmRSS"):
    """An entry of this process's status in bytes: VmRSS now, VmHWM the peak, RssAnon without files."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(entry))


def restart_peak():
    """Count the peak, VmHWM, from here."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def give_back():
    """Return to the system what was freed: allocators keep some of it."""
    gc.collect()
    with suppress(AttributeError):  # not the GNU C library
        ctypes.CDLL(None).malloc_trim(0)
