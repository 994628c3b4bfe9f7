"""The machine and the versions behind a result."""

import platform
import re
from datetime import UTC, datetime
from pathlib import Path

from ..study.provenance import installed_version

PACKAGES = ("fastntk", "numpy", "scipy", "numba", "llvmlite")
EXTENSIONS = {"avx512f": "AVX-512", "amx_tile": "AMX", "avx2": "AVX2", "asimd": "NEON"}


def processor():
    """The processor's name, with what tells models of one name apart."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").split("\n\n")[0]
    except OSError:
        return platform.processor() or platform.machine()
    entry = dict(re.findall(r"^(\S.*?)\s*:\s*(.*)$", lines, re.MULTILINE))
    name = entry.get("model name", platform.machine())
    if "cpu family" in entry and not re.search(r"\d{4}", name):  # a virtual machine that hides the model
        name += f" family {entry['cpu family']} model {entry['model']}"
    flags = set((entry.get("flags") or entry.get("Features") or "").split())
    return ", ".join([name, *(label for flag, label in EXTENSIONS.items() if flag in flags)])


def slug(name):
    """A file name for a processor's name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def describe(*more):
    """What a result needs to be read later: machine, versions (of the packages ``more`` too), date."""
    return {
        "hardware": processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {package: installed_version(package) for package in (*PACKAGES, *more)},
        "date": datetime.now(UTC).date().isoformat(),
    }
