"""The estimate of each closed form covers its peak, and everything is given back."""

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

from ..samples import some
from ..test_memory import measured, rows

RNG = np.random.default_rng(0)
MASK = fn.GaussianMask(0.3)
GIVEN = fn.Network.from_arrays(RNG.standard_normal((4000, 16)), RNG.standard_normal(4000))
SEVERAL = fn.Network(1000, 16, outputs=3)
NARROW = fn.Network(50, 16)
DEEP = fn.Network(300, 300)
PAIR = RNG.standard_normal((3000, 16)), RNG.standard_normal((3000, 5))


def gradient(X, **options):
    network = options["network"]
    return expected_gradient(X, np.zeros((len(X), network.outputs)), **options)


CASES = {  # (function, shape of X, options)
    "kernel": (fn.expected_ntk, (300, 16), {"network": GIVEN}),
    "kernel, many rows": (fn.expected_ntk, (900, 16), {"network": NARROW, "layers": "both"}),
    "kernel, few rows": (fn.expected_ntk, (2, 16), {"network": GIVEN, "layers": "both"}),
    "kernel, many features": (fn.expected_ntk, (200, 300), {"network": DEEP, "layers": "both"}),
    "kernel, two sides": (fn.expected_ntk, (200, 16), {"network": GIVEN, "Y": rows(90, 16)}),
    "outputs": (fn.expected_outputs, (1000, 16), {"network": PAIR}),
    "outputs, few rows": (fn.expected_outputs, (2, 16), {"network": GIVEN}),
    "outputs, many features": (fn.expected_outputs, (1000, 300), {"network": DEEP}),
    "probabilities": (pattern_probability, (300, 16), {"network": SEVERAL}),
    "probabilities, few rows": (pattern_probability, (3, 16), {"network": GIVEN}),
    "features": (mean_features, (50, 16), {"network": SEVERAL}),
    "features, few rows": (mean_features, (2, 16), {"network": GIVEN}),
    "variance": (output_variance, (3, 16), {"network": SEVERAL}),
    "variance, many rows": (output_variance, (1000, 16), {"network": NARROW}),
    "variance, many features": (output_variance, (20, 300), {"network": DEEP}),
    "terms": (variance_terms, (3, 16), {"network": SEVERAL}),
    "terms, many features": (variance_terms, (20, 300), {"network": DEEP}),
    "sampled variance": (sampled_variance, (300, 16), {"network": GIVEN, "draws": 2}),
    "sampled variance, many features": (sampled_variance, (300, 300), {"network": DEEP, "draws": 2}),
    "loss": (lambda X, **o: fn.expected_loss(X, X[:, 0], **o), (2000, 16), {"network": NARROW}),
    "gradient": (gradient, (3, 16), {"network": SEVERAL}),
    "gradient, many rows": (gradient, (500, 16), {"network": NARROW}),
    "gradient, many features": (gradient, (20, 300), {"network": DEEP}),
    "first-order gradient": (gradient, (300, 300), {"network": DEEP, "regulariser": "first-order"}),
    "smoothed gradient": (gradient, (300, 16), {"network": SEVERAL, "regulariser": "none"}),
}


QUICK = (
    "kernel",
    "kernel, few rows",
    "outputs",
    "variance",
    "terms",
    "loss",
    "gradient",
    "first-order gradient",
)


@pytest.mark.parametrize("name", some(CASES, *QUICK))
def test_the_estimate_covers_the_peak(name):
    """A limit just below what the call really takes must be refused: the estimate is above it."""
    function, shape, options = CASES[name]
    X = rows(*shape)
    if function not in (pattern_probability, mean_features):
        options = {"threads": 1, **options}
    peak, left = measured(lambda: function(X, mask=MASK, **options))
    assert left < 100_000
    with pytest.raises(MemoryError, match="memory_limit is"):
        function(X, mask=MASK, memory_limit=peak - 1, **options)


def test_memory_of_kernels_and_outputs_does_not_depend_on_the_width():
    X = rows(20, 16)
    for call in (
        lambda net: fn.expected_ntk(X, network=net, mask=MASK, layers="both", threads=1),
        lambda net: fn.expected_outputs(X, network=net, mask=MASK, threads=1),
    ):
        # beyond a chunk of 16384 neurons, whose output weights are made at a time
        peaks = [measured(lambda m=m, c=call: c(fn.Network(m, 16)))[0] for m in (20_000, 40_000)]
        assert peaks[1] < peaks[0] + 200_000  # the weights alone would be 2.6 MB more
