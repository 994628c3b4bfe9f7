"""Files that one run at a time works with: held against other processes, and other runs of this one."""

import errno
import fcntl
import os
import threading

_held: set[tuple[int, int]] = set()  # by this process: a file lock keeps out other processes only
_guard = threading.Lock()


class InUse(Exception):
    """Another run holds the file."""


def hold(path, must_lock=True):
    """A handle for reading and writing, of a file that is made where it is not there; raises InUse.

    A process that dies lets go, and forked children hold nothing.  Unless ``must_lock``, a file system
    without locks will do.
    """
    with _guard:
        while True:
            is_new = not path.exists()
            if not is_new and _file_of(path.stat()) in _held:  # to open and close it would give up the lock
                raise InUse
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                _lock(handle, path, must_lock)
                if _same_file(handle, path):  # not renamed by the one who had it
                    _held.add(_file_of(os.fstat(handle)))
                    return handle
            except BaseException as error:
                os.close(handle)
                if is_new and not isinstance(error, InUse):
                    path.unlink(missing_ok=True)
                raise
            os.close(handle)


def let_go(handle):
    """Close what :func:`hold` has opened."""
    with _guard:
        _held.discard(_file_of(os.fstat(handle)))
        os.close(handle)


def _lock(handle, path, must_lock):
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise InUse from error
        if must_lock or error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise OSError(error.errno, f"cannot be locked: {error.strerror}", str(path)) from error


def _same_file(handle, path):
    try:
        return _file_of(os.fstat(handle)) == _file_of(path.stat())
    except FileNotFoundError:
        return False


def _file_of(status):
    return status.st_dev, status.st_ino


def _forget_locks():
    """A forked child holds none of the parent's files."""
    global _guard
    _guard = threading.Lock()
    _held.clear()


os.register_at_fork(after_in_child=_forget_locks)
