"""A matrix on disk, written in blocks: a .npy file that has its name only when it is whole."""

import glob
import os
import secrets
import shutil
import threading
from contextlib import suppress
from io import BytesIO
from typing import Any

import numpy as np

from .durable import naming, sync_folder
from .locks import InUse, hold, let_go
from .plan import describe_bytes

ROWS_AT_ONCE = 64  # when a file is read back
ABANDONED = "once-"  # how the tokens begin of files that nobody goes on with


class NpyMatrix:
    """An (n, p) float64 .npy file under construction.

    Blocks are written by their rows, not through a mapping, so no memory but the system's file cache holds
    them.  What is not written reads as zero.

    Parameters
    ----------
    path : path
        What the file is called after :meth:`finish`; a .npy file of that shape and dtype may stand there.
    shape : (n, p)
    token : str or None
        Tells unfinished files of different runs apart; they stand beside ``path``.  None for a run that will
        not go on: what such a run that was killed has left is removed.
    goes_on : bool
        Whether to go on with an unfinished file.
    is_done : bool
        Whether nothing is left to write, so that the file may have its name already.

    Raises
    ------
    ValueError
        Something else has that name, the unfinished file is not there or too short, or another run writes it.
    OSError
        It cannot be written, or the disk has no room.
    """

    def __init__(self, path, shape, token, goes_on=False, is_done=False):
        self.path, self.shape = path, shape
        if token is None:
            _remove_abandoned(path)
            token = ABANDONED + secrets.token_hex(4)
        self.part = path.with_name(f".{path.name}.{token}.part")
        if is_done and path.exists() and not self.part.exists():
            self.part = path
        header = _header(shape)
        self._start = len(header)
        self.nbytes = len(header) + 8 * shape[0] * shape[1]
        self._handle: Any = None  # an open file
        require_replaceable(path, shape)
        if goes_on:
            self._require_unfinished()
        else:
            self._require_room()
        try:
            self._handle = hold(self.part, must_lock=False)
        except InUse as error:
            raise ValueError(f"out is {path}, but another run of the same call is writing it.") from error
        if goes_on:
            return
        try:
            with naming(self.part):
                os.ftruncate(self._handle, 0)
                _write_at(self._handle, header, 0)
                os.ftruncate(self._handle, self.nbytes)
        except BaseException:
            self.discard()
            self.close()
            raise

    def _require_unfinished(self):
        there = self.part.stat().st_size if self.part.exists() else 0
        if there == self.nbytes:
            return
        found = f"has {there} bytes, not {self.nbytes}" if there else "is not there"
        raise ValueError(
            f"out is {self.path}, but {self.part}, the unfinished file that the checkpoint goes on with, "
            f"{found}. Restore it, or delete the checkpoint to start over. (Where the checkpoint's last save "
            f"has failed, as a warning said then, {self.path.name} may be the finished file.)"
        )

    def _require_room(self):
        free = shutil.disk_usage(self.path.parent).free
        if self.part.exists():  # of a run that had not come to its first save: it is written over
            free += 512 * self.part.stat().st_blocks
        if self.nbytes > free:
            raise OSError(
                f"out is {self.path}: a matrix of {self.shape[0]} x {self.shape[1]} takes "
                f"{describe_bytes(self.nbytes)}, but the disk has {describe_bytes(free)} free. Choose a "
                f"folder on another disk."
            )

    @property
    def unwritten(self):
        """Bytes that the disk has yet to take."""
        return max(self.nbytes - 512 * os.fstat(self._handle).st_blocks, 0)

    def write(self, row, column, values):
        """Write a block whose first entry is (row, column); from any thread."""
        values = np.ascontiguousarray(values, np.float64)
        with naming(self.part):
            for i, line in enumerate(values):
                _write_at(self._handle, line.data.cast("B"), self._place(row + i, column))

    def read(self, rows, columns):
        """The block of two slices."""
        out = np.empty((rows.stop - rows.start, columns.stop - columns.start))
        with naming(self.part):
            for i, line in enumerate(out):
                view = line.data.cast("B")
                if os.preadv(self._handle, [view], self._place(rows.start + i, columns.start)) != len(view):
                    raise OSError(f"{self.part} has become shorter while it was read.")
        return out

    def _place(self, row, column):
        return self._start + 8 * (row * self.shape[1] + column)

    def sync(self):
        """Put on the disk what has been written."""
        with naming(self.part):
            os.fsync(self._handle)

    def finish(self):
        """Give the file its name."""
        self.sync()
        self.part.replace(self.path)
        sync_folder(self.path.parent)
        self.close()

    def close(self):
        if self._handle is not None:
            let_go(self._handle)
            self._handle = None

    def discard(self):
        """Remove the unfinished file; the error that leads here is the one to tell."""
        with suppress(OSError):
            self.part.unlink(missing_ok=True)


def _remove_abandoned(path):
    """Remove the unfinished files of runs that were killed; those of runs that are at work are held."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.{ABANDONED}*.part"):
        with suppress(InUse, OSError):
            handle = hold(part)
            try:
                part.unlink()
            finally:
                let_go(handle)


class Tile:
    """Where the blocks of a tile go in a file: a target of ``assembly.assemble``, which adds up a checksum.

    ``mirrored`` is whether the transposed tile has its place in the file too.
    """

    def __init__(self, file, rows, columns, mirrored):
        self.file, self.rows, self.columns, self.mirrored = file, rows, columns, mirrored
        self.checksum, self._adding = 0, threading.Lock()

    def put(self, rows, columns, values):
        """Put values where two indices of the axes say: slices, or arrays of integers in order."""
        rows, columns = _places(rows, self.rows.start), _places(columns, self.columns.start)
        values = 0.0 + values  # as they are added to zeros in memory: -0.0 becomes 0.0
        self._write(rows, columns, values)
        if self.mirrored:
            self._write(columns, rows, values.T)

    def _write(self, rows, columns, values):
        first, size = int(columns[0]), int(columns[-1]) + 1 - int(columns[0])
        if size == len(columns) and int(rows[-1]) + 1 - int(rows[0]) == len(rows):
            self.file.write(int(rows[0]), first, values)
        else:  # row by row, with zeros where indices leave a place out
            line = np.zeros((1, size))
            for row, here in zip(rows, values, strict=True):
                line[0, columns - first] = here
                self.file.write(int(row), first, line)
        self._note(rows, values)

    def _note(self, rows, values):
        """Take entries into the checksum: words times odd numbers of their rows.  Zeros add nothing."""
        words = values.view(np.uint64).sum(axis=1)
        odd = 2 * rows.astype(np.uint64) + np.uint64(1)
        with self._adding:
            self.checksum = (self.checksum + int((words * odd).sum())) % (1 << 64)

    def require(self, checksum):
        """Raise unless the file holds the tile that had this checksum."""
        for rows, columns in [(self.rows, self.columns), *[(self.columns, self.rows)] * self.mirrored]:
            for first in range(rows.start, rows.stop, ROWS_AT_ONCE):
                block = self.file.read(slice(first, min(first + ROWS_AT_ONCE, rows.stop)), columns)
                self._note(np.arange(first, first + len(block)), block)
        if self.checksum != checksum:
            raise ValueError(
                f"out is {self.file.path}, but the rows {self.rows.start} to {self.rows.stop - 1} of the "
                f"unfinished file {self.file.part} are not as they were written. Delete the checkpoint to "
                f"start over."
            )


def _places(index, start):
    """A slice or an array of integers, counted from ``start``, as integers."""
    if isinstance(index, slice):
        return np.arange(start + index.start, start + index.stop)
    return start + index


def require_replaceable(path, shape):
    """Refuse a name that something else than such a matrix has."""
    if not path.parent.is_dir():
        raise ValueError(f"out is {path}, but {path.parent} is not an existing folder. Make it first.")
    if not path.exists():
        return
    try:
        with naming(path):
            there = np.lib.format.open_memmap(path, mode="r")  # which takes no archives and no pickles
        found = f"{there.dtype} of shape {there.shape}"
    except (OSError, MemoryError):
        if not path.is_dir():
            raise
        there, found = None, "a folder"
    except Exception:  # whatever a damaged header makes NumPy raise
        there, found = None, "something that is no .npy array"
    if there is None or there.shape != shape or there.dtype != np.float64:
        raise ValueError(
            f"out is {path}, which {'is' if path.is_dir() else 'holds'} {found}; the result is float64 of "
            f"shape {shape}. Choose another name, or remove it."
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
