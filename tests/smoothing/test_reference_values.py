"""Every reference value that the package computes in closed form, through its public functions."""

import numpy as np
import pytest

import fastntk as fn
from fastntk.engine.plan import Options
from fastntk.network import as_neurons
from fastntk.smoothing import (
    expected_gradient,
    mean_features,
    output_variance,
    pattern_probability,
    variance_terms,
)
from fastntk.smoothing.objective import objective_gradient

from ..reference_values import cases, load

ALL = cases("f_var")
MULTIPLICATIVE = [case for case in ALL if case["kappa"] is not None]
GENERAL = [case for case in ALL if case["kappa"] is None]  # a variance for each entry of X
SCALARS = ("smoothed_mse", "regulariser", "expected_loss")
TERMS = {
    "var_chaos1": "first",
    "var_chaos2": "second",
    "var_poincare_upper": "upper",
    "var_hard_delta": "hard",
}
KERNELS = [f"EK_{layer}_{how}" for layer in "Wa" for how in ("shared", "independent")] + ["EK_W_cross"]
LAYERS = {"W": "hidden", "a": "output"}

by_case = pytest.mark.parametrize("case", MULTIPLICATIVE, ids=lambda case: case["name"])
by_general_case = pytest.mark.parametrize("case", GENERAL, ids=lambda case: case["name"])


def problem(case):
    return {"network": (case["W"], case["a"]), "mask": fn.GaussianMask(case["kappa"])}


def row_problem(case, i):
    """A row with variances of its own: additive noise of a deviation for each feature."""
    return {"network": (case["W"], case["a"]), "mask": fn.AdditiveMask(np.sqrt(case["V"][i]))}


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def values(X, y, options):
    """Everything but kernels and gradients, by the name of the reference."""
    loss = fn.expected_loss(X, y, **options)
    terms = variance_terms(X, **options)
    return {
        "P": pattern_probability(X, **options),
        "feat_mean": mean_features(X, **options),
        "f_bar": fn.expected_outputs(X, **options),
        "f_proxy": fn.expected_outputs(X, proxy=True, **options),
        "f_clean": fn.expected_outputs(X, network=options["network"]),
        "f_var": output_variance(X, **options),
        "smoothed_mse": loss.smoothed_mse,
        "regulariser": loss.regulariser,
        "expected_loss": loss.total,
        **{name: getattr(terms, term) for name, term in TERMS.items()},
    }


def gradients(X, y, options):
    return {
        "grad_smoothed": expected_gradient(X, y, regulariser="none", **options),
        "grad_expected": expected_gradient(X, y, **options),
    }


@by_case
def test_outputs_variance_and_loss(case):
    for name, found in values(case["X"], case["y"], problem(case)).items():
        assert_close(found, case[name])
    loss = fn.expected_loss(case["X"], case["y"], **problem(case))
    assert_close(loss.outputs, case["f_bar"])
    assert_close(loss.variance, case["f_var"])


@by_case
def test_gradients(case):
    """At the kinks of the degenerate case there are none."""
    for name, found in gradients(case["X"], case["y"], problem(case)).items():
        assert name in case or "degenerate" in case["name"]
        assert_close(found, case.get(name, found))


@by_case
@pytest.mark.parametrize("field", KERNELS)
def test_kernels(case, field):
    X, options, layers = case["X"], problem(case), LAYERS[field[3]]
    mask = options.pop("mask")
    sides = {
        "shared": {"mask": mask},
        "independent": {"mask": mask, "Y": X},
        "cross": {"mask": (None, mask)},
    }[field.split("_")[2]]
    assert_close(fn.expected_ntk(X, layers=layers, **sides, **options), case[field])


@by_case
def test_both_layers_are_the_sum(case):
    both = fn.expected_ntk(case["X"], layers="both", **problem(case))
    assert_close(both, case["EK_W_shared"] + case["EK_a_shared"])


@by_case
def test_second_moments(case):
    """``feat_sq`` and ``relu_sq``, of single neurons: the diagonals for a network of one."""
    for r, w in enumerate(case["W"]):
        for layer, field in (("hidden", "feat_sq"), ("output", "relu_sq")):
            options = problem(case) | {"network": (w[np.newaxis], [1.0]), "layers": layer}
            assert_close(np.diag(fn.expected_ntk(case["X"], **options)), case[field][:, r])


@by_case
def test_float32_weights_move_the_values_by_their_rounding(case):
    """A Network has float32 weights."""
    network = fn.Network.from_arrays(case["W"], case["a"])
    found = values(case["X"], case["y"], {"network": network, "mask": fn.GaussianMask(case["kappa"])})
    for name, value in found.items():
        # 2^-24 of each weight; D changes by its square over s, which is above 0.05 in these cases
        if "hard" not in name:
            np.testing.assert_allclose(value, case[name], rtol=1e-5, atol=1e-5)


# ------------------------------------------------------------------- a variance for each entry
@by_general_case
def test_rows_of_their_own_variances(case):
    rows = range(len(case["X"]))
    found = [values(case["X"][[i]], case["y"][[i]], row_problem(case, i)) for i in rows]
    for name in found[0]:
        if name in SCALARS:
            assert_close(sum(one[name] for one in found), case[name])
        else:
            assert_close(np.concatenate([one[name] for one in found]), case[name])


@by_general_case
def test_gradients_of_rows_of_their_own_variances(case):
    rows = range(len(case["X"]))
    found = [gradients(case["X"][[i]], case["y"][[i]], row_problem(case, i)) for i in rows]
    for name in found[0]:
        assert_close(sum(one[name] for one in found), case[name])


@by_general_case
@pytest.mark.parametrize("field", KERNELS)
def test_kernels_of_rows_of_their_own_variances(case, field):
    layers, how, X = LAYERS[field[3]], field.split("_")[2], case["X"]
    for i, j in np.ndindex(len(X), len(X)):
        options = row_problem(case, i) | {"layers": layers}
        other = row_problem(case, j)["mask"]
        if how != "shared" or i != j:
            options |= {"Y": X[[j]], "mask": (None if how == "cross" else options["mask"], other)}
        assert_close(fn.expected_ntk(X[[i]], **options), case[field][i, j])


@by_general_case
@pytest.mark.parametrize("regulariser", ["exact", "none"])
def test_gradients_of_all_rows_at_once(case, regulariser):
    """What training calls: inputs and variances apart."""
    X, V, targets = case["X"], case["V"], case["y"][:, np.newaxis]
    neurons = as_neurons((case["W"], case["a"]), X)
    gradient, mean = objective_gradient(X, V, neurons, targets, regulariser, Options())
    assert_close(gradient, case["grad_expected" if regulariser == "exact" else "grad_smoothed"])
    assert_close(mean[:, 0], case["f_bar"])


def test_the_cases_are_all_there():
    """Nothing above passes because a case or a field is gone."""
    assert [case["name"] for case in load()["cases"]] == [case["name"] for case in ALL]
    assert len(MULTIPLICATIVE) == 5
    assert len(GENERAL) == 1
    for case in ALL:
        assert set(KERNELS) | set(TERMS) | {"P", "feat_mean", "feat_sq", "relu_sq"} <= set(case)
        assert ("grad_expected" in case) == ("degenerate" not in case["name"])
