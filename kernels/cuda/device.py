"""One CUDA device through CuPy: memory, transfers and launches, and nothing else of CuPy.

Host code of a kernel is given a device and calls nothing but its methods, so that anything with the same
methods can stand in for it: the tests run every kernel on a device that emulates one on the CPU.
"""

import math
import re
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import numpy as np

from . import compile as compiling

SHARED_LIMIT = 48 * 1024  # bytes of dynamic shared memory that a kernel gets without asking
OLDEST = 80  # compute capability 8.0, the first with bit products and bf16 on its tensor cores
BY_FAMILY = (9, 0)  # from here on, instructions of one family need the "a" in its name
NO_DEVICE = 100  # the runtime's error for a driver without a GPU
NO_GPU = "no NVIDIA GPU is visible; look at nvidia-smi and CUDA_VISIBLE_DEVICES"


class Found(NamedTuple):
    """A GPU of this machine."""

    number: int
    name: str
    arch: str
    memory_bytes: int
    multiprocessors: int


def why_unavailable():
    """Why there is no CUDA device to use, in a sentence that says what to do; None where there is one."""
    try:
        from cupy.cuda import runtime
    except ImportError as error:
        return (
            f"the CUDA backend needs CuPy, which cannot be imported ({error}); "
            'run pip install "fastntk[cuda13]", or "fastntk[cuda12]" for NVIDIA drivers older than 580'
        )
    if runtime.is_hip:
        return "this CuPy is built for ROCm; the CUDA backend needs an NVIDIA GPU"
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        if error.status == NO_DEVICE:
            return NO_GPU
        return f"CuPy can use no NVIDIA driver ({error}); install or update it, nvidia-smi shows its version"
    return None if count else NO_GPU


def find_devices():
    """The CUDA devices of this machine, in CuPy's order; empty where :func:`why_unavailable` says why."""
    if why_unavailable():
        return []
    from cupy.cuda import runtime

    return [_describe(number) for number in range(runtime.getDeviceCount())]


def _describe(number):
    from cupy.cuda import runtime

    properties = runtime.getDeviceProperties(number)
    arch = architecture(properties["major"], properties["minor"])
    return Found(
        number,
        properties["name"].decode(),
        arch,
        properties["totalGlobalMem"],
        properties["multiProcessorCount"],
    )


def architecture(major, minor):
    """The name of an architecture for the compiler: sm_80, sm_90a."""
    return f"sm_{major}{minor}" + ("a" if (major, minor) >= BY_FAMILY else "")


def extent(size):
    """A grid or a block, an int or up to three of them, as (x, y, z)."""
    sizes = (size,) if np.ndim(size) == 0 else tuple(size)
    x, y, z = (int(length) for length in (*sizes, 1, 1, 1)[:3])
    if not 1 <= len(sizes) <= 3 or min(x, y, z) < 1:
        raise ValueError(f"a grid and a block are one to three positive numbers, not {size}")
    return x, y, z


def require_contiguous(array):
    """Gathering the parts of another array is a kernel, and CuPy would compile one."""
    if not array.flags.c_contiguous:
        raise ValueError(f"only contiguous arrays are downloaded, not a part of {array.shape} with gaps")


class Device:
    """A CUDA device; ``with Device():`` gives back at its end all memory that is no longer in use.

    Arrays are CuPy arrays from a memory pool of its own: the caller's pool and current device stay as they
    are, and work goes to the caller's current stream.
    """

    def __init__(self, number=None):
        reason = why_unavailable()
        if reason:
            raise RuntimeError(reason)
        import cupy

        self._cupy = cupy
        self.number = cupy.cuda.runtime.getDevice() if number is None else number
        found = find_devices()
        if not 0 <= self.number < len(found):
            raise ValueError(f"there is no CUDA device {self.number}; there are {len(found)}, counted from 0")
        _, self.name, self.arch, self.memory_bytes, self.multiprocessors = found[self.number]
        if int(re.sub(r"\D", "", self.arch)) < OLDEST:
            raise RuntimeError(f"{self.name} is {self.arch}; the CUDA backend needs sm_80 (A100) or newer")
        self._pool = cupy.cuda.MemoryPool()
        self._modules = {}
        self._functions = {}
        self._shared_limits = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.free_memory()

    # ------------------------------------------------------------------------------- memory
    def empty(self, shape, dtype):
        """An array whose values are arbitrary."""
        with self._here(np.dtype(dtype).itemsize * math.prod(np.atleast_1d(shape).tolist())):
            return self._cupy.empty(shape, dtype)

    def zeros(self, shape, dtype):
        array = self.empty(shape, dtype)
        with self._here():
            array.data.memset_async(0, array.nbytes)
        return array

    def upload(self, array):
        """A copy of a host array."""
        array = np.asarray(array, order="C")
        copy = self.empty(array.shape, array.dtype)
        with self._here():
            copy.set(array)
        return copy

    def download(self, array):
        """A copy in host memory of a contiguous array, once what was launched before is done."""
        require_contiguous(array)
        with self._here():
            return array.get()

    def free_memory(self):
        """Give the memory of arrays that are gone back to the device."""
        self.synchronize()
        self._pool.free_all_blocks()

    # --------------------------------------------------------------------------------- work
    def launch(self, module, kernel, grid, block, *arguments, shared=0, defines=None):
        """Start ``kernel`` of ``module``.cu on ``grid`` blocks of ``block`` threads.

        ``arguments`` are arrays of this device and NumPy scalars, of the types that the kernel declares;
        ``shared`` is its dynamic shared memory in bytes, ``defines`` the macros it is compiled with.
        """
        for argument in arguments:
            if not isinstance(argument, self._cupy.ndarray | np.generic):
                given = type(argument).__name__
                raise TypeError(f"a kernel takes device arrays and NumPy scalars, not {given}")
        with self._here():
            function = self._function(module, kernel, defines or {}, shared)
            function(extent(grid), extent(block), arguments, shared_mem=shared)

    def synchronize(self):
        """Wait for all that was launched on the current stream."""
        with self._here():
            self._cupy.cuda.get_current_stream().synchronize()

    # ------------------------------------------------------------------------------ details
    @contextmanager
    def _here(self, nbytes=0):
        cuda = self._cupy.cuda
        with ExitStack() as stack:
            stack.enter_context(cuda.Device(self.number))
            stack.enter_context(cuda.using_allocator(self._pool.malloc))
            try:
                yield
            except cuda.memory.OutOfMemoryError:
                free, total = cuda.runtime.memGetInfo()
                raise MemoryError(
                    f"{self.name} has no room for {nbytes:,} bytes more: {free:,} of {total:,} bytes are "
                    f"free, and this sweep holds {self._pool.used_bytes():,}"
                ) from None

    def _function(self, module, kernel, defines, shared):
        key = (module, kernel, tuple(sorted(defines.items())))
        if key not in self._functions:
            self._functions[key] = self._module(module, defines).get_function(kernel)
        function = self._functions[key]
        if shared > self._shared_limits.get(key, SHARED_LIMIT):
            driver = self._cupy.cuda.driver
            attribute = driver.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            driver.funcSetAttribute(function.ptr, attribute, shared)
            self._shared_limits[key] = shared
        return function

    def _module(self, name, defines):
        key = (name, tuple(sorted(defines.items())))
        if key not in self._modules:
            cuda_major = self._cupy.cuda.runtime.runtimeGetVersion() // 1000
            loaded = self._cupy.cuda.function.Module()
            loaded.load(self._machine_code(name, defines, cuda_major))
            self._modules[key] = loaded
        return self._modules[key]

    def _machine_code(self, name, defines, cuda_major):
        return compiling.cubin(name, self.arch, defines, cuda_major)
