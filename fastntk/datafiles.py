"""Reading a user's .npz, .npy, .csv or .parquet file.

Everything that can be wrong with a file ends in one :class:`DataError` whose message is a line a
shell user can act on.  Nothing here ever unpickles: NumPy files are read with ``allow_pickle=False``.
"""

import csv

import numpy as np

from .explained import EXTRAS

INSTALL_HINT = 'python -m pip install "fastntk[study]"'


class DataError(ValueError):
    """A data set that cannot be used; the message names the file and what to do."""


def read_file(path, target=None):
    """The (n, d) features, the target or None, and the target's name or None, as the file holds them.

    Raises
    ------
    DataError
        The file is missing or malformed, or has no such target.
    ImportError
        A library of the ``study`` extra is missing.
    """
    if not path.exists():
        raise DataError(f"{path}: there is no such file.")
    if not path.is_file():
        raise DataError(f"{path} is not a file.")
    try:
        return READERS[path.suffix.lower()](path, target)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def _read_npz(path, target):
    content = _load_numpy(path)
    if not isinstance(content, dict):
        raise DataError(f"{path} is not an .npz archive (it holds a single array): rename it to .npy.")
    listing = ", ".join(f"{key} {value.shape}" for key, value in content.items()) or "nothing"
    if target is not None and target not in content:
        raise DataError(f"{path} has no array {target!r} for --target; it holds {listing}.")
    labels = content.pop(target) if target is not None else None
    for key in ("X", "data"):
        if key in content:
            return content[key], labels, target
    matrices = [value for value in content.values() if value.ndim == 2]
    if len(matrices) != 1:
        raise DataError(
            f"{path} holds {listing}; the data must be named 'X' or 'data', "
            "or be the only two-dimensional array."
        )
    return matrices[0], labels, target


def _read_npy(path, target):
    array = _load_numpy(path)
    if isinstance(array, dict):
        raise DataError(f"{path} is not a .npy array (it is an archive): rename it to .npz.")
    if target is None:
        return array, None, None
    if array.ndim != 2:
        raise DataError(f"{path} holds an array of shape {array.shape}; rows and features are expected.")
    place = _place(target, array.shape[1])
    if place is None:
        raise DataError(
            f"--target {target} is not a column of {path}, whose columns are 0 to {array.shape[1] - 1}."
        )
    return np.delete(array, place, axis=1), array[:, place], f"column {place}"


def _load_numpy(path):
    """The array of a .npy file, or the arrays of an .npz file by name."""
    try:
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            return (
                content if isinstance(content, np.ndarray) else {key: content[key] for key in content.files}
            )
    except OSError:
        raise
    except Exception as error:  # zlib, zipfile and NumPy each raise their own
        if "pickle" in str(error).lower():
            raise DataError(
                f"{path} holds pickled Python objects, which are not read because loading them could run "
                "code. Save plain numeric arrays instead."
            ) from error
        raise _malformed(path, error) from error


def _malformed(path, error):
    return DataError(f"{path} is malformed: {' '.join(str(error).split()) or type(error).__name__}")


def _read_csv(path, target):
    pd = _import_pandas("csv")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            records = (record for record in csv.reader(file) if record)
            first, second = next(records, []), next(records, [])
        header = None if _all_numbers(first) else 0
        frame = pd.read_csv(path, header=header, encoding="utf-8-sig", skipinitialspace=True)
    except OSError:
        raise
    except Exception as error:  # a decoding, parsing or empty-file error
        raise _malformed(path, error) from error
    if len(second) > len(first):  # pandas would take the surplus for row names
        raise DataError(f"{path} is malformed: its second line has more values than its first.")
    return _split_frame(frame, path, target)


def _read_parquet(path, target):
    pd = _import_pandas("parquet")
    try:
        frame = pd.read_parquet(path, engine="pyarrow")
    except OSError as error:
        if error.errno is not None:
            raise
        raise _malformed(path, error) from error
    except ImportError as error:
        raise ImportError(f"Reading .parquet files needs pyarrow: {INSTALL_HINT}. {EXTRAS}") from error
    except Exception as error:
        raise _malformed(path, error) from error
    return _split_frame(frame, path, target)


def _import_pandas(kind):
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(f"Reading .{kind} files needs pandas: {INSTALL_HINT}. {EXTRAS}") from error
    return pd


def _split_frame(frame, path, target):
    """The numeric columns of a table and the column chosen as target."""
    if frame.empty:
        raise DataError(f"{path} has {frame.shape[0]} rows and {frame.shape[1]} columns of data.")
    names = [str(name) for name in frame.columns]
    labels = target_name = None
    if target is not None:
        place = names.index(target) if target in names else _place(target, len(names))
        if place is None:
            shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
            raise DataError(f"{path} has no column {target!r} for --target; its columns are {shown}.")
        labels, target_name = frame.iloc[:, place], names[place]
        if labels.isna().any():
            raise DataError(
                f"{path}: the target {target_name!r} is missing in row {int(np.argmax(labels.isna()))}."
            )
        labels = labels.to_numpy()
        frame = frame.iloc[:, [i for i in range(len(names)) if i != place]]
    from pandas.api.types import is_bool_dtype, is_complex_dtype, is_numeric_dtype

    for name, column in frame.items():
        if not (is_numeric_dtype(column) or is_bool_dtype(column)) or is_complex_dtype(column):
            example = next(
                (repr(value) for value in column if isinstance(value, str)), f"values of type {column.dtype}"
            )
            raise DataError(
                f"{path}: the column {str(name)!r} is not numeric (it holds {example}). "
                f"Give it as --target {str(name)!r} if it is the label; otherwise drop or encode it."
            )
        if column.isna().any():
            raise DataError(
                f"{path}: the column {str(name)!r} has {int(column.isna().sum())} missing values, "
                f"the first in row {int(np.argmax(column.isna()))}. Remove or impute them."
            )
    return frame.to_numpy(float), labels, target_name


def _all_numbers(cells):
    """Whether a first line is data rather than a header."""
    try:
        return bool([float(cell) for cell in cells])
    except ValueError:
        return False


def _place(target, columns):
    """The column number meant by a --target such as "4" or "-1"; None where there is none."""
    try:
        place = int(target)
    except ValueError:
        return None
    return place % columns if -columns <= place < columns else None


READERS = {".npz": _read_npz, ".npy": _read_npy, ".csv": _read_csv, ".parquet": _read_parquet}
