"""Types of what public functions take: for type checkers, and for annotations of your own.

Real                a number: Python's, or NumPy's
Count               an integer: Python's, NumPy's, or what else can be an index
Numbers             an array of real numbers of NumPy's, a data frame or column, or nested lists
Array               an array of PyTorch, JAX or another library that speaks DLPack
Rows                Numbers, an Array, or an iterator of blocks of rows
"""

from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from typing import Any, Literal, Protocol, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import NDArray

Real: TypeAlias = float | np.floating | np.integer
Count: TypeAlias = SupportsIndex
Flag: TypeAlias = bool | np.bool_
StrPath: TypeAlias = str | PathLike[str]
Progress: TypeAlias = Callable[[int, int], object]
Backend: TypeAlias = Literal["auto", "cpu", "cuda"]
WeightType: TypeAlias = Literal["float32", "bfloat16"]
Layers: TypeAlias = Literal["hidden", "output", "both"]

Floats: TypeAlias = NDArray[np.float64]


class Frame(Protocol):
    """A data frame or a column of pandas or polars."""

    def to_numpy(self) -> NDArray[Any]:
        """Its values."""


class Array(Protocol):
    """An array of another library; NumPy's are such too."""

    def __dlpack__(self) -> Any:
        """The memory of the array."""


class Executor(Protocol):
    """Of ``concurrent.futures``, MPI or Dask."""

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        """A future of fn(*args)."""


Numbers: TypeAlias = NDArray[Any] | Frame | Sequence[Real | Sequence[Real] | NDArray[Any]]
Rows: TypeAlias = Numbers | Array | Iterator[Any]
