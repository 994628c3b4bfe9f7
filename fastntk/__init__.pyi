"""The public names for type checkers and editors, which cannot see lazy imports (``__init__.py``)."""

from .certificate import Certificate as Certificate
from .certificate import certify as certify
from .dynamics import LossPrediction as LossPrediction
from .dynamics import predict_loss as predict_loss
from .engine.checkpoint import CheckpointError as CheckpointError
from .engine.checkpoint import CheckpointWarning as CheckpointWarning
from .engine.distributed_sweep import ExecutorWarning as ExecutorWarning
from .forward import ActivationPattern as ActivationPattern
from .forward import activation_pattern as activation_pattern
from .forward import outputs as outputs
from .gradient import jvp as jvp
from .gradient import vjp as vjp
from .gram import ntk as ntk
from .gram import ntk_diag as ntk_diag
from .limit import nngp_limit as nngp_limit
from .limit import ntk_limit as ntk_limit
from .masks import AdditiveMask as AdditiveMask
from .masks import BernoulliMask as BernoulliMask
from .masks import GaussianMask as GaussianMask
from .masks import LognormalMask as LognormalMask
from .network import Network as Network
from .operator import NtkOperator as NtkOperator
from .operator import ntk_operator as ntk_operator
from .predict import Gaussian as Gaussian
from .predict import gradient_descent_mse as gradient_descent_mse
from .predict import gradient_descent_mse_ensemble as gradient_descent_mse_ensemble
from .regime import KernelRegime as KernelRegime
from .regime import kernel_regime as kernel_regime
from .ridge import KernelRidge as KernelRidge
from .ridge import kernel_ridge as kernel_ridge
from .smoothing import ExpectedLoss as ExpectedLoss
from .smoothing import expected_loss as expected_loss
from .smoothing import expected_ntk as expected_ntk
from .smoothing import expected_outputs as expected_outputs
from .training import TrainingInterrupted as TrainingInterrupted
from .training import TrainingWarning as TrainingWarning
from .training import train as train
from .training_run import TrainingRun as TrainingRun

__version__: str
