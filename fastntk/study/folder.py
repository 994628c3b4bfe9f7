"""A results folder that is there as a whole or not at all."""

import json
import shutil
import uuid
import zipfile
from contextlib import contextmanager
from pathlib import Path

MARK = "study.json"  # every folder of a width study holds it, so that nothing else is ever replaced


DAMAGED = (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)  # what reading may raise


class OutputError(ValueError):
    """A results folder that cannot be made; the message says what to do."""


@contextmanager
def read_again(folder, mark, kind, of=""):
    """Give what stands in the file `mark` of a folder of earlier results, to read the rest by it.

    `kind` is what they are called, and `of` what tells them apart where they are not there.  OutputError
    where there are none, and where in the block they turn out to be damaged or cannot be read.
    """
    folder = Path(folder)
    if not (folder / mark).is_file():
        raise OutputError(f"{folder} does not hold a {kind}{of} (it has no {mark}) to go on with.")
    try:
        yield json.loads((folder / mark).read_text(encoding="utf-8"))
    except OSError as error:
        raise OutputError(f"the {kind} in {folder} cannot be read: {error}.") from error
    except DAMAGED as error:
        raise OutputError(
            f"the {kind} in {folder} is damaged, or of another version of fastntk ({error}): start again, "
            "with --force."
        ) from error


@contextmanager
def new_folder(path, *, replace=False, needed_bytes=0, mark=MARK, or_smaller=""):
    """Give an empty folder beside `path`; on leaving without an error it becomes `path`.

    Parameters
    ----------
    path : str or path
        The results folder; its parent exists.
    replace : bool
        Take the place of an earlier results folder, which stays untouched until then.
    needed_bytes : int
        What is going to be written: too full a disk is an error at once.
    mark : str
        The file that tells an earlier results folder of the same kind.
    or_smaller : str
        How the results could be made smaller, for that error.

    Yields
    ------
    Path
        The folder to write to.  After an error or Ctrl-C it is removed and `path` is as it was.

    Raises
    ------
    OutputError
        `path` exists (and may not, or must not, be replaced), or cannot be written.
    """
    path = Path(path).absolute()
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        _require_free(path, replace, mark)
        part.mkdir()
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}. Choose another --output.") from error
    try:
        free = shutil.disk_usage(part).free
        if needed_bytes > free:
            raise OutputError(
                f"{path.parent} has {free / 1e6:,.0f} MB free, the results need {needed_bytes / 1e6:,.0f}. "
                f"Choose another --output{or_smaller}."
            )
        yield part
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    _publish(part, path, replace, mark)


def _require_free(path, replace, mark):
    """Raise unless `path` is free or may be replaced."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise OutputError(f"{path} exists and is not a folder. Choose another --output.")
    if path.exists():
        if not replace:
            raise OutputError(
                f"{path} exists. Choose another --output, or --force to replace earlier results."
            )
        if any(path.iterdir()) and not (path / mark).is_file():
            raise OutputError(
                f"{path} does not hold results of this command (it has no {mark}), so --force leaves it "
                "alone. Choose another --output."
            )
    elif not path.parent.is_dir():
        raise OutputError(
            f"{path.parent} is not an existing folder. Make it first, or choose another --output."
        )


def _publish(part, path, replace, mark):
    """Rename the finished folder; on failure it is kept and the message says where."""
    earlier = path.with_name(part.name.replace(".part", ".old"))
    try:
        _require_free(path, replace, mark)  # it may have appeared in the meantime
        if path.exists():
            path.rename(earlier)
        part.rename(path)
    except (OSError, OutputError) as error:
        if earlier.exists() and not path.exists():
            earlier.rename(path)
        raise OutputError(f"The results could not be moved to {path}: {error} They are in {part}.") from error
    shutil.rmtree(earlier, ignore_errors=True)
