"""Probabilities from outputs."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fastntk.estimators.classes import nearest_probabilities

finite = st.floats(-1e6, 1e6)


def nearest_by_enumeration(f):
    """The nearest probability vector: of the projections on the planes of all supports, that are one."""
    best = None
    for size in range(1, len(f) + 1):
        for support in itertools.combinations(range(len(f)), size):
            p = np.zeros(len(f))
            p[list(support)] = f[list(support)] + (1 - f[list(support)].sum()) / size
            if (p >= 0).all() and (best is None or np.sum((p - f) ** 2) < np.sum((best - f) ** 2)):
                best = p
    return best


@given(arrays(float, (1, 4), elements=st.floats(-3, 3)))
def test_nearest(F):
    np.testing.assert_allclose(nearest_probabilities(F)[0], nearest_by_enumeration(F[0]), atol=1e-14)


@given(arrays(float, (3, 5), elements=finite))
def test_probabilities_in_the_order_of_the_outputs(F):
    P = nearest_probabilities(F)
    assert (P >= 0).all()
    np.testing.assert_allclose(P.sum(axis=1), 1.0, rtol=1e-15)
    order = np.argsort(F, axis=1)
    assert (np.diff(np.take_along_axis(P, order, axis=1)) >= 0).all()


@given(arrays(float, (2, 3), elements=st.floats(-5, 5)), st.integers(0, 2))
def test_never_farther_from_a_one_hot_vector(F, label):
    truth = np.eye(3)[label]
    near = np.linalg.norm(nearest_probabilities(F) - truth, axis=1)
    assert (near <= np.linalg.norm(F - truth, axis=1) + 1e-14).all()


@pytest.mark.parametrize("value", [0.0, 1e300, -1e300, 5e-324])
def test_equal_outputs(value):
    np.testing.assert_allclose(nearest_probabilities(np.full((1, 4), value)), 0.25)
