"""SIGKILL at any instant, again and again: the next process goes on to the bits of one that lived.

The processes are forks of one that has compiled everything, so that they die at work, not on the way there.
"""

import pytest

from ..subprocesses import run_script

SCRIPT = """
import os, random, shutil, signal, sys, time, traceback, warnings
from pathlib import Path
from fastntk.engine import checkpoint, kernel_matrix, patterns

warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
kind, kills_wanted, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
checkpoint.FIRST_SECONDS = checkpoint.COST_FACTOR = 0.0
kernel_matrix.tile_edges = lambda n, p, fit: (13, 13)
patterns.DISK_RATE = float("inf")
rows = np.random.default_rng(0).standard_normal((40, 5))
network = fn.Network(120_000, 5, seed=2)
CALLS = {
    "in memory": lambda: fn.ntk(rows, network=network, layers="both", mask=MASK, draws=3, checkpoint="run"),
    "tiles": lambda: fn.ntk(rows, network=network, mask=MASK, out="K.npy", checkpoint="run"),
    "tiles of draws": lambda: fn.ntk(
        rows, network=network, layers="both", mask=MASK, draws=2, out="K.npy", checkpoint="run"
    ),
    "training": lambda: fn.train(
        rows, rows[:, 0], network=fn.Network(3000, 5), mask=MASK, steps=40, step_size=0.01, checkpoint="run"
    ).network.weights(),
}
call = CALLS[kind]

def bits():
    return np.asarray(call()).tobytes()

def fresh():
    shutil.rmtree("run", ignore_errors=True)
    Path("K.npy").unlink(missing_ok=True)

expected = bits()
fresh()
begun = time.monotonic()
bits()
seconds = time.monotonic() - begun
fresh()

def child():
    status = 1
    try:
        status = 0 if bits() == expected else 2
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)

draw = random.Random(seed)
kills = runs = resumed = 0
attempts = 0
while kills < kills_wanted or attempts:
    pid = os.fork()
    if pid == 0:
        child()
    attempts += 1
    end = time.monotonic() + draw.uniform(0, 0.4 * seconds)
    may_kill = kills < kills_wanted
    ended = 0
    while not ended:
        ended, status = os.waitpid(pid, os.WNOHANG if may_kill else 0)
        if not ended and time.monotonic() >= end:
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            break
        if not ended:
            time.sleep(0.0005)
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGKILL:
        kills += 1
        continue
    assert code == 0, code
    names = {path.name for path in Path().iterdir()}
    assert names <= {"run", "K.npy"}, names
    assert len(list(Path("run").iterdir())) <= 3
    runs += 1
    resumed += attempts - 1
    attempts = 0
    fresh()
print(f"{kills} kills, {runs} runs that ended, {resumed} times gone on")
"""

KINDS = ["in memory", "tiles", "tiles of draws", "training"]


def kill(kind, kills, tmp_path, record_property):
    told = run_script(SCRIPT, kind, kills, 7, cwd=tmp_path, timeout=1200).strip()
    record_property("kills", told)
    print(f"\n{kind}: {told}")  # noqa: T201
    assert told.startswith(f"{kills} kills")


@pytest.mark.parametrize("kind", ["tiles"])
def test_a_few_kills(kind, tmp_path, record_property):
    kill(kind, 6, tmp_path, record_property)


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
def test_two_hundred_kills(kind, tmp_path, record_property):
    kill(kind, 200, tmp_path, record_property)
