"""Hosts that allow little: an address space with a limit, folders that may not be written, no home."""

import sys

import pytest

from ..subprocesses import run_script

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, sets Linux limits")

ADDRESS_SPACE = """
import gc, resource
from pathlib import Path

rows = np.random.default_rng(0).standard_normal((1200, 5))
network = fn.Network(2000, 5)
options = {"network": network, "layers": "both", "threads": 2, "out": "K.npy", "memory_limit": 40_000_000}
expected = fn.ntk(rows, **options).tobytes()  # compiled; the threads are there
found = fn.ntk(rows, **options, checkpoint="run").tobytes()
Path("K.npy").unlink()
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
outcomes = []
for extra in (0, 2, 5, 10, 15, 20, 30, 40, 60, 80, 120):
    gc.collect()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + extra * 1_000_000, hard))
    try:
        K = fn.ntk(rows, **options)
        outcome = "right" if K.tobytes() == expected else "wrong"
        del K
    except MemoryError:
        outcome = "MemoryError"
    except OSError as error:  # the mapping of the finished file
        outcome = "MemoryError" if error.errno == 12 else repr(error)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    if outcome == "MemoryError" and Path("K.npy").exists():
        assert np.load("K.npy").tobytes() == expected
    assert {path.name for path in Path().iterdir()} <= {"K.npy", "run"}
    Path("K.npy").unlink(missing_ok=True)
    outcomes.append(outcome)
print(*outcomes)
"""


@only_linux
def test_an_address_space_with_a_limit(tmp_path):
    """Right, or a MemoryError that leaves nothing behind; and what memory_limit says is enough."""
    outcomes = run_script(ADDRESS_SPACE, cwd=tmp_path).split()
    assert set(outcomes) == {"right", "MemoryError"}
    assert outcomes[-1] == "right"
    assert outcomes == sorted(outcomes)  # MemoryError first


WITHOUT_RIGHTS = """
import os, sys
from pathlib import Path

call = {"network": NETWORK}
fn.ntk(X, **call)
Path("K.npy").write_bytes(b"")
os.mkdir("empty", 0o555)
fn.ntk(X, checkpoint="run", **call)
before = Path("run/manifest.json").read_bytes()
os.chmod("run", 0o555)
os.chmod("run/lock", 0o444)
os.chmod(".", 0o555)
if os.geteuid() == 0:
    os.seteuid(65534)
for options in (
    {"checkpoint": "run"}, {"checkpoint": "empty"}, {"checkpoint": "new"}, {"out": "other.npy"},
    {"out": "empty/K.npy"},
):
    try:
        fn.ntk(X, **options, **call)
    except PermissionError as error:
        (name,) = options.values()
        assert str(Path(name).parent.absolute()) in str(error), error
    else:
        raise AssertionError(options)
assert Path("run/manifest.json").read_bytes() == before
"""


@only_linux
def test_folders_that_may_not_be_written(tmp_path):
    """An error of the system that names the file; root steps down to somebody who may not."""
    work = tmp_path / "work"
    work.mkdir()
    for folder in (*work.parents,):
        if folder.is_relative_to(tmp_path.parent.parent):
            folder.chmod(0o755)
    run_script(WITHOUT_RIGHTS, cwd=work)


@pytest.mark.soak
def test_without_a_home_and_a_cache(tmp_path):
    blocked = {"NUMBA_CACHE_DIR": "/dev/null/cache", "XDG_CACHE_HOME": "/dev/null", "HOME": "/dev/null"}
    code = """
    options = {"network": NETWORK, "mask": MASK, "layers": "both"}
    K = fn.ntk(X, out="K.npy", checkpoint="run", **options)
    print((K == fn.ntk(X, **options)).all())
    """
    assert run_script(code, cwd=tmp_path, **blocked) == "True\n"
