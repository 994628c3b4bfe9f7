"""Synthetic problems: random rows, and a small network as the teacher."""

import numpy as np

ROWS = {"unit": "rows of norm 1", "normal": "rows of standard normal entries"}
TEACHER_NEURONS = 10


def teacher_problem(rows, dim, *, kind, seed):
    """(X (rows, dim) float32, y (rows,) float64): y is what a small ReLU network says, of mean 0, variance 1.

    ``kind`` "normal" has standard normal entries, "unit" the same rows divided by their norms.
    """
    rng = np.random.default_rng([seed, rows, dim])
    X = rng.standard_normal((rows, dim))
    W, a = rng.standard_normal((TEACHER_NEURONS, dim)), rng.standard_normal(TEACHER_NEURONS)
    if kind == "unit":
        X /= np.linalg.norm(X, axis=1, keepdims=True)
    y = np.maximum(X @ W.T, 0) @ a
    return X.astype(np.float32), (y - y.mean()) / y.std()
