"""What a network learns from a data set: rows to train on, rows held out, and what it should answer."""

from dataclasses import dataclass, fields

import numpy as np

from ..datasets import DataError, hold_out, preprocess


@dataclass(frozen=True, eq=False)
class Task:
    """Rows and answers; the first three arrays are to train on, the next three are held out.

    Attributes
    ----------
    X, y, ids, held_out_X, held_out_y, held_out_ids
        Rows (n, d) float32, answers (n,) and the rows' numbers in the data set (n,) int64, which key
        their masks.  Answers are class numbers (int64), or a quantity (float64) less the mean over the
        rows to train on, divided by its standard deviation there.
    class_names : (classes,) str array, empty for a quantity
    mean, deviation : float
        Those of the quantity in its own units; 0 and 1 for classes.
    """

    X: np.ndarray
    y: np.ndarray
    ids: np.ndarray
    held_out_X: np.ndarray
    held_out_y: np.ndarray
    held_out_ids: np.ndarray
    class_names: np.ndarray
    mean: float = 0.0
    deviation: float = 1.0

    @property
    def classes(self):
        """The number of classes, 0 for a quantity."""
        return len(self.class_names)

    @property
    def outputs(self):
        """How many outputs the network has: one for each class, or one."""
        return self.classes or 1

    @property
    def score_name(self):
        """What `score` in scores.py measures."""
        return "accuracy" if self.classes else "R\N{SUPERSCRIPT TWO}"

    def save(self, path):
        """Write everything to an .npz file."""
        np.savez(path, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path):
        """What :meth:`save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            arrays = {field.name: file[field.name] for field in fields(cls)}
        return cls(**arrays | {name: float(arrays[name]) for name in ("mean", "deviation")})


def make_task(dataset, *, preprocessing, test_fraction, seed):
    """Split a data set and scale it, looking at the rows to train on only.

    Parameters
    ----------
    dataset : Dataset
    preprocessing : {"unit", "standardize", "none"}
        As for :func:`fastntk.datasets.preprocess`.
    test_fraction : float
        The share of rows to hold out, as for :func:`fastntk.datasets.hold_out`.
    seed : int
        Of the split.

    Returns
    -------
    Task

    Raises
    ------
    DataError
        There is no target or it never changes, or no row is left to train on.
    """
    if dataset.target is None:
        raise DataError(f"{dataset.name} has no target to learn: name it with --target.")
    held_out = hold_out(len(dataset.features), test_fraction, seed)
    X = preprocess(dataset.features, preprocessing, fit=~held_out).astype(np.float32)
    y, mean, deviation = dataset.target, 0.0, 1.0
    if dataset.class_names is None:
        mean, deviation = float(y[~held_out].mean()), float(y[~held_out].std())
        y = (y - mean) / deviation if deviation else y
    if len(dataset.class_names or ()) == 1 or not deviation:
        raise DataError(
            f"the target of {dataset.name} is the same in all rows to train on: nothing to learn."
        )
    ids = np.arange(len(X))
    return Task(
        *(X[~held_out], y[~held_out], ids[~held_out]),
        *(X[held_out], y[held_out], ids[held_out]),
        class_names=np.array(dataset.class_names or (), str),
        mean=mean,
        deviation=deviation,
    )
