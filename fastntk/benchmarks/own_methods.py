"""The kernel and its limit by this package."""

import fastntk as fn


def virtual(problem):
    """Weights are made in cache as they are needed."""
    X, network = problem.X, problem.network
    return lambda: fn.ntk(X, network=network, threads=problem.threads)


def given(problem):
    """The same weights from an array."""
    X, network = problem.X, fn.Network.from_arrays(*problem.weights())
    return lambda: fn.ntk(X, network=network, threads=problem.threads)


def limit(problem):
    """Infinite width."""
    X = problem.X
    return lambda: fn.ntk_limit(X)
