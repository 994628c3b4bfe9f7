"""Every call that touches the disk or asks for memory fails in turn, once or for good.

The run ends in the right bits or in an error that says what is wrong; the next one, without faults, ends in
the right bits, or says why it cannot; and nothing else is left in the folders.
"""

import gc
import os
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest

import fastntk as fn
from fastntk.engine.checkpoint import CheckpointWarning

from .faulty import ERRORS, Faults
from .problems import MASK, Stop, assert_tidy, impatient, rows

X = rows(9)
NARROW = fn.Network(width=33_000, dim=X.shape[1], seed=1)  # three ranges of neurons
SMALL = fn.Network(width=300, dim=X.shape[1], seed=1)


def kernel(folder, progress=None, **options):
    return fn.ntk(X, network=NARROW, threads=1, progress=progress, **options)


def in_memory(folder, progress=None):
    saved = {"checkpoint": folder / "run"}
    return kernel(folder, progress, layers="both", mask=MASK, draws=2, **saved)


def tiles(folder, progress=None):
    return kernel(folder, progress, out=folder / "K.npy", checkpoint=folder / "run")


def tiles_of_draws(folder, progress=None):
    saved = {"out": folder / "K.npy", "checkpoint": folder / "run"}
    return kernel(folder, progress, mask=MASK, draws=2, **saved)


def tiles_alone(folder, progress=None):
    return kernel(folder, progress, out=folder / "K.npy")


def diagonal(folder, progress=None):
    saved = {"checkpoint": folder / "run", "progress": progress}
    return fn.ntk_diag(X, network=NARROW, mask=MASK, draws=2, threads=1, layers="both", **saved)


def train(folder, progress=None):
    options = {"checkpoint": folder / "run", "progress": progress, "threads": 1}
    run = fn.train(X, X[:, 0], network=SMALL, mask=MASK, step_size=0.1, steps=6, record_every=2, **options)
    return np.concatenate([run.network.weights().ravel(), run.clean_loss])


RUNS = {run.__name__: run for run in (in_memory, tiles, tiles_of_draws, tiles_alone, diagonal, train)}


def stop_halfway(run, folder):
    """As a run leaves its folder when it is stopped after a few saves."""
    if run is train:
        with pytest.raises(fn.TrainingInterrupted):
            run(folder, impatient(3, KeyboardInterrupt))
    else:
        with pytest.raises(Stop):
            run(folder, impatient(5))


def leave_finished(run, folder):
    run(folder)


def put_an_earlier_result(run, folder):
    np.save(folder / "K.npy", np.full((len(X), len(X)), 7.0))


STARTS = {
    "new": lambda run, folder: None,
    "stopped": stop_halfway,
    "finished": leave_finished,
    "over an earlier result": put_an_earlier_result,
}
HISTORIES = [
    (run, start)
    for run in RUNS
    for start in STARTS
    if not (run == "tiles_alone" and start in ("stopped", "finished"))
    and not ("tiles" not in run and start == "over an earlier result")
]


class History:
    """A run under faults, begun in a folder where something has happened before."""

    def __init__(self, name, start, folder):
        self.run, self.folder = RUNS[name], folder
        self.expected = self._bits(self._fresh("expected"))
        self.before = self._fresh("before")
        STARTS[start](self.run, self.before)
        self.refused = 0

    def _fresh(self, name):
        folder = self.folder / name
        folder.mkdir()
        return folder

    def _bits(self, folder):
        return np.asarray(self.run(folder)).tobytes()

    def calls(self):
        """The kinds of the calls of a run without faults."""
        with self._copied() as work, Faults(work) as faults:
            self.run(work)
        return faults.calls

    def _copied(self):
        return _Copy(self.before, self.folder / "before-copy")

    def case(self, at, for_good, which):
        """One fault; what it did: "right", the kind of the error, or "unmet"."""
        with self._copied() as work:
            earlier = {path: path.read_bytes() for path in work.glob("K.npy")}
            handles = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                outcome, faults = self._under_faults(work, at, for_good, which)
                gc.collect()
            unexpected = [w for w in warned if not issubclass(w.category, CheckpointWarning)]
            assert not unexpected, unexpected[0].message
            assert all(str(work) in str(w.message) for w in warned)
            assert len(os.listdir("/proc/self/fd")) <= handles  # noqa: PTH208
            self._check_files(work, earlier, outcome, faults)
            self._again(work)
            return outcome if faults.failed else "unmet"

    def _under_faults(self, work, at, for_good, which):
        with Faults(work, at, for_good, which) as faults:
            try:
                found = np.asarray(self.run(work)).tobytes()
            except MemoryError:
                return "MemoryError", faults
            except (OSError, ValueError) as error:
                assert str(work) in str(error), repr(error)  # noqa: PT017
                return type(error).__name__, faults
        assert found == self.expected, "wrong bits under faults"
        return "right", faults

    def _check_files(self, work, earlier, outcome, faults):
        """What has the name of the result is whole; a run that keeps nothing leaves nothing."""
        out = work / "K.npy"
        if out.exists() and earlier.get(out) != out.read_bytes():
            assert np.load(out).tobytes() == self.expected
        left = {path.name for path in work.iterdir()} - {"K.npy", "run"}
        if self.run is tiles_alone and not (faults.for_good and faults._failing == "unlink"):
            assert not left

    def _again(self, work):
        """The next call, on a sound system."""
        try:
            found = self._bits(work)
        except ValueError as error:
            # The last save has failed and the result has its name: the unfinished file is gone.
            assert "is not there" in str(error)  # noqa: PT017
            assert np.load(work / "K.npy").tobytes() == self.expected
            self.refused += 1
            shutil.rmtree(work / "run")
            found = self._bits(work)
        assert found == self.expected, "wrong bits afterwards"
        assert {path.name for path in work.iterdir()} <= {"K.npy", "run"}
        if (work / "run").exists():
            assert_tidy(work / "run")


class _Copy:
    """A folder that is as another one, for as long as it takes; always under the same name."""

    def __init__(self, source, work):
        self.source, self.work = source, work

    def __enter__(self):
        # The path is a part of what a run is: the one that was prepared steps aside.
        self.source.rename(self.work)
        shutil.copytree(self.work, self.source)
        return self.source

    def __exit__(self, *error):
        shutil.rmtree(self.source)
        Path(self.work).rename(self.source)


def count(record_property, history, outcomes):
    told = ", ".join(f"{outcomes.count(kind)} {kind}" for kind in sorted(set(outcomes)))
    told = f"{len(outcomes)} faults: {told}; {history.refused} refused to go on with a finished file"
    record_property("faults", told)
    print(f"\n{told}")  # noqa: T201


@pytest.fixture(autouse=True)
def quick(at_once, tiles_of, monkeypatch):
    """Three tiles; and nothing waits for the disk, whose power does not fail here."""
    tiles_of(5)
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    gc.freeze()  # what is there already need not be looked at after every fault
    yield
    gc.unfreeze()


@pytest.fixture
def folder(tmp_path):
    """In memory where that can be: there are thousands of runs."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        yield Path(name).resolve()


@pytest.mark.soak
@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize(("name", "start"), HISTORIES)
def test_every_fault(name, start, for_good, folder, record_property):
    history = History(name, start, folder)
    outcomes = [
        history.case(at, for_good, which)
        for at, kind in enumerate(history.calls())
        for which in range(len(ERRORS[kind]))
    ]
    assert "unmet" not in outcomes
    count(record_property, history, outcomes)


SOME = [
    ("in_memory", "new"),
    ("tiles", "stopped"),
    ("tiles", "finished"),
    ("tiles_of_draws", "over an earlier result"),
    ("tiles_alone", "over an earlier result"),
    ("train", "stopped"),
]


@pytest.mark.parametrize(("name", "start"), SOME)
def test_some_faults(name, start, folder, record_property):
    """One of every kind, and a few more; the last ones are those around the end of the run."""
    history = History(name, start, folder)
    calls = history.calls()
    chosen = {calls.index(kind) for kind in calls} | {len(calls) - 1 - back for back in (0, 3, 8, 14)}
    outcomes = [history.case(at, at % 2 == 0, at // 2) for at in sorted(chosen) if at >= 0]
    count(record_property, history, outcomes)
