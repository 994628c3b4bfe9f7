"""IEEE arithmetic at the door: exact bits need denormals, and a host may have turned them off."""

import ctypes
import functools
import sys
from collections.abc import Callable
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import numpy as np

_ENVIRONMENT_BYTES = 512  # larger than fenv_t of any C library

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@functools.cache
def _c_library():
    """(fegetenv, fesetenv, the default environment), or None where C99 fenv is out of reach."""
    try:
        library = ctypes.CDLL(None if sys.platform != "linux" else "libm.so.6")
        default = ctypes.c_void_p(-1)
        if sys.platform == "darwin":
            default = ctypes.addressof(ctypes.c_char.in_dll(library, "_FE_DFL_ENV"))
        return library.fegetenv, library.fesetenv, default
    except (OSError, AttributeError, ValueError):
        return None


@contextmanager
def ieee_arithmetic():
    """Round to nearest with denormals in this thread, and give the host its settings back.

    NumPy's own error handling is silenced meanwhile: overflow is looked for where it matters.
    """
    functions = _c_library()
    if functions is None:
        with np.errstate(all="ignore"):
            yield
        return
    get_environment, set_environment, default = functions
    saved = ctypes.create_string_buffer(_ENVIRONMENT_BYTES)
    get_environment(saved)
    set_environment(default)
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        set_environment(saved)


def in_ieee_arithmetic(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Decorator: the function runs under :func:`ieee_arithmetic`, and type checkers see its signature."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        with ieee_arithmetic():
            return function(*args, **kwargs)

    return wrapper
