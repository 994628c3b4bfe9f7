"""Kernels tile by tile into a file: those of the memory, in as little memory as is given."""

import gc
import shutil
import tracemalloc
from types import SimpleNamespace

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastntk as fn
from fastntk.engine import kernel_matrix, npyfile, patterns
from fastntk.engine.checkpoint import CheckpointError
from fastntk.engine.plan import Plan
from fastntk.engine.tiles import tile_edges, tile_parts

from ..samples import some
from .problems import DIM, KERNELS, MASK, Stop, X, assert_equal_bits, assert_tidy, impatient, kernel

RNG = np.random.default_rng(0)


# ------------------------------------------------------------------------------------- the cut
@given(
    n=st.integers(1, 60), p=st.integers(1, 60), edge=st.integers(1, 60), draws=st.integers(1, 3),
    symmetric=st.booleans(),
)  # fmt: skip
def test_tiles_cover_every_entry_once(n, p, edge, draws, symmetric):
    p = n if symmetric else p
    covered = np.zeros((draws, n, p), int)
    for draw, (a, b), (c, d) in tile_parts(n, p, (min(edge, n), min(edge, p)), draws, symmetric):
        assert 0 < b - a <= edge
        assert 0 < d - c <= edge
        covered[draw, a:b, c:d] += 1
        if symmetric and (a, b) != (c, d):
            covered[draw, c:d, a:b] += 1
    assert (covered == 1).all()


@given(n=st.integers(1, 10**6), p=st.integers(1, 10**6), room=st.integers(1, 10**13))
def test_tiles_are_as_large_as_fits(n, p, room):
    def fits(rows, columns):
        if rows * columns > room:
            raise MemoryError

    rows, columns = tile_edges(n, p, fits)
    fits(rows, columns)
    if (rows, columns) != (n, p):
        assert 4 * rows * columns * 1.3 + 4 * (rows + columns) + 4 > min(room, n * p // 4)


def test_not_even_one_entry_fits():
    def never(rows, columns):
        raise MemoryError("too small")

    with pytest.raises(MemoryError, match="too small"):
        tile_edges(5, 7, never)


# ---------------------------------------------------------------------------- equal to the memory
@pytest.mark.parametrize("edge", some([1, 7, 8, 12, 22, 23, 100], 8))
@pytest.mark.parametrize("name", some(KERNELS, "hidden", "both, masked", "zero rows, cross"))
def test_ragged_tiles(name, edge, tmp_path, tiles_of):
    tiles_of(edge, max(edge - 1, 1) if len(KERNELS[name][0]) == 2 else edge)
    found = kernel(name, out=tmp_path / "K.npy", threads=2)
    assert_equal_bits(found, kernel(name))
    assert isinstance(found, np.memmap)
    assert not found.flags.writeable
    assert [path.name for path in tmp_path.iterdir()] == ["K.npy"]


@given(
    kinds=st.lists(st.sampled_from(["zero", "first again", "ordinary", "negative"]), min_size=1, max_size=20),
    edges=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    draws=st.integers(1, 2),
    cross=st.booleans(),
    layers=st.sampled_from(["hidden", "both"]),
)
@hypothesis.settings(max_examples=15)
def test_any_rows_in_any_tiles(tmp_path_factory, kinds, edges, draws, cross, layers):
    rows = RNG.standard_normal((len(kinds), 3)).astype(np.float32)
    for i, kind in enumerate(kinds):
        rows[i] *= {"zero": 0, "negative": -1}.get(kind, 1)
        if kind == "first again":
            rows[i] = rows[0]
    rows, edge = (rows, edges[0]) if cross else (rows, min(edges))
    sides = (rows, rows[::2]) if cross else (rows,)
    options = {"network": fn.Network(1000, 3), "mask": MASK, "draws": draws, "layers": layers}
    folder = tmp_path_factory.mktemp("tiles")
    with pytest.MonkeyPatch.context() as patch:
        size = (edge, edges[1] if cross else edge)
        patch.setattr(kernel_matrix, "tile_edges", lambda n, p, fits: (min(size[0], n), min(size[1], p)))
        found = fn.ntk(*sides, out=folder / "K.npy", **options)
    assert_equal_bits(found, fn.ntk(*sides, **options))


@pytest.mark.parametrize(("tiles", "layers"), [(2, "hidden"), (3, "hidden"), (5, "both")])
def test_a_limit_of_memory_makes_tiles(tiles, layers, tmp_path, caplog):
    """The limit itself, and the memory that is really taken."""
    rows = RNG.standard_normal((1500, DIM)).astype(np.float32)
    options = {"network": fn.Network(3000, DIM), "layers": layers, "threads": 1, "out": tmp_path / "K.npy"}
    limit = limit_of(-(-len(rows) // tiles), options)
    fn.ntk(rows, memory_limit=limit, **options)
    gc.collect()
    tracemalloc.start()
    try:
        with caplog.at_level("INFO", "fastntk"):
            found = fn.ntk(rows, memory_limit=limit, **options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert f"matrix in {tiles * (tiles + 1) // 2} tiles" in caplog.text
    assert peak < limit
    assert limit < 8 * found.size + 20e6
    assert_equal_bits(found, fn.ntk(rows, network=options["network"], layers=layers))


def limit_of(edge, options):
    """The least limit that has room for a tile of so many rows and columns."""
    limit = 10**9
    with pytest.MonkeyPatch.context() as patch:

        def edges(n, p, threads_that_fit):
            nonlocal limit
            limit = threads_that_fit(edge, edge).nbytes
            raise Stop

        patch.setattr(kernel_matrix, "tile_edges", edges)
        with pytest.raises(Stop):
            fn.ntk(np.zeros((2 * edge, DIM)), **options)
    return limit


def test_sparse_rows_take_no_more_memory(tmp_path):
    """One row in twelve is not zero: a block of those is spread over twelve times the rows and columns."""
    rows = np.zeros((6000, DIM), np.float32)
    rows[::12] = RNG.standard_normal((500, DIM))
    options = {"network": fn.Network(600, DIM), "threads": 1, "out": tmp_path / "K.npy"}
    limit = limit_of(6000, options)
    fn.ntk(rows[:600], network=options["network"], threads=1)
    gc.collect()
    tracemalloc.start()
    try:
        found = fn.ntk(rows, memory_limit=limit, **options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < limit / 4
    assert_equal_bits(found[::12, ::12], fn.ntk(rows[::12], network=options["network"]))
    assert np.count_nonzero(found) == np.count_nonzero(found[::12, ::12])


# -------------------------------------------------------------------------------- files in the way
@pytest.mark.parametrize("keeps", [True, False], ids=["checkpoint", "no checkpoint"])
def test_an_earlier_result_stays_until_the_new_one_is_whole(keeps, tmp_path, tiles_of):
    tiles_of(8)
    out = tmp_path / "K.npy"
    np.save(out, np.full((len(X), len(X)), 7.0))
    options = {"checkpoint": tmp_path / "run"} if keeps else {}
    seen = []
    progress = impatient(9, seen=lambda: seen.append((np.load(out) == 7).all()))
    with pytest.raises(Stop):
        kernel("hidden", out=out, progress=progress, **options)
    assert all(seen)
    assert (np.load(out) == 7).all()
    unfinished = [path.name for path in tmp_path.glob(".*")]
    assert len(unfinished) == keeps
    assert_equal_bits(kernel("hidden", out=out, **options), kernel("hidden"))
    assert_equal_bits(np.load(out), kernel("hidden"))
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("there", [np.zeros((23, 22)), np.zeros((23, 23), np.float32), None])
def test_something_else_is_left_alone(there, tmp_path):
    out = tmp_path / "K.npy"
    if there is None:
        out.write_bytes(b"something")
    else:
        np.save(out, there)
    before = out.read_bytes()
    with pytest.raises(ValueError, match="which holds"):
        kernel("hidden", out=out, checkpoint=tmp_path / "run")
    assert out.read_bytes() == before
    out.unlink()
    assert_equal_bits(kernel("hidden", out=out, checkpoint=tmp_path / "run"), kernel("hidden"))


def test_out_in_the_folder_of_the_checkpoint(tmp_path):
    with pytest.raises(ValueError, match="in the folder of the checkpoint"):
        kernel("hidden", out=tmp_path / "run" / "K.npy", checkpoint=tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_disk_without_room(tmp_path, monkeypatch):
    """Refused before anything is computed or written."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(OSError, match="the disk has 1 KB free"):
        kernel("hidden", out=tmp_path / "K.npy", progress=lambda *_: pytest.fail("computed"))
    assert not list(tmp_path.iterdir())
    with pytest.raises(OSError, match=r"checkpoint .* takes up to"):
        kernel("hidden", checkpoint=tmp_path / "run", progress=lambda *_: pytest.fail("computed"))


def test_a_checkpoint_of_tiles_needs_room_for_one_tile(tmp_path, tiles_of, monkeypatch):
    tiles_of(3)
    sizes = []
    make = npyfile.NpyMatrix

    def after_the_checkpoint(*arguments, **options):
        monkeypatch.undo()
        return make(*arguments, **options)

    free = SimpleNamespace(free=2 * 4 * 3 * 3)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: sizes.append(path) or free)
    monkeypatch.setattr(kernel_matrix, "NpyMatrix", after_the_checkpoint)
    kernel("hidden", out=tmp_path / "K.npy", checkpoint=tmp_path / "run")
    assert sizes == [tmp_path / "run"]


# ------------------------------------------------------------------------------------ checkpoints
def stopped(folder, after=14):
    """A run of six tiles, stopped in the fourth."""
    with pytest.raises(Stop):
        kernel("hidden", out=folder / "K.npy", checkpoint=folder / "run", progress=impatient(after))
    (part,) = folder.glob(".K.npy.*.part")
    return part


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("damage", ["flipped", "truncated", "extended", "missing", "emptied"])
def test_a_damaged_unfinished_file_is_noticed(damage, tmp_path, tiles_of):
    tiles_of(8)
    part = stopped(tmp_path)
    whole = bytearray(part.read_bytes())
    if damage == "flipped":
        whole[128 + 8 * 25] ^= 1  # row 1, in the first tile
        part.write_bytes(whole)
    elif damage == "missing":
        part.unlink()
    else:
        part.write_bytes({"truncated": whole[:-1], "extended": whole + b"0", "emptied": b""}[damage])
    with pytest.raises(ValueError, match="elete the checkpoint to start over"):
        kernel("hidden", out=tmp_path / "K.npy", checkpoint=tmp_path / "run")
    assert not (tmp_path / "K.npy").exists()
    shutil.rmtree(tmp_path / "run")
    found = kernel("hidden", out=tmp_path / "K.npy", checkpoint=tmp_path / "run")
    assert_equal_bits(found, kernel("hidden"))
    assert {path.name for path in tmp_path.iterdir()} == {"run", "K.npy"}


@pytest.mark.usefixtures("at_once")
def test_a_finished_file_that_has_changed_is_noticed(tmp_path, tiles_of):
    tiles_of(8)
    options = {"out": tmp_path / "K.npy", "checkpoint": tmp_path / "run"}
    kernel("hidden", **options)
    there = np.load(tmp_path / "K.npy", mmap_mode="r+")
    there[20, 3] += 1
    there.flush()
    with pytest.raises(ValueError, match="are not as they were written"):
        kernel("hidden", **options)
    (tmp_path / "K.npy").unlink()
    with pytest.raises(ValueError, match="is not there"):
        kernel("hidden", **options)


@pytest.mark.usefixtures("at_once")
def test_the_same_call_with_another_checkpoint(tmp_path, tiles_of):
    """It begins anew with the same unfinished file; the first checkpoint does not take it for its own."""
    tiles_of(8)
    stopped(tmp_path)
    found = kernel("hidden", out=tmp_path / "K.npy", checkpoint=tmp_path / "other")
    assert_equal_bits(found, kernel("hidden"))
    with pytest.raises(ValueError, match="is not there"):
        kernel("hidden", out=tmp_path / "K.npy", checkpoint=tmp_path / "run")


def test_two_equal_calls_at_once(tmp_path, tiles_of):
    """Checkpoints of their own, one file: the second is refused while the first one writes."""
    tiles_of(8)
    refused = []

    def progress(done, total):
        with pytest.raises(ValueError, match="another run of the same call is writing it"):
            kernel("hidden", out=tmp_path / "K.npy", checkpoint=tmp_path / "other")
        refused.append(done)

    found = kernel("hidden", out=tmp_path / "K.npy", checkpoint=tmp_path / "run", progress=progress)
    assert refused
    assert_equal_bits(found, kernel("hidden"))


@pytest.mark.usefixtures("at_once")
def test_less_memory_than_a_tile_of_the_checkpoint(tmp_path):
    X = np.random.default_rng(0).standard_normal((600, 4))
    options = {"network": fn.Network(50_000, 4), "threads": 1}
    kept = {**options, "out": tmp_path / "K.npy", "checkpoint": tmp_path / "run"}
    with pytest.raises(Stop):
        fn.ntk(X, progress=impatient(3), **kept)
    with pytest.raises(MemoryError, match=r"600 x 600 .* go on with as much memory as the first call had"):
        fn.ntk(X, memory_limit=5_000_000, **kept)
    assert_equal_bits(fn.ntk(X, **kept), fn.ntk(X, **options))


def test_tiles_are_saved_when_due_and_at_the_end(tmp_path, tiles_of, monkeypatch):
    """A save for every tile would cost more than a small tile; power failures are what syncs are for."""
    events = []
    monkeypatch.setattr(npyfile.NpyMatrix, "sync", lambda file: events.append("sync"))
    save = kernel_matrix.Run._save
    monkeypatch.setattr(kernel_matrix.Run, "_save", lambda *a, **b: events.append("save") or save(*a, **b))
    tiles_of(3)
    kernel("both, masked", out=tmp_path / "K.npy", checkpoint=tmp_path / "run")
    assert events == [
        "save",
        "sync",
        "sync",
    ]  # the file is on the disk before the save says so; then the name
    assert_tidy(tmp_path / "run")


@pytest.mark.usefixtures("at_once", "patterns_on_disk")
def test_ranges_that_workers_elsewhere_have_left(tmp_path, tiles_of, monkeypatch):
    """They leave gaps that end anywhere: the pattern of the end of a gap is not that of a whole chunk."""
    tiles_of(12)
    network = fn.Network(100_000, DIM, seed=1)
    options = {"network": network, "out": tmp_path / "K.npy", "checkpoint": tmp_path / "run", "threads": 1}
    with monkeypatch.context() as patch:
        patch.setattr(Plan, "ranges", lambda *_: [(33_792, 33_792), (0, 33_792), (67_584, 32_416)])
        with pytest.raises(Stop):
            fn.ntk(X, progress=impatient(2), **options)
    assert_equal_bits(fn.ntk(X, **options), fn.ntk(X, network=network))


def test_patterns_take_no_room_that_the_matrix_needs(tmp_path, monkeypatch):
    """The file is made at its full size, but the disk has yet to give it."""
    parts, neurons = tile_parts(1000, 1000, (500, 500), 1, True), fn.Network(8000, 1000)._neurons
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=12 * 10**6))
    store = patterns.pattern_store(tmp_path, parts, True, neurons, 1)
    store.close()
    file = npyfile.NpyMatrix(tmp_path / "K.npy", (1150, 1150), "token")
    assert 10.5e6 < file.unwritten <= file.nbytes
    assert patterns.pattern_store(tmp_path, parts, True, neurons, 1, file.unwritten) is None
    file.write(0, 0, np.ones((1150, 1150)))
    assert file.unwritten < 1e6
    file.close()


def test_other_errors(tmp_path):
    with pytest.raises(ValueError, match=r"its name must end in \.npy"):
        kernel("hidden", out=tmp_path / "K.bin")
    with pytest.raises(TypeError, match="out is int"):
        kernel("hidden", out=3)
    with pytest.raises(TypeError, match="checkpoint is 3"):
        kernel("hidden", checkpoint=3)
    with pytest.raises(CheckpointError, match="Make it first"):
        kernel("hidden", checkpoint=tmp_path / "a" / "b")
    with pytest.raises(ValueError, match="Make it first"):
        kernel("hidden", out=tmp_path / "a" / "K.npy")
    assert not list(tmp_path.iterdir())
