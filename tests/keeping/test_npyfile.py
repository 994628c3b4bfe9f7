"""A matrix on disk: what has its name is whole, what stood there is replaced in the end, or left alone."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from fastntk.engine import npyfile
from fastntk.engine.npyfile import NpyMatrix, Tile

from .problems import assert_equal_bits

SHAPE = (7, 5)
RNG = np.random.default_rng(0)
VALUES = RNG.standard_normal(SHAPE)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "K.npy"


def names(path):
    return sorted(file.name for file in path.parent.iterdir())


def written(path, values=VALUES, token="token"):
    """An unfinished file that holds the values."""
    file = NpyMatrix(path, values.shape, token)
    file.write(0, 0, values)
    return file


# ------------------------------------------------------------------------------------- the file
def test_it_has_its_name_when_it_is_finished(path):
    file = written(path)
    assert names(path) == [".K.npy.token.part"]
    file.finish()
    assert names(path) == ["K.npy"]
    assert_equal_bits(np.load(path), VALUES)
    np.save(path.with_name("other.npy"), VALUES)
    assert path.read_bytes() == path.with_name("other.npy").read_bytes()


def test_what_is_not_written_is_zero(path):
    file = NpyMatrix(path, SHAPE, "token")
    file.write(2, 1, VALUES[:3, :2])
    expected = np.zeros(SHAPE)
    expected[2:5, 1:3] = VALUES[:3, :2]
    assert_equal_bits(file.read(slice(0, 7), slice(0, 5)), expected)
    file.finish()
    assert_equal_bits(np.load(path), expected)


@pytest.mark.parametrize("order", ["C", "F"])
def test_blocks_of_any_layout(path, order):
    file = written(path, np.asarray(VALUES, order=order)[:, ::-1])
    file.finish()
    assert_equal_bits(np.load(path), VALUES[:, ::-1])


def test_short_writes_go_on(path, monkeypatch):
    pwrite = npyfile.os.pwrite
    monkeypatch.setattr(npyfile.os, "pwrite", lambda handle, data, at: pwrite(handle, data[:3], at))
    written(path).finish()
    assert_equal_bits(np.load(path), VALUES)


def test_discarded(path):
    file = written(path)
    file.discard()
    file.close()
    file.close()
    assert names(path) == []


# ------------------------------------------------------------------------------ what stood there
def test_an_earlier_result_stays_until_the_end(path):
    np.save(path, VALUES + 1)
    mapped = np.load(path, mmap_mode="r")
    file = written(path)
    assert_equal_bits(np.load(path), VALUES + 1)
    file.finish()
    assert_equal_bits(np.load(path), VALUES)
    assert_equal_bits(mapped, VALUES + 1)  # who still looks at the earlier one sees it whole


def _archive(path):
    with path.open("wb") as file:
        np.savez(file, VALUES)


OTHERS = {
    "another shape": lambda path: np.save(path, VALUES.T),
    "another number of axes": lambda path: np.save(path, VALUES[None]),
    "float32": lambda path: np.save(path, VALUES.astype(np.float32)),
    "another byte order": lambda path: np.save(path, VALUES.astype(">f8")),
    "objects": lambda path: np.save(path, VALUES.astype(object)),
    "an archive": _archive,
    "text": lambda path: path.write_text("Dear diary"),
    "nothing": lambda path: path.touch(),
    "a header": lambda path: path.write_bytes(npyfile._header(SHAPE)),
    "a cut header": lambda path: path.write_bytes(npyfile._header(SHAPE)[:40]),
    "an absurd header": lambda path: path.write_bytes(npyfile._header((10**30, 5))),
    "a broken header": lambda path: path.write_bytes(npyfile._header(SHAPE).replace(b"(7", b"((")),
    "a folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("name", OTHERS)
def test_something_else_is_refused_and_left_alone(path, name):
    OTHERS[name](path)
    before = path.is_dir() or path.read_bytes()
    with pytest.raises(
        ValueError, match=r"out is .*K\.npy, which (holds|is) .*Choose another name, or remove it"
    ):
        NpyMatrix(path, SHAPE, "token")
    assert names(path) == ["K.npy"]
    assert (path.is_dir() or path.read_bytes()) == before


def test_a_missing_folder(path):
    with pytest.raises(ValueError, match=r"is not an existing folder\. Make it first"):
        NpyMatrix(path.parent / "deeper" / "K.npy", SHAPE, "token")


# ---------------------------------------------------------------------------------------- room
def test_a_disk_without_room(path, monkeypatch):
    """Refused before anything is written; blocks of an unfinished file that is begun anew count as free."""
    nbytes = 128 + 8 * 35
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=nbytes - 1))
    monkeypatch.setattr(npyfile, "hold", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(OSError, match=r"7 x 5 takes 408 B, but the disk has 407 B free\. Choose a folder"):
        NpyMatrix(path, SHAPE, "token")
    assert names(path) == []
    monkeypatch.undo()
    written(path).close()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    written(path).finish()
    assert_equal_bits(np.load(path), VALUES)


def test_a_disk_that_fills_up_while_it_is_made(path, monkeypatch):
    def full(handle, data, at):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(npyfile.os, "pwrite", full)
    with pytest.raises(OSError, match=r"No space left on device: .*\.K\.npy\.token\.part"):
        NpyMatrix(path, SHAPE, "token")
    assert names(path) == []


# ---------------------------------------------------------------------------------- going on
def test_going_on(path):
    file = NpyMatrix(path, SHAPE, "token")
    file.write(0, 0, VALUES[:4])
    file.close()
    file = NpyMatrix(path, SHAPE, "token", goes_on=True)
    file.write(4, 0, VALUES[4:])
    file.finish()
    assert_equal_bits(np.load(path), VALUES)


@pytest.mark.parametrize("length", [None, 0, 127, 128, 407, 409])
def test_an_unfinished_file_that_is_missing_or_has_another_length(path, length):
    file = written(path)
    file.close()
    if length is None:
        file.part.unlink()
    else:
        file.part.write_bytes((file.part.read_bytes() + b"0")[:length])
    before = names(path)
    message = "is not there" if not length else f"has {length} bytes, not 408"
    with pytest.raises(ValueError, match=f"the unfinished file that the checkpoint goes on with, {message}"):
        NpyMatrix(path, SHAPE, "token", goes_on=True)
    assert names(path) == before


def test_a_finished_file_that_has_its_name(path):
    written(path).finish()
    file = NpyMatrix(path, SHAPE, "token", goes_on=True, is_done=True)
    assert_equal_bits(file.read(slice(0, 7), slice(0, 5)), VALUES)
    file.finish()
    assert names(path) == ["K.npy"]


def test_finished_but_not_renamed(path):
    """Beside an earlier result: the unfinished file is the one that counts."""
    np.save(path, VALUES + 1)
    written(path).close()
    file = NpyMatrix(path, SHAPE, "token", goes_on=True, is_done=True)
    file.finish()
    assert_equal_bits(np.load(path), VALUES)


def test_two_runs_do_not_write_one_file(path):
    """The same call twice, each with a checkpoint of its own: the second must not empty the file."""
    file = written(path)
    for goes_on in (False, True):
        with pytest.raises(ValueError, match="another run of the same call is writing it"):
            NpyMatrix(path, SHAPE, "token", goes_on=goes_on)
    other = written(path, VALUES + 1, token="another")
    file.finish()
    assert_equal_bits(np.load(path), VALUES)
    other.finish()
    assert_equal_bits(np.load(path), VALUES + 1)


# --------------------------------------------------------------------------------------- tiles
ALL = slice(0, 7)


def tile(file, mirrored=True):
    """Rows 1 to 3, columns 4 to 6 of a (7, 7) matrix."""
    return Tile(file, slice(1, 4), slice(4, 7), mirrored)


@pytest.fixture
def square(path):
    file = NpyMatrix(path, (7, 7), "token")
    yield file
    file.close()


@pytest.mark.parametrize("mirrored", [True, False])
def test_a_tile_and_its_mirror_image(square, mirrored):
    values = RNG.standard_normal((3, 3))
    one = tile(square, mirrored)
    one.put(slice(0, 2), slice(0, 3), values[:2])
    one.put(slice(2, 3), slice(0, 3), values[2:])
    expected = np.zeros((7, 7))
    expected[1:4, 4:7] = values
    if mirrored:
        expected[4:7, 1:4] = values.T
    assert_equal_bits(square.read(ALL, ALL), expected)
    tile(square, mirrored).require(one.checksum)


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        (np.array([0, 2]), np.array([0, 1, 2])),
        (np.array([0, 1, 2]), np.array([0, 2])),
        (slice(0, 3), np.array([1])),
        (np.array([2]), slice(0, 3)),
        (np.array([0, 2]), slice(1, 3)),
    ],
)
def test_rows_and_columns_that_are_left_out(square, rows, columns):
    """Zero rows of the inputs: zeros in the file, and the checksum of the whole tile."""
    shape = [len(np.arange(3)[index]) for index in (rows, columns)]
    values = RNG.standard_normal(shape)
    one = tile(square)
    one.put(rows, columns, values)
    expected = np.zeros((3, 3))
    expected[np.ix_(np.arange(3)[rows], np.arange(3)[columns])] = values
    whole = square.read(ALL, ALL)
    assert_equal_bits(whole[1:4, 4:7], expected)
    assert_equal_bits(whole[4:7, 1:4], expected.T)
    tile(square).require(one.checksum)


def test_negative_zeros_become_zeros_as_in_memory(square):
    one = tile(square)
    one.put(slice(0, 3), slice(0, 3), np.full((3, 3), -0.0))
    assert not np.signbit(square.read(ALL, ALL)).any()
    assert one.checksum == 0


def test_every_flipped_bit_of_a_tile_is_noticed(square):
    one = tile(square)
    one.put(slice(0, 3), slice(0, 3), RNG.standard_normal((3, 3)))
    handle, noticed = square._handle, 0
    for row, column in [(i, j) for i in range(7) for j in range(7)]:
        at = square._place(row, column)
        for byte in range(8):
            (before,) = npyfile.os.pread(handle, 1, at + byte)
            npyfile.os.pwrite(handle, bytes([before ^ 0x40]), at + byte)
            try:
                tile(square).require(one.checksum)
            except ValueError as error:
                noticed += 1
                assert "the rows 1 to 3 of the unfinished file" in str(error)  # noqa: PT017
            npyfile.os.pwrite(handle, bytes([before]), at + byte)
    assert noticed == 2 * 9 * 8
    tile(square).require(one.checksum)


@pytest.mark.parametrize("lost", ["rows", "mirror", "everything", "swapped"])
def test_a_tile_that_was_not_written(square, lost):
    one = tile(square)
    one.put(slice(0, 3), slice(0, 3), RNG.standard_normal((3, 3)))
    if lost in ("rows", "everything"):
        square.write(1, 4, np.zeros((1 if lost == "rows" else 3, 3)))
    if lost in ("mirror", "everything"):
        square.write(4, 1, np.zeros((3, 3)))
    if lost == "swapped":
        square.write(1, 4, square.read(slice(1, 4), slice(4, 7))[::-1])
    with pytest.raises(ValueError, match=r"are not as they were written\. Delete the checkpoint"):
        tile(square).require(one.checksum)


def test_what_killed_runs_have_left_is_removed(path):
    """Not what a run at work, a run with a checkpoint or another file's run has."""
    abandoned = path.with_name(".K.npy.once-0123abcd.part")
    others = [path.with_name(name) for name in (".K.npy.0123abcd.part", ".L.npy.once-0123abcd.part")]
    for file in (abandoned, *others):
        file.write_bytes(b"what there was")
    at_work = written(path, token=None)
    after = written(path, token=None)
    assert not abandoned.exists()
    assert len(names(path)) == 4
    for file in (at_work, after):
        file.finish()
    assert names(path) == sorted(["K.npy", *(file.name for file in others)])
    assert_equal_bits(np.load(path), VALUES)
