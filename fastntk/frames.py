"""Data frames of pandas and polars as NumPy arrays: numeric columns, and an error that names another one."""

import sys

import numpy as np


def is_frame(value):
    """Whether a value is a data frame or a series (a column) of pandas or polars."""
    return _kind(value) is not None


def as_numpy(value, name):
    """(n, d) or (n,) values of a data frame or series; what is missing is NaN, and row labels do not count.

    Raises
    ------
    TypeError
        Naming the column that is no number, or polars' LazyFrame.

    Examples
    --------
    >>> import pandas as pd
    >>> from fastntk.frames import as_numpy
    >>> as_numpy(pd.DataFrame({"a": [1.0, 2.0], "b": [3, 4]}), "X")
    array([[1., 3.],
           [2., 4.]])
    """
    library, kind = _kind(value)
    if kind == "LazyFrame":
        raise TypeError(f"{name} is a LazyFrame, which has no values yet. Give {name}.collect().")
    is_number = _is_number_of_pandas if library == "pandas" else _is_number_of_polars
    for label, column in _columns(value):
        if not is_number(column.dtype):
            raise TypeError(
                f"the column {label!r} of {name} is not numeric (its type is {column.dtype}). "
                f"Drop it, or encode it as numbers."
            )
    array = value.to_numpy()
    if array.dtype.kind in "fiub":
        return array
    # Booleans beside numbers, decimals, or types with a value of their own for what is missing.
    if library == "pandas":
        return value.to_numpy(np.float64, na_value=np.nan)
    return value.cast(sys.modules["polars"].Float64).to_numpy()


def require_same_columns(X, Y):
    """Refuse data frames of rows and columns whose features are not the same, in the same order."""
    if any((_kind(value) or ("", ""))[1] != "DataFrame" for value in (X, Y)):
        return
    names, others = list(X.columns), list(Y.columns)
    if names != others and len(names) == len(others):
        place = next(i for i in range(len(names)) if names[i] != others[i])
        raise ValueError(
            f"X and Y are data frames of different columns: number {place} is {names[place]!r} in X and "
            f"{others[place]!r} in Y. Give Y[list(X.columns)], or arrays."
        )


def _kind(value):
    """(library, class) of a data frame or series, whose library is not imported for that; None otherwise."""
    for library in ("pandas", "polars"):
        for name in ("DataFrame", "Series", "LazyFrame"):
            if is_instance(value, library, name):
                return library, name
    return None


def is_instance(value, module, name):
    """Whether a value is of a class of a module, which is not imported for that."""
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(value, kind)


def _columns(value):
    """(label, column) of each column; a series is one."""
    library, kind = _kind(value)
    if kind == "Series":
        return [(value.name, value)]
    if library == "pandas":
        return value.items()
    return zip(value.columns, value.get_columns(), strict=True)


def _is_number_of_pandas(dtype):
    from pandas.api.types import is_bool_dtype, is_complex_dtype, is_numeric_dtype

    return (is_numeric_dtype(dtype) or is_bool_dtype(dtype)) and not is_complex_dtype(dtype)


def _is_number_of_polars(dtype):
    return dtype.is_numeric() or dtype == sys.modules["polars"].Boolean
