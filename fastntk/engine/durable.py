"""Files that are there as a whole or as they were, whatever happens in between."""

import os
import secrets
from contextlib import contextmanager, suppress
from pathlib import Path


def replace_file(path, write):
    """``write(file)`` into a new file beside ``path``, which then takes its place.

    The file is on the disk before it is renamed, and the new name before this returns: a power failure
    leaves the old file or the new one.  After an error one of the two is there, as a whole, and nothing else.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    with naming(path):
        try:
            with part.open("xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            with suppress(OSError):  # the first error is the one to tell
                part.unlink(missing_ok=True)
            raise
    sync_folder(path.parent)


def sync_folder(path):
    """Put the names in a folder on the disk."""
    with naming(path):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def naming(path):
    """An error of the system that does not say which file it is about says that it is this one."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise
