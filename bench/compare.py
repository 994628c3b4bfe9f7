"""Is a head commit slower than a base commit?  The gate for speed.

Both commits are installed side by side, and a process of each runs operations of bench/operations.py in
turn, call by call, alternating who goes first: what disturbs the machine disturbs both.  What counts is the
fastest call of each.  An operation that seems slower than the base by more than 25 % is measured again, twice
if need be, and fails only if all its calls together still say so.  Both sides use the packages of this
environment, and each its own compiler cache.  Where the base is not there (the first commit, a shallow
clone), nothing is compared.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from statistics import median

from .cores import two_cores
from .operations import OPERATIONS

BENCH = Path(__file__).resolve().parent
SLOWER = 1.25
RETRIES = 2
GATE = ("hidden, d=64", "masked cross kernel", "outputs", "gradient product", "training, d=64", "limit")


class Side:
    """A process that times operations of the fastntk in a folder."""

    def __init__(self, folder):
        environment = os.environ | {"PYTHONPATH": folder / "site", "NUMBA_CACHE_DIR": folder / "cache"}
        # The working directory holds this bench/ alone, so that `fastntk` can only be the installed one.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.timed_operations"],
            cwd=folder.parent,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def seconds(self, name, quick):
        """Of one call; None where this side cannot run it."""
        print(json.dumps([name, quick]), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())


def commit_of(name):
    """The commit of a name, or None where there is none here."""
    command = ["git", "-C", BENCH, "rev-parse", "--quiet", "--verify", f"{name}^{{commit}}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def install(commit, folder):
    """A plain install of a commit in ``folder``/site."""
    root = subprocess.run(
        ["git", "-C", BENCH, "rev-parse", "--show-toplevel"], capture_output=True, text=True, check=True
    ).stdout.strip()
    archive = subprocess.run(
        ["git", "-C", root, "archive", commit], capture_output=True, check=True
    ).stdout  # leaves the repository as it is
    with tarfile.open(fileobj=BytesIO(archive)) as files:
        files.extractall(folder / "tree", filter="data")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--target", folder / "site", folder / "tree"], check=True)


def measure(sides, name, quick, rounds):
    """{side: [seconds, ...]} of an operation, in turn; a side that cannot run it has none."""
    found = {side: [] for side in sides}
    order = list(sides)
    for _ in range(rounds):
        for side in order:
            seconds = sides[side].seconds(name, quick)
            if seconds is not None:
                found[side].append(seconds)
        order.reverse()
    return found


def verdict(seconds):
    """(head / base of the fastest calls, failed); ratio None where a side could not run it.

    Where the base's own calls differ that much, a head that is no slower than they mostly are is not blamed.
    """
    base, head = seconds["base"], seconds["head"]
    if base and head:
        ratio = min(head) / min(base)
        return ratio, ratio > SLOWER and min(head) > median(base)
    return None, bool(base) and not head


def compared(sides, name, quick, rounds):
    """The verdict on an operation, measured again before it fails."""
    seconds = measure(sides, name, quick, rounds)
    for _ in range(RETRIES):
        if not verdict(seconds)[1]:
            break
        for side, more in measure(sides, name, quick, rounds).items():
            seconds[side] += more
    return verdict(seconds)


def main():
    parser = argparse.ArgumentParser(
        prog="python -m bench.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--base", default="HEAD~1", help="the commit to compare with (default: HEAD~1)")
    parser.add_argument("--head", default="HEAD", help="the commit in question (default: HEAD)")
    parser.add_argument("--rounds", type=int, default=5, help="calls of each side (default: 5)")
    parser.add_argument("--all", action="store_true", help=f"all operations (default: {'; '.join(GATE)})")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: test the harness")
    parser.add_argument("operations", nargs="*", metavar="OPERATION", help="one of " + "; ".join(OPERATIONS))
    arguments = parser.parse_args()
    names = arguments.operations or list(OPERATIONS if arguments.all else GATE)
    if unknown := set(names) - set(OPERATIONS):
        parser.error(f"unknown operation {', '.join(sorted(unknown))}")
    commits = {side: commit_of(getattr(arguments, side)) for side in ("base", "head")}
    if None in commits.values():
        absent = " and ".join(getattr(arguments, side) for side, commit in commits.items() if commit is None)
        print(f"speed is not compared: there is no {absent} here (a first commit, or a shallow clone)")
        return 0

    failed = False
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        work = Path(temporary)
        shutil.copytree(BENCH, work / "bench", ignore=shutil.ignore_patterns("__pycache__", "results"))
        for side, commit in commits.items():
            install(commit, work / side)
        stack.enter_context(two_cores())  # the processes inherit them
        sides = {side: stack.enter_context(Side(work / side)) for side in commits}
        for name in names:
            ratio, slower = compared(sides, name, arguments.quick, arguments.rounds)
            failed |= slower
            time = "not on both sides" if ratio is None else f"{ratio:6.2f} x the time of base"
            print(f"{name:24} {time}{'   <-- FAILED' if slower else ''}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
