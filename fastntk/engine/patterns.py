"""Activation patterns on disk: what tiles of one matrix need again and again, worked out once.

A tile needs the patterns of its rows and of its columns, and every row is in many tiles.  The first tile that
needs a pattern keeps it, n m / 8 bytes in all, in a file without a name that goes with the process.
"""

import os
import shutil
import tempfile
import threading

FORWARD_RATE = (
    1e11  # multiply-adds a second of a thread: the forward pass (AVX2; up to four times that with AMX)
)
DISK_RATE = 1e9  # bytes a second that a disk or its cache takes and gives


class PatternStore:
    """Patterns of blocks of samples by name, for chunks of neurons."""

    def __init__(self, folder):
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  closed by close()
        self._places, self._end = {}, 0
        self._adding = threading.Lock()
        self._is_full = False

    def load(self, name, neurons, bits):
        """Fill ``bits`` with the pattern of some neurons, (first, count); whether it is there."""
        place = self._places.get((name, neurons))
        if place is None:
            return False
        data = memoryview(bits).cast("B")
        while data:
            count = os.preadv(self._file.fileno(), [data], place)
            if not count:
                raise OSError("the file of patterns has become shorter while it was read")
            data, place = data[count:], place + count
        return True

    def keep(self, name, neurons, bits):
        """Keep a pattern, where the disk has room."""
        with self._adding:
            if self._is_full:
                return
            place, self._end = self._end, self._end + bits.nbytes
        data, at = memoryview(bits).cast("B"), place
        try:
            while data:
                count = os.pwrite(self._file.fileno(), data, at)
                data, at = data[count:], at + count
        except OSError:
            self._is_full = True  # others are worked out again
        else:
            self._places[name, neurons] = place

    def close(self):
        self._file.close()


def names_of(part, symmetric):
    """Names of the patterns of the rows and of the columns of a part: those of samples and a draw."""
    return (part.draw, "rows", part.rows), (part.draw, "rows" if symmetric else "columns", part.columns)


def pattern_store(folder, parts, symmetric, neurons, threads, reserved=0):
    """A store where it makes the parts of a run faster and the disk has room; else None.

    ``reserved`` bytes of the disk are for something else.
    """
    dim, width = neurons.dim, neurons.width
    needed = [set(names_of(part, symmetric)) for part in parts]
    evaluated, once = (
        sum(stop - start for _, _, (start, stop) in names)
        for names in ([name for names in needed for name in names], set().union(*needed))
    )
    seconds_of_a_row = width * dim / (FORWARD_RATE * threads)
    seconds_on_disk = width / 8 / DISK_RATE
    again = evaluated * seconds_of_a_row
    stored = once * (seconds_of_a_row + seconds_on_disk) + evaluated * seconds_on_disk
    if stored > again or once * width / 8 > (shutil.disk_usage(folder).free - reserved) / 2:
        return None
    return PatternStore(folder)
