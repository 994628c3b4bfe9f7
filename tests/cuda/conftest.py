"""The devices that kernels are tested on: emulated, and a real one where there is one."""

import os

import pytest

from fastntk.kernels import load
from fastntk.kernels.cuda import device as cuda_device
from fastntk.kernels.cuda import nvrtc

from . import emulator

DEVICES = {
    "forward": ("forward", 0),
    "reverse": ("reverse", 0),
    "shuffled": ("shuffled", 1),
}


@pytest.fixture(scope="session")
def emulator_folder(tmp_path_factory):
    """Where compiled kernels are, for all processes of a test session."""
    reason = emulator.why_unavailable()
    if reason:
        pytest.skip(reason)
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "emulator"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def compiler():
    """NVIDIA's compiler."""
    try:
        return nvrtc.load()
    except ImportError as error:
        pytest.skip(str(error))


GPU = pytest.param("gpu", marks=pytest.mark.gpu)


@pytest.fixture(params=[*DEVICES, GPU])
def device(request):
    """Every device that a kernel must give the same result on."""
    return device_of(request)


@pytest.fixture(params=["shuffled", GPU])
def one_device(request):
    """For what is above the kernels: one that is emulated will do."""
    return device_of(request)


@pytest.fixture
def sums_in_float64(monkeypatch):
    """Processors with AMX sum the output layer's kernel to other last bits: here they do without."""
    monkeypatch.setitem(vars(load()), "slices", None)


def device_of(request):
    if request.param != "gpu":
        folder = request.getfixturevalue("emulator_folder")
        return emulator.EmulatedDevice(folder, *DEVICES[request.param])
    reason = cuda_device.why_unavailable()
    if reason:
        pytest.skip(reason)
    return cuda_device.Device()
