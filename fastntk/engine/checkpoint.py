"""Checkpoints: what a long run has added up so far, in a folder that is never half written.

    manifest.json   what run it is, how far it is, and the name and digest of the arrays that belong to it
    arrays-K.npz    the arrays of the K-th save
    lock            held while a process works with the folder

A save writes the next arrays first and the manifest last, each beside its place and then renamed; so at
every instant the manifest names arrays that are complete.  Nothing in it is code: numbers, text, arrays.
"""

import errno
import hashlib
import json
import shutil
import time
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..explained import CHECKPOINTS
from .durable import naming, replace_file
from .locks import InUse, hold, let_go
from .plan import describe_bytes

FORMAT = 1
FIRST_SECONDS = 30.0  # before the first save, and at least between two
COST_FACTOR = 64  # a save takes at most one part in so many of the time: 1.6 %
MANIFEST, LOCK, PREFIX = "manifest.json", "lock", "arrays-"


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says why and what to do.

    Examples
    --------
    >>> import numpy as np, pathlib, tempfile, fastntk as fn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = pathlib.Path(folder, "notes.txt").write_text("mine")
    ...     try:
    ...         K = fn.ntk(np.eye(2), network=fn.Network(width=1000, dim=2), checkpoint=folder)
    ...     except fn.CheckpointError as error:
    ...         print("which holds notes.txt" in str(error))
    True
    """

    def __str__(self):
        return f"{super().__str__()} {CHECKPOINTS}"


class CheckpointWarning(UserWarning):
    """A checkpoint that could not be written, on a full disk perhaps: the run goes on, and tries again.

    The one before stays valid.  ``warnings.simplefilter("error", fastntk.CheckpointWarning)`` ends the run
    instead.

    Examples
    --------
    >>> import fastntk as fn
    >>> issubclass(fn.CheckpointWarning, UserWarning)
    True
    """


class Saved(NamedTuple):
    """What a checkpoint holds: how far the run is, as JSON values, and its arrays by name."""

    position: dict
    arrays: dict[str, np.ndarray]


class Checkpoint:
    """The checkpoint of one run, open in this process until :meth:`close`.

    Parameters
    ----------
    folder : str or path
        Made where it does not exist; otherwise empty, or the checkpoint of the same run.
    identity : dict of str: str, int, float or None
        All that the result depends on; a checkpoint with another identity is refused.
    nbytes : int
        About what one save takes on the disk.

    Raises
    ------
    CheckpointError
        The folder holds something else, another run's or a damaged checkpoint, or is in use.
    OSError
        It cannot be written, or the disk has no room.
    """

    def __init__(self, folder, identity, nbytes=0):
        self.folder = Path(folder).absolute()
        self.identity = identity
        self._saves = 0  # begun, so that no save writes over the arrays of another
        self._named = None  # the arrays of the last save that is whole
        self._last = time.monotonic()
        self._interval = FIRST_SECONDS
        self._lock = None
        try:
            self.saved = self._open(nbytes)
        except BaseException:
            self.close()
            raise

    # ----------------------------------------------------------------------------- opening
    def _open(self, nbytes):
        """What an earlier process has saved, or None."""
        self._require_ours()
        self.folder.mkdir(exist_ok=True)
        self._take_lock()
        saved = self._read()
        self._clear()
        held = 0 if self._named is None else (self.folder / self._named).stat().st_size
        free = shutil.disk_usage(self.folder).free
        if 2 * nbytes > free + held:  # the next one is complete before the last one goes
            raise OSError(
                f"checkpoint {self.folder} takes up to {describe_bytes(2 * nbytes)}, but its disk has "
                f"{describe_bytes(free + held)} free for it. Choose a folder on another disk."
            )
        if saved is None:
            self._write_manifest(None, None, None)
        return saved

    def _require_ours(self):
        if not self.folder.exists():
            if not self.folder.parent.is_dir():
                raise CheckpointError(
                    f"checkpoint is {self.folder}, but {self.folder.parent} is not an existing folder. "
                    f"Make it first."
                )
            return
        if not self.folder.is_dir():
            raise CheckpointError(f"checkpoint is {self.folder}, which is not a folder. Choose another one.")
        names = {path.name for path in self.folder.iterdir()}
        others = {name for name in names if not (name in (MANIFEST, LOCK) or name.startswith((PREFIX, ".")))}
        if others or (MANIFEST not in names and any(name.startswith(PREFIX) for name in names)):
            found = min(others) if others else f"arrays but no {MANIFEST}"
            raise CheckpointError(
                f"checkpoint is {self.folder}, which holds {found}: it is not a checkpoint, or not a whole "
                f"one. Choose a new or an empty folder."
            )

    def _take_lock(self):
        try:
            self._lock = hold(self.folder / LOCK)
        except InUse as error:
            raise CheckpointError(
                f"checkpoint {self.folder} is in use by another run. Give each run a folder of its own."
            ) from error

    def _read(self):
        try:
            manifest = self._read_manifest(self.folder / MANIFEST)
        except FileNotFoundError:
            return None
        if manifest["arrays"] is None:  # nothing to mix with: a call that was refused, perhaps
            self._saves = manifest["saves"]
            return None
        differing = [
            name for name in {**self.identity, **manifest["identity"]} if not self._agrees(manifest, name)
        ]
        if differing:
            told = "; ".join(
                f"{name} was {manifest['identity'].get(name)}, now {self.identity.get(name)}"
                for name in differing
            )
            raise CheckpointError(
                f"checkpoint {self.folder} is of another run: {told}. Call with the same arguments to go on, "
                f"or choose another folder."
            )
        self._saves, self._named = manifest["saves"], manifest["arrays"]
        return Saved(manifest["position"], self._read_arrays(manifest))

    def _agrees(self, manifest, name):
        mine, theirs = self.identity, manifest["identity"]
        return name in mine and name in theirs and mine[name] == theirs[name]

    def _read_manifest(self, path):
        try:
            with naming(path):
                text = path.read_text(encoding="utf-8")
            manifest = json.loads(text)
            body = {name: value for name, value in manifest.items() if name != "digest"}
            whole = manifest["digest"] == _digest_of(body)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            whole = False
        if not whole:
            raise self._damaged(path.name)
        if manifest["format"] != FORMAT:
            raise CheckpointError(
                f"checkpoint {self.folder} has format {manifest['format']}; this version reads {FORMAT}. "
                f"Go on with the version of fastntk that wrote it, or choose another folder."
            )
        return manifest

    def _read_arrays(self, manifest):
        path = self.folder / manifest["arrays"]
        try:
            with naming(path), path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != manifest["arrays_digest"]:
                    raise self._damaged(path.name)
                file.seek(0)
                with np.load(file, allow_pickle=False) as archive:
                    return {name: archive[name] for name in archive.files}
        except FileNotFoundError:
            raise self._damaged(path.name) from None
        except zipfile.BadZipFile as error:  # its bytes are right: they could not be read again
            raise OSError(errno.EIO, f"the checkpoint could not be read ({error})", str(path)) from error

    def _damaged(self, name):
        return CheckpointError(
            f"checkpoint {self.folder} is damaged: {name} is missing or its bytes are not those that were "
            f"written. Restore the folder from a copy, or delete it to start over."
        )

    def take(self):
        """What is saved, which is not held here any longer: its arrays are large."""
        saved, self.saved = self.saved, None
        return saved

    @property
    def token(self):
        """A short name for the run, the same whenever it goes on."""
        return _digest_of(self.identity)[:8]

    # ------------------------------------------------------------------------------ saving
    @property
    def deadline(self):
        """When the next save is due, on the clock of ``time.monotonic``."""
        return self._last + self._interval

    @property
    def is_due(self):
        return time.monotonic() >= self.deadline

    def save(self, position, arrays, since=None):
        """Save how far the run is (JSON values) and its arrays (a dict, or a function that gives it).

        ``since`` is when the run began to wait for this save, for the interval to the next one.  Where
        the files cannot be written, or the memory is short, the run goes on: a CheckpointWarning says so.
        """
        begun = time.monotonic() if since is None else since
        self._saves += 1
        path = self.folder / f"{PREFIX}{self._saves}.npz"
        try:
            made = arrays() if callable(arrays) else arrays
            replace_file(path, lambda file: np.savez(file, **made))
            with naming(path), path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            self._write_manifest(position, path.name, digest)
        except (OSError, MemoryError) as error:
            self._clear()
            warnings.warn(
                f"checkpoint {self.folder} could not be written ({error}); the run goes on, and will try "
                f"again. The checkpoint before it is untouched.",
                CheckpointWarning,
                stacklevel=2,
            )
        self._last = time.monotonic()
        self._interval = max(FIRST_SECONDS, COST_FACTOR * (self._last - begun))

    def _write_manifest(self, position, arrays, digest):
        body = {
            "format": FORMAT,
            "identity": self.identity,
            "saves": self._saves,
            "position": position,
            "arrays": arrays,
            "arrays_digest": digest,
        }
        text = json.dumps({**body, "digest": _digest_of(body)}, indent=1)
        replace_file(self.folder / MANIFEST, lambda file: file.write(text.encode()))
        self._named = arrays
        self._clear()

    def _clear(self):
        """Remove what a process that was killed or a save that failed has left, and earlier arrays.

        What cannot be removed now does no harm, and is tried again with the next save.
        """
        with suppress(OSError, CheckpointError):
            kept = {self._named, self._named_on_disk()}
            for path in [*self.folder.glob(f"{PREFIX}*"), *self.folder.glob(f".{PREFIX}*.part")]:
                if path.name not in kept:
                    path.unlink(missing_ok=True)
            for path in self.folder.glob(f".{MANIFEST}.*.part"):
                path.unlink(missing_ok=True)

    def _named_on_disk(self):
        """The arrays of the manifest that is there: a save may fail after it was renamed."""
        try:
            return self._read_manifest(self.folder / MANIFEST)["arrays"]
        except FileNotFoundError:
            return None

    def close(self):
        """Let others use the folder."""
        if self._lock is not None:
            let_go(self._lock)
            self._lock = None


def _digest_of(body):
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
