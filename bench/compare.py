"""Is a head commit slower than a base commit?  The gate for speed.

Both commits are checked out and installed side by side; the operations of bench/workloads.py run in
a fresh process for each side in turn, alternating who goes first.  An operation fails only if the
fastest head run is slower than the slowest base run by more than 25 %: on a shared machine anything
finer is noise.  Both sides use the packages of this environment, and each its own compiler cache.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .workloads import OPERATIONS

BENCH = Path(__file__).resolve().parent
SLOWER = 1.25


def git(*arguments):
    command = ["git", "-C", BENCH, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr.strip())
    return done.stdout.strip()


def install(commit, folder):
    """Check out ``commit`` below ``folder``; the folder of a plain install of it."""
    tree, site = folder / "tree", folder / "site"
    git("worktree", "add", "--detach", tree, commit)
    try:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", site, tree]
        subprocess.run(command, check=True)
    finally:
        git("worktree", "remove", "--force", tree)
    return site


def run(folder, names, quick):
    """Seconds of each operation in a fresh process that imports the install in ``folder``."""
    command = [sys.executable, "-m", "bench.child", "operation_seconds"]
    command.append(json.dumps({"names": names, "quick": quick}))
    environment = os.environ | {"PYTHONPATH": folder / "site", "NUMBA_CACHE_DIR": folder / "cache"}
    # The working directory holds this bench/ alone, so that `fastntk` can only be the installed one.
    done = subprocess.run(
        command, cwd=folder.parent, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout)


def measure(folders, names, quick, rounds):
    """{side: {operation: [seconds, ...]}}, the sides interleaved, the order alternating."""
    for folder in folders.values():
        run(folder, names, quick)  # fills the compiler cache
    seconds = {side: {name: [] for name in names} for side in folders}
    order = list(folders)
    for _ in range(rounds):
        for side in order:
            for name, best in run(folders[side], names, quick).items():
                if best is not None:
                    seconds[side][name].append(best)
        order.reverse()
    return seconds


def verdicts(seconds):
    """(operation, head / base of the best runs, failed); ratio None where a side could not run it."""
    for name, base in seconds["base"].items():
        head = seconds["head"][name]
        if base and head:
            yield name, min(head) / min(base), min(head) > SLOWER * max(base)
        else:
            yield name, None, bool(base) and not head


def main():
    parser = argparse.ArgumentParser(
        prog="python -m bench.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--base", default="main", help="the commit to compare with (default: main)")
    parser.add_argument("--head", default="HEAD", help="the commit in question (default: HEAD)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each side (default: 5)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: test the harness")
    parser.add_argument("operations", nargs="*", metavar="OPERATION", help="one of " + "; ".join(OPERATIONS))
    arguments = parser.parse_args()
    names = arguments.operations or list(OPERATIONS)
    if unknown := set(names) - set(OPERATIONS):
        parser.error(f"unknown operation {', '.join(sorted(unknown))}")

    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        shutil.copytree(BENCH, work / "bench", ignore=shutil.ignore_patterns("__pycache__", "results"))
        folders = {"base": work / "base", "head": work / "head"}
        for side, folder in folders.items():
            folder.mkdir()
            install(git("rev-parse", f"{getattr(arguments, side)}^{{commit}}"), folder)
        seconds = measure(folders, names, arguments.quick, arguments.rounds)

    failed = False
    for name, ratio, slower in verdicts(seconds):
        failed |= slower
        time = "not on both sides" if ratio is None else f"{ratio:6.2f} x the time of base"
        print(f"{name:24} {time}{'   <-- FAILED' if slower else ''}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
