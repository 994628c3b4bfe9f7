"""Products with the gradients of a network's outputs: vector-Jacobian and Jacobian-vector."""

import numpy as np

from . import masking, validation
from .arrays import like_its_arrays
from .engine.devices import checked_backend
from .engine.environment import in_ieee_arithmetic
from .engine.gradients import (
    Cotangent,
    HiddenGradient,
    HiddenTangent,
    OutputGradient,
    OutputTangent,
    Tangent,
)
from .engine.neuron_sums import NeuronSums
from .engine.plan import allowed_memory, checked_options, describe_bytes
from .explained import MEMORY
from .gram import LAYERS, quantities
from .network import as_network

LARGEST_WEIGHT = 1e180  # of an output, in vjp: times 1e60 and sums of float32 products, float64 still


@like_its_arrays
@in_ieee_arithmetic
def vjp(
    X,
    u,
    *,
    network,
    layers="hidden",
    mask=None,
    seed=0,
    draw=0,
    row_ids=None,
    out=None,
    backend="auto",
    threads=None,
    memory_limit=None,
    progress=None,
):
    """The gradient of sum_ic u_ic f_c(x~_i) with respect to the weights: a vector-Jacobian product.

    With b the activation pattern (b_ri = 1 where w_r . x~_i > 0),

        hidden:  G_r  = m^{-1/2} sum_i b_ri (sum_c a_rc u_ic) x~_i
        output:  g_rc = m^{-1/2} sum_i u_ic relu(w_r . x~_i)

    With u_ic = f_c(x~_i) - y_ic it is the gradient of the squared loss 1/2 sum_ic (f_c(x~_i) - y_ic)^2.

    Parameters
    ----------
    X : (n, d) real array
        Inputs, rounded to float32; never written.
    u : (n,) real array, (n, q) for a network of q outputs
        What the outputs are weighted with, up to 1e180.
    network : Network
    layers : "hidden", "output" or "both"
        The weights to differentiate by.
    mask : mask or None
    seed, draw, row_ids
        Which masks, as in :func:`fastntk.ntk`.
    out : (m, d) float32 array, optional
        Receives the hidden part: C-contiguous and writable, a ``np.memmap`` too.  It holds unfinished rows
        if the call fails.
    backend, threads, memory_limit, progress
        As in :func:`fastntk.ntk`.

    Returns
    -------
    (m, d) float32, or (m,) float64 ((m, q) for q outputs), or both as a tuple
        ``out`` itself where it is given.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it was and what it may be; where the gradient is beyond float32.
    MemoryError
        Before anything is allocated, with the estimate and what would help.

    Notes
    -----
    Cost O(m n d): one forward pass, and for one output a sum by table look-up that is twice as fast; for q
    outputs O(m n q d / 64) more.  The output layer is computed in float64.  Memory besides the result:
    O(threads n) bits of a range of neurons, and O(n d).

    Error of G_rk: (260 + q) 2^-24 of m^{-1/2} sum_i sum_c |a_rc u_ic| |x~_ik|, and one rounding to
    float32; docs/mathematics.md, section 6, has the derivation.  The same bits for any number of threads,
    and for one output on the processors of every machine.

    A network's ``scale`` multiplies its output layer's gradient; the hidden layer's is with respect to
    the scaled weights, and does not depend on it.

    Examples
    --------
    >>> import fastntk as fn
    >>> net = fn.Network.from_arrays([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]], [1.0, 1.0, 1.0, 1.0])
    >>> fn.vjp([[1.0, 2.0], [3.0, -4.0]], [1.0, 0.5], network=net)
    array([[ 1.25,  0.  ],
           [ 0.5 ,  1.  ],
           [ 0.  ,  0.  ],
           [ 0.75, -1.  ]], dtype=float32)
    """
    backend = checked_backend(backend, X, u)
    X = validation.as_matrix(X, "X")
    neurons = as_network(network, X)._neurons
    validation.as_choice(layers, "layers", LAYERS)
    u = for_outputs(u, "u", len(X), neurons.outputs)
    if np.abs(u).max() > LARGEST_WEIGHT:
        raise ValueError(
            f"u holds magnitudes up to {np.abs(u).max():g}; the largest must be at most {LARGEST_WEIGHT:g}."
        )
    options = checked_options(threads, memory_limit, progress, backend)
    if out is not None:
        _check_out(out, layers, neurons, X)

    width, dim, outputs = neurons.width, neurons.dim, neurons.outputs
    makes_hidden = layers != "output" and out is None
    result_bytes = 4 * width * dim if makes_hidden else 0
    result_bytes += 9 * width * outputs if layers != "hidden" else 0
    _check_room(result_bytes, makes_hidden, neurons, memory_limit)
    sums = NeuronSums(
        neurons,
        quantities(layers, HiddenGradient, OutputGradient),
        len(X),
        values=outputs,
        options=options,
        result_bytes=result_bytes + Cotangent.nbytes(len(X), dim, outputs),
    )
    inputs = sums.pack(masking.sample(mask, X, seed=seed, draw=draw, row_ids=row_ids))
    hidden = np.empty((width, dim), np.float32) if makes_hidden else out
    output = np.zeros((width, outputs)) if layers != "hidden" else None
    cotangent = Cotangent(u, inputs, neurons, None if hidden is None else hidden.view(np.ndarray), output)
    sums.run([inputs], cotangent=cotangent)
    if output is not None:
        output = output if outputs > 1 else output[:, 0]
    return {"hidden": hidden, "output": output, "both": (hidden, output)}[layers]


@like_its_arrays
@in_ieee_arithmetic
def jvp(
    X,
    V,
    *,
    network,
    layers="hidden",
    mask=None,
    seed=0,
    draw=0,
    row_ids=None,
    backend="auto",
    threads=None,
    memory_limit=None,
    progress=None,
):
    """The derivative of the outputs f_c(x~_i) along a direction of the weights: a Jacobian-vector product.

        hidden:  m^{-1/2} sum_r a_rc b_ri (V_r . x~_i)
        output:  m^{-1/2} sum_r V_rc relu(w_r . x~_i)

    It is the transpose of :func:`vjp`: sum(u * jvp(X, V)) = sum(vjp(X, u) * V) up to rounding.

    Parameters
    ----------
    X : (n, d) real array
        Inputs, rounded to float32; never written.
    V : real array, or a pair of them
        (m, d) for the hidden layer, rounded to float32 and read by blocks, a ``np.memmap`` too; (m,) for
        the output layer, (m, q) for a network of q outputs; for "both" the pair (hidden, output).
    network : Network
    layers : "hidden", "output" or "both"
        The weights that move.
    mask : mask or None
    seed, draw, row_ids
        Which masks, as in :func:`fastntk.ntk`.
    backend, threads, memory_limit, progress
        As in :func:`fastntk.ntk`.

    Returns
    -------
    (n,) float64, (n, q) for a network of q outputs

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it was and what it may be.
    MemoryError
        Before anything is allocated, with the estimate and what would help.

    Notes
    -----
    Cost O(m n d): one forward pass, and for each output a sum by table look-up that is twice as fast; for
    the output layer O(m n (d + q)) in float64.  Memory O(threads n) bits of a range of neurons, whatever
    the width.

    Error of the hidden part: 260 2^-24 of m^{-1/2} sum_rk |a_rc V_rk x~_ik|; docs/mathematics.md, section 6,
    has the derivation.  The output layer's is that of float64.  The same bits for any number of threads, and
    on the processors of every machine.

    Examples
    --------
    >>> import numpy as np, fastntk as fn
    >>> net = fn.Network.from_arrays([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]], [1.0, 1.0, 1.0, 1.0])
    >>> fn.jvp([[1.0, 2.0], [3.0, -4.0]], np.ones((4, 2)), network=net)
    array([ 3., -1.])
    """
    backend = checked_backend(backend, X)
    X = validation.as_matrix(X, "X")
    neurons = as_network(network, X)._neurons
    validation.as_choice(layers, "layers", LAYERS)
    V, Va = _directions(V, layers, neurons)
    options = checked_options(threads, memory_limit, progress, backend)
    outputs = neurons.outputs
    sums = NeuronSums(
        neurons,
        quantities(layers, HiddenTangent, OutputTangent),
        len(X),
        values=outputs,
        options=options,
        result_bytes=Tangent.nbytes(neurons, V, Va, options.threads),
    )
    tangent = Tangent(neurons, V, Va)
    if V is not None:
        _check_finite(V, tangent.measure(sums.kernels, sums.plan.threads))
    inputs = sums.pack(masking.sample(mask, X, seed=seed, draw=draw, row_ids=row_ids))
    inputs.norm_exponents  # noqa: B018  once, not by each worker
    parts = sums.run([inputs], tangent=tangent)
    if Va is not None:
        parts[-1] = np.ldexp(parts[-1] * neurons.scale, tangent.exponent)
    result = sum(parts) / np.sqrt(neurons.width)
    if not np.isfinite(result).all():
        row = np.argwhere(~np.isfinite(result))[0, 0]
        raise ValueError(f"the derivative along V is beyond float64 for row {row} of X. Scale V down.")
    return inputs.spread_rows(result if outputs > 1 else result[:, 0])


def for_outputs(value, name, length, outputs):
    """A finite real array (length,) or (length, q) of numbers for each output, as (length, q) float64."""
    array = validation.as_columns(value, name, length=length)
    if array.shape[1] != outputs:
        shape = f"({length},)" if outputs == 1 else f"({length}, {outputs})"
        raise ValueError(
            f"{name} has shape {tuple(np.shape(value))}; {shape} is expected, as the network has {outputs} "
            f"outputs."
        )
    return array


def _directions(V, layers, neurons):
    """(V, Va) of the right shapes, finite where they are small; None for a layer that does not move."""
    Va, name = V, "V"
    if layers == "both":
        if not isinstance(V, (tuple, list)) or len(V) != 2:
            raise TypeError(
                f"V is {type(V).__name__} with layers='both'; it must be a pair: (V, Va) of shapes "
                f"({neurons.width}, {neurons.dim}) and ({neurons.width}, {neurons.outputs})."
            )
        (V, Va), name = V, "V[1]"
    if layers != "hidden":
        Va = for_outputs(Va, name, neurons.width, neurons.outputs)
    if layers == "output":
        return None, Va
    V = validation.as_array(V, "V")
    if V.dtype.kind not in "fiub":
        raise TypeError(f"V has dtype {V.dtype}; it must be a real number type (float, integer or bool).")
    if V.shape != (neurons.width, neurons.dim):
        raise ValueError(
            f"V has shape {V.shape}; ({neurons.width}, {neurons.dim}) is expected, a row for each neuron."
        )
    return V, None if layers == "hidden" else Va


def _check_finite(V, first):
    """Raise with the place of the first value of V that is not finite in float32, from row ``first`` on."""
    if first is None:
        return
    for row in range(first, len(V)):
        bad = np.flatnonzero(~np.isfinite(V[row].astype(np.float32)))
        if len(bad):
            value = V[row, bad[0]]
            when = "" if not np.isfinite(value) else " after rounding to float32"
            raise ValueError(f"V is not finite{when}: V[{row}, {bad[0]}] is {value}.")


def _check_out(out, layers, neurons, X):
    """Refuse an ``out`` that cannot receive the hidden part."""
    if layers == "output":
        raise ValueError(
            "out is given with layers='output'; it receives the hidden part, which is not asked for."
        )
    others = {"X": X, "the weights of the network": neurons.given_weights}
    validation.as_output(out, "out", (neurons.width, neurons.dim), others)


def _check_room(result_bytes, makes_hidden, neurons, memory_limit):
    """Refuse a result that does not fit the memory, whatever the number of rows."""
    limit, source = allowed_memory(memory_limit)
    if makes_hidden and result_bytes > limit:
        raise MemoryError(
            f"the gradient of {neurons.width} neurons of {neurons.dim} features takes "
            f"{describe_bytes(result_bytes)}, but {source} is {describe_bytes(limit)}. Give a file: "
            f'out=np.lib.format.open_memmap("gradient.npy", "w+", np.float32, {neurons.width, neurons.dim}). '
            f"{MEMORY}"
        )
