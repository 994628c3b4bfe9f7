"""The numbers of a study in a file, and back: dataclasses of arrays and plain values, nested or not."""

from dataclasses import fields, is_dataclass

import numpy as np


def save(numbers, path):
    """Write a dataclass to an .npz file; a field that is a dataclass has a prefix, ``name.``."""
    np.savez(path, **_flat(numbers, ""))


def load(kind, path):
    """What :func:`save` wrote, as a dataclass ``kind``."""
    with np.load(path, allow_pickle=False) as file:
        return _nested(kind, dict(file), "")


def _flat(numbers, prefix):
    out: dict = {}
    for field in fields(numbers):
        value, name = getattr(numbers, field.name), prefix + field.name
        out |= _flat(value, f"{name}.") if is_dataclass(value) else {name: value}
    return out


def _nested(kind, arrays, prefix):
    values = {}
    for field in fields(kind):
        name = prefix + field.name
        is_part = is_dataclass(field.type)
        values[field.name] = _nested(field.type, arrays, f"{name}.") if is_part else _plain(arrays[name])
    return kind(**values)


def _plain(array):
    """A Python value for an array without dimensions, a tuple for one of texts."""
    if array.ndim == 0:
        return array.item()
    return tuple(array.tolist()) if array.dtype.kind == "U" else array
