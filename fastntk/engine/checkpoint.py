"""Checkpoints: what a long run has added up so far, in a folder that is never half written.

    manifest.json   what run it is, how far it is, and the name and digest of the arrays that belong to it
    arrays-K.npz    the arrays of the K-th save
    lock            held while a process works with the folder

A save writes the next arrays first and the manifest last, each beside its place and then renamed; so at
every instant the manifest names arrays that are complete.  Nothing in it is code: numbers, text, arrays.
"""

import fcntl
import hashlib
import json
import os
import shutil
import threading
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .durable import replace_file
from .plan import describe_bytes

FORMAT = 1
FIRST_SECONDS = 30.0  # before the first save, and at least between two
COST_FACTOR = 64  # a save takes at most one part in so many of the time: 1.6 %
MANIFEST, LOCK, PREFIX = "manifest.json", "lock", "arrays-"

_in_use: set[Path] = set()  # by this process: a file lock keeps out other processes only
_in_use_lock = threading.Lock()


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says why and what to do.

    Examples
    --------
    >>> import numpy as np, tempfile, fastntk as fn
    >>> net, mask = fn.Network(width=1000, dim=2), fn.GaussianMask(0.1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     K = fn.ntk(np.eye(2), network=net, mask=mask, checkpoint=folder)
    ...     try:
    ...         K = fn.ntk(np.eye(2), network=net, mask=mask, seed=1, checkpoint=folder)
    ...     except fn.CheckpointError as error:
    ...         print("is of another run: seed was 0, now 1" in str(error))
    True
    """


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
        self._saves = 0
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
        for part in self.folder.glob(".*.part"):  # of a process that was killed while it wrote
            part.unlink()
        free = shutil.disk_usage(self.folder).free
        if 2 * nbytes > free:  # the next one is complete before the last one goes
            raise OSError(
                f"checkpoint {self.folder} takes up to {describe_bytes(2 * nbytes)}, but its disk has "
                f"{describe_bytes(free)} free. Choose a folder on another disk."
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
        """Keep others out; a process that dies lets go, and its forked children hold nothing."""
        in_use = CheckpointError(
            f"checkpoint {self.folder} is in use by another run. Give each run a folder of its own."
        )
        with _in_use_lock:
            if self.folder in _in_use:
                raise in_use
            lock = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(lock)
                raise in_use from error
            self._lock = lock
            _in_use.add(self.folder)

    def _read(self):
        path = self.folder / MANIFEST
        if not path.exists():
            return None
        manifest = self._read_manifest(path)
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
        self._saves = manifest["saves"]
        if manifest["arrays"] is None:
            return None
        return Saved(manifest["position"], self._read_arrays(manifest))

    def _agrees(self, manifest, name):
        mine, theirs = self.identity, manifest["identity"]
        return name in mine and name in theirs and mine[name] == theirs[name]

    def _read_manifest(self, path):
        try:
            text = path.read_text(encoding="utf-8")
            manifest = json.loads(text)
            body = {name: value for name, value in manifest.items() if name != "digest"}
            whole = manifest["digest"] == _digest_of(body)
        except (ValueError, KeyError, TypeError, AttributeError):
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
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != manifest["arrays_digest"]:
                    raise self._damaged(path.name)
                file.seek(0)
                with np.load(file, allow_pickle=False) as archive:
                    return {name: archive[name] for name in archive.files}
        except FileNotFoundError:
            raise self._damaged(path.name) from None

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
        """Save how far the run is (JSON values) and its arrays (a dict).

        ``since`` is when the run began to wait for this save, for the interval to the next one.  Where
        the files cannot be written the run goes on: a CheckpointWarning says so.
        """
        begun = time.monotonic() if since is None else since
        path = self.folder / f"{PREFIX}{self._saves + 1}.npz"
        try:
            replace_file(path, lambda file: np.savez(file, **arrays))
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            self._write_manifest(position, path.name, digest)
        except (OSError, MemoryError) as error:
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
            "saves": self._saves + (arrays is not None),
            "position": position,
            "arrays": arrays,
            "arrays_digest": digest,
        }
        text = json.dumps({**body, "digest": _digest_of(body)}, indent=1)
        replace_file(self.folder / MANIFEST, lambda file: file.write(text.encode()))
        self._saves = body["saves"]
        for earlier in self.folder.glob(f"{PREFIX}*"):
            if earlier.name != arrays:
                earlier.unlink(missing_ok=True)

    def close(self):
        """Let other processes use the folder."""
        with _in_use_lock:
            if self._lock is not None:
                os.close(self._lock)  # which gives the lock back
                self._lock = None
                _in_use.discard(self.folder)


def _digest_of(body):
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
