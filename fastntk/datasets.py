"""Data for a study or for training: the sets that scikit-learn ships, or a file of the user's own."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import validation
from .datafiles import INSTALL_HINT, READERS, DataError, read_file
from .explained import EXTRAS
from .kernels.reference import HOLD_OUT_STREAM, shuffled

BUILT_IN = ("digits", "iris", "wine", "breast_cancer", "diabetes", "linnerud")
MOST_CLASSES = 20  # more whole numbers than this are a quantity, not classes
PREPROCESSINGS = ("unit", "standardize", "none")


@dataclass(frozen=True)
class Dataset:
    """Rows of numbers and, where there is one, a target to sort and colour them by.

    Attributes
    ----------
    name : str
    features : (n, d) float64
    target : (n,) float64, (n,) int64 class numbers, or None
    class_names : tuple of str, or None
        The names behind the class numbers; None where the target is not a class.
    target_name : str or None
    """

    name: str
    features: np.ndarray
    target: np.ndarray | None = None
    class_names: tuple | None = None
    target_name: str | None = None

    def order(self):
        """The rows sorted by target (a stable sort; as they stand without one).  (n,) int64."""
        if self.target is None:
            return np.arange(len(self.features))
        return np.argsort(self.target, kind="stable")


def load(source, *, target=None):
    """A data set by name (``"digits"``) or from a file.

    Parameters
    ----------
    source : str or path
        One of `BUILT_IN`, or the path of a .npz, .npy, .csv or .parquet file.
    target : str, optional
        Which part of a file is the target: a column's name or place (.csv, .parquet), a column's
        place (.npy) or a key (.npz).  Places count from 0; negative ones from the end.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        The name is unknown, the file is missing, malformed, not numeric or not finite, or the
        target is not there.
    ImportError
        A library of the ``study`` extra is missing.

    Examples
    --------
    >>> from fastntk import datasets
    >>> datasets.load("iris").features.shape
    (150, 4)
    """
    if str(source) in BUILT_IN:
        if target is not None:
            raise DataError(f"--target belongs to a file; the target of {source} is fixed. Leave it out.")
        return _load_built_in(str(source))
    path = Path(source)
    if path.suffix.lower() not in READERS:
        raise DataError(
            f"{str(source)!r} is neither a built-in data set ({', '.join(BUILT_IN)}) "
            f"nor the name of a file that ends in {', '.join(READERS)}."
        )
    features, labels, target_name = read_file(path, target)
    features = _as_features(features, path)
    labels, class_names = _as_target(labels, len(features), path)
    return Dataset(path.name, features, labels, class_names, target_name)


def preprocess(features, how, *, fit=None):
    """Scale a data set's rows before it meets the network.

    Parameters
    ----------
    features : (n, d) array
    how : {"unit", "standardize", "none"}
        ``unit`` divides each row by its Euclidean norm, which is the setting of the paper (arXiv
        2602.17423).  ``standardize`` first gives each feature mean 0 and variance 1, for features
        measured in different units.  ``none`` leaves the data alone.  A row of zeros stays zero,
        and so does a constant feature once standardized.
    fit : (k,) integers or (n,) bool, optional
        The rows whose means and variances ``standardize`` takes: those to train on, where others are
        held out.  All rows by default.

    Returns
    -------
    (n, d) float64
    """
    validation.as_choice(how, "how", PREPROCESSINGS)
    X = np.array(features, float)
    if how == "none":
        return X
    if how == "standardize":
        known = X if fit is None else X[fit]
        mean, spread = known.mean(axis=0), known.std(axis=0)
        X = (X - mean) / np.where(spread > 0, spread, 1)
    largest = np.abs(X).max(axis=1, keepdims=True)  # first, so that no square overflows
    X /= np.where(largest > 0, largest, 1)
    norm = np.linalg.norm(X, axis=1, keepdims=True)
    return X / np.where(norm > 0, norm, 1)


def hold_out(rows, fraction, seed=0):
    """Which rows are kept from training, for testing.

    Every row number has a random 64-bit word, a function of (seed, row number) alone; the rows with the
    smallest words are held out.  A larger fraction therefore holds out the same rows and more.

    Parameters
    ----------
    rows : int
        How many rows there are; their numbers are 0 .. rows - 1.
    fraction : float
        The share to hold out, from 0 to below 1; rounded to whole rows, at least one unless it is 0.
    seed : int

    Returns
    -------
    (rows,) bool
        True where a row is held out.

    Raises
    ------
    DataError
        The fraction is out of range, or no row is left to train on.

    Examples
    --------
    >>> from fastntk import datasets
    >>> int(datasets.hold_out(1797, 0.2).sum())
    359
    """
    if not 0 <= fraction < 1:
        raise DataError(f"--test-fraction is {fraction:g}; it must be from 0 (hold out no row) to below 1.")
    count = max(round(fraction * rows), 1) if fraction else 0
    if count >= rows:
        raise DataError(
            f"--test-fraction {fraction:g} holds out {count} of {rows} rows and leaves none to train on. "
            "Use a smaller one, or 0."
        )
    held_out = np.zeros(rows, bool)
    held_out[shuffled(validation.as_seed(seed), np.arange(rows), HOLD_OUT_STREAM)[:count]] = True
    return held_out


def _load_built_in(name):
    try:
        from sklearn import datasets
    except ImportError as error:
        raise ImportError(f"The built-in data sets need scikit-learn: {INSTALL_HINT}. {EXTRAS}") from error
    bunch = getattr(datasets, f"load_{name}")()
    if name == "linnerud":  # three targets; the first, as one number per person
        return Dataset(name, bunch.data.astype(float), bunch.target[:, 0], None, bunch.target_names[0])
    if name == "diabetes":
        return Dataset(name, bunch.data.astype(float), bunch.target, None, "disease progression")
    names = tuple(str(label) for label in bunch.target_names)
    kind = {"digits": "digit", "iris": "species", "wine": "cultivar", "breast_cancer": "diagnosis"}[name]
    return Dataset(name, bunch.data.astype(float), bunch.target.astype(np.int64), names, kind)


def _as_features(values, path):
    if values.dtype.kind not in "fiub":
        raise DataError(f"{path}: the data have dtype {values.dtype}; real numbers are expected.")
    if values.ndim != 2 or 0 in values.shape:
        raise DataError(
            f"{path}: the data have shape {values.shape}; at least one row and one feature are expected."
        )
    values = np.array(values, float)
    finite = np.isfinite(values)
    if not finite.all():
        row, column = (int(i) for i in np.argwhere(~finite)[0])
        raise DataError(
            f"{path}: the value in row {row}, feature {column} is {values[row, column]} "
            f"({np.count_nonzero(~finite)} values are not finite). Remove or impute them."
        )
    return values


def _as_target(labels, rows, path):
    """A target as numbers: text and a few whole numbers are classes, numbered in sorted order."""
    if labels is None:
        return None, None
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (rows,):
        raise DataError(
            f"{path}: the target has shape {labels.shape}; one value for each of the {rows} rows is expected."
        )
    if labels.dtype.kind in "OSU":
        names, numbers = np.unique(labels.astype(str), return_inverse=True)
        return numbers.astype(np.int64), tuple(str(name) for name in names)
    if labels.dtype.kind not in "fiub":
        raise DataError(f"{path}: the target has dtype {labels.dtype}; numbers or text are expected.")
    finite = np.isfinite(labels.astype(float))
    if not finite.all():
        raise DataError(f"{path}: the target is not finite in row {int(np.argmin(finite))}.")
    names, numbers = np.unique(labels, return_inverse=True)
    if len(names) <= MOST_CLASSES and (names == np.floor(names.astype(float))).all():
        return numbers.astype(np.int64), tuple(f"{name:g}" for name in names.astype(float))
    return labels.astype(float), None
