"""Certificates: every bound re-derived by loops, and runs that they cover never leave the bounds."""

import math

import numpy as np
import pytest

import fastntk as fn
from fastntk import certificate

from .. import simulation
from ..reference_values import cases
from ..training.test_memory_of_training import measured

FIELD = "certificate_R0.05_T10_delta0.01"
HYPOTHESES = [
    "smallest eigenvalue > 0",
    "step size x largest eigenvalue < 2",
    "rate < 1",
    "movement <= radius",
]


def problem(seed=0, n=3, d=30, m=8000):
    """Unit rows (float32 numbers), targets of size 1/2, weights and signs, in float64."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    X = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32).astype(float)
    W = rng.standard_normal((m, d)).astype(np.float32).astype(float)
    return X, 0.5 * rng.standard_normal(n), W, rng.choice([-1.0, 1.0], m)


# ------------------------------------------------------------------------------ the reference values
@pytest.mark.parametrize("case", cases(FIELD), ids=lambda case: case["name"])
def test_reference_certificate(case):
    """null in the file is infinite: there is no bound where the rate is not below 1."""
    expected = {name: math.inf if value is None else value for name, value in case[FIELD].items()}
    found = fn.certify(
        case["X"],
        case["y"],
        network=(case["W"], case["a"]),
        mask=fn.GaussianMask(case["kappa"]),
        step_size=case["eta"],
        steps=10,
        radius=0.05,
    )
    assert (found.radius, found.steps, found.delta) == (0.05, 10, 0.01)
    for name, key in (
        ("rate", "q"),
        ("ball", "rho"),
        ("movement", "need"),
        ("kernel_error", "Es"),
        ("output_error", "eps"),
        ("tau", "tau"),
        ("initial_residual", "r0"),
        ("slack", "slack"),
    ):
        np.testing.assert_allclose(getattr(found, name), expected[key], rtol=1e-12, err_msg=name)
    # Eigenvalues are known to n U of the largest, and moved outward by as much.
    rounding = 2 * len(case["X"]) * np.finfo(float).eps * expected["lam_max"]
    assert 0 <= found.largest_eigenvalue - expected["lam_max"] <= rounding
    assert 0 <= expected["lam_min"] - found.smallest_eigenvalue <= rounding
    verdicts = [verdict for *_, verdict in found.hypotheses.values()]
    assert verdicts[:2] == [expected["lam_ok"], expected["eta_ok"]]
    assert found.ok == expected["ok"] == all(verdicts)


# ------------------------------------------------------------------------------- bounds by loops
def bounds(X, V, W, a, R, tau):
    """(E, eps) of the proof for a radius, entry by entry and neuron by neuron."""
    (n, _), m = X.shape, len(W)
    E, eps = np.zeros((n, n)), np.zeros(n)
    far = [np.sqrt(V[j].sum()) + np.sqrt(V[j].max()) * tau for j in range(n)]
    for j in range(n):
        u, spread = np.zeros(X.shape[1]), 0.0
        for r in range(m):
            z_j, s_j = W[r] @ X[j], np.sqrt(np.square(W[r]) @ V[j])
            unsure_j = abs(z_j) <= tau * s_j + R * (np.linalg.norm(X[j]) + far[j])
            off_j, on_j = (not unsure_j and z_j < 0), (not unsure_j and z_j > 0)
            if on_j:
                u += a[r] * W[r] / np.sqrt(m)
                spread += abs(a[r]) * R * far[j] / np.sqrt(m)
            if unsure_j:
                spread += abs(a[r]) * (tau * s_j + R * far[j]) / np.sqrt(m)
            for i in range(n):
                z_i = W[r] @ X[i]
                unsure_i = abs(z_i) <= R * np.linalg.norm(X[i])
                off_i = not unsure_i and z_i < 0
                if not off_i and not off_j:
                    E[i, j] += tau * np.sqrt(np.square(X[i]) @ V[j]) * a[r] ** 2 / m
                    if unsure_i or unsure_j:
                        E[i, j] += abs(X[i] @ X[j]) * a[r] ** 2 / m
        eps[j] = tau * np.sqrt(V[j] @ np.square(u)) + spread
    return E, np.linalg.norm(eps)


MASKS = [
    fn.GaussianMask(0.01),
    fn.GaussianMask([0.0, 0.001, 0.01, 0.1]),
    fn.AdditiveMask(0.01),
    fn.AdditiveMask([0.0, 0.001, 0.01, 0.1]),
    None,
]


@pytest.mark.parametrize("radius", [1e-6, 0.03, 0.5])
@pytest.mark.parametrize("mask", MASKS, ids=repr)
def test_bounds_are_those_of_the_loops(mask, radius):
    """For output weights of every size, and rows that are zero or far too long."""
    rng = np.random.default_rng(3)
    X, W, a = rng.standard_normal((4, 4)), rng.standard_normal((25, 4)), rng.standard_normal(25)
    X[2], W[5] = 0, 0
    V = np.zeros_like(X) if mask is None else mask.variance(X)
    options = {"network": (W, a), "step_size": 0.1, "steps": 20, "delta": 0.2}
    found = fn.certify(X, rng.standard_normal(4), mask=mask, radius=radius, **options)
    tau = 0.0 if mask is None else math.sqrt(2 * math.log(20 * (2 * 4 * 25 + 2 * 4 * 4 + 3 * 4) / 0.2))
    assert found.tau == pytest.approx(tau, rel=1e-14)
    E, eps = bounds(X, V, W, a, radius, tau)
    np.testing.assert_allclose(found.kernel_error, np.linalg.norm(E, 2), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(found.output_error, eps, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("mask", [fn.GaussianMask(1e-5), fn.AdditiveMask(1e-5), None], ids=repr)
def test_rate_ball_and_movement(mask):
    """From the loops' bounds, on a problem where the rate is below 1."""
    X, y, W, a = problem(d=10, m=600)
    V = np.zeros_like(X) if mask is None else mask.variance(X)
    found = fn.certify(X, y, network=(W, a), mask=mask, step_size=1.5, steps=8, radius=0.01)
    E, eps = bounds(X, V, W, a, 0.01, found.tau)
    size, change = len(W), np.linalg.norm(E, 2)
    active = (X @ W.T > 0) * a
    K = (X @ X.T) * (active @ active.T) / size
    low, high = np.linalg.eigvalsh(K)[[0, -1]]
    q = max(abs(1 - 1.5 * low), abs(1 - 1.5 * high)) + 1.5 * change
    ball = 1.5 * (high + change) * eps / (1 - q)
    residual = np.linalg.norm(simulation.outputs(X, W, a[:, np.newaxis])[:, 0] - y)
    far = np.sqrt(V.sum(axis=1)) + np.sqrt(V.max(axis=1)) * found.tau
    step = 1.5 / np.sqrt(size) * (np.linalg.norm(X, 2) + np.linalg.norm(far))
    movement = step * (sum(q**t for t in range(8)) * residual + 8 * (ball + eps))
    for name, expected in {"rate": q, "ball": ball, "movement": movement, "slack": 0.01 / movement}.items():
        np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-11, err_msg=name)
    assert q < 1
    assert (ball == 0) == (mask is None)
    np.testing.assert_allclose(found.bound([0, 3]), [residual + ball, q**3 * residual + ball], rtol=1e-11)


def test_per_feature_strengths_that_are_equal():
    X, y, W, a = problem(d=10, m=600)
    options = {"network": (W, a), "step_size": 1.0, "steps": 8, "radius": 0.01}
    for mask in (fn.GaussianMask, fn.AdditiveMask):
        one, each = (fn.certify(X, y, mask=mask(value), **options) for value in (1e-4, [1e-4] * 10))
        assert one.movement == each.movement
        assert one.kernel_error == each.kernel_error


def test_the_radius_is_searched_for():
    """The rate grows with it: the smallest certified one of a grid is taken, neighbours being 1.31 apart."""
    X, y, W, a = problem()
    options = {"network": (W, a), "mask": fn.GaussianMask(3e-5), "step_size": 1.0, "steps": 50}
    found = fn.certify(X, y, **options)
    assert found.ok
    smaller, same, larger = (
        fn.certify(X, y, radius=found.radius * factor, **options) for factor in (1 / 1.32, 1, 1.32)
    )
    assert not smaller.ok
    assert smaller.rate < same.rate == found.rate < larger.rate
    assert same.movement == found.movement <= found.radius


def test_a_network_and_its_arrays():
    """The weights and rows are float32 numbers: only the order of sums differs."""
    X, y, W, a = problem(m=3000)
    options = {"mask": fn.GaussianMask(1e-4), "step_size": 1.0, "steps": 20, "radius": 0.2}
    found, expected = (
        fn.certify(X, y, network=net, **options) for net in (fn.Network.from_arrays(W, a), (W, a))
    )
    virtual = fn.Network(3000, 30, seed=4, scale=0.5)
    given = (virtual.weights(), virtual.output_weights())
    pairs = [(found, expected), tuple(fn.certify(X, y, network=net, **options) for net in (virtual, given))]
    for one, other in pairs:
        for name in ("rate", "kernel_error", "output_error", "initial_residual", "largest_eigenvalue"):
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-9, err_msg=name)


def test_rows_are_those_that_training_sees():
    """Rounded to float32 in all numbers, or rows that differ by less than that would have a certificate."""
    X, y = np.array([[1 + 2**-24 - 1e-10, 1.0], [1 + 2**-24 + 1e-10, 1.0]]), [1.0, -1.0]
    rounded = X.astype(np.float32).astype(float)
    assert (rounded[0] != rounded[1]).any()
    network = fn.Network(500, 2)
    options = {"network": network, "mask": fn.GaussianMask(1e-4), "step_size": 0.5, "steps": 5}
    assert repr(fn.certify(X, y, **options)) == repr(fn.certify(rounded, y, **options))
    assert np.linalg.norm(fn.outputs(X, network=network) - y) == pytest.approx(
        fn.certify(X, y, **options).initial_residual, rel=1e-9
    )


# ----------------------------------------------------------------------------- what it says of itself
def test_a_certificate_reads_as_a_list_of_hypotheses():
    """Statement, verdict and both numbers of each, and what may fail with which probability."""
    X, y, W, a = problem()
    options = {"network": (W, a), "step_size": 1.0, "steps": 50}
    for mask, delta, ok in ((None, 0.01, True), (fn.GaussianMask(3e-5), 0.05, True), (MASKS[2], 0.01, False)):
        found = fn.certify(X, y, mask=mask, delta=delta, **options)
        assert found.ok == ok
        assert list(found.hypotheses) == HYPOTHESES
        first, *lines, last = str(found).splitlines()
        assert first.startswith("certified: 50 steps" if ok else "not certified: 50 steps")
        assert f"probability {delta:g}" in first
        for line, (name, (number, other, verdict)) in zip(lines, found.hypotheses.items(), strict=True):
            assert line.split()[0] == ("yes" if verdict else "NO")
            assert name in line
            assert f"{number:.4g} against {other:.4g}" in line
        assert f"|r_0| {found.initial_residual:.4g}" in last
        assert f"{found.tau:.3g} deviations" in last


DUPLICATED = np.repeat(problem(d=10)[0], 2, axis=0)
FAILING = {  # what is changed, and the hypotheses that do not hold then
    "nothing": ({}, []),
    "equal rows": ({"X": DUPLICATED, "y": np.ones(6)}, HYPOTHESES[:1] + HYPOTHESES[2:]),
    "a long step": ({"step_size": 6.0}, HYPOTHESES[1:]),
    "a strong mask": ({"mask": fn.GaussianMask(0.3)}, HYPOTHESES[2:]),
    "a narrow network": ({"network": fn.Network(30, 10)}, HYPOTHESES[2:]),
    "a radius too large": ({"radius": 5.0}, HYPOTHESES[2:]),
    "a radius too small": ({"radius": 1e-4}, HYPOTHESES[3:]),
    "too many steps": ({"mask": fn.GaussianMask(1e-5), "steps": 10**6}, HYPOTHESES[3:]),
}


@pytest.mark.parametrize("name", FAILING)
def test_what_is_missing_is_named(name):
    changes, missing = FAILING[name]
    X, y, _, _ = problem(d=10)
    options = {"X": X, "y": y, "network": fn.Network(50_000, 10), "step_size": 1.0, "steps": 50}
    found = fn.certify(**{**options, **changes})
    assert found.ok == (not missing)
    assert [what for what, (*_, verdict) in found.hypotheses.items() if not verdict] == missing
    denied = [line.removeprefix("  NO") for line in str(found).splitlines() if line.startswith("  NO")]
    assert [line.strip().split("  ")[0] for line in denied] == missing
    assert (found.slack < 1) == (HYPOTHESES[3] in missing)


WRONG = {
    "several outputs": ({"network": fn.Network(50, 4, outputs=2)}, ValueError, "network has 2 outputs"),
    "masks for ever": ({"steps": math.inf}, ValueError, "steps is infinite with a mask"),
    "no steps": ({"steps": 0}, ValueError, "steps is 0"),
    "half a step": ({"steps": 1.5}, TypeError, "steps is 1.5"),
    "steps NaN": ({"steps": math.nan}, TypeError, "steps is nan"),
    "lognormal": ({"mask": fn.LognormalMask(0.1)}, ValueError, "GaussianMask and AdditiveMask"),
    "bernoulli": ({"mask": fn.BernoulliMask(0.9)}, ValueError, "GaussianMask and AdditiveMask"),
    "delta zero": ({"delta": 0}, ValueError, "delta is 0"),
    "delta negative": ({"delta": -0.1}, ValueError, "delta is -0.1"),
    "delta above one": ({"delta": 1.01}, ValueError, "delta is 1.01; it must be from 0 to 1"),
    "delta NaN": ({"delta": math.nan}, ValueError, "delta is nan"),
    "radius zero": ({"radius": 0}, ValueError, "radius is 0"),
    "step_size": ({"step_size": -1}, ValueError, "step_size is -1"),
    "y": ({"y": [1.0]}, ValueError, r"y has shape \(1,\)"),
    "threads": ({"threads": 0}, ValueError, "threads is 0"),
    "memory": ({"memory_limit": 1000}, MemoryError, "bounds for 3 rows.*memory_limit is 1 KB"),
}


@pytest.mark.parametrize(("changes", "exception", "message"), WRONG.values(), ids=WRONG)
def test_wrong_input(changes, exception, message):
    X, y, W, a = problem(d=4, m=50)
    options = {"y": y, "network": (W, a), "mask": fn.GaussianMask(0.1), "step_size": 1.0, "steps": 5}
    with pytest.raises(exception, match=message):
        fn.certify(X, **{**options, **changes})


def test_the_estimate_covers_the_peak(monkeypatch):
    """A limit just below what the call takes is refused, where what grows with rows outweighs the blocks.

    That takes many rows; as many numbers are kept for few rows and many radii.
    """
    monkeypatch.setattr(certificate, "RADII", np.geomspace(1.02, 20, 200))
    monkeypatch.setattr(certificate, "NEURONS", 64)
    X, y, W, a = problem(n=80, m=300)
    options = {"network": (W, a), "mask": fn.GaussianMask(1e-5), "step_size": 0.2, "steps": 5, "threads": 1}
    assert fn.certify(X, y, **options).smallest_eigenvalue > 0  # with less there is one radius only
    peak, left = measured(lambda: fn.certify(X, y, **options))
    assert left < 100_000
    with pytest.raises(MemoryError, match="memory_limit is"):
        fn.certify(X, y, memory_limit=peak - 1, **options)
