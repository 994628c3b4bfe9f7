"""scikit-learn estimators of masked networks, in the kernel regime and trained, and their kernel.

    NTKRegressor, NTKClassifier           kernel ridge regression with the masked tangent kernel
    NetworkRegressor, NetworkClassifier   a network trained by gradient descent under masks
    NTKKernel                             the mean kernel for GaussianProcessRegressor, SVC and the like

They follow scikit-learn's conventions: parameters, ``fit``, ``predict``, pipelines, searches, pickles.  Needs
scikit-learn 1.6 or newer: ``python -m pip install "fastntk[sklearn]"``.  docs/scikit-learn.md shows each.
"""

from ..explained import EXTRAS

try:
    from sklearn.utils.validation import validate_data as _of_1_6  # noqa: F401
except ImportError as error:
    raise ImportError(
        'fastntk.estimators needs scikit-learn 1.6 or newer: python -m pip install "fastntk[sklearn]". '
        f"{EXTRAS}"
    ) from error

from .covariance import NTKKernel
from .ridge import NTKClassifier, NTKRegressor
from .trained import NetworkClassifier, NetworkRegressor

__all__ = ["NTKClassifier", "NTKKernel", "NTKRegressor", "NetworkClassifier", "NetworkRegressor"]
