"""The kernel in JAX, on the CPU: products of matrices, the Jacobian, and neural-tangents."""

import os
from functools import partial

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # before it is imported

import jax
import jax.numpy as jnp
import numpy as np

from .problem import BLOCK


@jax.jit
def _add_counts(counts, X, W):
    P = (X @ W.T > 0).astype(jnp.float32)
    return counts + P @ P.T


@jax.jit
def _scaled(counts, X, width):
    return (X @ X.T) * counts / width


def matrix_form(problem):
    """As one writes it with matrices, blocks of neurons at a time."""
    X, (W, _) = jnp.asarray(problem.X), problem.weights()
    blocks = [jnp.asarray(W[start : start + BLOCK]) for start in range(0, len(W), BLOCK)]

    def call():
        counts = jnp.zeros((len(X), len(X)), jnp.float32)
        for block in blocks:
            counts = _add_counts(counts, X, block)
        return np.asarray(_scaled(counts, X, problem.width))

    return call


def _output(W, x, a):
    return jax.nn.relu(W @ x) @ a


@jax.jit
def _contracted(W, X, a):
    J = jax.vmap(jax.jacrev(_output), (None, 0, None))(W, X, a).reshape(len(X), -1)
    return J @ J.T


def _arrays(problem):
    """X (n, d), W (m, d), a / sqrt(m) (m,), float32."""
    W, a = problem.weights()
    return jnp.asarray(problem.X), jnp.asarray(W), jnp.asarray(a / len(W) ** 0.5, jnp.float32)


def jacobian(problem):
    """The Jacobian by vmap and jacrev, contracted with itself."""
    X, W, a = _arrays(problem)
    return lambda: np.asarray(_contracted(W, X, a))


def neural_tangents(problem):
    """``empirical_ntk_fn``, which chooses how to go about it."""
    import neural_tangents as nt

    X, W, a = _arrays(problem)

    def outputs(W, X):
        return jax.nn.relu(X @ W.T) @ a[:, None]

    kernel = jax.jit(partial(nt.empirical_ntk_fn(outputs, vmap_axes=0), X, None))
    return lambda: np.asarray(kernel(W))


def neural_tangents_limit(problem):
    """The kernel of the infinite network by ``stax``, less what the output layer adds."""
    from neural_tangents import stax

    X = jnp.asarray(problem.X)
    *_, kernel = stax.serial(
        stax.Dense(1, W_std=problem.d**0.5, b_std=None), stax.Relu(), stax.Dense(1, W_std=1, b_std=None)
    )
    jitted = jax.jit(partial(kernel, get=("ntk", "nngp")))

    def call():
        found = jitted(X, None)
        return np.asarray(found.ntk - found.nngp)

    return call
