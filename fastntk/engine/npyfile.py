"""A matrix on disk, written in blocks: a .npy file that has its name only when it is whole."""

import os
import shutil
import threading
from io import BytesIO

import numpy as np

from .durable import sync_folder
from .plan import describe_bytes

ROWS_AT_ONCE = 64  # when a file is read back


class NpyMatrix:
    """An (n, p) float64 .npy file under construction.

    Blocks are written by their rows, not through a mapping, so no memory but the system's file cache holds
    them.  What is not written reads as zero.

    Parameters
    ----------
    path : path
        What the file is called after :meth:`finish`; a .npy file of that shape and dtype may stand there.
    shape : (n, p)
    token : str
        Tells unfinished files of different runs apart; they stand beside ``path``.
    goes_on : bool
        Whether to go on with an unfinished file.
    is_done : bool
        Whether nothing is left to write, so that the file may have its name already.

    Raises
    ------
    ValueError
        Something else has that name, or the unfinished file is not there or too short.
    OSError
        It cannot be written, or the disk has no room.
    """

    def __init__(self, path, shape, token, goes_on=False, is_done=False):
        self.path, self.shape = path, shape
        self.part = path.with_name(f".{path.name}.{token}.part")
        if is_done and path.exists() and not self.part.exists():
            self.part = path
        header = _header(shape)
        self._start = len(header)
        self.nbytes = len(header) + 8 * shape[0] * shape[1]
        require_replaceable(path, shape)
        there = self.part.stat().st_size if self.part.exists() else 0
        if goes_on and there != self.nbytes:
            raise ValueError(
                f"out is {path}, but {self.part}, the unfinished file that the checkpoint goes on with, "
                f"{'is not there' if not there else f'has {there} bytes, not {self.nbytes}'}. Restore it, or "
                f"delete the checkpoint to start over."
            )
        self._handle = os.open(self.part, os.O_RDWR | os.O_CREAT | (0 if goes_on else os.O_TRUNC), 0o666)
        if goes_on:
            return
        try:
            self._require_room()
            _write_at(self._handle, header, 0)
            os.ftruncate(self._handle, self.nbytes)
        except BaseException:
            self.close()
            self.discard()
            raise

    def _require_room(self):
        free = shutil.disk_usage(self.path.parent).free
        if self.nbytes > free:
            raise OSError(
                f"out is {self.path}: a matrix of {self.shape[0]} x {self.shape[1]} takes "
                f"{describe_bytes(self.nbytes)}, but the disk has {describe_bytes(free)} free. Choose a "
                f"folder on another disk."
            )

    def write(self, row, column, values):
        """Write a block whose first entry is (row, column); from any thread."""
        values = np.ascontiguousarray(values, np.float64)
        for i, line in enumerate(values):
            _write_at(self._handle, line.data.cast("B"), self._place(row + i, column))

    def read(self, rows, columns):
        """The block of two slices."""
        out = np.empty((rows.stop - rows.start, columns.stop - columns.start))
        for i, line in enumerate(out):
            view = line.data.cast("B")
            if os.preadv(self._handle, [view], self._place(rows.start + i, columns.start)) != len(view):
                raise OSError(f"{self.part} has become shorter while it was read.")
        return out

    def _place(self, row, column):
        return self._start + 8 * (row * self.shape[1] + column)

    def sync(self):
        """Put on the disk what has been written."""
        os.fsync(self._handle)

    def finish(self):
        """Give the file its name."""
        self.sync()
        self.part.replace(self.path)
        sync_folder(self.path.parent)
        self.close()

    def close(self):
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def discard(self):
        """Remove the unfinished file, once it is closed."""
        self.part.unlink(missing_ok=True)


class Tile:
    """Where the blocks of a tile go in a file: a target of ``assembly.assemble``, which adds up a checksum.

    ``mirrored`` is whether the transposed tile has its place in the file too.
    """

    def __init__(self, file, rows, columns, mirrored):
        self.file, self.rows, self.columns, self.mirrored = file, rows, columns, mirrored
        self.checksum, self._adding = 0, threading.Lock()

    def put(self, rows, columns, values):
        (row, column), values = _whole(rows, columns, values)
        row, column = row + self.rows.start, column + self.columns.start
        values = 0.0 + values  # as they are added to zeros in memory: -0.0 becomes 0.0
        self._write(row, column, values)
        if self.mirrored:
            self._write(column, row, values.T.copy())

    def _write(self, row, column, values):
        self.file.write(row, column, values)
        self._note(row, values)

    def _note(self, row, values):
        """Take a block into the checksum: words times odd numbers of their rows."""
        words = values.view(np.uint64).sum(axis=1)
        odd = 2 * np.arange(row, row + len(words), dtype=np.uint64) + np.uint64(1)
        with self._adding:
            self.checksum = (self.checksum + int((words * odd).sum())) % (1 << 64)

    def require(self, checksum):
        """Raise unless the file holds the tile that had this checksum."""
        for rows, columns in [(self.rows, self.columns), *[(self.columns, self.rows)] * self.mirrored]:
            for first in range(rows.start, rows.stop, ROWS_AT_ONCE):
                block = self.file.read(slice(first, min(first + ROWS_AT_ONCE, rows.stop)), columns)
                self._note(first, block)
        if self.checksum != checksum:
            raise ValueError(
                f"out is {self.file.path}, but the rows {self.rows.start} to {self.rows.stop - 1} of the "
                f"unfinished file {self.file.part} are not as they were written. Delete the checkpoint to "
                f"start over."
            )


def _whole(rows, columns, values):
    """First row and column of a block, and the block with zeros where indices leave a place out."""
    if isinstance(rows, slice) and isinstance(columns, slice):
        return (rows.start, columns.start), values
    places = [
        np.arange(index.start, index.stop) if isinstance(index, slice) else index for index in (rows, columns)
    ]
    first = [int(index[0]) for index in places]
    out = np.zeros([int(index[-1]) + 1 - start for index, start in zip(places, first, strict=True)])
    out[np.ix_(*(index - start for index, start in zip(places, first, strict=True)))] = values
    return first, out


def require_replaceable(path, shape):
    """Refuse a name that something else than such a matrix has."""
    if not path.parent.is_dir():
        raise ValueError(f"out is {path}, but {path.parent} is not an existing folder. Make it first.")
    if not path.exists():
        return
    try:
        there = np.load(path, mmap_mode="r", allow_pickle=False)
        found = f"{there.dtype} of shape {there.shape}"
    except (ValueError, OSError, EOFError):
        there, found = None, "something that is no .npy array"
    if there is None or there.shape != shape or there.dtype != np.float64:
        raise ValueError(
            f"out is {path}, which holds {found}; the result is float64 of shape {shape}. Choose another "
            f"name, or remove it."
        )


def _header(shape):
    """The first bytes of the file."""
    header = BytesIO()
    described = {"descr": np.dtype(np.float64).str, "fortran_order": False, "shape": tuple(shape)}
    np.lib.format.write_array_header_1_0(header, described)
    return header.getvalue()


def _write_at(handle, data, place):
    """pwrite until all is written."""
    view = memoryview(data)
    while view:
        written = os.pwrite(handle, view, place)
        view, place = view[written:], place + written
