"""Stopped again and again, and gone on with under other conditions: the bits of a run that never stopped."""

import numpy as np
import pytest

import fastntk as fn
from fastntk.engine.checkpoint import CheckpointError
from fastntk.kernels import load

from ..formulas import SLICED
from ..samples import some
from ..subprocesses import run_script
from .problems import (
    DIM,
    GENERAL,
    KERNELS,
    MASK,
    NETWORK,
    WITH_ZEROS,
    Stop,
    X,
    assert_equal_bits,
    assert_tidy,
    impatient,
    kernel,
    until_done,
)

pytestmark = pytest.mark.usefixtures("at_once")


@pytest.mark.parametrize("name", some(KERNELS, "hidden", "output", "pair of masks", "zero rows"))
def test_in_memory(name, tmp_path):
    """On another number of threads, under another limit of memory, each time."""

    def attempt(k, progress):
        options = {"threads": 1 + k % 3, "memory_limit": [None, 10**9][k % 2]}
        return kernel(name, checkpoint=tmp_path / "run", progress=progress, **options)

    found, stops = until_done(attempt)
    assert stops >= 3 or name == "nothing but zeros"
    assert_equal_bits(found, kernel(name))
    assert_tidy(tmp_path / "run")


@pytest.mark.parametrize("on_disk", [False, True], ids=["patterns again", "patterns on disk"])
@pytest.mark.parametrize("name", some(KERNELS, "general, both", "zero rows", "cross"))
def test_tile_by_tile(name, on_disk, tmp_path, tiles_of, request):
    """Also where the size of the tiles would be another one by now: that of the checkpoint stays."""
    if on_disk:
        request.getfixturevalue("patterns_on_disk")

    def attempt(k, progress):
        tiles_of(9 if k == 0 else 5 + k % 3)
        options = {"threads": 1 + k % 3, "memory_limit": [None, 10**9][k % 2]}
        saved = {"out": tmp_path / "K.npy", "checkpoint": tmp_path / "run"}
        return kernel(name, progress=progress, **saved, **options)

    found, stops = until_done(attempt)
    assert stops >= 3
    assert_equal_bits(found, kernel(name))
    assert_equal_bits(np.load(tmp_path / "K.npy"), found)
    assert_tidy(tmp_path / "run")
    assert {path.name for path in tmp_path.iterdir()} == {"run", "K.npy"}


@pytest.mark.parametrize("network", [NETWORK, GENERAL], ids=["signs", "general"])
@pytest.mark.parametrize("layers", ["hidden", "output", "both"])
@pytest.mark.parametrize("draws", some([1, 3], 3))
def test_diagonals(network, layers, draws, tmp_path):
    options = {"network": network, "layers": layers, "mask": MASK, "draws": draws}

    def attempt(k, progress):
        threads = 1 + k % 3
        return fn.ntk_diag(
            WITH_ZEROS, checkpoint=tmp_path / "run", threads=threads, progress=progress, **options
        )

    found, stops = until_done(attempt)
    assert stops >= 2
    assert_equal_bits(found, fn.ntk_diag(WITH_ZEROS, **options))
    assert_tidy(tmp_path / "run")


@pytest.mark.parametrize("network", [NETWORK, GENERAL], ids=["one output", "two outputs"])
def test_outputs(network, tmp_path):
    def attempt(k, progress):
        options = {"threads": 1 + k % 3, "progress": progress}
        return fn.outputs(WITH_ZEROS, network=network, mask=MASK, checkpoint=tmp_path / "run", **options)

    found, stops = until_done(attempt)
    assert stops >= 2
    assert_equal_bits(found, fn.outputs(WITH_ZEROS, network=network, mask=MASK))
    assert_tidy(tmp_path / "run")


@pytest.mark.parametrize("first", some(range(1, 9), 1, 5))
def test_stopped_once_at_every_report(first, tmp_path, tiles_of):
    """Also at the first, when nothing has been saved."""
    tiles_of(12)

    options = {"checkpoint": tmp_path / "run", "out": tmp_path / "K.npy"}
    with pytest.raises(Stop):
        kernel("both, masked", progress=impatient(first), **options)
    assert not (tmp_path / "K.npy").exists()
    assert_equal_bits(kernel("both, masked", **options), kernel("both, masked"))


def test_progress_goes_on_where_it_stood(tmp_path):
    seen = []

    def attempt(k, progress):
        def both(done, total):
            seen.append((k, done, total))
            progress(done, total)

        return kernel("both, masked", checkpoint=tmp_path / "run", progress=both)

    until_done(attempt)
    starts = {}
    for k, done, _ in seen:
        starts.setdefault(k, done)
    assert list(starts.values()) == sorted(set(starts.values()))
    assert {total for _, _, total in seen} == {3 * NETWORK.width}
    assert max(done for _, done, _ in seen) == 3 * NETWORK.width


@pytest.mark.parametrize("name", ["hidden", "both, masked"])
def test_a_finished_file_is_not_computed_again(name, tmp_path, tiles_of):
    tiles_of(12)
    options = {"checkpoint": tmp_path / "run", "out": tmp_path / "K.npy"}
    found = kernel(name, **options)
    again = kernel(name, progress=lambda done, total: pytest.fail("computed again"), **options)
    assert_equal_bits(again, found)
    assert {path.name for path in tmp_path.iterdir()} == {"run", "K.npy"}


def test_a_finished_mean_is_not_computed_again(tmp_path):
    options = {"checkpoint": tmp_path / "run", "progress": lambda done, total: None}
    found = kernel("both, masked", **options)
    options["progress"] = lambda done, total: pytest.fail("computed again")
    assert_equal_bits(kernel("both, masked", **options), found)


CHANGES = {
    "inputs": ({}, (np.where(X[3, 2] == X, X + 1e-6, X),)),
    "another row order": ({}, (X[::-1],)),
    "columns": ({}, (X, X)),
    "seed": ({"seed": 1}, (X,)),
    "draws": ({"draws": 2}, (X,)),
    "layers": ({"layers": "output"}, (X,)),
    "mask": ({"mask": fn.GaussianMask(np.nextafter(0.3, 1))}, (X,)),
    "kind of mask": ({"mask": fn.LognormalMask(0.3)}, (X,)),
    "ids of the rows": ({"row_ids": np.arange(len(X)) + 1}, (X,)),
    "network seed": ({"network": fn.Network(50_001, DIM, seed=4)}, (X,)),
    "network scale": ({"network": fn.Network(50_001, DIM, seed=3, scale=2.0)}, (X,)),
    "width": ({"network": fn.Network(50_000, DIM, seed=3)}, (X,)),
    "given network": ({"network": GENERAL}, (X,)),
}


@pytest.mark.parametrize("change", some(CHANGES, "inputs", "mask", "ids of the rows", "network scale"))
def test_another_call_is_refused(change, tmp_path):
    options = {"network": NETWORK, "mask": MASK, "checkpoint": tmp_path / "run"}
    expected = fn.ntk(X, **options)
    different, inputs = CHANGES[change]
    with pytest.raises(CheckpointError, match="is of another run"):
        fn.ntk(*inputs, **{**options, **different})
    with pytest.raises(CheckpointError, match="function was ntk, now ntk_diag"):
        fn.ntk_diag(X, **options)
    with pytest.raises(CheckpointError, match="out was None, now"):
        fn.ntk(X, out=tmp_path / "K.npy", **options)
    assert_equal_bits(fn.ntk(X, **options), expected)


def test_a_callback_that_uses_the_same_checkpoint(tmp_path):
    """Refused there; the run that has it goes on."""
    refused = []

    def progress(done, total):
        with pytest.raises(CheckpointError, match="in use"):
            kernel("hidden", checkpoint=tmp_path / "run")
        refused.append(done)

    found = kernel("hidden", checkpoint=tmp_path / "run", progress=progress)
    assert refused
    assert_equal_bits(found, kernel("hidden"))


SCRIPT = """
import sys
import numpy as np
import fastntk as fn
from fastntk.engine import checkpoint, kernel_matrix
from fastntk.kernels import load

path, out, stops = sys.argv[1:]
assert load().name == path
checkpoint.FIRST_SECONDS = checkpoint.COST_FACTOR = 0.0
kernel_matrix.tile_edges = lambda n, p, fit: (5, 5)
options = {"layers": "both", "mask": MASK, "draws": 2, "checkpoint": "run"}
if out != "-":
    options["out"] = out
left = [int(stops)]

def progress(done, total):
    left[0] -= 1
    if left[0] == 0:
        raise KeyboardInterrupt

try:
    K = fn.ntk(X, network=NETWORK, progress=progress, **options)
    print(K.tobytes().hex())
except KeyboardInterrupt:
    print("stopped")
"""


@pytest.mark.parametrize("out", some(["-", "K.npy"], "K.npy"))
@pytest.mark.parametrize("paths", some([("plain",), ("avx2", "plain")], ("plain",)), ids=" ".join)
def test_on_other_instruction_sets(out, paths, tmp_path):
    """A checkpoint goes from machine to machine: sums of floats too, but for the last bits of AMX's."""
    for path in paths:
        done = run_script(SCRIPT, path, out, 2, cwd=tmp_path, FASTNTK_CPU_PATH=path)
        assert done == "stopped\n"
    native = load().name
    done = run_script(SCRIPT, native, out, 10**6, cwd=tmp_path, FASTNTK_CPU_PATH=native)
    rows = np.random.default_rng(0).standard_normal((9, 5)).astype(np.float32)  # those of every script
    network, mask = fn.Network(width=20_000, dim=5, seed=1), fn.GaussianMask(0.2)
    expected = fn.ntk(rows, network=network, mask=mask, layers="both", draws=2)
    found = np.frombuffer(bytes.fromhex(done.strip())).reshape(expected.shape)
    if load(native).counts_with_amx:  # |w|^2 |x~|^2 is at most (6.8^2 5)(10^2)
        np.testing.assert_allclose(found, expected, rtol=0, atol=SLICED * 6.8**2 * 5 * 10**2)
    else:
        np.testing.assert_array_equal(found, expected)
