"""Which backend a call takes, and on which CUDA devices."""

from functools import cache

from .. import arrays, validation
from ..kernels.cuda import device as cuda_device

BACKENDS = ("auto", "cpu", "cuda")


class BackendError(RuntimeError):
    """A backend that this machine does not have."""


def checked_backend(backend, *inputs):
    """ "cpu" or "cuda" for what a caller chose; ``inputs`` are the arrays as the caller gave them.

    "auto" is "cuda" where one of them is on a CUDA device and this package can compute there.
    """
    validation.as_choice(backend, "backend", BACKENDS)
    if backend == "auto":
        return "cuda" if any(map(arrays.on_cuda, inputs)) and all_devices() else "cpu"
    if backend == "cuda" and not all_devices():
        raise BackendError(
            f"backend is 'cuda', but {cuda_device.why_unavailable()}. backend='cpu' needs none of this."
        )
    return backend


def devices_of(backend):
    """The devices that share the neurons of a sweep: all that the process sees, or none."""
    return all_devices() if backend == "cuda" else []


def all_devices():
    """Every CUDA device, in CuPy's order; what is compiled for one is kept as long as the process."""
    return [_device(found.number) for found in cuda_device.find_devices()]


@cache
def _device(number):
    return cuda_device.Device(number)
