"""Runs in files: what comes back, what is refused, and that no half-written file stays behind."""

import zipfile

import numpy as np
import pytest

import fastntk as fn

from ..subprocesses import run_script
from .problems import assert_same, network, train, weights


@pytest.fixture(scope="module")
def run():
    return train(steps=6, record_every=2, eigenvalues_every=3, audit_every=2)


@pytest.fixture
def path(run, tmp_path):
    run.save(tmp_path / "run.npz")
    return tmp_path / "run.npz"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"outputs": 3},
        {"network": fn.Network(50, 5, seed=2**64 - 1, scale=0.1)},
        {"mask": None},
        {"mask": fn.GaussianMask([0.1, 0.2, 0.3, 0.4, 0.5])},
        {"mask": fn.BernoulliMask(1 / 3), "batch_size": 3},
        {"mask": fn.LognormalMask(0.1), "mode": "clean", "seed": 2**64 - 1},
        {"row_ids": np.arange(14, dtype=np.uint64) + np.uint64(2**63), "step_size": None},
    ],
    ids=repr,
)
def test_everything_comes_back(options, tmp_path):
    run = train(steps=5, record_every=1, eigenvalues_every=2, audit_every=3, **options)
    run.save(tmp_path / "run.npz")
    loaded = fn.TrainingRun.load(tmp_path / "run.npz")
    assert_same(loaded, run)
    assert loaded.status == run.status == "finished"
    assert repr(loaded.network) == repr(run.network)
    np.testing.assert_array_equal(loaded.network.output_weights(), run.network.output_weights())
    assert_same(
        train(steps=9, resume=loaded, record_every=1, **options),
        train(steps=9, record_every=1, **options),
        but=[
            "eigenvalue_steps",
            "smallest_eigenvalue",
            "largest_eigenvalue",
            "masked_eigenvalue",
            "audit_steps",
            "audit_error",
        ],
    )


def test_no_pickle_inside(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    with np.load(path, allow_pickle=False) as arrays:
        assert all(arrays[name].dtype != object for name in arrays)


def test_the_file_has_the_given_name(run, tmp_path):
    run.save(str(tmp_path / "first.npz"))
    run.save(tmp_path / "second.npz")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["first.npz", "second.npz"]


def test_the_file_may_be_read_by_whom_the_host_lets(path):
    """The permissions of any new file, not those of a temporary one."""
    (path.parent / "other").touch()
    assert path.stat().st_mode == (path.parent / "other").stat().st_mode


def test_saving_over_a_file(run, path):
    path.write_bytes(b"something else")
    run.save(path)
    assert_same(fn.TrainingRun.load(path), run)
    assert len(list(path.parent.iterdir())) == 1


# --------------------------------------------------------------------------------- damaged files
def refused(path):
    """Loading and resuming say that it is no run, and name the file."""
    for call in (fn.TrainingRun.load, lambda file: train(resume=file)):
        with pytest.raises(ValueError, match=path.name) as caught:
            call(path)
        assert caught.type is not UnicodeDecodeError


@pytest.mark.parametrize("part", [0.0, 0.01, 0.3, 0.7, 0.99, 0.9999])
def test_truncated(path, part):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    refused(path)


def test_flipped_bits(run, path):
    """Wherever a bit flips, the file is refused or still means the same: it has checksums."""
    whole = path.read_bytes()
    harmless = 0
    for place in np.random.default_rng(0).integers(0, 8 * len(whole), 400):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        try:
            loaded = fn.TrainingRun.load(path)
        except ValueError:
            refused(path)
            continue
        assert_same(loaded, run)
        harmless += 1
    assert harmless < 200  # times, attributes and the like in the headers of the archive


def other_files(path):
    np.savez(path, W=np.zeros((3, 2)), a=np.zeros(3))
    yield "arrays of something else"
    np.savez(path, run=np.array([{"steps": 3}], object))
    yield "pickled objects"
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    yield "one array"
    path.write_text("steps,loss\n0,1.5\n")
    yield "text"
    path.write_bytes(b"")
    yield "nothing"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("clean_loss.npy", b"not an array")
    yield "an archive of other things"


def test_files_from_elsewhere(tmp_path):
    for _ in other_files(tmp_path / "run.npz"):
        refused(tmp_path / "run.npz")


def test_a_part_missing_or_of_another_shape(path):
    """Each array of the file in turn left out, cut short, emptied, or of strings."""
    with np.load(path) as arrays:
        whole = {name: arrays[name] for name in arrays}
    for name, array in whole.items():
        np.savez(path, **{other: whole[other] for other in whole if other != name})
        refused(path)
        for wrong in (array.reshape(-1)[:-1], np.array("wrong"), np.zeros((2, 2, 2))):
            if wrong.shape != array.shape or wrong.dtype.kind != array.dtype.kind:
                np.savez(path, **{**whole, name: wrong})
                refused(path)


def test_missing_file(tmp_path):
    for call in (fn.TrainingRun.load, lambda file: train(resume=file)):
        with pytest.raises(FileNotFoundError, match="nothing"):
            call(tmp_path / "nothing.npz")


# ------------------------------------------------------------------------------- nowhere to write
def test_no_such_folder(run, tmp_path):
    for folder in (tmp_path / "missing", tmp_path / "a file"):
        (tmp_path / "a file").touch()
        with pytest.raises(OSError, match=r"missing|a file"):
            run.save(folder / "run.npz")
    assert [file.name for file in tmp_path.iterdir()] == ["a file"]


def test_the_old_file_stays_where_the_new_one_fails(run, path, monkeypatch):
    """Whatever fails in between: the folder holds the old file and no other."""
    old = path.read_bytes()
    for module, name in (("os", "replace"), ("numpy", "savez")):
        with monkeypatch.context() as patch:
            patch.setattr(f"{module}.{name}", failing)
            with pytest.raises(OSError, match="full"):
                run.save(path)
        assert path.read_bytes() == old
        assert list(path.parent.iterdir()) == [path]


def failing(*arguments, **options):
    raise OSError(28, "disk full")


def test_a_disk_that_fills_up(tmp_path):
    """A limit on the size of files, which a run of many weights exceeds halfway."""
    code = """
    import pathlib, resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    options = dict(mask=MASK, step_size=0.1, steps=1)
    fn.train(X, np.ones(9), network=fn.Network(100, 5), **options).save("run.npz")
    old = pathlib.Path("run.npz").read_bytes()
    run = fn.train(X, np.ones(9), network=fn.Network(50_000, 5), **options)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    try:
        run.save("run.npz")
        raise SystemExit("it fits?")
    except OSError:
        pass
    assert pathlib.Path("run.npz").read_bytes() == old
    assert [file.name for file in pathlib.Path(".").iterdir()] == ["run.npz"]
    """
    run_script(code, cwd=tmp_path)


def test_a_saved_run_does_not_need_its_network(tmp_path):
    train(network=network(), steps=2).save(tmp_path / "run.npz")
    loaded = fn.TrainingRun.load(tmp_path / "run.npz")
    np.testing.assert_array_equal(weights(loaded), weights(train(steps=2)))
