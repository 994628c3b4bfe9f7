"""Is a head commit slower than a base commit?  The gate for speed.

Both commits are installed side by side, and a process of each runs operations of bench/operations.py in
turn, call by call, alternating who goes first: what disturbs the machine disturbs both.  What counts is the
fastest call of each.  Where that of the head takes over 1.25 times as long, both are measured again with
more calls, twice, each time in new processes (where memory happens to lie can make one slow for its whole
life), and the operation fails only if the head is too slow in every one of these measurements.

Where the base's own calls differ by that much (their median is over 1.25 times their fastest), something
else has the processors: then the processors' time that the calls took must say so too, and where that
differs as much among the base's own calls, nothing can be told and nothing fails.

Both sides use the packages of this environment, and each its own compiler cache.  Nothing is compared where
the base is not there (the first commit, a shallow clone) or cannot be installed, nor an operation that it
does not have.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import NamedTuple

from fastntk.benchmarks.cores import on_cores
from fastntk.engine.threads import available_cpus

from .cores import CORES
from .operations import OPERATIONS

BENCH = Path(__file__).resolve().parent
SLOWER = 1.25
MORE = (1, 2, 4)  # times the calls of the first measurement
GATE = ("hidden, d=64", "masked cross kernel", "outputs", "gradient product", "training, d=64", "limit")


class Times(NamedTuple):
    """Seconds of the calls of one side: on the clock, and of all processors together."""

    wall: list
    cpu: list


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
        self._process.terminate()
        self._process.communicate()

    def begin(self, name, quick):
        """Ask for one call."""
        with suppress(BrokenPipeError):  # it has ended: `seconds` says so
            print(json.dumps([name, quick]), file=self._process.stdin, flush=True)

    def seconds(self):
        """(wall, cpu) of the call that was asked for; None where this side cannot run it."""
        return json.loads(self._process.stdout.readline() or "null")


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


def measure(sides, name, quick, calls):
    """({side: Times} of calls in turn, the sides that can run the operation); timed only where all can."""
    for side in sides.values():
        side.begin(name, quick)  # both compile at once
    able = [which for which, side in sides.items() if side.seconds() is not None]
    found = {which: Times([], []) for which in sides}
    order = able if len(able) == len(sides) else []
    for _ in range(calls):
        for which in order:
            sides[which].begin(name, quick)
            for times, seconds in zip(found[which], sides[which].seconds(), strict=True):
                times.append(seconds)
        order.reverse()
    return found, able


def steady(times):
    """Whether calls of one side differ by less than what is looked for."""
    return median(times) <= SLOWER * min(times)


def ratio(base, head):
    """The time of the head over that of the base; None where the machine is too busy to tell."""
    wall, cpu = (min(head) / min(base) for base, head in zip(base, head, strict=True))
    if steady(base.wall):
        return wall
    return min(wall, cpu) if steady(base.cpu) else None


def verdict(start, name, quick, calls):
    """(what is said of an operation, whether it fails); ``start()`` gives a context of new sides."""
    for more in MORE:
        with start() as sides:
            found, able = measure(sides, name, quick, more * calls)
        if "base" not in able:
            return "not compared: the base does not have it", False
        if "head" not in able:
            return "gone: the base has it", True
        times = ratio(**found)
        if times is None:
            return "not compared: the machine is too busy to tell", False
        if times <= SLOWER:
            break
    return f"{times:6.2f} x the time of base", times > SLOWER


def main():
    parser = argparse.ArgumentParser(
        prog="python -m bench.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--base", default="HEAD~1", help="the commit to compare with (default: HEAD~1)")
    parser.add_argument("--head", default="HEAD", help="the commit in question (default: HEAD)")
    parser.add_argument("--calls", type=int, default=5, help="of each side, at first (default: 5)")
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
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        shutil.copytree(BENCH, work / "bench", ignore=shutil.ignore_patterns("__pycache__", "results"))
        try:
            install(commits["base"], work / "base")
        except subprocess.CalledProcessError as error:
            print(f"speed is not compared: {arguments.base} cannot be installed here ({error})")
            return 0
        install(commits["head"], work / "head")

        @contextmanager
        def start():
            with ExitStack() as stack:
                yield {side: stack.enter_context(Side(work / side)) for side in commits}

        with on_cores(min(CORES, available_cpus())):  # the processes inherit them
            for name in names:
                said, slower = verdict(start, name, arguments.quick, arguments.calls)
                failed |= slower
                print(f"{name:24} {said}{'   <-- FAILED' if slower else ''}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
