"""fastntk.jax against plain JAX: values and gradients, under jit, vmap and grad."""

import numpy as np
import pytest

import fastntk as fn

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402  where there is JAX

from fastntk.jax import ntk, outputs  # noqa: E402
from fastntk.kernels.reference import COLUMN_MASK_STREAM, ROW_MASK_STREAM  # noqa: E402

UNIT = 2.0**-24  # rounding of float32
MASKS = [None, fn.GaussianMask(0.3), fn.AdditiveMask(0.2), fn.BernoulliMask(0.6)]


@pytest.fixture(autouse=True)
def _x64():
    with jax.enable_x64(True):
        yield


def plain(X, W, a):
    return jax.nn.relu(X @ W.T) @ a / W.shape[0] ** 0.5


def problem(n=6, dim=4, width=32, outputs=None):
    """X, W, a in float64 that float32 holds, no neuron near a kink."""
    rng = np.random.default_rng(0)
    X, W = (rng.standard_normal(shape).astype(np.float32).astype(float) for shape in ((n, dim), (width, dim)))
    a = rng.standard_normal(width if outputs is None else (width, outputs))
    assert np.abs(X @ W.T).min() > 1e-4
    return tuple(map(jnp.asarray, (X, W, a)))


@pytest.mark.parametrize(("mask", "q"), [(None, 1), (MASKS[1], None), (MASKS[2], 3), (MASKS[3], None)])
def test_values_are_those_of_fastntk(mask, q):
    X, W, a = problem(outputs=q)
    expected = fn.outputs(np.asarray(X), network=fn.Network.from_arrays(W, a), mask=mask, seed=3, draw=2)
    compiled = jax.jit(lambda X, W, a, draw: outputs(X, W, a, mask=mask, seed=3, draw=draw))
    for found in (outputs(X, W, a, mask=mask, seed=3, draw=2), compiled(X, W, a, 2)):
        assert found.dtype == jnp.float64
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("mask", "q"), [(None, None), (MASKS[1], 3), (MASKS[2], None), (MASKS[3], 3)])
def test_gradients_against_those_of_the_definition(mask, q):
    """Within the error bounds of the kernels: float64 for X and a, (260 + q) 2^-24 for W."""
    X, W, a = problem(outputs=q)
    u = np.random.default_rng(1).standard_normal((6,) if q is None else (6, q))
    given = {"mask": mask, "seed": 1, "draw": 3}
    found = jax.jit(jax.grad(lambda *p: (outputs(*p, **given) * u).sum(), argnums=(0, 1, 2)))(X, W, a)

    where = {"seed": 1, "draw": 3}
    masked = np.asarray(X) if mask is None else mask.sample(X, **where).astype(float)
    is_factor = mask is not None and not isinstance(mask, fn.AdditiveMask)
    factor = mask.sample(np.ones(X.shape), **where).astype(float) if is_factor else np.ones(X.shape)
    by_X, by_W, by_a = jax.grad(lambda *p: (plain(*p) * u).sum(), argnums=(0, 1, 2))(masked, W, a)

    U, A = np.abs(u).reshape(6, -1), np.abs(a).reshape(32, -1)
    weighted = U @ A.T / 32**0.5
    bounds = (
        64 * 2.0**-52 * (weighted @ np.abs(W)) * np.abs(factor),
        (262 + (q or 1)) * UNIT * (weighted.T @ np.abs(masked)),
        64 * 2.0**-52 * (np.abs(masked) @ np.abs(W).T).T @ U / 32**0.5,
    )
    for one, other, bound in zip(found, (by_X * factor, by_W, by_a), bounds, strict=True):
        assert one.dtype == jnp.float64
        assert (np.abs(one - other) <= bound.reshape(other.shape)).all()


def test_vmap_makes_one_call_after_the_other():
    X, W, a = problem()
    mask = fn.GaussianMask(0.3)
    draws = jax.vmap(lambda draw: outputs(X, W, a, mask=mask, draw=draw))(jnp.arange(2))
    alone = [outputs(X, W, a, mask=mask, draw=draw) for draw in range(2)]
    np.testing.assert_array_equal(draws, jnp.stack(alone))

    each = jax.vmap(jax.grad(lambda W, x: outputs(x[None], W, a)[0]), (None, 0))(W, X)
    wanted = jax.vmap(jax.grad(lambda W, x: plain(x[None], W, a)[0]), (None, 0))(W, X)
    np.testing.assert_allclose(each, wanted, rtol=0, atol=263 * UNIT * float(abs(a).max() * abs(X).max()))

    K = jax.vmap(lambda X: ntk(X, network=fn.Network(50, 4)))(jnp.stack([X, 3 * X]))
    np.testing.assert_array_equal(K[1], ntk(3 * X, network=fn.Network(50, 4)))


def test_jacobians():
    X, W, a = problem(outputs=2)
    found, expected = (jax.jacrev(f, argnums=1)(X, W, a) for f in (outputs, plain))
    np.testing.assert_allclose(found, expected, rtol=0, atol=264 * UNIT * float(abs(a).max() * abs(X).max()))


def test_only_what_is_needed_is_computed(monkeypatch):
    from fastntk import derivatives, gradient

    X, W, a = problem()
    monkeypatch.setattr(derivatives, "input_gradient", None)
    jax.grad(lambda W: outputs(X, W, a).sum())(W)
    monkeypatch.undo()
    monkeypatch.setattr(gradient, "vjp", None)
    jax.grad(lambda X: outputs(X, W, a).sum())(X)


def test_training_in_one_compiled_loop():
    """Fresh masks at every step of a lax.scan: the loss falls, and the weights are those of fastntk.train."""
    n, dim, width, steps, rate, mask = 12, 4, 200, 30, 0.2, fn.GaussianMask(0.2)
    rng = np.random.default_rng(2)
    X, y = jnp.asarray(rng.standard_normal((n, dim)), "float32") / 3, jnp.asarray(rng.standard_normal(n))
    network = fn.Network(width, dim, seed=1)
    W, a = jnp.asarray(network.weights(), "float32"), jnp.asarray(network.output_weights())

    @jax.jit
    def train(W):
        def step(W, t):
            def loss(W):
                return 0.5 * jnp.square(outputs(X, W, a, mask=mask, seed=4, draw=t) - y).sum()

            value, g = jax.value_and_grad(loss)(W)
            return W - rate * g, value

        return jax.lax.scan(step, W, jnp.arange(steps))

    trained, losses = train(W)
    assert losses[-1] < losses[0] / 2
    run = fn.train(X, y, network=network, mask=mask, seed=4, step_size=rate, steps=steps)
    # A step rounds the weights and sums of 12 terms in float32 on both sides; none grows where it contracts.
    rounding = np.linalg.norm(W) + rate * 263 * 2 * np.linalg.norm(y) * np.linalg.norm(X)
    assert np.linalg.norm(trained - run.network.weights()) <= 2 * steps * UNIT * rounding


def test_kernels():
    X = problem()[0]
    given = {"network": fn.Network(100, 4), "mask": fn.GaussianMask(0.3), "draws": 2, "layers": "both"}
    for Y in (None, X[:2] + 1):
        found = jax.jit(lambda X, Y: ntk(X, Y, **given))(X, Y)
        np.testing.assert_array_equal(found, fn.ntk(X, Y, **given))


@pytest.mark.parametrize("mask", [(None, fn.GaussianMask(0.3)), (fn.BernoulliMask(0.5),) * 2], ids=repr)
@pytest.mark.parametrize("cross", [False, True])
def test_kernel_gradients(mask, cross):
    """Those of x~_i . y~_j c_ij, with masks and the share c of the neurons that both activate as numbers."""
    X, W, a = problem()
    Y = X[:3] + 0.5 if cross else X
    G = np.random.default_rng(3).standard_normal((6, len(Y)))
    network = fn.Network.from_arrays(W, a)

    def masked(mask, rows, stream):
        factor = np.ones(rows.shape, np.float32)
        factor = factor if mask is None else mask.sample(factor, seed=2, stream=stream)
        return np.asarray(rows, np.float32) * factor, factor

    x, by_row = masked(mask[0], X, ROW_MASK_STREAM)
    y, by_column = masked(mask[1], Y, COLUMN_MASK_STREAM if cross else ROW_MASK_STREAM)
    bits, others = (v.astype(float) @ W.T > 0 for v in (x, y))
    both = (bits * np.square(a)) @ others.T / 32

    def expected(X, Y):
        return (((X * by_row) @ (Y * by_column).T) * both * G).sum()

    def found(X, Y):
        return (ntk(X, Y if cross else None, network=network, mask=mask, seed=2) * G).sum()

    if cross:
        gradients = [jax.grad(function, argnums=(0, 1))(X, Y) for function in (found, expected)]
    else:
        gradients = [jax.grad(lambda X, f=function: f(X, X))(X) for function in (found, expected)]
    for one, other in zip(*map(jax.tree.leaves, gradients), strict=True):
        # x c is rounded to float32 in the kernel; a sum of at most 12 terms
        np.testing.assert_allclose(one, other, rtol=0, atol=24 * UNIT * float(abs(other).max()))


def test_without_x64():
    """float32 in and out: the float64 result, rounded once."""
    with jax.enable_x64(False):
        X, W, a = (jnp.asarray(np.asarray(v), "float32") for v in problem())
        found, K = outputs(X, W, a), ntk(X, network=fn.Network(100, 4))
        assert found.dtype == K.dtype == jnp.float32
        expected = fn.outputs(np.asarray(X), network=fn.Network.from_arrays(W, a))
        np.testing.assert_array_equal(found, expected.astype(np.float32))
        assert jax.grad(lambda W: outputs(X, W, a).sum())(W).dtype == jnp.float32


def test_arrays_that_are_large(tmp_path):
    """JAX hands megabytes over on threads of its own; results that nobody waits for are no deadlock."""
    X, W, a = jnp.ones((300, 200)), jnp.ones((5000, 200)), jnp.ones(5000)
    pending = [outputs(X + 1.0, W + k, a) for k in range(8)]
    assert all(np.isfinite(one).all() for one in pending)


WRONG = {
    "features": ({"X": np.ones((2, 3))}, ValueError, r"W has shape \(32, 4\).*\(rows, 3\)"),
    "X of one dimension": ({"X": np.ones(4)}, ValueError, r"X has shape \(4,\)"),
    "a of another width": ({"a": np.ones(3)}, ValueError, r"a has shape \(3,\).*\(32,\)"),
    "mask": ({"mask": 0.2}, TypeError, r"mask is 0\.2"),
    "seed": ({"seed": -1}, ValueError, "seed is -1"),
}


@pytest.mark.parametrize(("changed", "kind", "message"), WRONG.values(), ids=WRONG)
def test_wrong_input(changed, kind, message):
    X, W, a = problem()
    with pytest.raises(kind, match=message):
        jax.jit(lambda: outputs(**{"X": X, "W": W, "a": a} | changed))()


@pytest.mark.parametrize("draw", [1.5, np.arange(2)])
def test_a_draw_is_one_integer(draw):
    with pytest.raises(TypeError, match=r"draw is an array .* must be one integer"):
        outputs(*problem(), mask=MASKS[1], draw=draw)


def test_bfloat16():
    """Its numbers are those of float32; gradients are rounded to it."""
    X, W, a = (array.astype(jnp.bfloat16) for array in problem())

    def loss(X, W, a):
        return outputs(X, W, a).sum()

    single = [array.astype(jnp.float32) for array in (X, W, a)]
    assert loss(X, W, a) == loss(*single)
    gradients = (jax.grad(loss, (0, 1, 2))(*given) for given in ((X, W, a), single))
    for found, expected in zip(*gradients, strict=True):
        assert found.dtype == jnp.bfloat16
        np.testing.assert_array_equal(found, expected.astype(jnp.bfloat16))
    network = fn.Network(100, X.shape[1])
    assert jax.grad(lambda X: ntk(X, network=network).sum())(X).dtype == jnp.bfloat16


def test_wrong_values_are_told_when_it_runs():
    X, W, a = problem()
    with pytest.raises(Exception, match=r"X is not finite: X\[1, 2\] is nan"):
        jax.block_until_ready(outputs(X.at[1, 2].set(jnp.nan), W, a))
    with pytest.raises(ValueError, match="layers is 'both'; gradients are for"):
        jax.grad(lambda X: ntk(X, network=fn.Network(10, 4), layers="both").sum())(X)
    with pytest.raises(TypeError, match="network is"):
        ntk(X, network=(W, a))
