"""What a device says where there is none, and that one behaves as the emulated ones do."""

import re
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from fastntk.kernels.cuda import device as cuda_device


class DriverError(RuntimeError):
    def __init__(self, status):
        super().__init__(f"error {status}")
        self.status = status


def install_cupy(monkeypatch, count, *, error=None, is_hip=False):
    """A CuPy that knows how many devices there are, and nothing else."""

    def get_device_count():
        if error:
            raise DriverError(error)
        return count

    cupy, cuda = ModuleType("cupy"), ModuleType("cupy.cuda")
    cuda.runtime = SimpleNamespace(
        is_hip=is_hip, getDeviceCount=get_device_count, CUDARuntimeError=DriverError
    )
    cupy.cuda = cuda
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "cupy.cuda", cuda)


def test_without_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setitem(sys.modules, "cupy.cuda", None)
    assert cuda_device.find_devices() == []
    with pytest.raises(
        RuntimeError, match=r'needs CuPy.*pip install "fastntk\[cuda13\]", or "fastntk\[cuda12\]"'
    ):
        cuda_device.Device()


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"count": 0, "error": 35}, "can use no NVIDIA driver .error 35."),
        ({"count": 0, "error": cuda_device.NO_DEVICE}, "no NVIDIA GPU is visible"),
        ({"count": 0}, "no NVIDIA GPU is visible"),
        ({"count": 1, "is_hip": True}, "ROCm"),
    ],
)
def test_without_a_gpu(monkeypatch, found, message):
    install_cupy(monkeypatch, **found)
    assert re.search(message, cuda_device.why_unavailable())
    assert cuda_device.find_devices() == []
    with pytest.raises(RuntimeError, match=message):
        cuda_device.Device()


def test_architectures():
    names = [
        cuda_device.architecture(*capability) for capability in ((8, 0), (8, 9), (9, 0), (10, 0), (12, 0))
    ]
    assert names == ["sm_80", "sm_89", "sm_90a", "sm_100a", "sm_120a"]


@pytest.mark.parametrize("size", [0, -1, (1, 0), (1, 1, 1, 1), ()])
def test_grids_are_positive(size):
    with pytest.raises(ValueError, match="one to three positive numbers"):
        cuda_device.extent(size)


def test_grids():
    assert cuda_device.extent(np.int64(3)) == (3, 1, 1)
    assert cuda_device.extent((3, 2)) == (3, 2, 1)


@pytest.mark.parametrize(
    "array", [np.arange(12.0).reshape(3, 4)[:, ::2], np.zeros((0, 3), np.int32), np.ones(5, "?")]
)
def test_arrays_go_there_and_back(device, array):
    there = device.upload(array)
    assert there.shape == array.shape
    assert there.dtype == array.dtype
    back = device.download(there)
    assert type(back) is np.ndarray
    np.testing.assert_array_equal(back, array)
    np.testing.assert_array_equal(device.download(device.zeros((2, 3), np.int64)), np.zeros((2, 3)))


def test_arrays_with_gaps_stay_there(device):
    there = device.zeros((4, 4), np.int32)
    np.testing.assert_array_equal(device.download(there[1:3]), np.zeros((2, 4)))
    with pytest.raises(ValueError, match="contiguous"):
        device.download(there[:, :2])


def test_memory_can_be_given_back(device):
    with device:
        array = device.empty((1000, 1000), np.float32)
        assert array.nbytes == 4_000_000
    device.synchronize()
    assert device.memory_bytes > array.nbytes


@pytest.mark.gpu
def test_too_much_memory():
    device = cuda_device.Device()
    with pytest.raises(MemoryError, match="bytes more"):
        device.empty(1 << 50, np.uint8)
