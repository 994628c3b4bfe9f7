import pytest

from fastntk.kernels import load
from fastntk.kernels.cpu.paths import available_paths


@pytest.fixture(params=available_paths())
def kernels(request):
    """The kernels of every path this host can run: each must give what reference.py defines."""
    return load(request.param)
