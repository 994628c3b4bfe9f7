"""NVRTC, NVIDIA's compiler of CUDA C++ as a library, through ctypes.

CuPy has a compiler of its own that ends in NVRTC too, but adds ``-ftz=true`` to every call, which flushes
denormals to zero, and never asks for the ``a`` architectures: so it is not used.
"""

import ctypes
import importlib.metadata
import os
from functools import cache
from pathlib import Path

MAJORS = (13, 12)  # of CUDA, the ones looked for, in this order
WHEELS = {13: "nvidia-cuda-nvrtc", 12: "nvidia-cuda-nvrtc-cu12"}


class CompileError(RuntimeError):
    """A source that does not compile; the message is the compiler's."""


@cache
def load(major=None):
    """The NVRTC of CUDA ``major``, or the newest there is; ImportError where there is none."""
    for wanted in MAJORS if major is None else (major,):
        library = _from_wheel(wanted) or _from_system(wanted)
        if library:
            return Nvrtc(library)
    wanted = MAJORS[0] if major is None else major
    wheel = WHEELS.get(wanted, WHEELS[MAJORS[0]])
    raise ImportError(
        f"the CUDA backend compiles its kernels with NVRTC {wanted}.x, and found no libnvrtc.so.{wanted}, "
        f'neither as a wheel nor in a CUDA toolkit; run pip install "{wheel}=={wanted}.*"'
    )


def _from_wheel(major):
    """The library of an installed wheel; it does not find its built-in functions, so they go first."""
    try:
        files = importlib.metadata.files(WHEELS[major]) or []
    except (KeyError, importlib.metadata.PackageNotFoundError):
        return None
    paths = {file.name: str(file.locate()) for file in files}
    for name, path in paths.items():
        if name.startswith(f"libnvrtc-builtins.so.{major}"):
            ctypes.CDLL(path, ctypes.RTLD_GLOBAL)
    return _open(paths.get(f"libnvrtc.so.{major}"))


def _from_system(major):
    """The library where the loader looks, or in the toolkit that CUDA_PATH or CUDA_HOME names."""
    name = f"libnvrtc.so.{major}"
    folders = [Path(os.environ[key]) / "lib64" for key in ("CUDA_PATH", "CUDA_HOME") if os.environ.get(key)]
    return next(filter(None, map(_open, (name, *(str(folder / name) for folder in folders)))), None)


def _open(path):
    try:
        return ctypes.CDLL(path) if path else None
    except OSError:
        return None


class Nvrtc:
    """One loaded library."""

    def __init__(self, library):
        self._library = library
        library.nvrtcGetErrorString.restype = ctypes.c_char_p
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._call("Version", ctypes.byref(major), ctypes.byref(minor))
        self.version = (major.value, minor.value)

    def compile(self, source, name, headers, options):
        """(cubin, log) of a source; ``headers`` holds the text of all that it includes, by name."""
        program = ctypes.c_void_p()
        texts = _strings(headers.values())
        self._call(
            "CreateProgram", ctypes.byref(program), source.encode(), name.encode(),
            len(headers), texts, _strings(headers),
        )  # fmt: skip
        try:
            status = self._library.nvrtcCompileProgram(program, len(options), _strings(options))
            log = self._output(program, "ProgramLog").rstrip(b"\0").decode()
            if status:
                raise CompileError(f"{name}: {self._message(status)}\n{log}")
            return self._output(program, "CUBIN"), log
        finally:
            self._call("DestroyProgram", ctypes.byref(program))

    def _output(self, program, what):
        size = ctypes.c_size_t()
        self._call(f"Get{what}Size", program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self._call(f"Get{what}", program, buffer)
        return buffer.raw

    def _call(self, name, *arguments):
        status = getattr(self._library, f"nvrtc{name}")(*arguments)
        if status:
            raise RuntimeError(f"nvrtc{name}: {self._message(status)}")

    def _message(self, status):
        return self._library.nvrtcGetErrorString(status).decode()


def _strings(texts):
    encoded = [text.encode() for text in texts]
    return (ctypes.c_char_p * len(encoded))(*encoded)
