"""The public names for type checkers and editors, which cannot see lazy imports (``__init__.py``).

Functions whose results are of the library of their arrays have an overload for NumPy's and one for others'.
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, overload

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator

from .annotations import (
    Array,
    Backend,
    Count,
    Executor,
    Flag,
    Floats,
    Layers,
    Numbers,
    Progress,
    Real,
    Rows,
    StrPath,
)
from .certificate import Certificate as Certificate
from .dynamics import LossPrediction as LossPrediction
from .engine.checkpoint import CheckpointError as CheckpointError
from .engine.checkpoint import CheckpointWarning as CheckpointWarning
from .engine.distributed_sweep import ExecutorWarning as ExecutorWarning
from .ensemble import Gaussian as Gaussian
from .forward import ActivationPattern as ActivationPattern
from .masking import Mask
from .masks import AdditiveMask as AdditiveMask
from .masks import BernoulliMask as BernoulliMask
from .masks import GaussianMask as GaussianMask
from .masks import LognormalMask as LognormalMask
from .network import Network as Network
from .operator import NtkOperator as NtkOperator
from .regime import KernelRegime as KernelRegime
from .ridge import KernelRidge as KernelRidge
from .smoothing import ExpectedLoss as ExpectedLoss
from .training import TrainingInterrupted as TrainingInterrupted
from .training import TrainingWarning as TrainingWarning
from .training_run import TrainingRun as TrainingRun

__version__: str

_A = TypeVar("_A", bound=Array)
_NumPyRows: TypeAlias = Numbers | Iterator[Any]
_Ids: TypeAlias = Numbers | Array
_Masks: TypeAlias = Mask | tuple[Mask | None, Mask | None] | None
_GaussianMask: TypeAlias = GaussianMask | AdditiveMask | None
_GaussianMasks: TypeAlias = _GaussianMask | tuple[_GaussianMask, _GaussianMask]
_Times: TypeAlias = Numbers | Array | Real | None
_Weights: TypeAlias = Network | tuple[Numbers | Array, Numbers | Array]

# fmt: off
# One argument a line would take seven hundred.

# Kernels
@overload
def ntk(
    X: Rows, Y: Rows | None = None, *, network: Network, mask: _Masks = None, draws: Count = 1,
    seed: Count = 0, layers: Layers = "hidden", row_ids: _Ids | None = None, column_ids: _Ids | None = None,
    share_masks: Flag = False, out: StrPath, checkpoint: StrPath | None = None,
    executor: Executor | None = None, backend: Backend = "auto", threads: Count | None = None,
    memory_limit: Count | None = None, progress: Progress | None = None
) -> np.memmap[Any, np.dtype[np.float64]]: ...
@overload
def ntk(
    X: _NumPyRows, Y: _NumPyRows | None = None, *, network: Network, mask: _Masks = None, draws: Count = 1,
    seed: Count = 0, layers: Layers = "hidden", row_ids: _Ids | None = None, column_ids: _Ids | None = None,
    share_masks: Flag = False, out: None = None, checkpoint: StrPath | None = None,
    executor: Executor | None = None, backend: Backend = "auto", threads: Count | None = None,
    memory_limit: Count | None = None, progress: Progress | None = None
) -> Floats: ...
@overload
def ntk(
    X: _A | _NumPyRows, Y: _A | _NumPyRows | None = None, *, network: Network, mask: _Masks = None,
    draws: Count = 1, seed: Count = 0, layers: Layers = "hidden", row_ids: _Ids | None = None,
    column_ids: _Ids | None = None, share_masks: Flag = False, out: None = None,
    checkpoint: StrPath | None = None, executor: Executor | None = None, backend: Backend = "auto",
    threads: Count | None = None, memory_limit: Count | None = None, progress: Progress | None = None
) -> _A: ...
@overload
def ntk_diag(
    X: _NumPyRows, *, network: Network, mask: Mask | None = None, draws: Count = 1, seed: Count = 0,
    layers: Layers = "hidden", row_ids: _Ids | None = None, checkpoint: StrPath | None = None,
    executor: Executor | None = None, backend: Backend = "auto", threads: Count | None = None,
    memory_limit: Count | None = None, progress: Progress | None = None
) -> Floats: ...
@overload
def ntk_diag(
    X: _A, *, network: Network, mask: Mask | None = None, draws: Count = 1, seed: Count = 0,
    layers: Layers = "hidden", row_ids: _Ids | None = None, checkpoint: StrPath | None = None,
    executor: Executor | None = None, backend: Backend = "auto", threads: Count | None = None,
    memory_limit: Count | None = None, progress: Progress | None = None
) -> _A: ...
def ntk_operator(
    X: Rows, Y: Rows | None = None, *, network: Network, mask: _Masks = None, draws: Count = 1,
    seed: Count = 0, layers: Layers = "hidden", row_ids: _Ids | None = None, column_ids: _Ids | None = None,
    share_masks: Flag = False, threads: Count | None = None, memory_limit: Count | None = None,
    form: Literal["auto", "dense", "matrix-free"] = "auto"
) -> NtkOperator: ...
def kernel_ridge(
    K: LinearOperator | Numbers | Array, y: Numbers | Array, *, ridge: Real, tolerance: Real = 1e-8,
    max_products: Count = 1000
) -> KernelRidge: ...
@overload
def ntk_limit(
    X: _NumPyRows, Y: _NumPyRows | None = None, *, mask: _Masks = None, draws: Count | None = None,
    seed: Count = 0, layers: Layers = "hidden", scale: Real = 1.0, output_weight_square: Real = 1.0,
    row_ids: _Ids | None = None, column_ids: _Ids | None = None, share_masks: Flag = False
) -> Floats: ...
@overload
def ntk_limit(
    X: _A | _NumPyRows, Y: _A | _NumPyRows | None = None, *, mask: _Masks = None,
    draws: Count | None = None, seed: Count = 0, layers: Layers = "hidden", scale: Real = 1.0,
    output_weight_square: Real = 1.0, row_ids: _Ids | None = None, column_ids: _Ids | None = None,
    share_masks: Flag = False
) -> _A: ...
@overload
def nngp_limit(
    X: _NumPyRows, Y: _NumPyRows | None = None, *, mask: _Masks = None, draws: Count | None = None,
    seed: Count = 0, scale: Real = 1.0, row_ids: _Ids | None = None, column_ids: _Ids | None = None,
    share_masks: Flag = False
) -> Floats: ...
@overload
def nngp_limit(
    X: _A | _NumPyRows, Y: _A | _NumPyRows | None = None, *, mask: _Masks = None,
    draws: Count | None = None, seed: Count = 0, scale: Real = 1.0, row_ids: _Ids | None = None,
    column_ids: _Ids | None = None, share_masks: Flag = False
) -> _A: ...
@overload
def expected_ntk(
    X: _NumPyRows, Y: _NumPyRows | None = None, *, network: _Weights, mask: _GaussianMasks = None,
    layers: Layers = "hidden", row_ids: _Ids | None = None, column_ids: _Ids | None = None,
    share_masks: Flag = False, threads: Count | None = None, memory_limit: Count | None = None,
    progress: Progress | None = None
) -> Floats: ...
@overload
def expected_ntk(
    X: _A | _NumPyRows, Y: _A | _NumPyRows | None = None, *, network: _Weights, mask: _GaussianMasks = None,
    layers: Layers = "hidden", row_ids: _Ids | None = None, column_ids: _Ids | None = None,
    share_masks: Flag = False, threads: Count | None = None, memory_limit: Count | None = None,
    progress: Progress | None = None
) -> _A: ...
# Networks
def activation_pattern(
    X: Rows, *, network: Network, mask: Mask | None = None, seed: Count = 0, draw: Count = 0,
    row_ids: _Ids | None = None, backend: Backend = "auto", threads: Count | None = None,
    memory_limit: Count | None = None, progress: Progress | None = None
) -> ActivationPattern: ...
@overload
def outputs(
    X: _NumPyRows, *, network: Network, mask: Mask | None = None, seed: Count = 0, draw: Count = 0,
    row_ids: _Ids | None = None, checkpoint: StrPath | None = None, executor: Executor | None = None,
    backend: Backend = "auto", threads: Count | None = None, memory_limit: Count | None = None,
    progress: Progress | None = None
) -> Floats: ...
@overload
def outputs(
    X: _A, *, network: Network, mask: Mask | None = None, seed: Count = 0, draw: Count = 0,
    row_ids: _Ids | None = None, checkpoint: StrPath | None = None, executor: Executor | None = None,
    backend: Backend = "auto", threads: Count | None = None, memory_limit: Count | None = None,
    progress: Progress | None = None
) -> _A: ...
@overload
def expected_outputs(
    X: _NumPyRows, *, network: _Weights, mask: _GaussianMask = None, proxy: Flag = False,
    threads: Count | None = None, memory_limit: Count | None = None, progress: Progress | None = None
) -> Floats: ...
@overload
def expected_outputs(
    X: _A, *, network: _Weights, mask: _GaussianMask = None, proxy: Flag = False,
    threads: Count | None = None, memory_limit: Count | None = None, progress: Progress | None = None
) -> _A: ...
@overload
def vjp(
    X: _NumPyRows, u: Numbers, *, network: Network, layers: Literal["hidden"] = "hidden",
    mask: Mask | None = None, seed: Count = 0, draw: Count = 0, row_ids: _Ids | None = None,
    out: NDArray[np.float32] | None = None, backend: Backend = "auto", threads: Count | None = None,
    memory_limit: Count | None = None, progress: Progress | None = None
) -> NDArray[np.float32]: ...
@overload
def vjp(
    X: _NumPyRows, u: Numbers, *, network: Network, layers: Literal["output"], mask: Mask | None = None,
    seed: Count = 0, draw: Count = 0, row_ids: _Ids | None = None, out: None = None,
    backend: Backend = "auto", threads: Count | None = None, memory_limit: Count | None = None,
    progress: Progress | None = None
) -> Floats: ...
@overload
def vjp(
    X: _NumPyRows, u: Numbers, *, network: Network, layers: Literal["both"], mask: Mask | None = None,
    seed: Count = 0, draw: Count = 0, row_ids: _Ids | None = None, out: NDArray[np.float32] | None = None,
    backend: Backend = "auto", threads: Count | None = None, memory_limit: Count | None = None,
    progress: Progress | None = None
) -> tuple[NDArray[np.float32], Floats]: ...
@overload
def vjp(
    X: _A | _NumPyRows, u: _A | Numbers, *, network: Network, layers: Literal["hidden", "output"] = "hidden",
    mask: Mask | None = None, seed: Count = 0, draw: Count = 0, row_ids: _Ids | None = None, out: None = None,
    backend: Backend = "auto", threads: Count | None = None, memory_limit: Count | None = None,
    progress: Progress | None = None
) -> _A: ...
@overload
def vjp(
    X: _A | _NumPyRows, u: _A | Numbers, *, network: Network, layers: Literal["both"],
    mask: Mask | None = None, seed: Count = 0, draw: Count = 0, row_ids: _Ids | None = None, out: None = None,
    backend: Backend = "auto", threads: Count | None = None, memory_limit: Count | None = None,
    progress: Progress | None = None
) -> tuple[_A, _A]: ...
@overload
def vjp(
    X: Rows, u: Numbers | Array, *, network: Network, layers: Layers = "hidden", mask: Mask | None = None,
    seed: Count = 0, draw: Count = 0, row_ids: _Ids | None = None, out: NDArray[np.float32],
    backend: Backend = "auto", threads: Count | None = None, memory_limit: Count | None = None,
    progress: Progress | None = None
) -> NDArray[np.float32] | tuple[NDArray[np.float32], Floats]: ...
@overload
def jvp(
    X: _NumPyRows, V: Numbers | tuple[Numbers, Numbers], *, network: Network, layers: Layers = "hidden",
    mask: Mask | None = None, seed: Count = 0, draw: Count = 0, row_ids: _Ids | None = None,
    backend: Backend = "auto", threads: Count | None = None, memory_limit: Count | None = None,
    progress: Progress | None = None
) -> Floats: ...
@overload
def jvp(
    X: _A | _NumPyRows, V: _A | Numbers | tuple[_A | Numbers, _A | Numbers], *, network: Network,
    layers: Layers = "hidden", mask: Mask | None = None, seed: Count = 0, draw: Count = 0,
    row_ids: _Ids | None = None, backend: Backend = "auto", threads: Count | None = None,
    memory_limit: Count | None = None, progress: Progress | None = None
) -> _A: ...
# Training and theory
def train(
    X: Rows, y: Numbers | Array, *, network: Network, mask: Mask | None = None,
    step_size: Real | None = None, steps: Count = 1000, batch_size: Count | None = None,
    mode: Literal["masked", "clean", "expected", "first-order"] = "masked", seed: Count = 0,
    record_every: Count = 10, eigenvalues_every: Count | None = None, audit_every: Count | None = None,
    expected_every: Count | None = None, row_ids: _Ids | None = None,
    out: NDArray[np.float32] | None = None, resume: TrainingRun | StrPath | None = None,
    checkpoint: StrPath | None = None, backend: Backend = "auto", threads: Count | None = None,
    memory_limit: Count | None = None, progress: Progress | None = None
) -> TrainingRun: ...
def expected_loss(
    X: Rows, y: Numbers | Array, *, network: _Weights, mask: _GaussianMask, threads: Count | None = None,
    memory_limit: Count | None = None, progress: Progress | None = None
) -> ExpectedLoss: ...
def predict_loss(
    X: Rows, y: Numbers | Array, *, network: _Weights, mask: _GaussianMask = None, step_size: Real,
    plateau: Flag = True, seed: Count = 0, threads: Count | None = None, memory_limit: Count | None = None
) -> LossPrediction: ...
def kernel_regime(
    X: Rows, y: Numbers | Array, *, network: Network, mask: Mask | None = None, step_size: Real,
    draws: Count = 8, seed: Count = 0, row_ids: _Ids | None = None, threads: Count | None = None,
    memory_limit: Count | None = None
) -> KernelRegime: ...
def certify(
    X: Rows, y: Numbers | Array, *, network: _Weights, mask: _GaussianMask = None, step_size: Real,
    steps: Real, delta: Real = 0.01, radius: Real | None = None, threads: Count | None = None,
    memory_limit: Count | None = None
) -> Certificate: ...

class _Predict(Protocol):
    @overload
    def __call__(
        self, t: _Times = None, fx_train_0: Numbers | Array | Real = 0.0, fx_test_0: None = None,
        k_test_train: None = None
    ) -> Floats: ...
    @overload
    def __call__(
        self, t: _Times = None, *, fx_train_0: None, fx_test_0: Numbers | Array | Real,
        k_test_train: Numbers | Array
    ) -> Floats: ...
    @overload
    def __call__(
        self, t: _Times = None, fx_train_0: Numbers | Array | Real = 0.0, *,
        fx_test_0: Numbers | Array | Real, k_test_train: Numbers | Array
    ) -> tuple[Floats, Floats]: ...

def gradient_descent_mse(
    k_train_train: Numbers | Array, y_train: Numbers | Array, learning_rate: Real = 1.0,
    diag_reg: Real = 0.0, diag_reg_absolute_scale: Flag = False
) -> _Predict: ...
def gradient_descent_mse_ensemble(
    kernel_fn: Callable[[Any, Any, Any], Numbers | Array], x_train: Any, y_train: Numbers | Array,
    learning_rate: Real = 1.0, diag_reg: Real = 0.0, diag_reg_absolute_scale: Flag = False
) -> Callable[..., Any]: ...
