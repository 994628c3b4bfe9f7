"""What the closed forms refuse: argument, value, and what is allowed or would help."""

import numpy as np
import pytest

import fastntk as fn
from fastntk.smoothing import (
    expected_gradient,
    mean_features,
    output_variance,
    pattern_probability,
    sampled_variance,
    variance_terms,
)

from ..test_bad_input import refused
from .problems import MASKS, arrays, network, rows, targets

X, Y, T = rows(4), rows(3, seed=1), targets(4)
W, A = arrays()
NAN, INF = X.copy(), W.copy()
NAN[1, 2], INF[3, 0] = np.nan, -np.inf
FUNCTIONS = {
    "expected_ntk": fn.expected_ntk,
    "expected_outputs": fn.expected_outputs,
    "pattern_probability": pattern_probability,
    "mean_features": mean_features,
    "output_variance": output_variance,
    "variance_terms": variance_terms,
    "sampled_variance": sampled_variance,
    "expected_loss": lambda X, **options: fn.expected_loss(X, options.pop("y", T), **options),
    "expected_gradient": lambda X, **options: expected_gradient(X, options.pop("y", T), **options),
}
COMMON = {
    "X of one dimension": ({"X": X[0]}, ValueError, "X has shape (5,); two dimensions"),
    "X NaN": ({"X": NAN}, ValueError, "X; not finite; X[1, 2] is nan"),
    "X beyond float32": (
        {"X": np.full((4, 5), 1e39)},
        ValueError,
        "X is not finite after rounding to float32",
    ),
    "X complex": ({"X": X + 0j}, TypeError, "X has dtype complex128"),
    "X empty": ({"X": X[:0]}, ValueError, "X has shape (0, 5); at least one row"),
    "X of other features": ({"X": X[:, :4]}, ValueError, "X has 4 features; dim=5"),
    "network missing": ({"network": None}, TypeError, "network is None; Network"),
    "network weights alone": ({"network": W}, TypeError, "network is; it must be a Network"),
    "mask a number": ({"mask": 0.3}, TypeError, "mask is 0.3; GaussianMask"),
    "mask for other features": (
        {"mask": fn.GaussianMask([0.1] * 4)},
        ValueError,
        "kappa of GaussianMask is for 4 features; X has 5",
    ),
    "mask lognormal": (
        {"mask": fn.LognormalMask(0.4)},
        ValueError,
        "mask is LognormalMask(kappa=0.4); Gaussian; GaussianMask(kappa=0.416546) has the same mean and var",
    ),
    "mask Bernoulli": (
        {"mask": fn.BernoulliMask(0.8)},
        ValueError,
        "mask is BernoulliMask(keep=0.8); Gaussian; GaussianMask(kappa=0.5) has the same mean and variance",
    ),
    "memory_limit a word": ({"memory_limit": "1 GB"}, TypeError, "memory_limit is '1 GB'; integer"),
    "memory_limit zero": ({"memory_limit": 0}, ValueError, "memory_limit is 0; at least 1"),
    "memory_limit small": ({"memory_limit": 100}, MemoryError, "; need about; memory_limit is 100 B; Use"),
}
THREADED = {
    "threads none": ({"threads": 0}, ValueError, "threads is 0; from 1 to 256"),
    "threads a half": ({"threads": 0.5}, TypeError, "threads is 0.5; integer"),
}
REPORTING = {
    "progress a number": ({"progress": 3}, TypeError, "progress is 3; function"),
}
PAIRS = {
    "a pair of one": ({"network": (W,)}, TypeError, "network is a tuple of 1; (W, a)"),
    "a pair of three": ({"network": [W, A, A]}, TypeError, "network is a list of 3; (W, a)"),
    "W of other features": (
        {"network": (W[:, :4], A)},
        ValueError,
        "network[0] has 4 features; 5 are expected",
    ),
    "W infinite": ({"network": (INF, A)}, ValueError, "network[0] is not finite; network[0][3, 0] is -inf"),
    "W beyond float32": ({"network": (1e39 * W, A)}, ValueError, "network[0]; float32"),
    "W of one dimension": ({"network": (W[0], A)}, ValueError, "network[0] has shape (5,)"),
    "a too short": ({"network": (W, A[1:])}, ValueError, "network[1] has length 23; 24"),
    "a NaN": ({"network": (W, A * np.nan)}, ValueError, "network[1] is not finite"),
    "a of three dimensions": (
        {"network": (W, A[:, None, None])},
        ValueError,
        "network[1] has shape (24, 1, 1)",
    ),
    "a too large": ({"network": (W, 1e61 * A)}, ValueError, "network[1] holds magnitudes up to"),
    "a too small": ({"network": (W, 1e-65 * A)}, ValueError, "network[1] holds magnitudes up to"),
}
KERNEL = {
    "layers unknown": ({"layers": "first"}, ValueError, "layers is 'first'; 'hidden', 'output', 'both'"),
    "Y of other features": ({"Y": Y[:, :4]}, ValueError, "Y has 4 features; 5 are expected"),
    "Y NaN": ({"Y": NAN}, ValueError, "Y is not finite; Y[1, 2] is nan"),
    "masks shared with Y": (
        {"Y": Y, "share_masks": True},
        ValueError,
        "share_masks=True with Y has no closed form; average ntk(..., draws=) instead",
    ),
    "different masks without Y": (
        {"mask": (MASKS["strong"], MASKS["additive"])},
        ValueError,
        "mask is a pair of different masks without Y; no closed form; average ntk(..., draws=) instead",
    ),
    "repeated row_ids": (
        {"row_ids": [3, 1, 3, 2]},
        ValueError,
        "row_ids holds an id more than once; no closed form; average ntk(..., draws=) instead",
    ),
    "row_ids too few": ({"row_ids": [0]}, ValueError, "row_ids has shape (1,); 4 rows"),
    "column_ids without Y": ({"column_ids": [0, 1, 2, 3]}, ValueError, "column_ids is given without Y"),
    "share_masks a number": ({"share_masks": 1}, TypeError, "share_masks is 1; True or False"),
    "one mask of the pair a number": ({"mask": (None, 0.2)}, TypeError, "mask[1] is 0.2"),
    "one mask of the pair lognormal": (
        {"mask": (None, fn.LognormalMask(0.4))},
        ValueError,
        "mask is Lognormal",
    ),
    "column mask for other features": (
        {"Y": Y, "mask": (None, fn.AdditiveMask([0.1, 0.2]))},
        ValueError,
        "tau of AdditiveMask is for 2 features; Y has 5",
    ),
}
TARGETS = {
    "y too short": ({"y": T[1:]}, ValueError, "y has shape (3,); 4 rows"),
    "y NaN": ({"y": T * np.nan}, ValueError, "y is not finite; y[0] is nan"),
    "y of two outputs": ({"y": np.zeros((4, 2))}, ValueError, "y has shape (4, 2); outputs=1"),
    "y of strings": ({"y": ["a"] * 4}, TypeError, "y has dtype <U1"),
    "labels too large": (
        {"y": [0, 1, 2, 3], "network": network("given", 3)},
        ValueError,
        "y[3] is 3; integers from 0 to 2",
    ),
}
OTHERS = [
    ("expected_outputs", {"proxy": 1}, TypeError, "proxy is 1; True or False"),
    ("expected_outputs", {"proxy": "yes"}, TypeError, "proxy is 'yes'; True or False"),
    (
        "expected_gradient",
        {"regulariser": "second-order"},
        ValueError,
        "regulariser is; 'exact', 'first-order'",
    ),
    ("expected_gradient", {"regulariser": None}, ValueError, "regulariser is None; 'exact', 'first-order'"),
    ("sampled_variance", {"draws": 1}, ValueError, "draws is 1; from 2"),
    ("sampled_variance", {"draws": 2.0}, TypeError, "draws is 2.0; integer from 2"),
    ("sampled_variance", {"seed": -1}, ValueError, "seed is -1; from 0"),
    ("sampled_variance", {"row_ids": [1, 2]}, ValueError, "row_ids has shape (2,); 4 rows"),
    ("sampled_variance", {"network": (W, A)}, TypeError, "network is; it must be a Network"),
    ("output_variance", {"mask": (None, MASKS["strong"])}, TypeError, "mask is; it must be None or a mask"),
]


def call(name, changes):
    arguments = {"X": X, "network": network("given"), "mask": MASKS["multiplicative"], **changes}
    return lambda: FUNCTIONS[name](arguments.pop("X"), **arguments)


def refusals():
    """(function, changes, exception, parts of the message) of every table."""
    threaded = [name for name in FUNCTIONS if name not in ("pattern_probability", "mean_features")]
    reporting = [name for name in threaded if name != "variance_terms"]
    paired = [name for name in FUNCTIONS if name != "sampled_variance"]
    losses = ["expected_loss", "expected_gradient"]
    for names, table in (
        (FUNCTIONS, COMMON),
        (threaded, THREADED),
        (reporting, REPORTING),
        (paired, PAIRS),
        (["expected_ntk"], KERNEL),
        (losses, TARGETS),
    ):
        for name in names:
            for what, (changes, exception, parts) in table.items():
                yield pytest.param(name, changes, exception, parts, id=f"{name}, {what}")
    yield from (pytest.param(*other, id=f"{other[0]}, {other[1]}") for other in OTHERS)


@pytest.mark.parametrize(("name", "changes", "exception", "parts"), list(refusals()))
def test_refused(name, changes, exception, parts):
    refused(call(name, changes), exception, parts)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_call_itself_is_right(name):
    """Nothing above is refused for another reason."""
    assert call(name, {})() is not None


def test_allowed_sides_of_a_kernel():
    """What looks like the refused cases and has a closed form."""
    net, mask, strong = network("pair"), MASKS["multiplicative"], MASKS["strong"]
    K = fn.expected_ntk(X, Y, network=net, mask=mask)
    for options in (
        {"share_masks": False},
        {"column_ids": [5, 5, 5], "row_ids": [1, 1, 2, 2]},
        {"mask": (mask, fn.GaussianMask(0.6))},
    ):
        np.testing.assert_array_equal(fn.expected_ntk(X, Y, network=net, **{"mask": mask, **options}), K)
    cross = fn.expected_ntk(X, network=net, mask=(None, strong))
    np.testing.assert_array_equal(fn.expected_ntk(X, X, network=net, mask=(None, strong)), cross)
    shared = fn.expected_ntk(X, X, network=net, mask=(None, strong), share_masks=True)
    np.testing.assert_array_equal(shared, cross)
    alone = fn.expected_ntk(X, network=net, mask=mask)
    np.testing.assert_array_equal(fn.expected_ntk(X, network=net, mask=mask, row_ids=[7, 3, 9, 1]), alone)
    np.testing.assert_array_equal(fn.expected_ntk(X, network=net, mask=(mask, mask)), alone)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("expected_ntk", "fewer rows"),
        ("expected_outputs", "fewer rows"),
        ("pattern_probability", "fewer rows"),
        ("mean_features", "fewer rows"),
        ("output_variance", "a narrower network"),
        ("variance_terms", "fewer rows"),
        ("sampled_variance", "fewer rows"),
        ("expected_loss", "fewer rows"),
        ("expected_gradient", "fewer rows"),
    ],
)
def test_too_little_memory_says_what_would_help(name, advice):
    with pytest.raises(MemoryError, match=rf"need about [\d.]+ [KMGB]+.*Use .*{advice}.*larger memory_limit"):
        call(name, {"memory_limit": 1000})()


def test_inputs_are_not_written():
    own = [array.copy() for array in (X, W, A, T)]
    for name in FUNCTIONS:
        call(name, {} if name == "sampled_variance" else {"network": (W, A)})()
    for array, before in zip((X, W, A, T), own, strict=True):
        np.testing.assert_array_equal(array, before)
        assert array.flags.writeable
