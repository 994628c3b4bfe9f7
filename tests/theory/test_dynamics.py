"""The linear theory of training at one network: its numbers, its limits, and what simulation says of it."""

import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov

import fastntk as fn
from fastntk import dynamics
from fastntk.masks import Spread
from fastntk.smoothing import expected_gradient, output_variance, sampled_variance

from .. import simulation
from ..reference_values import cases

CASES = cases("noise_floor", "lambda_clean", "bias_half_sq")
STEPS = [0, 1, 2, 3, 10, 31, 100]


class OfVariances(fn.AdditiveMask):
    """Gaussian noise with a variance of its own for every entry of one data set."""

    def __init__(self, V):
        super().__init__(0.0)
        object.__setattr__(self, "V", V)

    def _spread(self, X):
        return Spread(self.V, 2 * X * self.V, (4 * X * X + 2 * self.V) * self.V)


def mask_of(case):
    if case["kappa"] is None:
        return OfVariances(case["V"])
    return fn.GaussianMask(case["kappa"]) if case["kappa"] else None


def of_case(case, step_size=None):
    network = (case["W"], case["a"])
    options = {"network": network, "mask": mask_of(case), "step_size": step_size or case["eta"]}
    return fn.predict_loss(case["X"], case["y"], **options)


def named(case):
    return case["name"]


def problem(seed=0, n=8, d=20, m=300, q=1):
    """Unit rows, real targets, and a network with signs as output weights, all in float64."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    y, W, a = rng.standard_normal((n, q)), rng.standard_normal((m, d)), rng.choice([-1.0, 1.0], (m, q))
    return (X, y, W, a) if q > 1 else (X, y[:, 0], W, a[:, 0])


def clean_kernel(X, W, a):
    """(x . x') mean_r a_r^2 1{..} 1{..} with a^2 the mean over the outputs, by NumPy."""
    active = (X @ W.T > 0).astype(float)
    squares = np.square(a).reshape(len(W), -1).mean(axis=1)
    return (X @ X.T) * ((active * squares) @ active.T) / len(W)


# ------------------------------------------------------------------------------ the reference values
@pytest.mark.parametrize("case", CASES, ids=named)
def test_reference_eigenvalues_shift_and_noise(case):
    theory = of_case(case)
    scale = case["lambda_clean"].max()
    np.testing.assert_allclose(theory.eigenvalues, np.sort(case["lambda_clean"]), rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(theory.contraction, 1 - case["eta"] * theory.eigenvalues, rtol=1e-15)
    np.testing.assert_allclose(theory.noise_floor, case["noise_floor"], rtol=1e-12)
    np.testing.assert_allclose(0.5 * np.square(theory.shift).sum(), case["bias_half_sq"], rtol=1e-12)
    np.testing.assert_allclose(0.5 * np.square(theory.residuals).sum(), case["clean_loss"], rtol=1e-12)
    means = np.linalg.eigvalsh(case["EK_W_independent"])
    np.testing.assert_allclose(theory.mean_eigenvalues, means, rtol=0, atol=1e-12 * means.max())


@pytest.mark.parametrize("case", cases("floor_mean_residual"), ids=named)
def test_reference_mean_residual_on_the_plateau(case):
    """In the eigenvectors of the reference kernel, whose signs are free."""
    theory, modes = of_case(case), np.linalg.eigh(case["K_W_clean"])[1]
    residual = case["floor_mean_residual"]
    condition = theory.eigenvalues[-1] / theory.eigenvalues[0]
    error = 1e-14 * condition * np.linalg.norm(residual)
    assert error < 1e-11 * (1 + np.linalg.norm(residual))
    np.testing.assert_allclose(np.abs(theory.plateau[:, 0]), np.abs(modes.T @ residual), rtol=0, atol=error)
    np.testing.assert_allclose(theory.mean_floor, 0.5 * residual @ residual, rtol=1e-12)
    np.testing.assert_allclose(theory.floor, 0.5 * residual @ residual + case["noise_floor"], rtol=1e-12)


@pytest.mark.parametrize("case", cases("transient_t0_1_10_100"), ids=named)
def test_reference_loss_over_the_steps(case):
    found = of_case(case).loss([0, 1, 10, 100])
    np.testing.assert_allclose(found, case["transient_t0_1_10_100"], rtol=1e-12)


# ------------------------------------------------------------------------------------ the recursion
def recursion(K, f, centre, y, V, step_size, steps):
    """1/2 |mean|^2 + 1/2 tr(covariance) of r <- (I - eta K) r - eta K (b + xi), one step after the other."""
    A, mean, covariance, losses = np.eye(len(K)) - step_size * K, f - y, np.zeros_like(K), []
    for t in range(max(steps) + 1):
        if t in steps:
            losses.append(0.5 * (mean @ mean + np.trace(covariance)))
        mean = A @ mean - step_size * K @ (centre - f)
        covariance = A @ covariance @ A.T + step_size**2 * K @ np.diag(V) @ K
    return np.array(losses)


@pytest.mark.parametrize("product", [0.1, 1.0, 1.9, 1.999])
@pytest.mark.parametrize("case", cases("f_var", "floor_mean_residual"), ids=named)
def test_the_loss_is_that_of_the_linear_recursion(case, product):
    """Step size times the largest eigenvalue up to near 2, where 2 - product loses 1e-12 to rounding.

    For ever: the mean residual is -b, its covariance solves the equation of Lyapunov.
    """
    K, f, centre, V = (case[name] for name in ("K_W_clean", "f_clean", "f_bar", "f_var"))
    step_size = product / np.linalg.eigvalsh(K)[-1]
    theory = of_case(case, step_size)
    np.testing.assert_allclose(
        theory.loss(STEPS), recursion(K, f, centre, case["y"], V, step_size, STEPS), rtol=1e-11
    )
    A, noise = np.eye(len(K)) - step_size * K, step_size**2 * K @ np.diag(V) @ K
    stationary = 0.5 * np.trace(solve_discrete_lyapunov(A, noise))
    np.testing.assert_allclose(theory.noise_floor, stationary, rtol=1e-10, atol=1e-300)
    forever = 0.5 * np.square(centre - f).sum() + stationary
    np.testing.assert_allclose(theory.loss(np.inf), forever, rtol=1e-10, atol=1e-300)


@pytest.mark.parametrize("case", cases("f_var", "floor_mean_residual"), ids=named)
def test_a_step_size_that_diverges(case):
    """The recursion is defined for any step size: the loss grows, without bound in the end."""
    K, f, centre, V = (case[name] for name in ("K_W_clean", "f_clean", "f_bar", "f_var"))
    step_size, steps = 2.4 / np.linalg.eigvalsh(K)[-1], [0, 1, 2, 10, 40]
    theory = of_case(case, step_size)
    expected = recursion(K, f, centre, case["y"], V, step_size, steps)
    np.testing.assert_allclose(theory.loss(steps), expected, rtol=1e-11)
    assert theory.loss(np.inf) == np.inf
    if V.any():
        assert theory.noise_floor == theory.floor == np.inf


def test_steps_of_any_shape():
    theory = of_case(CASES[1])
    table = theory.loss([[0, 5], [10, np.inf]])
    assert table.shape == (2, 2)
    assert theory.loss([]).shape == (0,)
    for at, steps in np.ndenumerate(np.array([[0, 5], [10, np.inf]])):
        assert np.ndim(theory.loss(steps)) == 0
        assert theory.loss(steps) == table[at]


# ---------------------------------------------------------------------------------------- limits
def test_a_weak_mask():
    """Where no preactivation is near 0 only the clean gradient counts: both noise floors become the same."""
    X, y, W, a = problem()
    distance = np.abs(X @ W.T).min() / np.linalg.norm(X[:, np.newaxis] * W, axis=2).max()
    mask = fn.GaussianMask(distance / 10)  # the nearest kink is ten deviations away
    theory = fn.predict_loss(X, y, network=(W, a), mask=mask, step_size=0.5)
    slopes = ((X @ W.T > 0) * a) @ W / np.sqrt(len(a))  # of the clean outputs by the inputs
    g = np.square(X * slopes).sum(axis=1)
    rates, modes = np.linalg.eigh(0.5 * clean_kernel(X, W, a))
    expected = 0.5 * mask.kappa**2 * (rates / (2 - rates)) @ (np.square(modes).T @ g)
    np.testing.assert_allclose(theory.small_mask_noise_floor, expected, rtol=1e-11)
    np.testing.assert_allclose(theory.noise_floor, expected, rtol=1e-9)
    kinks = 1e-12 * np.abs(simulation.outputs(X, W, a[:, np.newaxis])).max()  # R(-10) is 1e-25
    assert np.abs(theory.shift).max() < kinks


def test_a_short_step():
    """x / (2 - x) is x / 2 up to the factor 2 / (2 - x), x at most step size times the largest eigenvalue."""
    X, y, W, a = problem()
    slopes = ((X @ W.T > 0) * a) @ W / np.sqrt(len(a))
    K = clean_kernel(X, W, a)
    for step_size in (0.5, 0.05, 1e-6):
        options = {"network": (W, a), "mask": fn.GaussianMask(0.3), "step_size": step_size}
        theory = fn.predict_loss(X, y, **options)
        expected = step_size * 0.3**2 / 4 * np.diag(K) @ np.square(X * slopes).sum(axis=1)
        np.testing.assert_allclose(theory.small_step_noise_floor, expected, rtol=1e-12)
        most = 2 / (2 - step_size * np.linalg.eigvalsh(K)[-1])
        assert 1 < theory.small_mask_noise_floor / theory.small_step_noise_floor < most


def test_without_a_mask_nothing_is_left():
    X, y, W, a = problem()
    theory = fn.predict_loss(X, y, network=(W, a), step_size=0.5)
    assert theory.noise_floor == theory.small_mask_noise_floor == theory.small_step_noise_floor == 0
    assert theory.mean_floor < 1e-25
    assert theory.loss(np.inf) < 1e-25


def test_at_the_plateau_the_mean_step_moves_no_clean_output():
    """With targets such that the clean residuals are the plateau's, J grad E L = 0; elsewhere it is not."""
    X, y, W, a = problem()
    given = {"network": (W, a), "mask": fn.GaussianMask(0.5)}
    theory = fn.predict_loss(X, y, step_size=0.5, **given)
    f = simulation.outputs(X, W, a[:, np.newaxis])[:, 0]
    modes = np.linalg.eigh(clean_kernel(X, W, a))[1]
    modes *= np.sign((modes.T @ (f - y)) * theory.residuals[:, 0])  # the same signs as the library's

    def moved(targets):
        V = expected_gradient(X, targets, **given)
        return ((X @ W.T > 0) * (X @ V.T)) @ a / np.sqrt(len(a))

    assert np.linalg.norm(moved(f - modes @ theory.plateau[:, 0])) < 1e-11 * np.linalg.norm(moved(f))
    assert theory.mean_floor > 1e-4


def test_rows_that_cannot_be_fitted_stay_in_the_floor():
    """A zero row, and equal rows with unlike targets: directions that training does not move."""
    X, y, W, a = problem(n=4)
    X = np.vstack([X, X[:1], 0 * X[:1]])
    y = np.append(y, [y[0] + 1, 2.0])
    theory = fn.predict_loss(X, y, network=(W, a), step_size=0.5)
    assert theory.loss(np.inf) == pytest.approx(0.5 * (2 * 0.5**2 + 2.0**2), rel=1e-9)
    assert theory.floor == pytest.approx(theory.loss(np.inf), rel=1e-9)


# ------------------------------------------------------------------------------- kinds of networks
def test_several_outputs_are_taken_each_by_itself():
    """With signs as output weights the mean kernel is that of every output: losses and noise add up."""
    X, y, W, a = problem(q=3)
    options = {"mask": fn.GaussianMask(0.4), "step_size": 0.3}
    together = fn.predict_loss(X, y, network=(W, a), **options)
    alone = [fn.predict_loss(X, y[:, c], network=(W, a[:, c]), **options) for c in range(3)]
    steps = [0, 1, 7, 100, np.inf]
    np.testing.assert_allclose(together.loss(steps), sum(one.loss(steps) for one in alone), rtol=1e-11)
    for name in ("noise_floor", "small_mask_noise_floor", "small_step_noise_floor"):
        expected = sum(getattr(one, name) for one in alone)
        np.testing.assert_allclose(getattr(together, name), expected, rtol=1e-11, err_msg=name)
    assert together.residuals.shape == together.noise.shape == together.plateau.shape == (8, 3)


def test_labels_are_one_hot_targets():
    X, _, W, a = problem(q=3)
    labels = np.arange(8) % 3
    options = {"network": (W, a), "mask": fn.GaussianMask(0.4), "step_size": 0.3}
    found, expected = (fn.predict_loss(X, y, **options) for y in (labels, np.eye(3)[labels]))
    assert found.loss(5) == expected.loss(5)


@pytest.mark.parametrize("mask", [fn.GaussianMask(0.3), fn.AdditiveMask(0.1), None], ids=repr)
def test_a_network_and_its_arrays(mask):
    """A Network has weights and inputs rounded to float32, which moves all numbers by some 2^-24."""
    X, y, W, a = problem()
    options = {"mask": mask, "step_size": 0.3}
    found = fn.predict_loss(X, y, network=fn.Network.from_arrays(W, a), **options)
    expected = fn.predict_loss(X, y, network=(W, a), **options)
    steps = [0, 1, 7, 100]
    np.testing.assert_allclose(found.loss(steps), expected.loss(steps), rtol=1e-5)
    for name in ("stability", "noise_floor", "mean_floor", "small_mask_noise_floor"):
        other = getattr(expected, name)
        np.testing.assert_allclose(getattr(found, name), other, rtol=1e-5, atol=1e-20, err_msg=name)


def test_stability_is_that_of_masked_kernels():
    """Three masks are averaged over: their mean is within 4.5 standard errors of that of many."""
    X, y, W, a = problem()
    mask, rng = fn.GaussianMask(1.0), np.random.default_rng(1)
    theory = fn.predict_loss(X, y, network=(W, a), mask=mask, step_size=0.3)
    tops = [np.linalg.eigvalsh(clean_kernel(simulation.masked(mask, X, rng), W, a))[-1] for _ in range(400)]
    assert abs(theory.stability / 0.3 - np.mean(tops)) < 4.5 * np.std(tops) / np.sqrt(3)
    assert theory.stability > 1.5 * 0.3 * theory.eigenvalues[-1]


@pytest.mark.parametrize("pair", [False, True])
def test_beyond_the_exact_sums_the_variance_is_sampled(pair, monkeypatch):
    """Noise within 4.5 standard errors of the exact one, plateau up to the higher terms of the regulariser.

    At kappa = 0.3 these are 3 % of the variance, and its gradient is off by as much or a few times that.
    """
    X, y, W, a = problem()
    network = (W, a) if pair else fn.Network.from_arrays(W, a)
    options = {"network": network, "mask": fn.GaussianMask(0.3), "step_size": 0.3}
    exact = fn.predict_loss(X, y, **options)
    monkeypatch.setattr(dynamics, "EXACT_PAIRS", 8 * 300**2 - 1)
    sampled = fn.predict_loss(X, y, seed=4, **options)
    given = {"network": fn.Network.from_arrays(W, a), "mask": fn.GaussianMask(0.3)}
    error = sampled_variance(X, draws=dynamics.DRAWS, seed=4, **given).standard_error
    V = output_variance(X, **given)
    assert 0 < abs(sampled.noise.sum() - V.sum()) < 4.5 * np.linalg.norm(error)
    assert exact.noise.sum() == pytest.approx(V.sum(), rel=1e-6)
    assert np.linalg.norm(sampled.plateau - exact.plateau) < 0.15 * np.linalg.norm(exact.plateau)


def test_the_plateau_may_be_left_out():
    X, y, W, a = problem()
    options = {"network": (W, a), "mask": fn.GaussianMask(0.3), "step_size": 0.3}
    whole, part = (fn.predict_loss(X, y, plateau=plateau, **options) for plateau in (True, False))
    assert part.plateau is None
    assert part.mean_eigenvalues is None
    assert part.noise_floor == whole.noise_floor
    assert part.loss(7) == whole.loss(7)
    for name in ("mean_floor", "floor"):
        with pytest.raises(ValueError, match="plateau=True"):
            getattr(part, name)


WRONG = {
    "a lognormal mask": ({"mask": fn.LognormalMask(0.1)}, ValueError, "GaussianMask and AdditiveMask"),
    "a mask of other features": ({"mask": fn.GaussianMask([0.1, 0.2])}, ValueError, "2 features but X has"),
    "no network": ({"network": None}, TypeError, "network is None"),
    "step_size zero": ({"step_size": 0}, ValueError, "step_size is 0"),
    "step_size a word": ({"step_size": "auto"}, TypeError, "step_size is 'auto'"),
    "y too short": ({"y": [1.0]}, ValueError, r"y has shape \(1,\)"),
    "threads": ({"threads": 0}, ValueError, "threads is 0"),
    "memory": ({"memory_limit": 1000}, MemoryError, "memory_limit is 1 KB"),
}


@pytest.mark.parametrize(("changes", "exception", "message"), WRONG.values(), ids=WRONG)
def test_wrong_input(changes, exception, message):
    X, y, W, a = problem()
    options = {"y": y, "network": (W, a), "mask": fn.GaussianMask(0.3), "step_size": 0.3, **changes}
    with pytest.raises(exception, match=message):
        fn.predict_loss(X, **options)


@pytest.mark.parametrize("steps", [-1, 0.5, np.nan, -np.inf, [3, 2.5]])
def test_numbers_of_steps_are_whole(steps):
    with pytest.raises(ValueError, match=r"steps holds .*; it must be whole numbers from 0 on"):
        of_case(CASES[0]).loss(steps)


def test_steps_that_are_too_large_have_no_floor():
    X, y = np.eye(3), np.ones(3)
    options = {"network": fn.Network(200, 3), "mask": fn.GaussianMask(0.2)}
    largest = fn.predict_loss(X, y, step_size=1.0, **options).eigenvalues[-1]
    theory = [fn.predict_loss(X, y, step_size=c / largest, **options) for c in (1.99, 2.01, 1e25)]
    assert np.isfinite(theory[0].floor)
    assert [one.floor for one in theory[1:]] == [np.inf, np.inf]
    assert theory[2].loss(1000) == np.inf  # and no warning


def test_a_plateau_that_does_not_fit_is_refused_before_any_work(monkeypatch):
    monkeypatch.setattr(dynamics, "expected_outputs", None)
    options = {"network": fn.Network(10**6, 3), "mask": fn.GaussianMask(0.2), "step_size": 0.1}
    with pytest.raises(MemoryError, match=r"the plateau of 1000000 neurons.*Use plateau=False"):
        fn.predict_loss(np.eye(3), np.ones(3), memory_limit=10**7, **options)
