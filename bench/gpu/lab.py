"""The device that is measured, and how: all that the parts of a run have in common."""

from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from unittest.mock import patch

from fastntk.engine import devices
from fastntk.kernels.cuda import compile as compiling
from fastntk.kernels.cuda import nvrtc
from fastntk.kernels.cuda.device import Device

PEAKS = "peaks"
SHORTEST = 0.02  # seconds of a round: far above the launch of a kernel
ROUNDS = 5


def sources(name):
    """The text of a source of this folder or of the package, and of every header it includes."""
    if name != PEAKS:
        return compiling.sources(name)
    text = (Path(__file__).parent / f"{PEAKS}.cu").read_text(encoding="utf-8")
    return {f"{PEAKS}.cu": text, "ptx.cuh": (compiling.SOURCES / "ptx.cuh").read_text(encoding="utf-8")}


def build(name, arch, defines=None, major=None):
    """(machine code, log) with the options of the package."""
    if name != PEAKS:
        return compiling.build(name, arch, defines, major)
    texts = sources(name)
    return nvrtc.load(major).compile(
        texts.pop(f"{PEAKS}.cu"), f"{PEAKS}.cu", texts, [f"-arch={arch}", *compiling.OPTIONS]
    )


class LabDevice(Device):
    """A device with ``peaks.cu`` among its modules."""

    def _machine_code(self, name, defines, cuda_major):
        if name != PEAKS:
            return super()._machine_code(name, defines, cuda_major)
        return build(name, self.arch, major=cuda_major)[0]


class Lab:
    """A CUDA device, the clock of its events, and the sizes: small ones if ``quick``."""

    def __init__(self, device=None, quick=False):
        self.device = LabDevice() if device is None else device
        self.quick = quick

    def seconds(self, call, rounds=ROUNDS):
        """Seconds of a call on the device, one number a round, after a call that compiles and warms up."""
        call()
        self.device.synchronize()
        once = self._elapsed(call, 1)
        if self.quick:
            return [once]
        times = max(1, round(SHORTEST / max(once, 1e-6)))
        return [self._elapsed(call, times) for _ in range(rounds)]

    def _elapsed(self, call, times):
        """Seconds of one of ``times`` calls in a row, from events before and after them."""
        import cupy

        with cupy.cuda.Device(self.device.number):
            start, stop = cupy.cuda.Event(), cupy.cuda.Event()
            start.record()
            for _ in range(times):
                call()
            stop.record()
            stop.synchronize()
            return cupy.cuda.get_elapsed_time(start, stop) / 1e3 / times

    def used_bytes(self):
        """Memory of the device that is in use, by whomever."""
        from cupy.cuda import runtime

        self.device.free_memory()
        free, total = runtime.memGetInfo()
        return total - free

    def on_device(self, array):
        """An array as a caller has it on the device."""
        import cupy

        return cupy.asarray(array)

    @contextmanager
    def backend(self):
        """Calls with ``backend="cuda"`` use this device."""
        with patch.object(devices, "all_devices", lambda: [self.device]):
            yield


class WallClockLab(Lab):
    """For a device that is no GPU: the tests'."""

    def _elapsed(self, call, times):
        start = perf_counter()
        for _ in range(times):
            call()
        return (perf_counter() - start) / times

    def used_bytes(self):
        return 0

    def on_device(self, array):
        return array
