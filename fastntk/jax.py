"""Outputs and kernels for JAX programs: under jit, grad and vmap, with fastntk's kernels behind them.

    f = outputs(X, W, a, mask=mask, seed=0, draw=step)    gradients with respect to X, W and a
    K = ntk(X, Y, network=network, mask=mask)             gradients with respect to X and Y

Each is a ``jax.pure_callback``: the host computes, on the CPU, from arrays that JAX hands over.  Under vmap
the calls are made one after the other.  Gradients are those with the activation pattern held fixed, as in
``fastntk.torch``; forward mode (jvp, jacfwd) is not there, as of any ``jax.custom_vjp``.  Results are float64
where ``jax_enable_x64`` is on, and rounded to float32 where it is not.
"""

from functools import partial

from .explained import EXTRAS

try:
    import jax
except ImportError as error:
    raise ImportError(f'fastntk.jax needs JAX: python -m pip install "fastntk[jax]". {EXTRAS}') from error

import jax.numpy as jnp
import numpy as np

from . import derivatives, forward, gradient, gram, masking, validation
from .network import Network, as_network

__all__ = ["ntk", "outputs"]


def outputs(X, W, a, *, mask=None, seed=0, draw=0):
    """Outputs f_c(x~_i) = m^{-1/2} sum_r a_rc relu(w_r . x~_i), differentiable by X, W and a.

    Parameters
    ----------
    X : (n, d) array
    W : (m, d) array
        Hidden weights.
    a : (m,) array, (m, q) for q outputs
        Output weights.
    mask : mask or None
    seed : int
        Seed of the masks, a number and not a traced one.
    draw : int, or an integer array ()
        Which masks; it may be traced, so a jitted step takes its own number.

    Returns
    -------
    (n,) array, (n, q) for a of two dimensions and q > 1
        float64 where x64 is on, else float32.

    Raises
    ------
    TypeError, ValueError
        For shapes when it is traced; for values when it runs, inside the error of the callback.

    Notes
    -----
    Computed by :func:`fastntk.outputs` at X and W rounded to float32; gradients with respect to W and a by
    :func:`fastntk.vjp` (float32 for W), with respect to X by a product with W in float64.  What is not asked
    for is not computed.

    Source: arXiv 2602.17423; docs/mathematics.md, section 6.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from fastntk.jax import outputs
    >>> X, a = jnp.array([[1.0, 2.0]]), jnp.ones(4)
    >>> W = jnp.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    >>> jax.jit(jax.grad(lambda W: outputs(X, W, a).sum()))(W)
    Array([[0.5, 1. ],
           [0.5, 1. ],
           [0. , 0. ],
           [0. , 0. ]], dtype=float32)
    """
    X, W, a = (jnp.asarray(value) for value in (X, W, a))
    _require_shape(X, "X", 2)
    _require_shape(W, "W", 2, X.shape[1])
    if a.ndim not in (1, 2) or len(a) != len(W):
        raise ValueError(
            f"a has shape {a.shape}; it must be ({len(W)},), or ({len(W)}, q) for q outputs: a row for each "
            f"of the neurons of W."
        )
    masking.as_mask(mask)
    draw = jnp.asarray(draw)
    if draw.ndim or not jnp.issubdtype(draw.dtype, jnp.integer):
        raise TypeError(f"draw is an array {draw.shape} of {draw.dtype}; it must be one integer.")
    return _outputs(mask, validation.as_seed(seed), X, W, a, draw)


def ntk(X, Y=None, *, network, mask=None, draws=1, seed=0, layers="hidden"):
    """The kernel of :func:`fastntk.ntk`; that of the hidden layer is differentiable by X and Y.

    Parameters
    ----------
    X : (n, d) array
    Y : (p, d) array, optional
    network : Network
        Given weights: ``fastntk.Network.from_arrays(W, a)``, outside jit.
    mask, draws, seed, layers
        As for :func:`fastntk.ntk`; not traced.

    Returns
    -------
    (n, p) array
        float64 where x64 is on, else float32.

    Notes
    -----
    The gradient is that of the inner products x~_i . x~_j, with the patterns held fixed
    (:func:`fastntk.torch.ntk` has the formula); it costs one more kernel for each draw.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, fastntk as fn
    >>> from fastntk.jax import ntk
    >>> net = fn.Network.from_arrays([[1.0, 0.0], [0.0, -1.0]], [1.0, 1.0])
    >>> jax.grad(lambda X: ntk(X, network=net).sum())(jnp.array([[1.0, 2.0]]))
    Array([[1., 2.]], dtype=float32)
    """
    X, Y = jnp.asarray(X), None if Y is None else jnp.asarray(Y)
    _require_shape(X, "X", 2)
    if Y is not None:
        _require_shape(Y, "Y", 2, X.shape[1])
    as_network(network, X)
    draws, seed = gram.checked_draws(draws, seed, layers)
    mask = tuple(mask) if isinstance(mask, list) else mask
    return _ntk((network, mask, draws, seed, layers), X, Y)


# ---------------------------------------------------------------------------------- outputs
@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _outputs(mask, seed, X, W, a, draw):
    def compute(X, W, a, draw):
        return forward.outputs(X, network=Network.from_arrays(W, a), mask=mask, seed=seed, draw=int(draw))

    shape = (len(X),) if a.ndim == 1 or a.shape[1] == 1 else (len(X), a.shape[1])
    return _call(compute, shape, X, W, a, draw)


def _outputs_forward(mask, seed, X, W, a, draw):
    needed = [() if value.perturbed else None for value in (X, W, a)]  # in the structure, which is static
    X, W, a, draw = X.value, W.value, a.value, draw.value
    return _outputs(mask, seed, X, W, a, draw), (needed, X, W, a, draw)


def _outputs_backward(mask, seed, saved, u):
    needed, X, W, a, draw = saved

    def by_inputs(X, W, a, draw, u):
        where = {"seed": seed, "draw": int(draw)}
        network = Network.from_arrays(W, a)
        masked = masking.sample(mask, X, **where)
        return derivatives.input_gradient(masked, u, network=network) * derivatives.mask_factor(
            mask, X, **where
        )

    def by_weights(layers, X, W, a, draw, u):
        network = Network.from_arrays(W, a)
        g = gradient.vjp(X, u, network=network, layers=layers, mask=mask, seed=seed, draw=int(draw))
        return g.reshape(W.shape if layers == "hidden" else a.shape)

    functions = (by_inputs, partial(by_weights, "hidden"), partial(by_weights, "output"))
    gradients = [
        _call(compute, value.shape, X, W, a, draw, u).astype(value.dtype) if wanted is not None else None
        for compute, value, wanted in zip(functions, (X, W, a), needed, strict=True)
    ]
    return (*gradients, None)


_outputs.defvjp(_outputs_forward, _outputs_backward, symbolic_zeros=True)


# ----------------------------------------------------------------------------------- kernel
@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _ntk(options, X, Y):
    network, mask, draws, seed, layers = options

    def compute(X, Y=None):
        return gram.ntk(X, Y, network=network, mask=mask, draws=draws, seed=seed, layers=layers)

    return _call(compute, (len(X), len(X if Y is None else Y)), *(X, Y)[: 1 if Y is None else 2])


def _ntk_forward(options, X, Y):
    if options[-1] != "hidden":
        raise ValueError(
            f"layers is {options[-1]!r}; gradients are for layers='hidden'. Use jax.lax.stop_gradient where "
            f"none is needed."
        )
    return _ntk(options, X, Y), (X, Y)


def _ntk_backward(options, saved, G):
    network, mask, draws, seed, _ = options
    given = {"network": network, "mask": mask, "draws": draws, "seed": seed}

    def compute(G, X, Y=None):
        by_rows, by_columns = derivatives.kernel_gradient(G, X, Y, **given)
        return by_rows if Y is None else np.concatenate([by_rows, by_columns])

    X, Y = saved
    if Y is None:
        return _call(compute, X.shape, G, X).astype(X.dtype), None
    both = _call(compute, (len(X) + len(Y), X.shape[1]), G, X, Y)
    return both[: len(X)].astype(X.dtype), both[len(X) :].astype(Y.dtype)


_ntk.defvjp(_ntk_forward, _ntk_backward)


# ------------------------------------------------------------------------------------ pieces
def _call(compute, shape, *arrays):
    """The host's ``compute`` of NumPy arrays, as an array of this shape."""
    dtype = jax.dtypes.canonicalize_dtype(np.float64)

    def on_host(*arrays):
        return np.asarray(compute(*map(np.asarray, arrays)), dtype)

    result = jax.ShapeDtypeStruct(shape, dtype)
    return jax.pure_callback(on_host, result, *map(_known_to_numpy, arrays), vmap_method="sequential")


def _known_to_numpy(array):
    """NumPy has no bfloat16 or float8; each is a float32."""
    is_narrow = jnp.issubdtype(array.dtype, jnp.floating) and array.dtype.itemsize < 4
    return array.astype(np.float32) if is_narrow else array


def _require_shape(array, name, dimensions, columns=None):
    if array.ndim != dimensions or (columns is not None and array.shape[1] != columns):
        expected = f"(rows, {'features' if columns is None else columns})"
        raise ValueError(f"{name} has shape {array.shape}; it must be {expected}.")
