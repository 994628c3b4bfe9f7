"""A lab with a GPU, as far as a CuPy that has none can tell."""

import sys
from contextlib import nullcontext
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from fastntk.kernels.cuda import nvrtc


class FakeDriver:
    """Time goes by 3 ms with every launch; 100 bytes are in use."""

    def __init__(self):
        self.milliseconds, self.loaded = 0.0, []

    def cupy(self):
        driver = self

        class Event:
            def record(self):
                self.at = driver.milliseconds

            def synchronize(self):
                pass

        class Module:
            def load(self, cubin):
                driver.loaded.append(cubin[:4])

            def get_function(self, kernel):
                return driver.launch

        cupy = ModuleType("cupy")
        runtime = SimpleNamespace(
            is_hip=False,
            CUDARuntimeError=RuntimeError,
            getDevice=lambda: 0,
            getDeviceCount=lambda: 1,
            getDeviceProperties=lambda number: {
                "major": 9, "minor": 0, "name": b"NVIDIA H1", "totalGlobalMem": 1000, "multiProcessorCount": 2
            },
            runtimeGetVersion=lambda: nvrtc.load().version[0] * 1000,
            driverGetVersion=lambda: 13000,
            memGetInfo=lambda: (900, 1000),
        )  # fmt: skip
        cupy.cuda = SimpleNamespace(
            runtime=runtime,
            memory=SimpleNamespace(OutOfMemoryError=MemoryError),
            Event=Event,
            function=SimpleNamespace(Module=Module),
            get_elapsed_time=lambda start, stop: stop.at - start.at,
            get_current_stream=lambda: SimpleNamespace(synchronize=lambda: None),
            MemoryPool=lambda: SimpleNamespace(malloc=None, free_all_blocks=lambda: None),
            Device=lambda number: nullcontext(),
            using_allocator=lambda malloc: nullcontext(),
        )
        cupy.ndarray, cupy.asarray, cupy.__version__ = np.ndarray, np.asarray, "14"
        return cupy

    def launch(self, grid, block, arguments, shared_mem):
        self.milliseconds += 3


@pytest.fixture
def driver(monkeypatch, compiler):
    driver = FakeDriver()
    cupy = driver.cupy()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "cupy.cuda", cupy.cuda)
    return driver


def test_seconds_are_those_of_events(part, driver):
    lab = part("lab").Lab()

    def call():
        lab.device.launch(
            "peaks", "copy", 1, 256, np.zeros(4, np.float32), np.int64(1), np.zeros(4, np.float32)
        )

    assert lab.seconds(call) == pytest.approx([0.003] * 5)
    assert driver.loaded == [b"\x7fELF"]
    assert driver.milliseconds == 3 * (1 + 1 + 5 * 7)  # a round is 20 ms, to the nearest call
    assert lab.used_bytes() == 100


def test_the_record_names_hardware_and_versions(part, driver):
    main = part("__main__")
    record = main.describe(main.cuda_device.find_devices()[0])
    assert (record["hardware"], record["arch"]) == ("NVIDIA H1", "sm_90a")
    assert record["cuda"]["driver"] == 13000
    assert {"commit", "date", "processor", "driver"} <= set(record)
    assert record["packages"]["cupy"] == "14"
    assert record["packages"]["fastntk"]
