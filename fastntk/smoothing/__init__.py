"""Closed forms of what Gaussian input masks do to a two-layer ReLU network.

Means over the masks of its kernel, outputs, patterns and features, the variance of its outputs, and the
expected loss with its gradient: for GaussianMask and AdditiveMask, under which preactivations are Gaussian.
Besides a Network each takes a pair (W, a) of arrays, which stay in float64 (``sampled_variance`` does not).

    smoothed_relu, proxy_relu       E relu(h) of h ~ N(z, s^2), and the paper's z Phi(z / s); elementwise
    pattern_probability             P(h_ri > 0)
    mean_features                   E x~_i 1{h_ri > 0}
    expected_outputs                E f(x~_i)
    expected_ntk                    the mean of ``ntk`` over the masks: shared, independent, cross
    output_variance                 Var f(x~_i), exact
    sampled_variance                the same from some draws, at any width
    variance_terms                  its first two terms and an upper bound
    expected_loss                   smoothed mean squared error + regulariser
    expected_gradient               the gradient of both, or of a first-order regulariser
    both_active, relu_relu, relu_active, relu_density
                                    moments of two neurons under one mask, of deviation 1; elementwise

Source: arXiv 2602.17423, and docs/mathematics.md, sections 8 and 9.
"""

from ..gaussian import proxy_relu, smoothed_relu
from ..gaussian_pairs import both_active, relu_active, relu_density, relu_relu
from .kernel import expected_ntk
from .objective import ExpectedLoss, expected_gradient, expected_loss
from .outputs import expected_outputs, mean_features, pattern_probability
from .variance import SampledVariance, VarianceTerms, output_variance, sampled_variance, variance_terms

__all__ = [
    "ExpectedLoss",
    "SampledVariance",
    "VarianceTerms",
    "both_active",
    "expected_gradient",
    "expected_loss",
    "expected_ntk",
    "expected_outputs",
    "mean_features",
    "output_variance",
    "pattern_probability",
    "proxy_relu",
    "relu_active",
    "relu_density",
    "relu_relu",
    "sampled_variance",
    "smoothed_relu",
    "variance_terms",
]
