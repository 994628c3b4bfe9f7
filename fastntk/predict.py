"""Outputs of gradient flow with a kernel at hand, at any time: those of one start (``flow.py``)."""

from .engine.environment import in_ieee_arithmetic
from .flow import Flow, as_kernel, as_times


@in_ieee_arithmetic
def gradient_descent_mse(
    k_train_train, y_train, learning_rate=1.0, diag_reg=0.0, diag_reg_absolute_scale=False
):
    """Outputs of gradient flow on the mean squared error, with a given kernel, at any time.

    The function of this name in neural-tangents, for a kernel matrix from anywhere.

    Parameters
    ----------
    k_train_train : (n, n) real array
        The kernel of the training rows, such as ``ntk(X, network=net, layers="both")``; symmetric within
        1e-12 of its largest entry, positive semidefinite.  With several outputs it is that of each of them
        (``trace_axes=(-1,)`` in neural-tangents).
    y_train : (n,) or (n, q) real array
        Targets.
    learning_rate : float
        Times t is how far flow has gone: only their product counts.
    diag_reg : float
        At least 0; times the mean of the diagonal of the kernel, it is added to that diagonal.
    diag_reg_absolute_scale : bool
        Whether ``diag_reg`` is added as it is.

    Returns
    -------
    predict(t=None, fx_train_0=0.0, fx_test_0=None, k_test_train=None)
        A function of

        * t: a time or an array of times, from 0 to infinity; None is infinity;
        * fx_train_0: the outputs on the training rows at time 0, a number or like ``y_train``; None for no
          prediction of them (they are taken for 0 then);
        * fx_test_0: those on p test rows, a number or (p,) or (p, q); None for no prediction of them;
        * k_test_train: the (p, n) kernel of test and training rows, which goes with fx_test_0.

        It returns fx_train, (fx_train, fx_test), or fx_test where fx_train_0 is None: float64, with the axes
        of t before those of the outputs.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it was and what it may be; where the kernel has an eigenvalue below
        -1.5e-8 times its largest one (-3.5e-4 times for float32).
    MemoryError
        Before anything is allocated, with the estimate and what would help.

    Notes
    -----
    *Normalisation*, as in neural-tangents: the loss is |f - y|^2 / (2 N), N = y_train.size, all rows and
    outputs.  :func:`fastntk.train` and :func:`fastntk.kernel_regime` descend |f - y|^2 / 2: their step_size
    is learning_rate / N, and t the number of steps, where steps are short (step_size times the largest
    eigenvalue well below 1).  ``kernel_regime(...).outputs(t, flow=True)`` is the same prediction with the
    network's own kernel and start.

    *Regulariser*, as in neural-tangents: it takes part in the dynamics, so training rows end at y_train for
    any ``diag_reg``.  Regularised predictions on them are those of test rows: give fx_test_0 and
    ``k_test_train=k_train_train``.

    *Singular kernels* (duplicate rows, zero rows).  Eigenvalues up to n e times the largest, e the machine
    epsilon of the kernel's dtype, are rounding and count as 0: these modes are never learned, neither on
    training nor on test rows.  At infinity the others are all learned, which is the pseudo-inverse of the
    kernel: training rows end at the projection of y_train - f_0 onto its range, plus f_0.  (neural-tangents
    gives y_train for t=None even so, and NaN on test rows.)

    *Cost*: the eigenvectors of the kernel, O(n^3), once: seconds for n = 2000 and minutes for n = 10^4 on two
    cores; 24 n^2 bytes while they are computed, 8 n^2 in the returned function.  Then O((n + p) n q) for each
    time.  For t=None alone and large n, :func:`fastntk.kernel_ridge` solves the system many times faster, or
    without the matrix.  The last bits are those of BLAS.

    Source: Jacot et al. 2018; Lee et al. 2019, equations 8 to 11; ``neural_tangents.predict`` 0.6.5.

    Examples
    --------
    >>> import numpy as np, fastntk as fn
    >>> X, Xtest, y = np.eye(3), np.array([[1.0, 1.0, 0.0]]), [1.0, -1.0, 0.5]
    >>> net = fn.Network(width=10_000, dim=3)
    >>> predict = fn.gradient_descent_mse(fn.ntk(X, network=net), y)
    >>> fx_train, fx_test = predict(
    ...     t=[0.0, np.inf], fx_train_0=fn.outputs(X, network=net), fx_test_0=fn.outputs(Xtest, network=net),
    ...     k_test_train=fn.ntk(Xtest, X, network=net),
    ... )
    >>> fx_train.shape, fx_test.shape, fx_train[1].round(6)
    ((2, 3), (2, 1), array([ 1. , -1. ,  0.5]))
    """
    flow = Flow(k_train_train, "k_train_train", y_train, learning_rate, diag_reg, diag_reg_absolute_scale)

    @in_ieee_arithmetic
    def predict(t=None, fx_train_0=0.0, fx_test_0=None, k_test_train=None):
        """Outputs at times t; see :func:`fastntk.gradient_descent_mse`."""
        shape, times = as_times(t)
        across = _as_test_kernel(fx_train_0, fx_test_0, k_test_train, flow.rows)
        start = flow.outputs(0.0 if fx_train_0 is None else fx_train_0, "fx_train_0", flow.rows)
        gap = start - flow.targets
        found = []
        if fx_train_0 is not None:
            found.append(start + flow.train(times, gap))
        if fx_test_0 is not None:
            found.append(flow.outputs(fx_test_0, "fx_test_0", len(across)) + flow.test(times, across, gap))
        found = [flow.shaped(shape, outputs) for outputs in found]
        return found[0] if len(found) == 1 else tuple(found)

    return predict


def _as_test_kernel(fx_train_0, fx_test_0, k_test_train, rows):
    """k_test_train (p, n), or None where no test rows are asked for."""
    if fx_test_0 is None and k_test_train is not None:
        raise ValueError(
            "k_test_train is given without fx_test_0, the outputs on the test rows at time 0; give both: "
            "fx_test_0=0 where they start at 0."
        )
    if fx_test_0 is None and fx_train_0 is None:
        raise ValueError(
            "fx_train_0 and fx_test_0 are None, so nothing is to be predicted; give one of them."
        )
    if fx_test_0 is None:
        return None
    if k_test_train is None:
        raise ValueError(
            "k_test_train is None; predictions on test rows need the kernel of test and training rows, such "
            "as ntk(Xtest, X, ...)."
        )
    return as_kernel(k_test_train, "k_test_train", None, rows)
