"""Everything that is to be known of the CUDA backend on a GPU, by one command.

    python -m bench.gpu              # all parts, into bench/results/gpu-<name>.json
    python -m bench.gpu calls tests  # some of them; the others' results stay
    python -m bench.gpu --quick      # tiny sizes: tests the harness; writes no file
    python -m bench.gpu --compile    # what the compiler makes of every kernel; needs no GPU

A part that fails is recorded, and the others go on.  Exit status 0; 1 where a part failed or found a fault;
2 without a GPU.
"""

import argparse
import json
import sys
from pathlib import Path
from time import monotonic

from fastntk.benchmarks import hardware
from fastntk.kernels.cuda import device as cuda_device

from .. import machine
from . import resources
from .checks import run_command
from .parts import PARTS, TOTAL, run_apart

RESULTS = Path(__file__).resolve().parents[1] / "results"


def describe(found):
    """The GPU (``device.Found``), the versions and the commit."""
    import cupy

    smi = run_command(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], 20)
    here = machine.describe()
    return {
        **here,
        "hardware": found.name,
        "processor": here["hardware"],
        "arch": found.arch,
        "memory_bytes": found.memory_bytes,
        "multiprocessors": found.multiprocessors,
        "driver": smi["output"].partition("\n")[0].strip() if smi["status"] == 0 else None,
        "cuda": {
            "driver": cupy.cuda.runtime.driverGetVersion(),
            "runtime": cupy.cuda.runtime.runtimeGetVersion(),
        },
        "packages": {**here["packages"], "cupy": cupy.__version__},
    }


def measure(names, quick, path, description):
    """Run parts one after the other; {name: record}.

    The file at ``path`` (None: no file) is written after each of them, and keeps what others came to before.
    """
    records = json.loads(path.read_text(encoding="utf-8"))["parts"] if path and path.exists() else {}
    end = monotonic() + TOTAL
    for name in names:
        print(f"\n== {name}", flush=True)
        seconds = min(PARTS[name].most, end - monotonic())
        record = run_apart(name, quick, seconds) if seconds > 0 else {"failed": True, "error": "no time left"}
        if "error" in record:
            print(f"FAILED: {record['error']}", flush=True)
        records[name] = {**record, "commit": description["commit"], "date": description["date"]}
        if path:
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps({**description, "parts": records}, indent=1) + "\n", encoding="utf-8")
    return records


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m bench.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="one of " + ", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="tiny sizes: test the harness; writes no file")
    parser.add_argument("--compile", action="store_true", help="the compiler's report alone, without a GPU")
    parser.add_argument("--write", action="store_true", help="with --compile: into docs/gpu.md too")
    given = parser.parse_args(arguments)
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if given.write and not given.compile:
        parser.error("--write belongs to --compile")
    if given.compile:
        return resources.main(given.write)
    reason = cuda_device.why_unavailable()
    if reason:
        print(f"nothing is measured: {reason}", file=sys.stderr)
        return 2
    found, names = cuda_device.find_devices()[0], given.parts or list(PARTS)
    description = describe(found)
    print(f"{found.name}, {found.arch}, driver {description['driver']}, commit {description['commit']}")
    path = None if given.quick else RESULTS / f"gpu-{hardware.slug(found.name)}.json"
    records = measure(names, given.quick, path, description)
    failed = [name for name in names if records[name]["failed"]]
    print(f"\nwritten: {path}" if path else "\nno file is written")
    if failed:
        print(f"failed: {', '.join(failed)}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
