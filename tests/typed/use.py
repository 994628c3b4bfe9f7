"""What a type checker must make of a user's code: these types, and an error where a line says so.

tests/test_types.py runs mypy on this file; nothing in it is executed.
"""

from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import fastntk as fn
from fastntk.annotations import Array, Floats, Rows

Singles = NDArray[np.float32]


class Tensor:
    """Of another library."""

    def __dlpack__(self, *, stream: int | None = None) -> object: ...


def mine(X: Rows) -> fn.KernelRidge:
    return fn.kernel_ridge(fn.ntk_operator(X, network=net), y, ridge=0.1)


def any_array(value: Array) -> None: ...


X, y, single, whole, tensor = np.ones((3, 2)), np.ones(3), np.float32(0.5), np.arange(3), Tensor()
net = fn.Network(width=np.int64(10), dim=X.shape[1], seed=0, scale=single)
mask = fn.GaussianMask(0.2)

# What is taken, and what comes back.
assert_type(fn.ntk(X, network=net, mask=mask), Floats)
assert_type(fn.ntk([[1.0, 2.0]], X, network=net, mask=(None, mask), row_ids=whole), Floats)
assert_type(fn.ntk(iter([X, X]), network=net, layers="both"), Floats)
assert_type(fn.ntk(tensor, network=net), Tensor)
assert_type(fn.ntk(tensor, X, network=net), Tensor)
assert_type(fn.ntk(X, tensor, network=net), Tensor)
assert_type(fn.ntk(tensor, network=net, out="K.npy"), np.memmap[Any, np.dtype[np.float64]])
assert_type(fn.ntk_diag(X.astype(np.float32), network=net, threads=2), Floats)
assert_type(fn.ntk_operator(X, network=net, form="dense").diagonal(), Floats)
assert_type(fn.ntk_limit(X, mask=fn.BernoulliMask(0.5), draws=3, seed=1), Floats)
assert_type(fn.nngp_limit(tensor, scale=2), Tensor)
assert_type(fn.expected_ntk(X, network=(X, y), mask=mask), Floats)
assert_type(fn.expected_outputs(tensor, network=net, mask=mask), Tensor)
assert_type(fn.outputs(X > 0, network=net, progress=print), Floats)
assert_type(fn.activation_pattern(tensor, network=net).shape, tuple[int, int])
assert_type(fn.vjp(X, y, network=net), Singles)
assert_type(fn.vjp(X, y, network=net, layers="output"), Floats)
assert_type(fn.vjp(tensor, y, network=net, layers="both"), tuple[Tensor, Tensor])
assert_type(fn.jvp(X, (X, y), network=net, layers="both"), Floats)
assert_type(fn.jvp(X, tensor, network=net), Tensor)
assert_type(fn.train(X, whole, network=net, steps=5, resume="run.npz").clean_loss, np.ndarray)
assert_type(fn.expected_loss(X, y, network=net, mask=None).total, float)
assert_type(fn.predict_loss(X, y, network=net, mask=mask, step_size=0.1).floor, float)
assert_type(fn.kernel_regime(X, y, network=net, step_size=0.1).outputs([1, np.inf]), Floats)
assert_type(fn.certify(X, y, network=net, step_size=0.1, steps=np.inf).ok, bool)
assert_type(fn.gradient_descent_mse(X, y)(t=[0.0, 1.0]), Floats)
assert_type(fn.gradient_descent_mse(X, y)(fx_test_0=0.0, k_test_train=X), tuple[Floats, Floats])
assert_type(net.width, int)
assert_type(fn.Network.from_arrays([[1.0, 2.0]], [1.0]).weights(stop=1), Floats)
assert_type(mask.sample(X, seed=3), Singles)
assert_type(fn.AdditiveMask([0.1, 0.2]).tau, float | tuple[float, ...])
assert_type(mine(tensor).converged, bool)
any_array(tensor)

# What is refused.
fn.ntk("X", network=net)  # error
fn.ntk([["a"]], network=net)  # error
fn.ntk(X)  # error: network
fn.ntk(X, network=net, netwrk=net)  # error
fn.ntk(X, net)  # error: not a keyword
fn.ntk(X, network=net, layers="first")  # error
fn.ntk(X, network=net, draws=1.5)  # error
fn.ntk(X, network=net, mask=0.2)  # error
fn.ntk(X, network=net, checkpoint=3)  # error
fn.ntk(X, network=net, executor=print)  # error
fn.ntk_diag(X, network=net, mask=(None, mask))  # error
fn.ntk_operator(X, network=net, form="sparse")  # error
fn.expected_ntk(X, network=net, mask=fn.BernoulliMask(0.5))  # error
fn.kernel_ridge(X, y)  # error: ridge
fn.vjp(X, y, network=net, out=X)  # error: float64
fn.train(X, y, network=net, mode="fast")  # error
fn.train(X, y, network=X)  # error
fn.Network(10)  # error: dim
fn.Network(10, dim="3")  # error
fn.GaussianMask("strong")  # error
fn.BernoulliMask(keep=None)  # error
fn.certify(X, y, network=net, steps=10)  # error: step_size
fn.gradient_descent_mse(X, y)(fx_test_0=0.0)  # error: k_test_train
print(fn.no_such_name)  # error
