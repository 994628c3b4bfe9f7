"""Arrays of other libraries: PyTorch, JAX, CuPy, the array-API standard and data frames, in and out.

Inputs become NumPy arrays where they are checked (:func:`as_numpy`), results go back to the library that
the inputs are of (:func:`like_its_arrays`).  No library is imported for that: an array of one that has
not been imported cannot have been made.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numpy as np

from . import frames

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

ARRAYS = ("X", "Y", "u", "V")  # the arguments of public functions that may be arrays of another library
ON_HOST = (1, 3)  # kDLCPU and kDLCUDAHost of DLPack: memory that the processor reads


def as_numpy(value, name):
    """The NumPy array of an array or data frame of another library (without a copy where there is a way).

    Anything else comes back as it is.  ``name`` is what errors call it.

    Raises
    ------
    TypeError, ValueError
        A tensor that gradients are recorded for, that is sparse, on another device, or traced; a column
        that is no number.  The message says what to do.

    Examples
    --------
    >>> from fastntk.arrays import as_numpy
    >>> as_numpy([1.0, 2.0], "X")
    [1.0, 2.0]
    """
    if isinstance(value, np.ndarray):
        return value
    if frames.is_frame(value):
        return frames.as_numpy(value, name)
    library = _library(value)
    return value if library is None else library.read(value, name)


def result_like(**arrays):
    """The function that gives a NumPy result the kind of the ``arrays``.

    They are of one library and NumPy's, or all NumPy's (or lists, or data frames): then it gives back what
    it gets.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk.arrays import result_like
    >>> result_like(X=np.ones(2))(np.zeros(2))
    array([0., 0.])
    """
    found = {name: (library, array) for name, array in arrays.items() if (library := _library(array))}
    if not found:
        return lambda result: result
    libraries = {library.name for library, _ in found.values()}
    if len(libraries) > 1:
        kinds = ", ".join(f"{name} of {library.name}" for name, (library, _) in found.items())
        raise TypeError(
            f"the arrays are of different libraries: {kinds}; the result is of the kind of its inputs. "
            f"Give arrays of one library (NumPy's may be among them)."
        )
    library, array = next(iter(found.values()))
    return lambda result: library.write(result, array)


def like_its_arrays(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Decorator: the arrays that the function returns are of the library that its array arguments are of.

    Files that were written (memory maps), and arrays that the caller gave to be filled, stay what they are.
    """
    signature = inspect.signature(function)
    names = [name for name in signature.parameters if name in ARRAYS]

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        given = dict(zip(signature.parameters, args, strict=False)) | kwargs
        arrays: dict = {}
        for name in names:
            value = given.get(name)
            # The directions of jvp for both layers; X as a list of two rows is a list.
            if name == "V" and isinstance(value, (tuple, list)) and len(value) == 2:
                arrays |= {f"{name}[{place}]": part for place, part in enumerate(value)}
            else:
                arrays[name] = value
        frames.require_same_columns(given.get("X"), given.get("Y"))
        back = result_like(**arrays)
        result: Any = function(*args, **kwargs)
        if given.get("out") is not None:
            return result
        return tuple(map(back, result)) if isinstance(result, tuple) else back(result)

    return wrapper


def _library(value):
    """The library that an array is of; None for NumPy's and what is no array."""
    if isinstance(value, np.ndarray):
        return None
    for library in (Torch, Jax, Cupy, Standard):
        if library.has(value):
            return library
    return None


def on_cuda(value):
    """Whether an array is in the memory of a CUDA device."""
    library = _library(value)
    return library is not None and library.on_cuda(value)


class Torch:
    """Tensors of PyTorch, in the memory of the processor or of a CUDA device."""

    name = "PyTorch"

    @staticmethod
    def has(value):
        return frames.is_instance(value, "torch", "Tensor")

    @staticmethod
    def read(value, name):
        import torch

        if value.device.type not in ("cpu", "cuda"):
            raise TypeError(
                f"{name} is a tensor on {value.device}; fastntk reads those of the CPU and of CUDA devices. "
                f"Give {name}.cpu()."
            )
        if value.layout != torch.strided:
            raise TypeError(f"{name} is a tensor of layout {value.layout}. Give {name}.to_dense().")
        if value.requires_grad and torch.is_grad_enabled():
            raise TypeError(
                f"{name} is a tensor that requires grad, and this function records no gradient. Give "
                f"{name}.detach(), call it under torch.no_grad(), or use fastntk.torch, which has gradients."
            )
        value = value.detach().cpu()
        if value.is_floating_point() and value.dtype not in (torch.float16, torch.float32, torch.float64):
            value = value.float()  # NumPy has no bfloat16 or float8; each is a float32
        try:
            return value.resolve_conj().resolve_neg().numpy()
        except (RuntimeError, TypeError, NotImplementedError) as error:
            raise TypeError(f"{name} is a tensor that has no NumPy array: {error}.") from error

    @staticmethod
    def on_cuda(value):
        return value.device.type == "cuda"

    @staticmethod
    def write(result, like):
        import torch

        return torch.from_numpy(result).to(like.device)


class Jax:
    """Arrays of JAX, in the memory of the processor or of a CUDA device.

    Without x64 its float64 is float32.
    """

    name = "JAX"
    CUDA = ("gpu", "cuda")  # what JAX calls their platform

    @staticmethod
    def has(value):
        return frames.is_instance(value, "jax", "Array")

    @staticmethod
    def read(value, name):
        import jax

        if isinstance(value, jax.core.Tracer):
            raise TypeError(
                f"{name} is traced by jax.jit, jax.grad or jax.vmap, and has no numbers yet. Use fastntk.jax "
                f"there, or jax.lax.stop_gradient and jax.pure_callback."
            )
        if any(device.platform not in ("cpu", *Jax.CUDA) for device in value.devices()):
            raise TypeError(
                f"{name} is an array on {', '.join(sorted(map(str, value.devices())))}; fastntk reads those "
                f"of the CPU and of CUDA devices. Give jax.device_put({name}, jax.devices('cpu')[0])."
            )
        array = np.asarray(value)
        if array.dtype.kind == "V" and jax.dtypes.issubdtype(array.dtype, np.floating):
            array = array.astype(np.float32)  # bfloat16 and float8 are kinds that NumPy does not know
        return array

    @staticmethod
    def on_cuda(value):
        import jax

        if isinstance(value, jax.core.Tracer):
            return False
        return any(device.platform in Jax.CUDA for device in value.devices())

    @staticmethod
    def write(result, like):
        import jax

        return jax.device_put(result, next(iter(like.devices())))


class Cupy:
    """Arrays of CuPy, on a CUDA device."""

    name = "CuPy"

    @staticmethod
    def has(value):
        return frames.is_instance(value, "cupy", "ndarray")

    @staticmethod
    def read(value, name):
        return value.get()

    @staticmethod
    def on_cuda(value):
        return True

    @staticmethod
    def write(result, like):
        import cupy

        with like.device:
            return cupy.asarray(result)


class Standard:
    """Arrays with the namespace of the array-API standard, read through DLPack."""

    name = "an array-API library"

    @staticmethod
    def has(value):
        return hasattr(value, "__array_namespace__") and not isinstance(value, (np.ndarray, np.generic, type))

    @staticmethod
    def read(value, name):
        try:
            place, _ = value.__dlpack_device__()
            if place not in ON_HOST:
                raise TypeError(f"it is on the device {getattr(value, 'device', place)}")
            return np.from_dlpack(value)
        except Exception as error:  # each library raises its own
            raise TypeError(
                f"{name} is an array of {type(value).__module__} that DLPack does not read: {error}. "
                f"Move it to the CPU (its .cpu(), .get() or .to_device), or give a NumPy array."
            ) from error

    @staticmethod
    def on_cuda(value):
        return False  # refused where it is read

    @staticmethod
    def write(result, like):
        array = like.__array_namespace__().from_dlpack(result)
        return array if array.device == like.device else array.to_device(like.device)
