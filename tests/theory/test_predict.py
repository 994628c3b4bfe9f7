"""Predictions with a kernel at hand: stored values of neural-tangents, matrix exponentials, an ODE, runs."""

import functools
import json
from pathlib import Path

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from scipy.sparse.linalg import aslinearoperator

import fastntk as fn

FILE = Path(__file__).parent.parent / "data" / "neural_tangents.json"
TIMES = [0.0, 0.3, 7.0, 250.0]
# Both sides are float64 with kernels of condition below 200, and differ in how they sum 6 terms.
TOLERANCE = {"rtol": 1e-11, "atol": 1e-12}
CASES = range(3)  # regularisers: none, relative, absolute


@functools.cache
def stored():
    return json.loads(FILE.read_text())


def arrays(*names, of=None):
    """Arrays of the stored file, or of a part of it."""
    part = stored() if of is None else of
    return [np.array(part[name]) for name in names]


def scaled_limit(x1, x2, get):
    """neural-tangents' kernels of Dense, Relu, Dense: those of the package times (W_std W_std_out)^2 / d."""
    factor = np.prod(stored()["W_std"]) ** 2 / np.shape(x1)[1]
    kernel = fn.nngp_limit(x1, x2) if get == "nngp" else fn.ntk_limit(x1, x2, layers="both")
    return factor * kernel


def problem(q=None, n=6, p=4, seed=0):
    """(K of n + p rows, y (n,) or (n, q), outputs on the n + p rows), positive definite."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((n + p, 2 * (n + p)))
    values = rng.standard_normal((2, n + p) if q is None else (2, n + p, q))
    return features @ features.T / 10, values[0, :n], values[1]


# ------------------------------------------------------------------ what neural-tangents computes
def test_kernels_of_infinite_width_have_one_factor_between_them():
    kernels, (x_train, x_test) = stored()["kernels"], arrays("x_train", "x_test")
    for get in ("ntk", "nngp"):
        for name, rows in {
            "train": (x_train, None),
            "across": (x_test, x_train),
            "test": (x_test, None),
        }.items():
            np.testing.assert_allclose(scaled_limit(*rows, get), kernels[f"{get}_{name}"], **TOLERANCE)


def test_a_finite_network_has_the_same_factor():
    """W_std and W_std_out stand before weights of variance 1; several outputs are the mean over them."""
    W, A, f, ntk, blocks, nngp = arrays(
        "W", "A", "outputs", "ntk", "ntk_blocks", "nngp", of=stored()["finite"]
    )
    x_train, x_test = arrays("x_train", "x_test")
    net, factor = fn.Network.from_arrays(W.T, A), np.prod(stored()["W_std"]) / np.sqrt(len(W))
    found = factor**2 * fn.ntk(x_test, x_train, network=net, layers="both")
    np.testing.assert_allclose(found, ntk, **TOLERANCE)
    np.testing.assert_allclose(found, np.trace(blocks, axis1=2, axis2=3) / A.shape[1], **TOLERANCE)
    outputs = [factor * fn.outputs(x, network=net) for x in (x_test, x_train)]
    np.testing.assert_allclose(outputs[0], f, **TOLERANCE)
    np.testing.assert_allclose(outputs[0] @ outputs[1].T / A.shape[1], nngp, **TOLERANCE)


@pytest.mark.parametrize("case", CASES)
def test_outputs_are_those_of_neural_tangents(case):
    expected = stored()["predictions"][case]
    K, across = arrays("ntk_train", "ntk_across", of=stored()["kernels"])
    y, fx_train_0, fx_test_0 = arrays("y_train", "fx_train_0", "fx_test_0")
    times = stored()["times"]
    predict = fn.gradient_descent_mse(K, y, **expected["settings"])
    train, test = predict(times, fx_train_0, fx_test_0, across)
    np.testing.assert_allclose(train, expected["train"], **TOLERANCE)
    np.testing.assert_allclose(test, expected["test"], **TOLERANCE)
    np.testing.assert_array_equal(predict(times, fx_train_0), train)
    train, test = predict(fx_train_0=fx_train_0, fx_test_0=fx_test_0, k_test_train=across)
    np.testing.assert_allclose(train, expected["train_end"], **TOLERANCE)
    np.testing.assert_allclose(test, expected["test_end"], **TOLERANCE)
    _, test = predict(times, 0.0, 0.0, across)
    np.testing.assert_allclose(test, expected["test_from_zero"], **TOLERANCE)
    np.testing.assert_allclose(test[1], expected["test_from_zero"][1], rtol=1e-11, atol=0)  # t = 1e-9
    only = predict(times[3], None, fx_test_0, across)
    np.testing.assert_allclose(only, expected["only_test"], **TOLERANCE)


@pytest.mark.parametrize("case", CASES)
def test_ensembles_are_those_of_neural_tangents(case):
    expected = stored()["ensembles"][case]
    x_train, x_test, y = arrays("x_train", "x_test", "y_train")
    predict = fn.gradient_descent_mse_ensemble(scaled_limit, x_train, y, **expected["settings"])
    for name, t in (("times", stored()["times"]), ("end", None)):
        for place, x in (("test", x_test), ("train", None)):
            both = predict(t, x, compute_cov=True)
            assert both._fields == ("nngp", "ntk")
            for get in both._fields:
                gaussian, found = expected[f"{get}_{place}_{name}"], getattr(both, get)
                np.testing.assert_allclose(found.mean, gaussian["mean"], **TOLERANCE)
                np.testing.assert_allclose(found.covariance, gaussian["covariance"], **TOLERANCE)
                np.testing.assert_array_equal(predict(t, x, get=get), found.mean)


# ---------------------------------------------------------------------------------- definitions
@pytest.mark.parametrize("q", [None, 1, 3])
@pytest.mark.parametrize("regulariser", [0.0, 0.2])
def test_outputs_by_matrix_exponentials(q, regulariser):
    K, y, f = problem(q)
    K, across = K[:6, :6], K[6:, :6]
    learning_rate, system = 2.5, K + regulariser * np.trace(K) / 6 * np.eye(6)
    predict = fn.gradient_descent_mse(K, y, learning_rate, regulariser)
    for t in TIMES:
        left = expm(-learning_rate * t / y.size * system)
        moved = (left - np.eye(6)) @ (f[:6] - y)
        train, test = predict(t, f[:6], f[6:], across)
        np.testing.assert_allclose(train, f[:6] + moved, **TOLERANCE)
        np.testing.assert_allclose(test, f[6:] + across @ np.linalg.solve(system, moved), **TOLERANCE)


@pytest.mark.parametrize("q", [None, 2])
def test_outputs_solve_the_flow_of_the_mean_squared_error(q):
    """df/dt = -learning_rate K(., X) dL/df with L = |f(X) - y|^2 / (2 y.size)."""
    K, y, f = problem(q)

    def slope(_, outputs):
        residual = outputs.reshape(f.shape)[:6] - y
        return (-0.7 * K[:, :6] @ (residual / y.size)).ravel()

    solved = solve_ivp(slope, (0, 30), f.ravel(), "DOP853", [0.5, 3.0, 30.0], rtol=1e-12, atol=1e-13)
    predict = fn.gradient_descent_mse(K[:6, :6], y, learning_rate=0.7)
    found = np.concatenate(predict([0.5, 3.0, 30.0], f[:6], f[6:], K[6:, :6]), axis=1)
    np.testing.assert_allclose(found, solved.y.T.reshape(found.shape), rtol=0, atol=1e-10)  # 1e-12 a step


def test_small_times_and_eigenvalues_keep_their_digits():
    eigenvalues = np.array([1e3, 1.0, 1e-6, 1e-11])
    predict = fn.gradient_descent_mse(np.diag(eigenvalues), np.ones(4))
    with mpmath.workdps(40):
        for t in (1e-250, 1e-17, 1e-5, 1.0, 1e9):
            learned = [-mpmath.expm1(-mpmath.mpf(value) * t / 4) for value in eigenvalues]
            expected = [float(one / value) for one, value in zip(learned, eigenvalues, strict=True)]
            train, test = predict(t, 0.0, 0.0, np.eye(4))
            np.testing.assert_allclose(train, np.array(learned, float), rtol=1e-15, atol=0)
            np.testing.assert_allclose(test, expected, rtol=1e-15, atol=0)


@pytest.mark.parametrize("get", ["nngp", "ntk"])
@pytest.mark.parametrize("t", [*TIMES, None])
def test_ensembles_are_linear_images_of_their_start(get, t):
    """f_t = M f_0 + what y adds, on training and test rows at once, so its covariance is M C M'."""
    C, y, _ = problem()
    kernels = {"nngp": C, "ntk": C + problem(seed=1)[0]}
    K = kernels[get]
    left = np.zeros((6, 6)) if t is None else expm(-1.5 * t / 6 * K[:6, :6])
    pull = K[:, :6] @ np.linalg.solve(K[:6, :6], np.eye(6) - left)
    M = np.hstack([-pull, np.zeros((10, 4))]) + np.eye(10)

    def kernel_fn(x1, x2, kind):
        return kernels[kind][np.ix_(x1, x1 if x2 is None else x2)]

    predict = fn.gradient_descent_mse_ensemble(kernel_fn, np.arange(6), y, learning_rate=1.5)
    for x_test, rows in ((None, slice(0, 6)), (np.arange(6, 10), slice(6, 10)), (np.arange(6), slice(0, 6))):
        found = predict(t, x_test, get, compute_cov=True)
        np.testing.assert_allclose(found.mean, (pull @ y)[rows], rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(found.covariance, (M @ C @ M.T)[rows, rows], rtol=1e-9, atol=1e-11)
        np.testing.assert_array_equal(found.covariance, found.covariance.T)


# ----------------------------------------------------------------------------- singular kernels
def singular():
    """(K of 7 rows: 5 of rank 4, a duplicate and a zero one; kernel of 3 other rows; y)."""
    rng = np.random.default_rng(3)
    features = rng.standard_normal((5, 4))
    features = np.vstack([features, features[:1], np.zeros((1, 4))])
    return features @ features.T, rng.standard_normal((3, 4)) @ features.T, rng.standard_normal(7)


@pytest.mark.parametrize("t", [None, np.inf, 1e12])
def test_singular_kernels_are_learned_on_their_range(t):
    """At infinity by the pseudo-inverse; before, time is finite but far beyond the slowest mode."""
    K, across, y = singular()
    fx_train_0 = np.linspace(-1, 1, 7)
    inverse = np.linalg.pinv(K, rcond=1e-12, hermitian=True)
    train, test = fn.gradient_descent_mse(K, y)(t, fx_train_0, 0.5, across)
    np.testing.assert_allclose(train, fx_train_0 + K @ inverse @ (y - fx_train_0), rtol=0, atol=1e-12)
    np.testing.assert_allclose(test, 0.5 + across @ inverse @ (y - fx_train_0), rtol=0, atol=1e-12)
    assert train[6] == pytest.approx(1.0, abs=1e-15)  # the zero row stays where it was


def test_a_singular_kernel_in_between():
    """The test outputs are the integral of the flow: across (t/N) phi(-t K/N) y with phi(z) = (e^z - 1)/z."""
    K, across, y = singular()
    times = np.array([0.1, 2.0, 40.0])
    train, test = fn.gradient_descent_mse(K, y)(times, 0.0, 0.0, across)
    for t, one, other in zip(times, train, test, strict=True):
        block = expm(np.block([[-t / 7 * K, t / 7 * np.eye(7)], [np.zeros((7, 14))]]))
        np.testing.assert_allclose(one, y - block[:7, :7] @ y, rtol=0, atol=1e-12)
        np.testing.assert_allclose(other, across @ block[:7, 7:] @ y, rtol=0, atol=1e-11)


def test_a_regulariser_makes_a_singular_kernel_ridge_regression():
    K, across, y = singular()
    predict = fn.gradient_descent_mse(K, y, diag_reg=0.01, diag_reg_absolute_scale=True)
    train, test = predict(None, 0.0, 0.0, across)
    np.testing.assert_allclose(train, y, rtol=0, atol=1e-12)
    expected = across @ fn.kernel_ridge(K, y, ridge=0.01).coefficients
    np.testing.assert_allclose(test, expected, rtol=0, atol=1e-11)
    regularised = predict(None, 0.0, 0.0, K)[1]
    np.testing.assert_allclose(regularised, y - 0.01 * np.linalg.solve(K + 0.01 * np.eye(7), y), atol=1e-11)


def test_a_zero_kernel_learns_nothing():
    train, test = fn.gradient_descent_mse(np.zeros((2, 2)), [1.0, 2.0])(
        [1.0, np.inf], 0.5, 3.0, np.ones((1, 2))
    )
    np.testing.assert_array_equal(train, np.full((2, 2), 0.5))
    np.testing.assert_array_equal(test, np.full((2, 1), 3.0))


def test_ensembles_of_singular_kernels_keep_what_they_cannot_learn():
    X = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])

    def kernel_fn(x1, x2, get):
        return fn.ntk_limit(x1, x2, layers="output" if get == "nngp" else "hidden")

    predict = fn.gradient_descent_mse_ensemble(kernel_fn, X, [1.0, 3.0, 5.0, 7.0])
    for x_test in (None, X):
        for found in predict(None, x_test, compute_cov=True):
            np.testing.assert_allclose(found.mean, [2.0, 2.0, 0.0, 7.0], rtol=0, atol=1e-14)
            np.testing.assert_allclose(found.covariance, np.zeros((4, 4)), rtol=0, atol=1e-14)


@given(
    n=st.integers(1, 12),
    rank=st.integers(0, 12),
    power=st.integers(-280, 280),
    seed=st.integers(0, 2**32),
)
def test_any_rank_and_unit(n, rank, power, seed):
    """Residuals only shrink, all is finite, and units do not matter: kernels from 1e-84 to 1e84."""
    rng = np.random.default_rng(seed)
    features, y = rng.standard_normal((n + 2, rank)), rng.standard_normal(n)
    kernel = features @ features.T
    times = np.array([0.0, 1e-3, 1.0, 1e5, np.inf])
    train, test = fn.gradient_descent_mse(kernel[:n, :n], y)(times, 0.0, 0.0, kernel[n:, :n])
    residuals = np.linalg.norm(train - y, axis=1)
    assert (np.diff(residuals) <= 1e-13 * residuals[0]).all()
    assert np.isfinite(test).all()
    scaled, unit = np.ldexp(kernel, power), 2.0**-power
    found = fn.gradient_descent_mse(scaled[:n, :n], y)(unit * times, 0.0, 0.0, scaled[n:, :n])
    # eigenvectors of a kernel of another scale, on the slowest mode that still counts: its inverse condition
    np.testing.assert_allclose(found[0], train, rtol=0, atol=1e-9 * np.linalg.norm(y))
    assert np.isfinite(found[1]).all()


# ------------------------------------------------------------------------- with the rest of the package
@pytest.mark.parametrize("q", [1, 2])
def test_the_kernel_regime_of_a_network_is_the_same_flow(q):
    """learning_rate = step_size times the number of targets makes t the number of steps."""
    rng = np.random.default_rng(8)
    X, Z, y = rng.standard_normal((6, 4)), rng.standard_normal((3, 4)), rng.standard_normal((6, q))
    y = y[:, 0] if q == 1 else y
    net = fn.Network(500, 4, outputs=q)
    theory = fn.kernel_regime(X, y, network=net, step_size=0.2)
    predict = fn.gradient_descent_mse(fn.ntk(X, network=net), y, learning_rate=0.2 * y.size)
    begin = [fn.outputs(rows, network=net) for rows in (X, Z)]
    train, test = predict([0, 3.5, 100], *begin, fn.ntk(Z, X, network=net))
    np.testing.assert_allclose(train, theory.outputs([0, 3.5, 100], flow=True), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(test, theory.outputs([0, 3.5, 100], Z, flow=True), rtol=1e-9, atol=1e-10)


def test_training_a_wide_network_by_short_steps():
    """50 steps of 0.02: some 1 % apart, by the steps and by the kernel, which moves as width^-1/2 does."""
    X, y = np.eye(3), np.array([1.0, 0.0, -1.0])
    net = fn.Network(width=100_000, dim=3, seed=2)
    run = fn.train(X, y, network=net, step_size=0.02, steps=50)
    start = fn.outputs(X, network=net)
    predict = fn.gradient_descent_mse(fn.ntk(X, network=net), y, learning_rate=0.02 * y.size)
    expected = predict(50, start)
    change = np.linalg.norm(expected - start)
    assert np.linalg.norm(fn.outputs(X, network=run.network) - expected) < 0.02 * change


# ------------------------------------------------------------------------------ forms and wrong input
def test_shapes_follow_times_and_targets():
    K, y, f = problem(2)
    K, across = K[:6, :6], K[6:, :6]
    times = np.ones((3, 1, 2))
    for targets, tail in ((y, (2,)), (y[:, :1], (1,)), (y[:, 0], ())):
        predict = fn.gradient_descent_mse(K, targets)
        for t, head in ((times, times.shape), (1, ()), (None, ()), ([], (0,))):
            train, test = predict(t, 0, 0, across)
            assert train.shape == (*head, 6, *tail)
            assert test.shape == (*head, 4, *tail)
    assert fn.gradient_descent_mse(K, y)(t=2.0, fx_train_0=f[:6]).shape == (6, 2)
    X, Z = np.eye(6, 7), np.ones((4, 7))
    predict = fn.gradient_descent_mse_ensemble(scaled_limit, X, y)
    for t, head in ((times, times.shape), (1, ()), (None, ()), ([], (0,))):
        for rows, count in ((None, 6), (Z, 4)):
            found = predict(t, rows, "ntk", compute_cov=True)
            assert found.mean.shape == (*head, count, 2)
            assert found.covariance.shape == (*head, count, count)


def test_inputs_are_not_written_and_come_in_any_form():
    K, y, f = problem()
    K, across = np.array(K[:6, :6]), np.array(K[6:, :6])
    for array in (K, across, y, f):
        array.flags.writeable = False
    expected = fn.gradient_descent_mse(K, y)(TIMES, f[:6], f[6:], across)
    found = fn.gradient_descent_mse(K.tolist(), y.tolist())(
        TIMES, f[:6].tolist(), f[6:].tolist(), np.asfortranarray(across)
    )
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-14)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-14)
    single = np.float32(K)
    found = fn.gradient_descent_mse(single, y)(TIMES, f[:6])
    np.testing.assert_allclose(found, expected[0], rtol=0, atol=1e-5)  # the kernel's 6e-8 and its condition


def test_rounding_of_float32_kernels_is_not_learned():
    """A kernel of rank 1 whose other eigenvalues are float32 rounding, of either sign."""
    row = np.random.default_rng(5).standard_normal(40)
    K = np.float32(np.outer(row, row))
    y = np.random.default_rng(6).standard_normal(40)
    train, test = fn.gradient_descent_mse(K, y)(None, 0.0, 0.0, row[np.newaxis])
    np.testing.assert_allclose(train, row * (row @ y) / (row @ row), rtol=0, atol=1e-5)
    np.testing.assert_allclose(test, row @ y / (row @ row) * np.ones(1), rtol=0, atol=1e-5)


def test_kernels_of_the_ensemble_are_computed_once_and_only_when_needed():
    calls = []

    def kernel_fn(x1, x2, get):
        calls.append((len(x1), None if x2 is None else len(x2), get))
        return fn.ntk_limit(x1, x2, layers="output" if get == "nngp" else "both")

    X, Z = np.eye(3), np.ones((2, 3))
    predict = fn.gradient_descent_mse_ensemble(kernel_fn, X, [1, 2, 3])
    assert not calls
    predict(1.0, Z, get="ntk")
    assert calls == [(3, None, "ntk"), (2, 3, "ntk")]
    predict(None, Z, get=("ntk", "nngp"), compute_cov=True)
    predict([1.0, 2.0], compute_cov=True)
    assert [call for call in calls if call[:2] == (3, None)] == [(3, None, "ntk"), (3, None, "nngp")]
    assert predict(1.0, Z, get=("ntk", "nngp"))._fields == ("ntk", "nngp")


K, Y = problem()[0][:6, :6], problem()[1]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"k_train_train": K[:5]}, ValueError, r"k_train_train has shape \(5, 6\)"),
        (
            {"k_train_train": K + np.triu(K)},
            ValueError,
            r"k_train_train is not symmetric: k_train_train\[1, 4\]",
        ),
        ({"k_train_train": np.where(K[1, 2] == K, np.nan, K)}, ValueError, r"k_train_train\[1, 2\] is nan"),
        ({"k_train_train": -K}, ValueError, "k_train_train is not positive semidefinite"),
        ({"k_train_train": K - 5 * np.eye(6)}, ValueError, "or a larger diag_reg"),
        ({"k_train_train": aslinearoperator(K)}, TypeError, "k_train_train is an operator.*kernel_ridge"),
        ({"k_train_train": 1j * K}, TypeError, "k_train_train has dtype complex"),
        ({"y_train": Y[:5]}, ValueError, "y_train has length 5"),
        ({"y_train": [np.inf, *Y[1:]]}, ValueError, r"y_train is not finite: y_train\[0\]"),
        ({"y_train": np.empty((6, 0))}, ValueError, "y_train has 0 columns"),
        ({"learning_rate": 0}, ValueError, "learning_rate is 0"),
        ({"learning_rate": "fast"}, TypeError, "learning_rate is 'fast'"),
        ({"diag_reg": -1e-3}, ValueError, "diag_reg is -0.001"),
        ({"diag_reg": None}, TypeError, "diag_reg is None"),
        ({"diag_reg_absolute_scale": 1}, TypeError, "diag_reg_absolute_scale is 1"),
    ],
)
def test_wrong_kernels_and_settings(arguments, error, message):
    given_kernel = {"k_train_train": K, "y_train": Y} | arguments
    with pytest.raises(error, match=message):
        fn.gradient_descent_mse(**given_kernel)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"t": -1}, ValueError, "t holds -1"),
        ({"t": [0, np.nan]}, ValueError, "t holds nan"),
        ({"t": "soon"}, TypeError, "t has dtype"),
        ({"t": True}, TypeError, "t has dtype bool"),
        ({"fx_train_0": np.zeros(5)}, ValueError, "fx_train_0 has length 5"),
        ({"fx_train_0": np.zeros((6, 1))}, ValueError, r"fx_train_0 has shape \(6, 1\).* \(6,\)"),
        ({"fx_train_0": np.nan}, ValueError, "fx_train_0 is not finite"),
        ({"fx_train_0": None}, ValueError, "nothing is to be predicted"),
        ({"fx_test_0": 0}, ValueError, "k_test_train is None"),
        ({"k_test_train": K}, ValueError, "without fx_test_0"),
        (
            {"fx_test_0": 0, "k_test_train": K[:, :4]},
            ValueError,
            "k_test_train has 4 features",
        ),
        ({"fx_test_0": np.zeros(3), "k_test_train": K}, ValueError, "fx_test_0 has length 3; 6"),
        ({"fx_test_0": 0, "k_test_train": Y}, ValueError, "k_test_train has shape"),
    ],
)
def test_wrong_times_and_outputs(arguments, error, message):
    predict = fn.gradient_descent_mse(K, Y)
    with pytest.raises(error, match=message):
        predict(**arguments)


@pytest.mark.parametrize(
    ("kernel_fn", "arguments", "message"),
    [
        (lambda x1, x2, get: K[:4, :4], {}, r"kernel_fn\(x_train, None, 'nngp'\) has 4"),
        (
            lambda x1, x2, get: K,
            {"x_test": np.eye(6)[:2]},
            r"kernel_fn\(x_test, x_train, 'nngp'\) has 6 rows",
        ),
        (lambda x1, x2, get: -K, {"get": "ntk"}, r"kernel_fn\(x_train, None, 'ntk'\) is not positive"),
        (lambda x1, x2, get: K, {"get": "ntkgp"}, "get is 'ntkgp'"),
        (lambda x1, x2, get: K, {"get": []}, r"get is \[\]"),
        (lambda x1, x2, get: K, {"t": -1}, "t holds -1"),
        (lambda x1, x2, get: K, {"compute_cov": 1}, "compute_cov is 1"),
    ],
)
def test_wrong_ensembles(kernel_fn, arguments, message):
    predict = fn.gradient_descent_mse_ensemble(kernel_fn, np.eye(6), Y)
    with pytest.raises((TypeError, ValueError), match=message):
        predict(**{"compute_cov": True} | arguments)


def test_wrong_ensembles_are_refused_before_their_kernels_are_computed():
    with pytest.raises(TypeError, match="kernel_fn is ndarray"):
        fn.gradient_descent_mse_ensemble(K, np.eye(6), Y)
    with pytest.raises(ValueError, match="y_train has length 5"):
        fn.gradient_descent_mse_ensemble(lambda *_: K, np.eye(6), Y[:5])
    with pytest.raises(ValueError, match="diag_reg is -1"):
        fn.gradient_descent_mse_ensemble(lambda *_: K, np.eye(6), Y, diag_reg=-1)


def test_a_host_whose_numpy_raises_on_underflow():
    with np.errstate(all="raise"):
        train = fn.gradient_descent_mse(K, Y)([1e5, np.inf], 1e-300)
        found = fn.gradient_descent_mse_ensemble(lambda *_: K, np.eye(6), Y)(1e5, compute_cov=True)
    np.testing.assert_allclose(train, [Y, Y], rtol=1e-12)
    np.testing.assert_allclose(found.ntk.covariance, np.zeros((6, 6)), rtol=0, atol=1e-12)


def test_memory_is_asked_for_first(monkeypatch):
    monkeypatch.setattr("fastntk.engine.plan.available_memory", lambda: 100)
    with pytest.raises(MemoryError, match="the eigenvectors of k_train_train, 6 rows"):
        fn.gradient_descent_mse(K, Y)
