"""What made a result: versions, hardware, time."""

import hashlib
import importlib.metadata
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil

from .. import _version
from ..engine.threads import available_cpus
from ..kernels import load

LIBRARIES = ("numpy", "scipy", "numba", "scikit-learn", "matplotlib", "pandas", "pyarrow")


def provenance():
    """Versions of the software and the hardware it runs on, as texts by name (no host or user names)."""
    memory = psutil.virtual_memory().total
    return {
        "fastntk": _version.__version__,
        "Python": platform.python_version(),
        **{name: version for name in LIBRARIES if (version := installed_version(name))},
        "system": f"{platform.system()} {platform.release()} ({platform.machine()})",
        "processor": processor_name(),
        "cores": f"{available_cpus()} usable of {os.cpu_count()}",
        "CPU path": _cpu_path(),
        "memory": f"{memory / 2**30:.1f} GiB",
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _cpu_path():
    kernels = load()
    kinds = {"int8": kernels.counts_with_amx, "bf16": kernels.forwards_with_amx}
    used = " and ".join(kind for kind, is_used in kinds.items() if is_used)
    return f"{kernels.name}, with AMX {used}" if used else kernels.name


def processor_name():
    """The processor's marketing name."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.lower().startswith(("model name", "hardware")):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def fingerprint(array):
    """SHA-256 of an array's bytes in C order, to tell whether two studies saw the same data."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def installed_version(name):
    """The version of an installed package, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
