"""Checks on what a caller hands in: every error names the argument, what it got and what it takes."""

import math
import operator
from collections import deque
from collections.abc import Iterator

import numpy as np

from .arrays import as_numpy

SEED_LIMIT = 1 << 64
VALUES_PER_BLOCK = 1 << 20


def as_matrix(value, name, *, columns=None, dtype=np.float32):
    """A finite real (n, d) array as a C-contiguous float array; the input is never written.

    An iterator of blocks of rows is taken for the array of all of them.
    """
    if isinstance(value, Iterator):
        return _gathered(value, name, columns, dtype)
    array = as_array(value, name)
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"{name} has dtype {array.dtype}; it must be a real number type (float, integer or bool). "
            f"Convert it with np.asarray({name}, float)."
        )
    if array.ndim != 2:
        raise ValueError(
            f"{name} has shape {array.shape}; it must have two dimensions (rows, features). "
            f"A single row is {name}[np.newaxis, :]."
        )
    if 0 in array.shape:
        raise ValueError(f"{name} has shape {array.shape}; it must have at least one row and one feature.")
    if columns is not None and array.shape[1] != columns:
        raise ValueError(
            f"{name} has {array.shape[1]} features (shape {array.shape}); {columns} are expected."
        )
    require_finite(array, name)
    with np.errstate(over="ignore"):
        converted = np.ascontiguousarray(array, dtype)
    place = None if converted.base is array or converted is array else _first_not_finite(converted)
    if place is None:
        return converted
    row, column = place
    raise ValueError(
        f"{name} is not finite after rounding to float32: {name}[{row}, {column}] is {array[row, column]} "
        f"and the largest float32 is {np.finfo(np.float32).max:.3g}. Scale {name} down."
    )


def _gathered(blocks, name, columns, dtype):
    """The blocks of an iterator below each other; at most one of them is in memory twice."""
    parts: deque = deque()
    for block in blocks:
        parts.append(as_matrix(block, f"block {len(parts)} of {name}", columns=columns, dtype=dtype))
        columns = parts[0].shape[1]
    if not parts:
        raise ValueError(f"{name} is an iterator without blocks; give at least one (rows, features) array.")
    whole = np.empty((sum(map(len, parts)), columns), dtype)
    stop = 0
    while parts:
        block = parts.popleft()
        start, stop = stop, stop + len(block)
        whole[start:stop] = block
    return whole


def as_inputs(value, name, dtype, *, columns=None):
    """:func:`as_matrix` of numbers that float32 holds too, whatever the dtype."""
    if isinstance(value, Iterator):
        value = _gathered(value, name, columns, dtype)
    single = as_matrix(value, name, columns=columns)
    return single if dtype == np.float32 else as_matrix(value, name, dtype=dtype)


def as_vector(value, name, *, length=None, dtype=np.float64):
    """A finite real 1-d array."""
    array = as_array(value, name)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} has dtype {array.dtype}; it must be a real number type.")
    if array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}; it must have one dimension.")
    if length is not None and len(array) != length:
        raise ValueError(f"{name} has length {len(array)}; {length} is expected.")
    require_finite(array, name)
    return np.ascontiguousarray(array, dtype)


def as_columns(value, name, *, length, high=None):
    """A finite real array (length,) or (length, q), q from 1 to ``high``, as (length, q) float64."""
    array = as_array(value, name)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} has dtype {array.dtype}; it must be a real number type.")
    if array.ndim not in (1, 2):
        raise ValueError(
            f"{name} has shape {array.shape}; it must have one dimension ({length},), or two ({length}, q) "
            f"for q outputs."
        )
    if array.ndim == 1:
        return as_vector(array, name, length=length)[:, np.newaxis]
    if len(array) != length:
        hint = f" Transpose it: {name}.T." if array.shape[1] == length else ""
        raise ValueError(f"{name} has {len(array)} rows (shape {array.shape}); {length} are expected.{hint}")
    if not 1 <= array.shape[1] <= (high or array.shape[1]):
        limit = "at least 1" if high is None else f"from 1 to {high}"
        raise ValueError(
            f"{name} has {array.shape[1]} columns (shape {array.shape}), one for each output; "
            f"it must have {limit}."
        )
    require_finite(array, name)
    return np.ascontiguousarray(array, np.float64)


def as_output(value, name, shape, others):
    """A writable float32 array of a shape, which shares no memory with ``others`` (by name, or None)."""
    right = f"it must be a float32 array of shape {shape}: np.empty({shape}, np.float32), or a np.memmap"
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} is {type(value).__name__}; {right}.")
    if value.dtype != np.float32:
        raise TypeError(f"{name} has dtype {value.dtype}; {right}.")
    if value.shape != shape:
        raise ValueError(f"{name} has shape {value.shape}; {right}.")
    if not value.flags.carray:
        raise ValueError(f"{name} is not C-contiguous, aligned and writable; {right}.")
    for other_name, other in others.items():
        if other is not None and np.may_share_memory(value, other):
            raise ValueError(
                f"{name} shares memory with {other_name}, which would be overwritten while it is read."
            )
    return value


def as_array(value, name):
    """np.asarray that names the argument, and reads the arrays and data frames of other libraries."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array; fill it first: {name}.filled(value).")
    try:
        return np.asarray(as_numpy(value, name))
    except ValueError as error:  # rows of different lengths
        raise ValueError(f"{name} is not an array: {error}") from None


def require_finite(array, name, when=""):
    """Raise with the place and value of the first NaN or infinity."""
    place = _first_not_finite(array)
    if place is None:
        return
    where = ", ".join(map(str, place))
    raise ValueError(
        f"{name} is not finite{' ' + when if when else ''}: {name}[{where}] is {array[place]} "
        f"({sum(np.count_nonzero(~np.isfinite(block)) for _, block in _blocks(array))} such values in all). "
        f"Remove or impute them."
    )


def _first_not_finite(array):
    """The place of the first NaN or infinity, or None."""
    for first, block in _blocks(array):
        finite = np.isfinite(block)
        if not finite.all():
            row, *others = (int(i) for i in np.argwhere(~finite)[0])
            return (first + row, *others)
    return None


def _blocks(array):
    """(first row, rows) of about a million values: an array may be a file that is larger than the memory."""
    rows = max(1, VALUES_PER_BLOCK // max(1, array[:1].size))
    return ((first, array[first : first + rows]) for first in range(0, len(array), rows))


def as_count(value, name, *, low=1, high=None):
    """An integer in [low, high]."""
    limit = f"at least {low}" if high is None else f"from {low} to {high}"
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} is {value!r}; it must be an integer {limit}.")
    try:
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}; it must be an integer {limit}.") from None
    if count < low or (high is not None and count > high):
        raise ValueError(f"{name} is {count}; it must be {limit}.")
    return count


def as_seed(value, name="seed"):
    """An unsigned 64-bit integer."""
    return as_count(value, name, low=0, high=SEED_LIMIT - 1)


def as_positive(value, name, *, low=0.0, high=math.inf):
    """A finite real number above zero, from ``low`` to ``high``."""
    if isinstance(value, (bool, np.bool_, str)) or not np.isrealobj(value):
        raise TypeError(f"{name} is {value!r}; it must be a positive number.")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {value!r}; it must be a positive number.") from None
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{name} is {number}; it must be finite and above 0.")
    if not low <= number <= high:
        raise ValueError(f"{name} is {number}; it must be from {low:g} to {high:g}.")
    return number


def as_not_negative(value, name):
    """A finite real number, at least 0."""
    if isinstance(value, (bool, np.bool_)) or np.asarray(value).dtype.kind not in "fiu" or np.ndim(value):
        raise TypeError(f"{name} is {value!r}; it must be a number, at least 0.")
    if not 0 <= float(value) < np.inf:
        raise ValueError(f"{name} is {value}; it must be finite and at least 0.")
    return float(value)


def as_choice(value, name, choices):
    """One of the strings ``choices``."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(map(repr, choices))}.")
    return value


def as_flag(value, name):
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} is {value!r}; it must be True or False.")
    return bool(value)


def as_ids(value, name, length):
    """Row ids: ``length`` unsigned 64-bit integers, 0..length-1 where None is given."""
    if value is None:
        return np.arange(length, dtype=np.uint64)
    ids = as_array(value, name)
    if ids.dtype.kind not in "iu":
        raise TypeError(f"{name} has dtype {ids.dtype}; row ids are integers.")
    if ids.shape != (length,):
        raise ValueError(f"{name} has shape {ids.shape}; one id for each of the {length} rows is expected.")
    if ids.dtype.kind == "i" and (ids < 0).any():
        raise ValueError(f"{name} holds {int(ids.min())}; row ids are not negative.")
    return np.ascontiguousarray(ids, np.uint64)


def as_ascending(values, name):
    """The distinct values of a sequence of numbers in order; at least one."""
    try:
        values = sorted(set(values))
    except TypeError:
        raise TypeError(f"{name} is {values!r}; it must be a sequence of numbers.") from None
    if not values:
        raise ValueError(f"{name} is empty; give at least one.")
    return values
