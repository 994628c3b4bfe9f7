"""Training targets: real numbers for each output, or class labels as one-hot targets."""

import numpy as np

from . import validation


def as_targets(y, rows, outputs):
    """Targets (n, q) float64, and the labels (n,) int64 where ``y`` holds labels, else None.

    One output takes (n,) or (n, 1) real numbers; several take (n, q) real numbers, or (n,) class labels
    0 .. q - 1, whose targets are 1 for the class and 0 for the others.
    """
    array = validation.as_array(y, "y")
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"y has dtype {array.dtype}; it must be real numbers, or class labels as integers from 0. "
            f"np.unique(y, return_inverse=True)[1] numbers classes that have names."
        )
    if array.ndim not in (1, 2) or len(array) != rows:
        raise ValueError(
            f"y has shape {array.shape}; with {rows} rows of X and outputs={outputs} it must be "
            f"{_allowed(rows, outputs)}."
        )
    validation.require_finite(array, "y")
    if array.ndim == 1 and outputs > 1:
        labels = _as_labels(array, outputs)
        return np.eye(outputs)[labels], labels
    targets = np.array(array, np.float64).reshape(rows, -1)
    if targets.shape[1] != outputs:
        raise ValueError(
            f"y has shape {array.shape}, so {targets.shape[1]} targets a row, but the network has "
            f"outputs={outputs}; y must be {_allowed(rows, outputs)}."
        )
    return targets, None


def _as_labels(array, outputs):
    """Class labels 0 .. outputs - 1 as integers."""
    wrong = (array != np.floor(array)) | (array < 0) | (array >= outputs)
    if wrong.any():
        i = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"y[{i}] is {array[i]}; with one number a row and outputs={outputs}, y holds class labels: "
            f"integers from 0 to {outputs - 1}. Real targets have the shape ({len(array)}, {outputs})."
        )
    return array.astype(np.int64)


def _allowed(rows, outputs):
    return f"({rows},)" if outputs == 1 else f"({rows}, {outputs}) numbers or ({rows},) class labels"
