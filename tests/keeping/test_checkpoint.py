"""The folder of a checkpoint: opened, saved, damaged, in use; nothing is lost or mixed up without a word."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from fastntk.engine import checkpoint as checkpoints
from fastntk.engine.checkpoint import Checkpoint, CheckpointError, CheckpointWarning
from fastntk.engine.durable import replace_file

from .problems import assert_tidy

IDENTITY = {"function": "ntk", "seed": 1, "scale": 0.1, "mask": None, "rows": "3, digest abc"}
POSITION = {"part": 2, "covered": [[0, 512], [1024, 512]], "note": 0.1}
ARRAYS = {"sums": np.arange(12).reshape(3, 4), "total": np.array([0.1, -0.0, np.inf])}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


def opened(folder, **changes):
    """What is saved there."""
    checkpoint = Checkpoint(folder, {**IDENTITY, **changes})
    checkpoint.close()
    return checkpoint.saved


def save(folder, times=1):
    checkpoint = Checkpoint(folder, IDENTITY)
    for _ in range(times):
        checkpoint.save(POSITION, ARRAYS)
    checkpoint.close()


def assert_holds(saved, position=POSITION, arrays=ARRAYS):
    assert saved.position == position
    assert saved.arrays.keys() == arrays.keys()
    for name, array in arrays.items():
        assert saved.arrays[name].dtype == array.dtype
        assert saved.arrays[name].tobytes() == array.tobytes()


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# --------------------------------------------------------------------------------- fresh and resumed
def test_a_new_folder_holds_nothing(folder):
    assert opened(folder) is None
    assert opened(folder) is None
    assert_tidy(folder)


def test_an_empty_folder_will_do(folder):
    folder.mkdir()
    assert opened(folder) is None


@pytest.mark.parametrize("times", [1, 2, 5])
def test_what_was_saved_is_there(folder, times):
    save(folder, times)
    assert_holds(opened(folder))
    assert_holds(opened(folder))
    assert_tidy(folder)


def test_the_last_save_counts(folder):
    checkpoint = Checkpoint(folder, IDENTITY)
    for part in range(4):
        checkpoint.save({"part": part}, {"k": np.array([part])})
    checkpoint.close()
    assert_holds(opened(folder), {"part": 3}, {"k": np.array([3])})


def test_a_save_without_arrays(folder):
    checkpoint = Checkpoint(folder, IDENTITY)
    checkpoint.save({"part": 1}, {})
    checkpoint.close()
    assert_holds(opened(folder), {"part": 1}, {})


def test_numbers_go_on_after_a_resume(folder):
    """Arrays never get the name of earlier ones that a manifest names."""
    names = set()
    for _ in range(5):
        save(folder)
        names |= {path.name for path in folder.glob("arrays-*")}
    assert len(names) == 5


def test_a_function_that_gives_the_arrays(folder):
    checkpoint = Checkpoint(folder, IDENTITY)
    checkpoint.save(POSITION, lambda: ARRAYS)
    checkpoint.close()
    assert_holds(opened(folder))


def test_everything_is_numbers_text_and_arrays(folder):
    save(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["identity"] == IDENTITY
    assert manifest["position"] == POSITION
    assert_tidy(folder)


# ------------------------------------------------------------------------------------ another run's
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 2}, "seed was 1, now 2"),
        ({"scale": np.nextafter(0.1, 1)}, "scale was 0.1, now 0.1000"),
        ({"mask": "GaussianMask(kappa=0.2)"}, "mask was None, now GaussianMask"),
        ({"seed": 2, "rows": "4"}, "seed was 1, now 2; rows was 3, digest abc, now 4"),
        ({"draws": 3}, "draws was None, now 3"),
        ({"draws": None}, "draws"),
    ],
)
def test_another_runs_checkpoint_names_what_differs(folder, changes, message):
    save(folder)
    before = contents(folder)
    with pytest.raises(CheckpointError, match=r"is of another run: .*Call with the same arguments") as caught:
        opened(folder, **changes)
    assert message in str(caught.value)
    assert str(folder) in str(caught.value)
    assert contents(folder) == before
    assert_holds(opened(folder))


def test_something_that_the_run_no_longer_depends_on(folder):
    save(folder)
    fewer = {name: value for name, value in IDENTITY.items() if name != "scale"}
    with pytest.raises(CheckpointError, match=r"scale was 0\.1, now None"):
        Checkpoint(folder, fewer)


def test_another_run_that_had_not_come_to_a_save(folder):
    """It may have been refused for another argument: there is nothing to mix with."""
    opened(folder)
    assert opened(folder, seed=2) is None


# ------------------------------------------------------------------------------------------ damaged
def assert_refused(folder, what=""):
    with pytest.raises(CheckpointError, match=f"is damaged: {what}.*delete it to start over") as caught:
        opened(folder)
    assert str(folder) in str(caught.value)


FLIPS = [1, pytest.param(0x80, marks=pytest.mark.soak), pytest.param(0xFF, marks=pytest.mark.soak)]


@pytest.mark.parametrize("name", ["manifest", "arrays"])
@pytest.mark.parametrize("flip", FLIPS)
def test_every_byte_flipped(folder, name, flip):
    save(folder)
    (path,) = folder.glob(f"{name}*")
    whole = path.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= flip
        path.write_bytes(damaged)
        assert_refused(folder, path.name)
        assert path.read_bytes() == damaged
    path.write_bytes(whole)
    assert_holds(opened(folder))


@pytest.mark.parametrize("name", ["manifest", "arrays"])
def test_cut_off_at_every_length(folder, name):
    save(folder)
    (path,) = folder.glob(f"{name}*")
    whole = path.read_bytes()
    for length in range(0, len(whole), 1 if name == "manifest" else 7):
        path.write_bytes(whole[:length])
        assert_refused(folder, path.name)
    path.write_bytes(whole)
    assert_holds(opened(folder))


TEXTS = ["[]", "null", "7", '"manifest"', "{}", '{"digest": "0"}', "\ufeff{}", "[" * 20_000, "NaN"]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:20])
def test_a_manifest_of_something_else(folder, text):
    save(folder)
    (folder / "manifest.json").write_text(text, encoding="utf-8")
    assert_refused(folder, "manifest.json")


def test_arrays_that_are_longer_or_missing(folder):
    save(folder)
    (path,) = folder.glob("arrays-*")
    whole = path.read_bytes()
    for changed in (whole + b"\0", whole + whole):
        path.write_bytes(changed)
        assert_refused(folder, path.name)
    path.unlink()
    with pytest.raises(CheckpointError, match=rf"is damaged: {path.name} is missing"):
        opened(folder)
    path.write_bytes(whole)
    assert_holds(opened(folder))


def test_arrays_of_an_earlier_save(folder):
    """Whole, but not those of the manifest: a copy that was put together from two."""
    save(folder)
    (earlier,) = folder.glob("arrays-*")
    kept = earlier.read_bytes()
    checkpoint = Checkpoint(folder, IDENTITY)
    checkpoint.save(POSITION, {**ARRAYS, "sums": ARRAYS["sums"] + 1})
    checkpoint.close()
    (later,) = folder.glob("arrays-*")
    later.write_bytes(kept)
    assert_refused(folder, later.name)


def test_arrays_without_a_manifest(folder):
    """Never a silent start over, which would remove them."""
    save(folder)
    (folder / "manifest.json").unlink()
    before = contents(folder)
    with pytest.raises(CheckpointError, match="holds arrays but no manifest"):
        opened(folder)
    assert contents(folder) == before


@pytest.mark.parametrize("number", [0, 2, "2"])
def test_the_format_of_another_version(folder, monkeypatch, number):
    monkeypatch.setattr(checkpoints, "FORMAT", number)
    save(folder)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match=rf"has format {number}; this version reads 1\. Go on with"):
        opened(folder)


# ------------------------------------------------------------------------------------ other folders
def test_a_folder_of_something_else(folder):
    folder.mkdir()
    (folder / "thesis.tex").write_text("x")
    with pytest.raises(CheckpointError, match=r"holds thesis\.tex: it is not a checkpoint"):
        opened(folder)
    assert contents(folder) == {"thesis.tex": b"x"}


def test_a_file_instead_of_a_folder(folder):
    folder.write_text("x")
    with pytest.raises(CheckpointError, match="which is not a folder"):
        opened(folder)
    assert folder.read_text() == "x"


def test_a_missing_parent(folder):
    with pytest.raises(CheckpointError, match=r"is not an existing folder\. Make it first"):
        opened(folder / "deeper")
    assert not folder.exists()


def test_what_a_killed_process_left_is_cleared(folder):
    save(folder)
    (named,) = folder.glob("arrays-*")
    (folder / ".manifest.json.0123abcd.part").write_text("{")
    (folder / ".arrays-7.npz.0123abcd.part").write_bytes(b"PK")
    (folder / "arrays-7.npz").write_bytes(named.read_bytes())  # renamed, but the manifest was not
    assert_holds(opened(folder))
    assert_tidy(folder)


def test_hidden_files_of_others_are_left_alone(folder):
    """Such as those of a file system, or the unfinished matrix of a run beside it."""
    folder.mkdir()
    others = {".nfs0001": b"a", ".K.npy.0123abcd.part": b"b", ".thesis.part": b"c"}
    for name, data in others.items():
        (folder / name).write_bytes(data)
    save(folder)
    assert_holds(opened(folder))
    assert others.items() <= contents(folder).items()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(folder):
    folder.mkdir(mode=0o500)
    with pytest.raises(PermissionError, match="run"):
        opened(folder)
    folder.chmod(0o700)


# ------------------------------------------------------------------------------------------- in use
def test_in_use_by_another_thread(folder):
    first = Checkpoint(folder, IDENTITY)
    refused = []

    def second():
        try:
            Checkpoint(folder, IDENTITY)
        except CheckpointError as error:
            refused.append(str(error))

    thread = threading.Thread(target=second)
    thread.start()
    thread.join()
    assert "is in use by another run" in refused[0]
    first.save(POSITION, ARRAYS)
    first.close()
    assert_holds(opened(folder))


def test_in_use_under_another_name(folder, tmp_path, monkeypatch):
    """A link, a relative path: the same folder, and the lock of the first run survives the attempt."""
    first = Checkpoint(folder, IDENTITY)
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    for name in (tmp_path / "link", "run", tmp_path / "run" / ".." / "run"):
        with pytest.raises(CheckpointError, match="in use"):
            opened(name)
    assert in_another_process(folder) == "in use"
    first.close()
    assert in_another_process(folder) == "free"


OPEN = """
import sys, time
from fastntk.engine.checkpoint import Checkpoint, CheckpointError
try:
    checkpoint = Checkpoint(sys.argv[1], {"function": "ntk", "seed": 1, "scale": 0.1, "mask": None,
                                          "rows": "3, digest abc"})
except CheckpointError as error:
    print("in use" if "is in use by another run" in str(error) else error, flush=True)
else:
    print("free", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def in_another_process(folder):
    command = [sys.executable, "-P", "-c", OPEN, str(folder), "0"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_in_use_by_another_process_until_it_is_killed(folder):
    with subprocess.Popen(
        [sys.executable, "-P", "-c", OPEN, str(folder), "60"], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "free\n"
        with pytest.raises(CheckpointError, match="in use"):
            opened(folder)
        other.send_signal(signal.SIGKILL)
    assert opened(folder) is None


def test_children_that_outlive_the_run_hold_nothing(folder):
    """Forked while the checkpoint was open; neither they nor what they open later are in the way."""
    checkpoint = Checkpoint(folder, IDENTITY)
    context = multiprocessing.get_context("fork")
    with pytest.warns(DeprecationWarning, match="fork") if _warns_of_forks() else nullcontext():
        pool = ProcessPoolExecutor(1, mp_context=context)
        pool.submit(os.getpid).result()
    with pool:
        assert pool.submit(_in_use, folder).result()
        checkpoint.save(POSITION, ARRAYS)
        checkpoint.close()
        assert_holds(opened(folder))
        assert not pool.submit(_in_use, folder).result()  # the child does not take itself for the parent
        assert_holds(opened(folder))


def _in_use(folder):
    try:
        opened(folder)
    except CheckpointError:
        return True
    return False


def _warns_of_forks():
    return sys.version_info >= (3, 12) and threading.active_count() > 1


def test_a_refused_folder_is_not_held(folder):
    save(folder)
    with pytest.raises(CheckpointError, match="another run"):
        opened(folder, seed=2)
    assert_holds(opened(folder))
    assert in_another_process(folder) == "free"


# ------------------------------------------------------------------------------------ disk and cost
def free_space(monkeypatch, free):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))


def test_a_disk_without_room_is_refused_before_the_run(folder, monkeypatch):
    free_space(monkeypatch, 1999)
    with pytest.raises(OSError, match=r"takes up to 2 KB, but its disk has 2 KB free.*another disk"):
        Checkpoint(folder, IDENTITY, nbytes=1000)
    free_space(monkeypatch, 2000)
    Checkpoint(folder, IDENTITY, nbytes=1000).close()


def test_a_checkpoint_that_is_there_needs_no_room_again(folder, monkeypatch):
    save(folder)
    (path,) = folder.glob("arrays-*")
    size = path.stat().st_size
    free_space(monkeypatch, size)
    Checkpoint(folder, IDENTITY, nbytes=size).close()
    free_space(monkeypatch, size - 1)
    with pytest.raises(OSError, match="another disk"):
        Checkpoint(folder, IDENTITY, nbytes=size)


def test_a_save_that_fails_is_a_warning(folder, monkeypatch):
    checkpoint = Checkpoint(folder, IDENTITY)
    checkpoint.save(POSITION, ARRAYS)

    def full(path, write):
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "replace_file", full)
        with pytest.warns(CheckpointWarning, match="No space left.*The checkpoint before it is untouched"):
            checkpoint.save({"part": 3}, {})
    assert_tidy(folder)
    checkpoint.close()
    assert_holds(opened(folder))


def test_short_memory_is_a_warning(folder):
    def arrays():
        raise MemoryError("no room for a copy")

    checkpoint = Checkpoint(folder, IDENTITY)
    checkpoint.save(POSITION, ARRAYS)
    with pytest.warns(CheckpointWarning, match="no room for a copy"):
        checkpoint.save({"part": 3}, arrays)
    checkpoint.close()
    assert_holds(opened(folder))


def test_a_manifest_that_is_renamed_but_not_synced(folder, monkeypatch):
    """It names the new arrays, but a power failure may bring back the one before: both stay until a save is
    whole, and no later save writes over either."""
    checkpoint = Checkpoint(folder, IDENTITY)
    checkpoint.save(POSITION, ARRAYS)
    (older,) = folder.glob("arrays-*")
    before = contents(folder)

    def unsynced(path, write):
        replace_file(path, write)
        if path.name == "manifest.json":
            raise OSError(5, "Input/output error")

    later = {"k": np.arange(3)}
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "replace_file", unsynced)
        with pytest.warns(CheckpointWarning, match="Input/output"):
            checkpoint.save({"part": 3}, later)
    arrays = {path.name: path.read_bytes() for path in folder.glob("arrays-*")}
    assert len(arrays) == 2
    assert arrays[older.name] == before[older.name]

    copy = shutil.copytree(folder, folder.with_name("copy"), ignore=shutil.ignore_patterns("lock"))
    assert_holds(opened(copy), {"part": 3}, later)
    checkpoint.save(POSITION, ARRAYS)
    assert_tidy(folder)
    checkpoint.close()
    assert_holds(opened(folder))


def test_manifests_that_cannot_be_written_do_not_fill_the_disk(folder, monkeypatch):
    checkpoint = Checkpoint(folder, IDENTITY)
    checkpoint.save(POSITION, ARRAYS)

    def no_manifest(path, write):
        if path.name == "manifest.json":
            raise OSError(28, "No space left on device")
        replace_file(path, write)

    monkeypatch.setattr(checkpoints, "replace_file", no_manifest)
    for _ in range(5):
        with pytest.warns(CheckpointWarning, match="No space"):
            checkpoint.save({"part": 3}, ARRAYS)
        assert_tidy(folder)
    checkpoint.close()
    assert_holds(opened(folder))


def test_saves_take_less_than_two_percent(folder, monkeypatch):
    """Whatever a save costs: the interval to the next one grows with it."""
    clock = [1000.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: clock[0])
    cost = 0.0

    def slow(path, write):
        clock[0] += cost / 2  # arrays, then the manifest

    checkpoint = Checkpoint(folder, IDENTITY)
    monkeypatch.setattr(checkpoints, "replace_file", slow)
    monkeypatch.setattr(checkpoints.hashlib, "file_digest", lambda file, name: SimpleNamespace(hexdigest=str))
    monkeypatch.setattr(type(folder), "open", lambda self, mode: nullcontext())
    for cost in (0.001, 0.4, 2.0, 70.0, 0.1):
        assert not checkpoint.is_due
        worked = checkpoint.deadline - clock[0]
        assert worked >= checkpoints.FIRST_SECONDS
        clock[0] = checkpoint.deadline
        assert checkpoint.is_due
        checkpoint.save(POSITION, ARRAYS)
        assert cost <= 0.02 * (checkpoint.deadline - clock[0])
    checkpoint.close()


def test_waiting_for_a_save_counts_as_its_cost(folder):
    checkpoint = Checkpoint(folder, IDENTITY)
    checkpoint.save(POSITION, ARRAYS, since=time.monotonic() - 10)
    assert checkpoint.deadline - time.monotonic() > 0.98 * 10 * checkpoints.COST_FACTOR
    checkpoint.close()
