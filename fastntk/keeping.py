"""What the functions of the API share about runs that are kept: checkpoints, and files for results."""

import os
from contextlib import contextmanager
from pathlib import Path

from .engine.checkpoint import Checkpoint
from .engine.digests import digest, network_digest


@contextmanager
def checkpoint_of(folder, function, problem, described, nbytes):
    """The open checkpoint of a call of ``function``, or None without a folder.

    ``described`` is what the result depends on besides the problem, as strings and numbers.
    """
    identity = None if folder is None else {"function": function, **_identity(problem), **described}
    with checkpoint_in(folder, identity, nbytes) as checkpoint:
        yield checkpoint


@contextmanager
def checkpoint_in(folder, identity, nbytes):
    """The open checkpoint in a folder, or None without one; arguments as for ``Checkpoint``."""
    if folder is None:
        yield None
        return
    if not isinstance(folder, (str, os.PathLike)):
        raise TypeError(f"checkpoint is {folder!r}; it must be the name of a folder, or None.")
    checkpoint = Checkpoint(folder, identity, nbytes)
    try:
        yield checkpoint
    finally:
        checkpoint.close()


def _identity(problem):
    neurons = problem.neurons
    identity = {
        "network": network_digest(neurons),
        "width": neurons.width,
        "dim": neurons.dim,
        "outputs": neurons.outputs,
        "seed": problem.seed,
    }
    for name, side in zip(("rows", "columns"), problem.sides, strict=False):
        identity |= {
            name: f"{len(side.X)}, digest {digest(side.X)}",
            f"mask of the {name}": repr(side.mask),
            f"ids of the {name}": f"stream {side.stream}, digest {digest(side.ids)}",
        }
    return identity


def as_npy_path(out, checkpoint=None):
    """The path of a result on disk, which is not in the folder of the checkpoint."""
    if not isinstance(out, (str, os.PathLike)):
        raise TypeError(f"out is {type(out).__name__}; it must be the name of a .npy file, or None.")
    path = Path(out).absolute()
    path = path.parent.resolve() / path.name  # however it is spelled, it is one file
    if path.suffix != ".npy":
        raise ValueError(f"out is {path}; its name must end in .npy.")
    if isinstance(checkpoint, (str, os.PathLike)) and path.parent.resolve() == Path(checkpoint).resolve():
        raise ValueError(f"out is {path}, in the folder of the checkpoint. Choose a place outside it.")
    return path
