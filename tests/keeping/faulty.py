"""A system that fails: the k-th call that touches the disk, or asks for memory, raises; once or for good.

::

    with Faults(folder) as faults:            # counts
        run()
    for k in range(len(faults.calls)):
        with Faults(folder, k, for_good=True):
            run()                             # the k-th call raises, and all later ones of its kind

Only calls about files below ``folder`` count, and arrays that the package or NumPy's readers ask for.
"""

import builtins
import errno
import fcntl
import io
import os
import shutil
import sys
import threading
from pathlib import Path

import numpy as np

# What may become of a call.  A write that fails may have written a part.
ERRORS = {
    "open": (errno.EACCES, errno.ENOSPC),
    "read": (errno.EIO,),
    "write": (errno.ENOSPC, errno.EIO),
    "fsync": (errno.EIO, errno.ENOSPC),
    "ftruncate": (errno.ENOSPC,),
    "replace": (errno.EACCES, errno.EIO),
    "unlink": (errno.EACCES, errno.EIO),
    "mkdir": (errno.ENOSPC, errno.EACCES),
    "lock": (errno.ENOLCK, errno.EIO),
    "statvfs": (errno.EIO,),
    "memory": (None,),
}


class Faults:
    """Counts calls, and makes the ``at``-th one fail; ``calls`` lists their kinds."""

    def __init__(self, folder, at=None, for_good=False, which=0):
        self.folder = os.path.realpath(folder)
        self.at, self.for_good, self.which = at, for_good, which
        self.calls, self.failed, self._failing = [], 0, None
        self._counting = threading.Lock()
        self._saved = []

    # ------------------------------------------------------------------------------- counting
    def meet(self, kind, file=None, partly=lambda: None):
        """A call of a kind about a file: its name, or its handle."""
        if file is not None and not self._is_ours(file):
            return
        with self._counting:
            number = len(self.calls)
            self.calls.append(kind)
            if number == self.at:
                self._failing = kind
            elif not (self.for_good and kind == self._failing):
                return
            self.failed += 1
        partly()
        code = ERRORS[kind][self.which % len(ERRORS[kind])]
        if code is None:
            raise MemoryError("a fault: no memory")
        named = (os.fspath(file),) if isinstance(file, (str, os.PathLike)) else ()  # as the system does
        raise OSError(code, f"a fault: {os.strerror(code)}", *named)

    def _is_ours(self, file):
        if isinstance(file, int):
            file = _readlink(f"/proc/self/fd/{file}")
        return os.path.realpath(os.path.dirname(file)).startswith(self.folder) or (  # noqa: PTH120
            os.path.realpath(file) == self.folder
        )

    # ------------------------------------------------------------------------------- patching
    def __enter__(self):
        for name in ("open", "mkdir", "unlink", "ftruncate", "fsync"):
            self._patch(os, name, self._simple(name))
        self._patch(os, "replace", self._simple("replace"))
        self._patch(os, "pwrite", self._pwrite)
        self._patch(os, "preadv", self._simple("read"))
        self._patch(fcntl, "lockf", self._simple("lock"))
        self._patch(shutil, "disk_usage", self._simple("statvfs"))
        self._patch(io, "open", self._open)
        self._patch(builtins, "open", self._open)
        for name in ("empty", "zeros"):
            self._patch(np, name, self._memory)
        return self

    def __exit__(self, *error):
        for module, name, original in reversed(self._saved):
            setattr(module, name, original)
        self._saved.clear()

    def _patch(self, module, name, make):
        original = getattr(module, name)
        self._saved.append((module, name, original))
        setattr(module, name, make(original))

    def _simple(self, kind):
        def make(original):
            def call(file, *arguments, **options):
                self.meet(kind, file)
                return original(file, *arguments, **options)

            return call

        return make

    def _pwrite(self, original):
        def call(handle, data, place):
            self.meet("write", handle, lambda: original(handle, data[: len(data) // 2], place))
            return original(handle, data, place)

        return call

    def _memory(self, original):
        def call(*arguments, **options):
            if sys._getframe(1).f_globals.get("__name__", "").startswith(("fastntk", "numpy.lib")):
                self.meet("memory")
            return original(*arguments, **options)

        return call

    def _open(self, original):
        def call(file, mode="r", buffering=-1, encoding=None, *arguments, **options):
            if not isinstance(file, (str, os.PathLike)) or not self._is_ours(file):
                return original(file, mode, buffering, encoding, *arguments, **options)
            self.meet("open", file)
            raw = FaultyFile(file, mode.replace("b", "").replace("t", ""), self)
            kind = io.BufferedReader if mode.startswith("r") else io.BufferedWriter
            buffered = (io.BufferedRandom if "+" in mode else kind)(raw)
            return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding)

        return call


class FaultyFile(io.FileIO):
    """The file below a buffer."""

    def __init__(self, file, mode, faults):
        super().__init__(os.fspath(file), mode)
        self._faults, self._path = faults, Path(file)

    def readinto(self, buffer):
        self._faults.meet("read", self.fileno())
        return super().readinto(buffer)

    def readall(self):
        self._faults.meet("read", self.fileno())
        return super().readall()

    def write(self, data):
        self._faults.meet(
            "write", self.fileno(), lambda: super(FaultyFile, self).write(data[: len(data) // 2])
        )
        return super().write(data)


def _readlink(path):
    try:
        return os.readlink(path)  # noqa: PTH115
    except OSError:
        return path
