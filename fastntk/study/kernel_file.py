"""The whole of `fastntk ntk`: the kernel matrix of a data set in a file, and its picture beside that."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.linalg
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from ..datasets import preprocess
from ..engine.checkpoint import MANIFEST
from ..engine.devices import BackendError
from ..engine.durable import replace_file
from ..figures import matrix as figures
from ..figures import style
from ..gram import ntk
from ..network import Network
from .folder import OutputError
from .mask_options import make_mask, mask_text
from .settings import neurons_text
from .sorted_pixels import SortedPixels

PIXELS = 600
MOST_ROWS_FOR_EIGENVALUES = 2000  # seconds, and three times the matrix in memory


class KernelError(ValueError):
    """The data or the settings do not allow the kernel; the message says how."""


@dataclass(frozen=True)
class KernelSettings:
    """What a kernel file holds; the names are those of the options.

    `strength` is that of the mask as a pair, its option and its value; None where there is no mask.
    """

    preprocess: str
    width: int
    dtype: str
    mask: str
    strength: tuple | None
    draws: int
    layers: str
    seed: int
    mask_seed: int


@dataclass(frozen=True)
class KernelFile:
    """A kernel on disk.

    Attributes
    ----------
    path : Path
    matrix : (n, n) float64
        A read-only map of the file.
    seconds : float
        That this call took, and
    computed, total : int
        neurons times draws that it computed, of all: the rest came from a checkpoint.
    """

    path: Path
    matrix: np.ndarray
    seconds: float
    computed: int
    total: int

    @property
    def rate(self):
        """Neurons times draws a second."""
        return self.computed / self.seconds


def picture_path(path):
    """Where the picture of a kernel is."""
    return Path(path).with_suffix(".png")


def require_free(path, *, replace, checkpoint):
    """Raise OutputError unless a kernel and its picture may be written to ``path``.

    What is there may be replaced, or must be the kernel that ``checkpoint`` has come to.
    """
    path, picture = Path(path).absolute(), picture_path(Path(path).absolute())
    if path.suffix != ".npy":
        raise OutputError(f"--output is {path}; its name must end in .npy.")
    if not path.parent.is_dir():
        raise OutputError(
            f"{path.parent} is not an existing folder. Make it first, or choose another --output."
        )
    for file in (path, picture):
        if file.exists() and not file.is_file():
            raise OutputError(f"{file} exists and is not a file. Choose another --output.")
        if file.exists() and not replace and not _has_come_to(checkpoint, path):
            raise OutputError(f"{file} exists. Choose another --output, or --force to replace it.")


def has_saved(checkpoint):
    """Whether there is something in a checkpoint, which may be None, to go on with."""
    return checkpoint is not None and bool(_manifest(checkpoint).get("position"))


def _has_come_to(checkpoint, path):
    """Whether a checkpoint is of a kernel of that name, and nothing of it is left unfinished beside it."""
    if not has_saved(checkpoint) or not path.exists():
        return False
    is_its = _manifest(checkpoint)["identity"].get("out") == str(path)
    return is_its and not list(path.parent.glob(f".{path.name}.*.part"))


def _manifest(checkpoint):
    """What a checkpoint says of itself; what is wrong with it is for the run to tell."""
    try:
        manifest = json.loads((Path(checkpoint) / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    is_one = isinstance(manifest, dict) and isinstance(manifest.get("identity"), dict)
    return manifest if is_one else {}


def write_kernel(dataset, path, settings, *, progress=None, checkpoint=None, **run):
    """Compute the kernel of a data set into a file.

    Parameters
    ----------
    dataset : Dataset
    path : str or path
        The .npy file.
    settings : KernelSettings
    progress : callable, optional
        ``progress(fraction, stage)``, the fraction of what this call has to do.
    checkpoint
        As for :func:`fastntk.ntk`, and so
    run
        ``executor``, ``backend``, ``threads`` and ``memory_limit``.

    Returns
    -------
    KernelFile

    Raises
    ------
    KernelError
        The settings, the data or the checkpoint are refused, the memory does not do, or there is no such
        backend.
    OSError
        A disk has no room.
    """
    total = settings.width * settings.draws
    first = None

    def show(done, _):
        nonlocal first
        first = done if first is None else first
        if progress is not None:
            progress((done - first) / max(total - first, 1), f"{short(done)} of {short(total)} neurons")

    begun = time.perf_counter()
    goes_on = has_saved(checkpoint)
    try:
        X = preprocess(dataset.features, settings.preprocess)
        matrix = ntk(
            X,
            network=Network(settings.width, X.shape[1], seed=settings.seed, dtype=settings.dtype),
            mask=make_mask(settings.mask, settings.strength),
            draws=settings.draws,
            layers=settings.layers,
            seed=settings.mask_seed,
            out=path,
            progress=show,
            checkpoint=checkpoint,
            **run,
        )
    except MemoryError as error:
        needs = str(error).partition(" Use ")[0]
        raise KernelError(f"{needs} Give a larger --memory-limit, or fewer --threads.") from error
    except (TypeError, ValueError, BackendError) as error:
        raise KernelError(str(error)) from error
    seconds = time.perf_counter() - begun
    before = 0
    if goes_on:  # nothing is reported where nothing was left to do
        before = total if first is None else first
    return KernelFile(Path(path), matrix, seconds, total - before, total)


def draw(dataset, kernel, settings):
    """Draw a KernelFile; its eigenvalues (n,) float64, ascending, or None where there are too many rows."""
    pixels = SortedPixels(dataset, PIXELS)
    eigenvalues = None
    with threadpool_limits(1):  # more threads of BLAS save little, and fight for busy processors
        if len(kernel.matrix) <= MOST_ROWS_FOR_EIGENVALUES:
            eigenvalues = scipy.linalg.eigvalsh(kernel.matrix, check_finite=False)
    drawn = figures.figure(
        pixels.shrunk(kernel.matrix),
        pixels.ticks,
        pixels.edges,
        name=dataset.name,
        rows_as=_sorted(dataset),
        about=described(settings),
        entries_as="kernel entry" if len(kernel.matrix) <= PIXELS else "mean of a block of kernel entries",
        eigenvalues=eigenvalues,
    )
    replace_file(picture_path(kernel.path), lambda file: style.save(drawn, file))
    return eigenvalues


def _sorted(dataset):
    """How the rows of a picture are sorted."""
    if dataset.target is None:
        return "rows as they stand"
    return "rows sorted by class" if dataset.class_names else "rows sorted by target"


def described(settings):
    """What kernel the settings mean, in words."""
    masks = f"{mask_text(settings.mask, settings.strength)}, "
    if settings.mask != "none":
        masks += f"{settings.draws:,} draw{'s' * (settings.draws > 1)}, "
    layers = "both layers" if settings.layers == "both" else f"{settings.layers} layer"
    return f"{neurons_text(settings)}, {masks}{layers}"


def short(count):
    """A large number, such as 12.3 M."""
    for size, unit in ((10**9, " G"), (10**6, " M"), (10**3, " k")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return f"{count}"
