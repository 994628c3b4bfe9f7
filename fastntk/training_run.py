"""A training run: its history, the trained network, and its file."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from .annotations import Floats, StrPath
from .engine.digests import digest
from .engine.durable import replace_file
from .engine.neurons import Neurons, read_only
from .network import Network

FORMAT = 2
HISTORY = (
    "recorded_steps",
    "clean_loss",
    "masked_loss",
    "distance",
    "max_distance",
    "flipped",
    "eigenvalue_steps",
    "smallest_eigenvalue",
    "largest_eigenvalue",
    "masked_eigenvalue",
    "audit_steps",
    "audit_error",
    "expected_steps",
    "smoothed_mse",
    "regulariser",
)


@dataclass(frozen=True)
class Settings:
    """What a run depends on besides its length: a resumed run must have all of it in common."""

    X: str  # digests of data too long to show
    y: str
    row_ids: str
    network: str
    width: int
    dim: int
    outputs: int
    mask: str
    mode: str
    batch_size: int | None
    seed: int

    def differences(self, other):
        """What differs, in words."""
        lines = []
        for name, mine in asdict(self).items():
            theirs = getattr(other, name)
            if mine != theirs:
                shown = "" if name in ("X", "y", "row_ids", "network") else f" ({theirs} there, {mine} here)"
                lines.append(name + shown)
        return lines


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """What :func:`fastntk.train` returns.

    Entry j of a history array belongs to the network before step ``recorded_steps[j]``.

    Attributes
    ----------
    network : Network
        As it is after ``steps_done`` steps: ``fastntk.outputs(X, network=run.network)``.
    initial_network : Network or None
        As it was; None in a run that was loaded from a file.
    step_size : float
    steps_done : int
    status : "finished", "interrupted" or "diverged"
    recorded_steps : (k,) int64
    clean_loss : (k,) float64
        1/2 sum of squared residuals on the inputs as they are.
    masked_loss : (k,) float64
        The same under the masks of the step; in mode "masked" that of the batch, times n over its rows.
    accuracy : (k,) float64 or None
        Fraction of the rows whose largest output is that of their label, on the inputs as they are.
    distance, max_distance : (k,) float64
        ||W - W_0||_F, and max_r ||w_r - w_r0||.
    flipped : (k,) float64
        Fraction of the activation bits on the inputs as they are that differ from the initial ones.
    eigenvalue_steps : (e,) int64
    smallest_eigenvalue, largest_eigenvalue : (e,) float64
        Of the hidden-layer kernel of the inputs as they are.
    masked_eigenvalue : (e,) float64
        The largest one at the inputs of the step, masked where training is: with one output it is stable
        while ``step_size`` times this is below 2 (docs/mathematics.md, section 7, for several).
    audit_steps : (s,) int64
    audit_error : (s,) float64
        Error of the exact step identity (``fastntk.audit``), relative to the change of the outputs.
    expected_steps : (l,) int64
    smoothed_mse, regulariser : (l,) float64
        The two parts of the mean loss over all masks (:class:`fastntk.ExpectedLoss`).

    Examples
    --------
    >>> import numpy as np, fastntk as fn
    >>> net = fn.Network(width=500, dim=2, seed=0)
    >>> run = fn.train(np.eye(2), [1.0, -1.0], network=net, step_size=0.5, steps=20)
    >>> run.recorded_steps, run.status
    (array([ 0, 10, 20]), 'finished')
    """

    network: Network
    initial_network: Network | None
    step_size: float
    steps_done: int
    status: str
    recorded_steps: np.ndarray
    clean_loss: np.ndarray
    masked_loss: np.ndarray
    accuracy: np.ndarray | None
    distance: np.ndarray
    max_distance: np.ndarray
    flipped: np.ndarray
    eigenvalue_steps: np.ndarray
    smallest_eigenvalue: np.ndarray
    largest_eigenvalue: np.ndarray
    masked_eigenvalue: np.ndarray
    audit_steps: np.ndarray
    audit_error: np.ndarray
    expected_steps: np.ndarray
    smoothed_mse: np.ndarray
    regulariser: np.ndarray
    loss_limit: float | None = field(repr=False)
    settings: Settings = field(repr=False)
    weights_digest: str | None = field(repr=False)  # where they stand in an array of the caller's

    def __repr__(self):
        loss = f", clean_loss {self.clean_loss[-1]:.4g}" if len(self.clean_loss) else ""
        return f"<TrainingRun: {self.status} after {self.steps_done} steps of {self.step_size:g}{loss}>"

    @property
    def expected_loss(self) -> Floats:
        """smoothed_mse + regulariser: the mean loss over all masks at ``expected_steps``."""
        return self.smoothed_mse + self.regulariser

    def save(self, path: StrPath) -> None:
        """Write the run to a file, from which ``fastntk.train(..., resume=path)`` goes on.

        The file is a .npz archive without pickled objects.  It is written beside its place and renamed in
        the end: where anything fails, what stood there before is untouched.  Size 4 m d bytes, plus given
        output weights.

        Examples
        --------
        >>> import numpy as np, fastntk as fn, tempfile, pathlib
        >>> net = fn.Network(width=500, dim=2, seed=0)
        >>> run = fn.train(np.eye(2), [1.0, -1.0], network=net, steps=20)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "run.npz"
        ...     run.save(path)
        ...     longer = fn.train(np.eye(2), [1.0, -1.0], network=net, steps=40, resume=path)
        >>> longer.steps_done
        40
        """
        self.require_own_weights("it can no longer be saved")
        described, arrays = self.contents()
        arrays["description"] = np.array(json.dumps(described))
        replace_file(path, lambda file: np.savez(file, **arrays))

    def contents(self):
        """The run as JSON values and as arrays, for :meth:`from_contents`."""
        described = {
            "format": FORMAT,
            "step_size": self.step_size,
            "steps_done": self.steps_done,
            "status": self.status,
            "loss_limit": self.loss_limit,
            "settings": asdict(self.settings),
        }
        neurons = self.network._neurons
        arrays = {name: getattr(self, name) for name in HISTORY} | {"weights": neurons.given_weights}
        if self.accuracy is not None:
            arrays["accuracy"] = self.accuracy
        if neurons.given_output_weights is None:
            described["sign_seed"] = neurons.seed
        else:
            arrays["output_weights"] = neurons.given_output_weights
        return described, arrays

    def require_own_weights(self, so):
        """Raise where the weights stand in a caller's array that has been written over since."""
        if self.weights_digest not in (None, digest(self.network._neurons.given_weights)):
            raise ValueError(
                f"the weights of this run after {self.steps_done} steps have been written over in the array "
                f"that was given as out: {so}. Give each run an out of its own, or save it first."
            )

    @classmethod
    def from_contents(cls, described, arrays):
        """The run that had these :meth:`contents`; raises ValueError or KeyError where they are damaged."""
        if described["format"] != FORMAT:
            raise ValueError(f"it has format {described['format']}, not {FORMAT}")
        weights = read_only(arrays["weights"])
        settings = Settings(**described["settings"])
        output_weights, accuracy = arrays.get("output_weights"), arrays.get("accuracy")
        history = {name: arrays[name] for name in HISTORY}
        _require_consistent(settings, weights, output_weights, history, accuracy)
        sign_seed = described["sign_seed"] if output_weights is None else 0
        return cls(
            network=trained_network(weights, sign_seed, settings.outputs, output_weights),
            initial_network=None,
            step_size=described["step_size"],
            steps_done=described["steps_done"],
            status=described["status"],
            loss_limit=described["loss_limit"],
            settings=settings,
            weights_digest=None,
            accuracy=accuracy,
            **history,
        )

    @classmethod
    def load(cls, path: StrPath) -> "TrainingRun":
        """Read a run from a file of :meth:`save`.

        Raises
        ------
        FileNotFoundError
        ValueError
            The file is damaged, or is not a saved run.
        """
        path = Path(path)
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist; a saved run is a file of TrainingRun.save.")
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            return cls.from_contents(json.loads(str(arrays.pop("description"))), arrays)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # whatever a damaged archive makes NumPy, zipfile or json raise
            raise ValueError(
                f"{path} is damaged or is not a saved run of fastntk ({type(error).__name__}: {error}). "
                f"Use a file of TrainingRun.save, or start again without resume."
            ) from error


def _require_consistent(settings, weights, output_weights, history, accuracy):
    """Raise where the arrays of a file do not belong together."""
    if weights.shape != (settings.width, settings.dim) or weights.dtype != np.float32:
        raise ValueError(f"its weights are {weights.dtype} of shape {weights.shape}")
    if output_weights is not None and (
        output_weights.shape != (settings.width, settings.outputs) or output_weights.dtype != np.float64
    ):
        raise ValueError(f"its output weights are {output_weights.dtype} of shape {output_weights.shape}")
    steps = history["recorded_steps"]
    for name, values in (*history.items(), *([] if accuracy is None else [("accuracy", accuracy)])):
        if name.endswith("steps"):
            steps = values
        expected = history["recorded_steps"] if name == "accuracy" else steps
        kind = "i" if name.endswith("steps") else "f"
        if values.ndim != 1 or values.dtype.kind != kind or len(values) != len(expected):
            raise ValueError(f"its {name} is {values.dtype} of shape {values.shape}")


def trained_network(weights, sign_seed, outputs, output_weights):
    """The network with these weights; its output weights given, or signs of a seed."""
    width, dim = weights.shape
    network = Network(width, dim)
    network._neurons = Neurons(width, dim, sign_seed, 1.0, weights, output_weights, outputs)
    return network
