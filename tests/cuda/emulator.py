"""A CUDA device on the CPU, with the methods of ``fastntk.kernels.cuda.device.Device``.

A source of ``kernels/cuda/`` is compiled by g++ as it stands, but for ``ptx.cuh`` and the declaration of
dynamic shared memory; ``shim/fibers.h`` says how its threads run and what is an error here though a GPU
might let it pass.  Arrays are NumPy arrays that end at a page which faults when it is touched; what lies
before them, and all that nobody has written yet, is 0xA5.  A kernel that faults, never ends its waiting or
breaks a rule ends in :class:`EmulationError`, which names the block and the thread; the process goes on.
"""

import ctypes
import fcntl
import hashlib
import mmap
import platform
import re
import shutil
import subprocess
import threading
import weakref
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fastntk.kernels.cuda import compile as compiling
from fastntk.kernels.cuda.device import extent, require_contiguous

SHIM = Path(__file__).parent / "shim"
POISON = 0xA5
GUARD = 1 << 24  # bytes of addresses before and after an array
ORDERS = ("forward", "reverse", "shuffled")
DIRECTIONS = ("toward zero", "down", "up", "away from zero")
FLAGS = (
    "-O2", "-march=native", "-std=c++20", "-ffp-contract=off", "-fno-strict-aliasing", "-fPIC", "-shared",
    "-fvisibility=hidden", "-fsanitize=bounds,alignment,shift-exponent",
    "-fsanitize-undefined-trap-on-error", "-Wno-unknown-pragmas",
)  # fmt: skip
KERNEL = re.compile(r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s+)?(\w+)\s*\(')
DYNAMIC = re.compile(r"extern\s+__shared__\s+(?:__align__\(\d+\)\s+)?(\w[\w ]*?)\s+(\w+)\s*\[\s*\]\s*;")

_one_launch_at_a_time = threading.Lock()


class EmulationError(RuntimeError):
    """A kernel did what it must not."""


class TensorCore(NamedTuple):
    """How products of bfloat16 numbers are added: ``step`` at a time, cut to ``bits`` (shim/ptx.cuh)."""

    step: int = 8
    bits: int = 24
    direction: str = "toward zero"
    backward: bool = False  # the last features first


class _TensorCore(ctypes.Structure):
    _fields_ = tuple((field, ctypes.c_int) for field in TensorCore._fields)


class _Settings(ctypes.Structure):
    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared_bytes", ctypes.c_uint64),
        ("order", ctypes.c_int),
        ("seed", ctypes.c_uint),
        ("tensor_core", _TensorCore),
    )


class _Failure(ctypes.Structure):
    _fields_ = (
        ("address", ctypes.c_uint64),
        ("block", ctypes.c_uint * 3),
        ("thread", ctypes.c_uint * 3),
        ("message", ctypes.c_char * 400),
    )


def why_unavailable():
    """Why nothing can be emulated here; None where it can."""
    if shutil.which("g++") is None:
        return "the emulator compiles kernels with g++, which is not installed"
    if platform.machine() != "x86_64" or platform.system() != "Linux":
        return "the emulator switches between fibers in x86-64 assembly, on Linux"
    return None


class EmulatedDevice:
    """``folder`` keeps what is compiled; ``order`` and ``seed`` say in which order threads and blocks run."""

    name = "emulated on the CPU"
    memory_bytes = 1 << 32
    number = 0

    def __init__(self, folder, order="forward", seed=0, *, arch="sm_90a", multiprocessors=3, sources=None):
        self.folder, self.order, self.seed, self.arch = Path(folder), order, seed, arch
        self.multiprocessors = multiprocessors
        self.tensor_core = TensorCore()  # as Ampere's are
        self._sources = sources or compiling.sources
        self._libraries = {}
        self._arrays = {}  # by address, which a later one may have again

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.free_memory()

    # ------------------------------------------------------------------------------- memory
    def empty(self, shape, dtype):
        nbytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        body = _guarded_pages(nbytes)
        first = len(body) - _whole(nbytes, 16)  # as near to the end as vectors of 16 bytes allow
        self._arrays[body.ctypes.data] = weakref.ref(body), first, first + nbytes
        return body[first : first + nbytes].view(dtype).reshape(shape)

    def zeros(self, shape, dtype):
        array = self.empty(shape, dtype)
        array[...] = 0
        return array

    def upload(self, array):
        copy = self.empty(np.shape(array), np.asarray(array).dtype)
        copy[...] = array
        return copy

    def download(self, array):
        require_contiguous(array)
        return np.array(array)

    def free_memory(self):
        pass  # an array's pages are gone with it

    # --------------------------------------------------------------------------------- work
    def launch(self, module, kernel, grid, block, *arguments, shared=0, defines=None):
        for argument in arguments:
            if not isinstance(argument, np.ndarray | np.generic):
                given = type(argument).__name__
                raise TypeError(f"a kernel takes device arrays and NumPy scalars, not {given}")
        arrays = [self._whole_array(argument) for argument in arguments if isinstance(argument, np.ndarray)]
        core = self.tensor_core
        rounding = _TensorCore(core.step, core.bits, DIRECTIONS.index(core.direction), core.backward)
        order = ORDERS.index(self.order)
        settings = _Settings(extent(grid), extent(block), shared, order, self.seed, rounding)
        failure = _Failure()
        call = getattr(self._library(module, defines or {}), f"call_{kernel}")
        values = [np.array(_value(argument)) for argument in arguments]
        pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        types = (ctypes.c_char_p * len(values))(*(_type_name(argument).encode() for argument in arguments))
        with _one_launch_at_a_time:
            status = call(ctypes.byref(settings), ctypes.byref(failure), len(values), pointers, types)
        if status == 2:
            raise TypeError(f"{kernel} {failure.message.decode()}")
        if status:
            raise EmulationError(_describe(kernel, failure, arguments))
        for body, first, stop in arrays:
            if np.any(body[:first] != POISON) or np.any(body[stop:] != POISON):
                raise EmulationError(f"{kernel} wrote outside of an array of {stop - first} bytes")

    def synchronize(self):
        pass

    # ------------------------------------------------------------------------------ details
    def _whole_array(self, part):
        """(pages, first, stop): the bytes of the array that ``part`` is of, in its pages."""
        for known, first, stop in list(self._arrays.values()):
            body = known()
            if body is not None and 0 <= part.ctypes.data - body.ctypes.data < len(body):
                return body, first, stop
        raise TypeError("a kernel takes arrays of its own device, not of the host")

    def _library(self, module, defines):
        key = (module, tuple(sorted(defines.items())))
        if key not in self._libraries:
            self._libraries[key] = ctypes.CDLL(str(self._compile(module, defines)))
        return self._libraries[key]

    def _compile(self, module, defines):
        """The library of a source, which several processes may want: one makes it, and the others wait."""
        texts = self._sources(module) | {file.name: file.read_text() for file in SHIM.iterdir()}
        pointer = r"auto* \2 = cuda_cpu::dynamic_shared<\1>();"
        texts = {file: DYNAMIC.sub(pointer, text) for file, text in texts.items()}
        kernels = KERNEL.findall(texts[f"{module}.cu"])
        calls = "".join(f"CALLED_FROM_PYTHON({kernel})\n" for kernel in kernels)
        texts["host.cc"] = f'#include "cuda_cpu.h"\n#include "{module}.cu"\n{calls}'
        macros = [f"-D{name}={value}" for name, value in sorted(defines.items())]
        digest = hashlib.sha256(repr((sorted(texts.items()), macros)).encode()).hexdigest()[:16]
        work = self.folder / f"{module}-{digest}"
        work.mkdir(parents=True, exist_ok=True)
        library = work / "host.so"
        with (work / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not library.exists():
                for file, text in texts.items():
                    (work / file).write_text(text)
                command = ["g++", *FLAGS, *macros, "host.cc", "-o", "unfinished.so"]
                done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise RuntimeError(
                        f"{module}.cu does not compile for the emulator:\n{done.stderr[:4000]}"
                    )
                (work / "unfinished.so").replace(library)
        return library


# --------------------------------------------------------------------------------------- memory
def _whole(nbytes, multiple):
    return -(-max(nbytes, 1) // multiple) * multiple


def _guarded_pages(nbytes):
    """Poisoned pages for ``nbytes``, between two stretches of addresses that fault."""
    size = _whole(nbytes, mmap.PAGESIZE)
    memory = mmap.mmap(-1, size + 2 * GUARD, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    body = np.frombuffer(memory, np.uint8, size, GUARD)
    body[:] = POISON
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for start in (body.ctypes.data - GUARD, body.ctypes.data + size):
        if protect(start, GUARD, 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    return body


def _value(argument):
    return np.uint64(argument.ctypes.data) if isinstance(argument, np.ndarray) else argument


def _type_name(argument):
    star = "*" if isinstance(argument, np.ndarray) else ""
    return f"{star}{argument.dtype.kind.replace('b', 'u')}{argument.dtype.itemsize}"


def _describe(kernel, failure, arguments):
    where = f"{kernel}, block {tuple(failure.block)}, thread {tuple(failure.thread)}"
    message = f"{where}: {failure.message.decode()}"
    if failure.address:
        arrays = [(i, array) for i, array in enumerate(arguments) if isinstance(array, np.ndarray)]
        places = [(failure.address - array.ctypes.data, array.nbytes, i) for i, array in arrays]
        offset, nbytes, number = min(places, key=lambda place: _distance(*place[:2]), default=(0, 0, None))
        if number is not None and _distance(offset, nbytes) < GUARD:
            message += f" (byte {offset} of argument {number}, which has {nbytes})"
    return message


def _distance(offset, nbytes):
    """From a byte to an array."""
    return max(-offset, offset - nbytes, 0)
