"""Data sets: the built-in ones, files in four formats, and a clear message for each bad file."""

import pickle

import numpy as np
import pandas as pd
import pytest

from fastntk import datasets
from fastntk.datasets import DataError, load, preprocess

SHAPES = {
    "digits": (1797, 64),
    "iris": (150, 4),
    "wine": (178, 13),
    "breast_cancer": (569, 30),
    "diabetes": (442, 10),
    "linnerud": (20, 3),
}
FEATURES = np.random.default_rng(0).standard_normal((12, 3))
CLASSES = np.array(["red", "blue", "green"] * 4)


@pytest.mark.parametrize("name", datasets.BUILT_IN)
def test_built_in_sets_have_their_known_shapes_and_a_target(name):
    data = load(name)
    assert data.features.shape == SHAPES[name]
    assert data.features.dtype == np.float64
    assert data.target.shape == SHAPES[name][:1]
    assert (np.diff(data.target[data.order()]) >= 0).all()


def test_digits_are_classes_and_diabetes_is_not():
    assert load("digits").class_names == tuple("0123456789")
    assert load("diabetes").class_names is None


def write_npz(path):
    np.savez(path, X=FEATURES, colour=CLASSES)
    return "colour"


def write_npz_under_another_name(path):
    np.savez(path, measurements=FEATURES, colour=CLASSES)
    return "colour"


def frame():
    table = pd.DataFrame(FEATURES, columns=["a", "b", "c"])
    table.insert(1, "colour", CLASSES)
    return table


def write_csv(path):
    frame().to_csv(path, index=False, float_format="%.17g")
    return "colour"


def write_parquet(path):
    frame().to_parquet(path)
    return "1"  # by place


@pytest.mark.parametrize(
    ("suffix", "write"),
    [
        (".npz", write_npz),
        (".npz", write_npz_under_another_name),
        (".csv", write_csv),
        (".parquet", write_parquet),
    ],
)
def test_files_come_back_as_they_were_written(tmp_path, suffix, write):
    path = tmp_path / f"data{suffix}"
    data = load(path, target=write(path))
    np.testing.assert_array_equal(data.features, FEATURES)
    assert data.class_names == ("blue", "green", "red")
    np.testing.assert_array_equal(np.array(data.class_names)[data.target], CLASSES)


def test_npy_with_and_without_a_target_column(tmp_path):
    path = tmp_path / "data.npy"
    np.save(path, FEATURES)
    np.testing.assert_array_equal(load(path).features, FEATURES)
    assert load(path).target is None
    assert list(load(path).order()) == list(range(12))
    last = load(path, target="-1")
    np.testing.assert_array_equal(last.features, FEATURES[:, :2])
    np.testing.assert_array_equal(last.target, FEATURES[:, 2])
    assert last.target_name == "column 2"


def test_integers_booleans_and_fortran_order_are_read(tmp_path):
    path = tmp_path / "data.npy"
    for values in (np.arange(6).reshape(3, 2), np.eye(3, dtype=bool), np.asfortranarray(FEATURES)):
        np.save(path, values)
        np.testing.assert_array_equal(load(path).features, values)


def test_a_csv_without_a_header_loses_no_row(tmp_path):
    path = tmp_path / "data.csv"
    np.savetxt(path, FEATURES, delimiter=",", fmt="%.17g")
    np.testing.assert_array_equal(load(path).features, FEATURES)
    np.testing.assert_array_equal(load(path, target="0").target, FEATURES[:, 0])


def test_a_csv_with_a_byte_order_mark_and_spaces(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("\ufeffa, b\n1, 2\n3, 4\n", encoding="utf-8")
    data = load(path, target="b")
    assert data.features.tolist() == [[1], [3]]
    assert data.target_name == "b"


def test_a_few_whole_numbers_are_classes_and_others_a_quantity(tmp_path):
    path = tmp_path / "data.npz"
    for target, names in (([1.0, 0.0, 1.0], ("0", "1")), ([0.5, 0.0, 1.0], None)):
        np.savez(path, X=np.eye(3), y=target)
        assert load(path, target="y").class_names == names
    np.savez(path, X=np.eye(30), y=np.arange(30))
    assert load(path, target="y").class_names is None


# ---------------------------------------------------------------------------------- bad files


def content_of(kind):
    """Bytes or an array or text for a broken file."""
    return {
        "objects": np.array([[1, "a"], [None, 2]], dtype=object),
        "complex": np.ones((3, 2), complex),
        "text": np.array([["a", "b"]]),
        "vector": np.ones(3),
        "empty": np.ones((0, 3)),
        "infinite": np.array([[1.0, 2.0], [3.0, np.inf]]),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("objects", "pickled Python objects"),
        ("complex", "dtype complex128"),
        ("text", "dtype <U1"),
        ("vector", r"shape \(3,\)"),
        ("empty", r"shape \(0, 3\)"),
        ("infinite", "row 1, feature 1 is inf"),
    ],
)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_arrays_that_are_no_data(tmp_path, suffix, kind, message):
    path = tmp_path / f"data{suffix}"
    values = content_of(kind)
    if suffix == ".npy":
        np.save(path, values, allow_pickle=True)
    else:
        np.savez(path, X=values, allow_pickle=True)
    with pytest.raises(DataError, match=message) as error:
        load(path)
    assert str(path) in str(error.value)


def test_a_pickle_is_never_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was loaded",))

    for suffix in (".npy", ".npz"):
        path = tmp_path / f"trap{suffix}"
        path.write_bytes(pickle.dumps(Trap()))
        with pytest.raises(DataError, match="pickled"):
            load(path)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", ".parquet"])
@pytest.mark.parametrize("content", [b"", b"\x80\xff\x00rubbish\n\xfe,,\n1,2,3\n4"])
def test_malformed_files(tmp_path, suffix, content):
    path = tmp_path / f"data{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_a_file_cut_short(tmp_path, suffix):
    path = tmp_path / f"data{suffix}"
    {".npz": write_npz, ".parquet": write_parquet}[suffix](path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="malformed"):
        load(path)


def test_a_damaged_npz_member(tmp_path):
    path = tmp_path / "data.npz"
    np.savez_compressed(path, X=FEATURES)
    content = bytearray(path.read_bytes())
    content[120:140] = bytes(20)
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="malformed"):
        load(path)


def test_npz_and_npy_are_not_mixed_up(tmp_path):
    np.save(tmp_path / "a.npy", FEATURES)
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    with pytest.raises(DataError, match=r"rename it to \.npy"):
        load(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", X=FEATURES)
    (tmp_path / "b.npz").rename(tmp_path / "b.npy")
    with pytest.raises(DataError, match=r"rename it to \.npz"):
        load(tmp_path / "b.npy")


def test_an_npz_with_several_matrices_and_no_known_name(tmp_path):
    np.savez(tmp_path / "data.npz", one=FEATURES, two=FEATURES)
    with pytest.raises(
        DataError, match=r"one \(12, 3\), two \(12, 3\); the data must be named 'X' or 'data'"
    ):
        load(tmp_path / "data.npz")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,x\n2,y\n", "column 'b' is not numeric .it holds 'x'.*--target 'b'"),
        ("a,b\n1,2\n3,\n", "column 'b' has 1 missing values, the first in row 1"),
        ("a,b\n1,2,3\n4,5,6\n", "second line has more values than its first"),
        ("a,b\n0,2,3\n1,5,6\n", "second line has more values"),
        ("a,b\n1,2\n3,4,5\n", "malformed.*line 3"),
        ("a,b\n", "has 0 rows and 2 columns"),
        ("1,2\n3,nan\n", "missing values"),
        ("a;b\n1;2\n", "column 'a;b' is not numeric"),
    ],
)
def test_tables_that_are_not_numeric(tmp_path, text, message):
    path = tmp_path / "data.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        load(path)


@pytest.mark.parametrize("target", ["colours", "4", "-5", "1.5"])
def test_a_target_that_is_not_there(tmp_path, target):
    for suffix, write in ((".npz", write_npz), (".csv", write_csv), (".parquet", write_parquet)):
        path = tmp_path / f"data{suffix}"
        write(path)
        with pytest.raises(DataError, match=f"{target}.*--target"):
            load(path, target=target)
    np.save(tmp_path / "data.npy", FEATURES)
    with pytest.raises(DataError, match="whose columns are 0 to 2"):
        load(tmp_path / "data.npy", target=target)


def test_a_target_of_the_wrong_length_or_not_finite(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, X=np.eye(3), y=np.ones(4))
    with pytest.raises(DataError, match=r"target has shape \(4,\); one value for each of the 3 rows"):
        load(path, target="y")
    np.savez(path, X=np.eye(3), y=[0, np.nan, 1])
    with pytest.raises(DataError, match="not finite in row 1"):
        load(path, target="y")
    (tmp_path / "data.csv").write_text("a,y\n1,u\n2,\n", encoding="utf-8")
    with pytest.raises(DataError, match="target 'y' is missing in row 1"):
        load(tmp_path / "data.csv", target="y")


def test_names_and_paths_that_lead_nowhere(tmp_path):
    with pytest.raises(DataError, match=r"neither a built-in data set .digits, .* ends in \.npz"):
        load("mnist")
    with pytest.raises(DataError, match="no such file"):
        load(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match="not a file"):
        load(tmp_path / "folder.csv")
    with pytest.raises(DataError, match="--target belongs to a file"):
        load("iris", target="species")


# ------------------------------------------------------------------------------ preprocessing


def test_unit_rows_have_norm_one_at_any_scale():
    X = FEATURES * np.logspace(-300, 300, 12)[:, None]
    kept = X.copy()
    np.testing.assert_allclose(np.linalg.norm(preprocess(X, "unit"), axis=1), 1, rtol=1e-15)
    np.testing.assert_array_equal(X, kept)


def test_zero_rows_and_constant_features_stay_zero():
    X = np.array([[0.0, 0.0], [0.0, 2.0], [0.0, 4.0]])
    assert preprocess(X, "unit").tolist() == [[0, 0], [0, 1], [0, 1]]
    assert preprocess(X, "standardize").tolist() == [[0, -1], [0, 0], [0, 1]]
    np.testing.assert_array_equal(preprocess(X, "none"), X)


def test_standardize_does_not_see_units():
    scaled = FEATURES * [1e-3, 1, 1e5] + [5, 0, -7]
    np.testing.assert_allclose(
        preprocess(scaled, "standardize"), preprocess(FEATURES, "standardize"), atol=1e-8
    )


def test_an_unknown_preprocessing_is_refused():
    with pytest.raises(ValueError, match="how is 'whiten'; it must be one of 'unit', 'standardize', 'none'"):
        preprocess(np.eye(2), "whiten")
