"""Training in the kernel regime: the closed form against recursions, a differential equation, and runs."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import fastntk as fn

from ..formulas import hidden_kernel, rounded
from ..simulation import outputs

N, TESTED, DIM, WIDTH = 7, 5, 6, 400
STEPS = [0, 1, 2, 5, 17, 60]
MASKS = [
    fn.GaussianMask(0.4),
    fn.AdditiveMask(0.2),
    fn.LognormalMask(0.5),
    fn.BernoulliMask(0.7),
]
# Both sides are float64: some 10^3 additions a kernel entry, a hundred steps, and eigenvectors in place of
# powers.  The library's outputs have neurons added in float64 too.
TOLERANCE = {"rtol": 1e-9, "atol": 1e-10}


def unit_rows(n, dim=DIM, seed=0):
    X = np.random.default_rng(seed).standard_normal((n, dim))
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


def problem(q=1):
    """(X, y, test rows, a Network); the network has signs for one output, and any numbers for several."""
    rng = np.random.default_rng([q, 5])
    W, a = rng.standard_normal((WIDTH, DIM)), rng.standard_normal((WIDTH, q))
    net = fn.Network(WIDTH, DIM, seed=3) if q == 1 else fn.Network.from_arrays(W, a)
    y = rng.standard_normal((N, q))
    return unit_rows(N), y[:, 0] if q == 1 else y, unit_rows(TESTED, seed=1), net


def kernel(X, Y, net):
    W, a = net.weights(), net.output_weights().reshape(net.width, -1)
    return hidden_kernel(rounded(X), rounded(Y), rounded(W), a).values


def start(X, net):
    return outputs(rounded(X), rounded(net.weights()), net.output_weights().reshape(net.width, -1))


def recursion(X, y, learned, net, step_size, steps, share=1.0):
    """f_{t+1} = f_t - eta share K(., learned) (f_t(learned) - y), {t: outputs on X (n, q)}."""
    K, across = share * kernel(learned, learned, net), share * kernel(X, learned, net)
    f, seen, found = start(X, net), start(learned, net), {}
    for t in range(max(steps) + 1):
        if t in steps:
            found[t] = f.copy()
        f, seen = f - step_size * across @ (seen - y), seen - step_size * K @ (seen - y)
    return found


def shaped(values, q):
    return values if q > 1 else values[..., 0]


# --------------------------------------------------------------------------------- without a mask
@pytest.mark.parametrize("product", [0.3, 1.9, 2.6])
@pytest.mark.parametrize("q", [1, 3])
def test_descent_is_the_recursion_on_rows_trained_on_and_others(q, product):
    X, y, Z, net = problem(q)
    step_size = product / np.linalg.eigvalsh(kernel(X, X, net))[-1]
    theory = fn.kernel_regime(X, y, network=net, step_size=step_size)
    assert theory.step_size * theory.eigenvalues[-1] == pytest.approx(product, rel=1e-12)
    for rows, found in ((X, theory.outputs(STEPS)), (Z, theory.outputs(STEPS, Z))):
        expected = recursion(rows, y.reshape(N, q), X, net, step_size, STEPS)
        np.testing.assert_allclose(found, shaped(np.array([*expected.values()]), q), **TOLERANCE)
    assert np.linalg.norm(found[-1]) < 10 or product > 2
    residuals = recursion(X, y.reshape(N, q), X, net, step_size, STEPS)
    losses = [0.5 * np.square(f - y.reshape(N, q)).sum() for f in residuals.values()]
    np.testing.assert_allclose(theory.loss(STEPS), losses, rtol=1e-8)


def test_flow_solves_its_differential_equation():
    """df/ds = -K(., X) (f(X) - y) at time s = step_size * steps, which need not be whole."""
    X, y, Z, net = problem()
    K, across = kernel(X, X, net), kernel(Z, X, net)
    steps = np.array([0, 0.5, 1, 3.7, 20.25])

    def slope(time, f):
        residual = f[:N] - y
        return -np.concatenate([K @ residual, across @ residual])

    begin = np.concatenate([start(X, net), start(Z, net)])[:, 0]
    solved = solve_ivp(slope, (0, 0.7 * 20.25), begin, "DOP853", 0.7 * steps, rtol=1e-12, atol=1e-13)
    theory = fn.kernel_regime(X, y, network=net, step_size=0.7)
    found = np.concatenate([theory.outputs(steps, flow=True), theory.outputs(steps, Z, flow=True)], axis=1)
    np.testing.assert_allclose(found, solved.y.T, rtol=0, atol=1e-10)  # of the integrator: 1e-12 a step


def test_descent_by_short_steps_is_flow():
    """(1 - x)^t = exp(-x t) up to x / 2 of the change, x at most step size times the largest eigenvalue."""
    X, y, Z, net = problem()
    theory = fn.kernel_regime(X, y, network=net, step_size=1e-5)
    found, flow = theory.outputs(200_000, Z), theory.outputs(200_000, Z, flow=True)
    change = np.linalg.norm(flow - start(Z, net)[:, 0])
    assert np.linalg.norm(found - flow) < 1e-5 * theory.eigenvalues[-1] * change


@pytest.mark.parametrize("flow", [False, True])
def test_for_ever_it_interpolates(flow):
    X, y, Z, net = problem()
    theory = fn.kernel_regime(X, y, network=net, step_size=0.5)
    np.testing.assert_allclose(theory.outputs(np.inf, flow=flow), y, **TOLERANCE)
    weights = np.linalg.solve(kernel(X, X, net), y - start(X, net)[:, 0])
    expected = start(Z, net)[:, 0] + kernel(Z, X, net) @ weights
    np.testing.assert_allclose(theory.outputs(np.inf, Z, flow=flow), expected, **TOLERANCE)
    assert theory.loss(np.inf) < 1e-18


@pytest.mark.parametrize("flow", [False, True])
def test_rows_that_cannot_be_fitted(flow):
    """Of equal rows the mean of the targets is learned, of a zero row nothing."""
    X, y, _, net = problem()
    X = np.vstack([X, X[:1], 0 * X[:1]])
    theory = fn.kernel_regime(X, np.append(y, [y[0] + 1, 2.0]), network=net, step_size=0.5)
    found = theory.outputs(np.inf, flow=flow)
    expected = np.concatenate([y, [y[0], 0.0]]) + 0.5 * np.eye(N + 2)[[0, N]].sum(axis=0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    assert theory.loss(np.inf) == pytest.approx(0.5 * (2 * 0.5**2 + 2.0**2), rel=1e-9)


def test_labels_are_one_hot_targets():
    X, _, Z, net = problem(3)
    labels = np.arange(N) % 3
    found, expected = (
        fn.kernel_regime(X, y, network=net, step_size=0.3, mask=MASKS[0]) for y in (labels, np.eye(3)[labels])
    )
    np.testing.assert_array_equal(found.outputs(STEPS, Z), expected.outputs(STEPS, Z))
    np.testing.assert_array_equal(found.loss(STEPS), expected.loss(STEPS))


# ----------------------------------------------------------------------------------- under masks
@pytest.mark.parametrize("q", [1, 3])
@pytest.mark.parametrize("mask", MASKS, ids=repr)
def test_masks_are_learned_as_a_data_set(mask, q):
    """Every row under 4 masks, each with a quarter of the step size; the outputs are those of clean rows."""
    X, y, Z, net = problem(q)
    ids = np.arange(N) * 11
    theory = fn.kernel_regime(X, y, network=net, mask=mask, step_size=0.4, draws=4, seed=9, row_ids=ids)
    learned = np.concatenate([mask.sample(X, seed=9, draw=k, row_ids=ids) for k in range(4)])
    tops = np.linalg.eigvalsh(kernel(learned, learned, net) / 4)
    np.testing.assert_allclose(theory.eigenvalues, np.maximum(tops, 0), rtol=0, atol=1e-12 * tops[-1])
    for rows, found in ((X, theory.outputs(STEPS)), (Z, theory.outputs(STEPS, Z))):
        expected = recursion(rows, np.tile(y.reshape(N, q), (4, 1)), learned, net, 0.4, STEPS, share=1 / 4)
        np.testing.assert_allclose(found, shaped(np.array([*expected.values()]), q), **TOLERANCE)


@pytest.mark.parametrize("product", [0.3, 2.6])
@pytest.mark.parametrize("q", [1, 3])
def test_the_loss_has_the_noise_of_fresh_masks(q, product):
    """Their predicted outputs have a variance; a step adds eta K of such noise, and forgets some.

    The variance is that at the time asked for, as if it had always been so.  The recursion is defined for
    step sizes that diverge too.
    """
    X, y, _, net = problem(q)
    mask, y, K = fn.GaussianMask(0.4), y.reshape(N, q), kernel(X, X, net)
    step_size = product / np.linalg.eigvalsh(K)[-1]
    theory = fn.kernel_regime(X, y, network=net, mask=mask, step_size=step_size, draws=6, seed=9)
    learned, fresh = (
        np.concatenate([mask.sample(X, seed=9, draw=k) for k in draws]) for draws in (range(6), range(6, 12))
    )
    targets, share, A = np.tile(y, (6, 1)), 1 / 6, np.eye(N) - step_size * K
    clean = recursion(X, targets, learned, net, step_size, STEPS, share=share)
    others = recursion(fresh, targets, learned, net, step_size, STEPS, share=share)
    expected = []
    for t in STEPS:
        variance = others[t].reshape(6, N, q).var(axis=0, ddof=1).sum(axis=1)
        covariance = np.zeros((N, N))
        for _ in range(t):
            covariance = A @ covariance @ A + step_size**2 * K @ np.diag(variance) @ K
        expected.append(0.5 * (np.square(clean[t] - y).sum() + np.trace(covariance)))
    np.testing.assert_allclose(theory.loss(STEPS), expected, rtol=1e-9)
    assert expected[-1] < 0.1 * expected[0] or (product > 2 and expected[-1] > 1e6 * expected[0])


def test_the_loss_falls_and_stays_above_nothing():
    X, y, _, net = problem()
    losses = fn.kernel_regime(X, y, network=net, mask=MASKS[0], step_size=0.4, draws=20).loss(range(60))
    assert (losses > 0).all()
    assert (np.diff(losses[:12]) < 0).all()
    assert losses[-1] < 0.1 * losses[0]


def test_without_a_mask_there_is_one_draw():
    X, y, Z, net = problem()
    plain = fn.kernel_regime(X, y, network=net, step_size=0.4, draws=9)
    assert plain.draws == 1
    assert plain.eigenvalues.shape == (N,)
    for mask in (fn.GaussianMask(0.0), fn.BernoulliMask(1.0)):
        theory = fn.kernel_regime(X, y, network=net, mask=mask, step_size=0.4, draws=3)
        np.testing.assert_allclose(theory.outputs(STEPS, Z), plain.outputs(STEPS, Z), **TOLERANCE)
        np.testing.assert_allclose(theory.loss(STEPS), plain.loss(STEPS), rtol=1e-8)


def test_steps_of_any_shape():
    for q in (1, 3):
        X, y, Z, net = problem(q)
        theory = fn.kernel_regime(X, y, network=net, mask=MASKS[0], step_size=0.4, draws=2)
        steps, tail = np.array([[0, 5, 7], [10, 11, np.inf]]), () if q == 1 else (q,)
        found, losses = theory.outputs(steps, Z), theory.loss(steps)
        assert theory.outputs([], Z).shape == (0, TESTED, *tail)
        assert theory.loss([]).shape == (0,)
        assert found.shape == (2, 3, TESTED, *tail)
        assert losses.shape == (2, 3)
        for at, one in np.ndenumerate(steps):
            assert theory.outputs(one, Z).shape == (TESTED, *tail)
            assert np.ndim(theory.loss(one)) == 0
            np.testing.assert_allclose(theory.outputs(one, Z), found[at], rtol=1e-13)
            assert theory.loss(one) == pytest.approx(losses[at], rel=1e-13)


# ------------------------------------------------------------------------------------ wrong input
WRONG = {
    "a mask that is none": ({"mask": 0.3}, TypeError, "mask is 0.3"),
    "a mask of other features": ({"mask": fn.GaussianMask([0.1, 0.2])}, ValueError, "2 features but X has 6"),
    "arrays for a network": ({"network": (np.eye(6), np.ones(6))}, TypeError, "network is"),
    "step_size": ({"step_size": -1}, ValueError, "step_size is -1"),
    "no draws": ({"draws": 0}, ValueError, "draws is 0; it must be from 2"),
    "draws beside no mask": ({"mask": None, "draws": "x"}, TypeError, "draws is 'x'"),
    "half a draw": ({"draws": 1.5}, TypeError, "draws is 1.5"),
    "y too short": ({"y": [1.0]}, ValueError, r"y has shape \(1,\)"),
    "row_ids": ({"row_ids": [1]}, ValueError, r"row_ids has shape \(1,\)"),
    "little memory": ({"memory_limit": 1000}, MemoryError, "memory_limit is 1 KB"),
    "much memory": ({"draws": 10**5, "memory_limit": 10**9}, MemoryError, "masked rows.*fewer draws"),
}


@pytest.mark.parametrize(("changes", "exception", "message"), WRONG.values(), ids=WRONG)
def test_wrong_problems(changes, exception, message):
    X, y, _, net = problem()
    with pytest.raises(exception, match=message):
        fn.kernel_regime(X, **{"y": y, "network": net, "mask": MASKS[0], "step_size": 0.4, **changes})


@pytest.mark.parametrize("steps", [-1, [3, np.nan], -np.inf, [0.5]], ids=repr)
def test_wrong_numbers_of_steps(steps):
    """Flow may stop between two steps, but not before the first."""
    X, y, _, net = problem()
    theory = fn.kernel_regime(X, y, network=net, step_size=0.4)
    with pytest.raises(ValueError, match=r"steps holds .*; it must be whole numbers from 0"):
        theory.outputs(steps)
    with pytest.raises(ValueError, match=r"steps holds .*; it must be whole numbers from 0"):
        theory.loss(steps)
    if steps == [0.5]:
        assert np.isfinite(theory.outputs(steps, flow=True)).all()
    else:
        with pytest.raises(ValueError, match=r"steps holds .*; it must be numbers from 0"):
            theory.outputs(steps, flow=True)


def test_steps_that_are_too_large_diverge():
    X, y, Z, net = problem()
    theory = fn.kernel_regime(X, y, network=net, mask=MASKS[0], step_size=50.0, draws=2)
    losses = theory.loss([1, 30, 100_000])
    assert losses[0] < losses[1] < losses[2] == np.inf
    for call in (theory.loss, theory.outputs):
        with pytest.raises(ValueError, match=r"steps is infinite, but step_size times .* below"):
            call([1, np.inf])
    assert np.isfinite(theory.outputs(np.inf, Z, flow=True)).all()


def test_many_steps_at_once_are_each_by_itself():
    X, y, Z, net = problem(3)
    theory = fn.kernel_regime(X, y, network=net, step_size=0.4)
    steps = np.arange(150)
    found = theory.outputs(steps, Z)
    for at in (0, 63, 64, 149):
        np.testing.assert_allclose(found[at], theory.outputs(at, Z), rtol=1e-12)


def test_rows_of_other_features_and_flags_that_are_none():
    X, y, _, net = problem()
    theory = fn.kernel_regime(X, y, network=net, step_size=0.4)
    with pytest.raises(ValueError, match="X has 5 features"):
        theory.outputs(1, unit_rows(3, 5))
    with pytest.raises(TypeError, match="flow is 'yes'"):
        theory.outputs(1, flow="yes")
