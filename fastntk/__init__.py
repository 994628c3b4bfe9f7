"""Exact neural tangent kernels of very wide two-layer ReLU networks under random input masks.

import fastntk as fn

net = fn.Network(width=10**7, dim=64, seed=0)        # virtual weights: nothing is stored
mask = fn.GaussianMask(0.2)                          # inputs are multiplied by N(1, 0.2^2)
K = fn.ntk(X, network=net, mask=mask, draws=4)       # (n, n) float64, exact
K_inf = fn.ntk_limit(X, mask=mask, draws=4)          # infinite width, same masked inputs
"""

from importlib import import_module

from ._version import __version__

_HOME = {
    "Network": "network",
    "GaussianMask": "masks",
    "AdditiveMask": "masks",
    "LognormalMask": "masks",
    "BernoulliMask": "masks",
    "ntk": "gram",
    "ntk_diag": "gram",
    "ntk_operator": "operator",
    "NtkOperator": "operator",
    "kernel_ridge": "ridge",
    "KernelRidge": "ridge",
    "expected_ntk": "smoothing",
    "expected_outputs": "smoothing",
    "expected_loss": "smoothing",
    "ExpectedLoss": "smoothing",
    "ntk_limit": "limit",
    "nngp_limit": "limit",
    "CheckpointError": "engine.checkpoint",
    "CheckpointWarning": "engine.checkpoint",
    "activation_pattern": "forward",
    "ActivationPattern": "forward",
    "outputs": "forward",
    "vjp": "gradient",
    "jvp": "gradient",
    "predict_loss": "dynamics",
    "LossPrediction": "dynamics",
    "kernel_regime": "regime",
    "KernelRegime": "regime",
    "gradient_descent_mse": "predict",
    "gradient_descent_mse_ensemble": "ensemble",
    "Gaussian": "ensemble",
    "certify": "certificate",
    "Certificate": "certificate",
    "ExecutorWarning": "engine.distributed_sweep",
    "train": "training",
    "TrainingWarning": "training",
    "TrainingInterrupted": "training",
    "TrainingRun": "training_run",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name):
    """Import a public name when it is first used: ``import fastntk`` itself stays light."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
