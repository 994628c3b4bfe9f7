"""vjp and jvp: the plain formulas, other ways of differentiating, and what holds of both together."""

import threading

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastntk as fn
from fastntk.kernels import reference
from fastntk.kernels.cpu.paths import VARIABLE, available_paths

from .adversarial import problems
from .formulas import U32, Entries, U, rounded, roundings
from .reference_values import cases
from .test_bad_input import COMMON, NAN, ONE_DRAW, refused
from .test_bad_input import cases as bad_cases
from .test_memory import measured

LARGEST = float(np.finfo(np.float32).max)
RNG = np.random.default_rng(9)
N, D, M, Q = 70, 21, 700, 3
X = rounded(RNG.standard_normal((N, D)))
W = rounded(RNG.standard_normal((M, D)))
A = RNG.standard_normal((M, Q))
R = RNG.standard_normal((N, Q))  # what the outputs are weighted with
V = rounded(RNG.standard_normal((M, D)))  # directions
VA = RNG.standard_normal((M, Q))
MASK = fn.GaussianMask(0.3)


def outputs_as(array, q):
    """The first q columns, as a caller gives them: one dimension for one output."""
    return array[:, 0] if q == 1 else array[:, :q]


def given_network(q=Q):
    return fn.Network.from_arrays(W, outputs_as(A, q))


# ------------------------------------------------------------------------------- the formulas
def hidden_gradient(X, W, a, u):
    """m^{-1/2} sum_i b_ri (sum_c a_rc u_ic) x_i with the bound of docs/mathematics.md, section 6."""
    P, q, root = reference.pattern(X, W).T, a.shape[1], np.sqrt(len(W))
    values = (P * (a @ u.T)) @ X / root
    scale = np.abs(a) @ np.abs(u).T @ np.abs(X) / root
    smallest = 2.0**-120 * np.outer(np.abs(a).max(axis=1), np.abs(u).max(axis=1)) @ np.abs(X) / root
    return Entries(values, (260 + q) * U32 * scale + q * smallest + U32 * np.abs(values) + 2.0**-150)


def hidden_tangent(X, W, a, V):
    """m^{-1/2} sum_r a_rc b_ri (v_r . x_i) with the bound of docs/mathematics.md, section 6."""
    P, root = reference.pattern(X, W), np.sqrt(len(W))
    values = (P * (X @ V.T)) @ a / root
    scale = np.abs(X) @ np.abs(V).T @ np.abs(a) / root
    norms = np.outer(np.linalg.norm(X, axis=1), np.linalg.norm(V) * np.linalg.norm(a, axis=0)) / root
    return Entries(values, 260 * U32 * scale + roundings(X.shape[1], len(W)) * norms)


def output_gradient(X, W, u):
    """m^{-1/2} sum_i u_ic relu(w_r . x_i) in float64: two evaluations, each of d + n + 3 roundings."""
    values = np.maximum(X @ W.T, 0).T @ u / np.sqrt(len(W))
    scale = (np.abs(X) @ np.abs(W).T).T @ np.abs(u) / np.sqrt(len(W))
    return Entries(values, 2 * (sum(X.shape) + 3) * U * scale)


def assert_within(actual, expected):
    values = expected.values.reshape(actual.shape)
    excess = np.abs(actual - values) - expected.bound.reshape(actual.shape)
    assert (excess <= 0).all(), f"{excess.max()} above the bound"


@pytest.mark.parametrize("q", [1, 2, Q])
@pytest.mark.parametrize("path", available_paths())
def test_formulas(q, path, monkeypatch):
    monkeypatch.setenv(VARIABLE, path)
    network, a, u, Va = given_network(q), A[:, :q], R[:, :q], VA[:, :q]
    hidden, output = fn.vjp(X, outputs_as(R, q), network=network, layers="both")
    assert (hidden.dtype, hidden.shape) == (np.float32, (M, D))
    assert (output.dtype, output.shape) == (np.float64, (M,) if q == 1 else (M, q))
    assert_within(hidden, hidden_gradient(X, W, a, u))
    assert_within(output, output_gradient(X, W, u))
    np.testing.assert_array_equal(fn.vjp(X, outputs_as(R, q), network=network), hidden)
    np.testing.assert_array_equal(fn.vjp(X, outputs_as(R, q), network=network, layers="output"), output)

    change = fn.jvp(X, V, network=network)
    assert (change.dtype, change.shape) == (np.float64, (N,) if q == 1 else (N, q))
    assert_within(change, hidden_tangent(X, W, a, V))
    own = fn.jvp(X, outputs_as(VA, q), network=network, layers="output")
    np.testing.assert_allclose(
        own, outputs_as(np.maximum(X @ W.T, 0) @ Va / np.sqrt(M), q), rtol=1e-9, atol=1e-9
    )
    both = fn.jvp(X, (V, outputs_as(VA, q)), network=network, layers="both")
    np.testing.assert_allclose(both, change + own, rtol=1e-14, atol=1e-13)


@given(
    problem=problems(), path=st.sampled_from(available_paths()), q=st.integers(1, 3), seed=st.integers(0, 99)
)
def test_awkward_inputs(problem, path, q, seed):
    """Huge, tiny, zero and orthogonal rows; output weights and u of any size; beyond float32 is an error."""
    X, W = (array.astype(float) for array in problem)
    rng = np.random.default_rng(seed)
    sizes = rng.choice([1e-60, 1e-10, 1.0, 1e20, 1e60], 3)
    a = sizes[0] * rng.uniform(-1, 1, (len(W), q)) * rng.choice([0, 1e-12, 1], (len(W), 1))
    u = sizes[1] * rng.standard_normal((len(X), q)) * rng.choice([0, 1e-12, 1], (len(X), 1))
    V = rounded(rng.standard_normal(W.shape) * rng.choice([0, 1e-37, 1, 1e37], W.shape[1]))
    a[0], u[0] = sizes[0], sizes[1]
    network = fn.Network.from_arrays(W, a)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, path)
        expected = hidden_gradient(X, W, a, u)
        largest = np.abs(expected.values).max()
        if largest < LARGEST * (1 - 1e-3):
            assert_within(fn.vjp(X, u, network=network), expected)
        elif largest > LARGEST * (1 + 1e-3):
            with pytest.raises(ValueError, match=r"beyond float32: entry \[\d+, \d+\] .* Scale u down"):
                fn.vjp(X, u, network=network)
        assert_within(fn.vjp(X, u, network=network, layers="output"), output_gradient(X, W, u))
        assert_within(fn.jvp(X, V, network=network), hidden_tangent(X, W, a, V))


@given(
    shape=st.one_of(
        st.tuples(st.integers(1, 14), st.integers(1, 70)),
        st.tuples(st.integers(1, 5), st.sampled_from([511, 513, 1025, 1537])),
        st.tuples(st.sampled_from([63, 64, 65, 1025]), st.integers(1, 5)),
    ),
    dim=st.one_of(st.integers(1, 9), st.sampled_from([63, 65, 130])),
    q=st.integers(1, 2),
    seed=st.integers(0, 2**64 - 1),
    scale=st.sampled_from([1.0, 1e-10, 1e20]),
)
def test_virtual_networks_of_ragged_shapes(shape, dim, q, seed, scale):
    """The hidden layer's gradient does not know the scale, the output layer's is proportional to it."""
    (n, width), rng = shape, np.random.default_rng(seed)
    X, V = rounded(rng.standard_normal((n, dim))), rounded(rng.standard_normal((width, dim)))
    u = rng.standard_normal((n, q))
    network = fn.Network(width, dim, outputs=q, seed=seed, scale=scale)
    unscaled = rounded(reference.normals(seed, np.arange(width), dim, reference.WEIGHT_STREAM))
    a = network.output_weights().reshape(width, q)
    hidden, output = fn.vjp(X, u, network=network, layers="both")
    assert_within(hidden, hidden_gradient(X, unscaled, a, u))
    expected = output_gradient(X, scale * unscaled, u)
    assert_within(output, expected._replace(bound=2 * expected.bound))  # the weights here round once more
    assert_within(fn.jvp(X, V, network=network), hidden_tangent(X, unscaled, a, V))


# ------------------------------------------------------------------ other ways to the same numbers
@pytest.mark.parametrize("case", cases("masked_grad_1"), ids=lambda case: case["name"])
def test_reference_gradients(case):
    """The masked gradient of the squared loss: 262 for rounding X and the sums, and no bit may change."""
    X, W, a = case["X_masked_1"], case["W"], case["a"]
    H = X @ W.T
    np.testing.assert_array_equal(reference.pattern(rounded(X), rounded(W)), H > 0)
    u = np.maximum(H, 0) @ a / np.sqrt(len(W)) - case["y"]
    found = fn.vjp(X, u, network=fn.Network.from_arrays(W, a))
    scale = np.abs(a)[:, None] * (np.abs(u) @ np.abs(X)) / np.sqrt(len(W))
    bound = 262 * U32 * scale + U32 * np.abs(case["masked_grad_1"])
    assert (np.abs(found - case["masked_grad_1"]) <= bound).all()


def plain_outputs(W, a):
    """f in float64, one output for each column of a, as autograd can follow it."""
    return anp.dot(anp.maximum(anp.dot(X, W.T), 0), a) / np.sqrt(M)


def test_autograd():
    """Reverse and forward mode of another package, float64, for several outputs at once."""
    gradient = autograd.grad(lambda W, a: anp.sum(R * plain_outputs(W, a)), (0, 1))
    hidden, output = gradient(W, A)
    found = fn.vjp(X, R, network=given_network(), layers="both")
    assert_within(found[0], hidden_gradient(X, W, A, R)._replace(values=hidden))
    np.testing.assert_allclose(found[1], output, rtol=1e-12, atol=1e-12)
    _, change = autograd.make_jvp(lambda W: plain_outputs(W, A))(W)(V)
    assert_within(fn.jvp(X, V, network=given_network()), hidden_tangent(X, W, A, V)._replace(values=change))


@pytest.mark.parametrize("q", [1, Q])
def test_central_differences(q):
    """f is linear along V as long as no sign changes: the difference quotient has rounding errors only."""
    step, a = 2.0**-17, A[:, :q]
    ahead, behind = W + step * V, W - step * V
    kept = ((X @ ahead.T > 0) == (X @ behind.T > 0)).all(axis=1)
    assert kept.sum() > N // 2
    quotient = (plain_outputs(ahead, a) - plain_outputs(behind, a)) / (2 * step)
    expected = hidden_tangent(X, W, a, V)
    norms = np.linalg.norm(X, axis=1).max() * np.linalg.norm(ahead) * np.linalg.norm(a, axis=0).max()
    rounding = roundings(D, M) * norms / np.sqrt(M) / step
    found = fn.jvp(X, V, network=given_network(q)).reshape(N, q)
    assert (np.abs(found - quotient)[kept] <= (expected.bound + rounding)[kept]).all()
    assert rounding < 1e-5 * np.abs(quotient).max()


def test_the_gradient_of_the_loss_goes_downhill():
    """A small step against vjp at the residuals lowers the squared loss by step |G|^2, to first order."""
    network, y = given_network(1), RNG.standard_normal(N)
    residuals = fn.outputs(X, network=network) - y
    G = fn.vjp(X, residuals, network=network)
    step = 1e-4
    stepped = fn.Network.from_arrays(W - step * G, A[:, 0])
    losses = [0.5 * np.sum((fn.outputs(X, network=net) - y) ** 2) for net in (network, stepped)]
    assert (losses[0] - losses[1]) / (step * np.sum(G.astype(float) ** 2)) == pytest.approx(1, abs=0.02)


# -------------------------------------------------------------------------- what holds of both
@pytest.mark.parametrize("q", [1, Q])
@pytest.mark.parametrize("mask", [None, MASK], ids=repr)
def test_transposes_of_each_other(q, mask):
    """u . jvp(V) = vjp(u) . V: both sides within the sum of all magnitudes times their bounds."""
    network, options = given_network(q), {"mask": mask, "seed": 5, "draw": 2}
    left = np.sum(outputs_as(R, q) * fn.jvp(X, V, network=network, **options))
    right = np.sum(fn.vjp(X, outputs_as(R, q), network=network, **options).astype(float) * V)
    masked = X if mask is None else MASK.sample(X, seed=5, draw=2)
    scale = np.sum(np.abs(R[:, :q]) * (np.abs(masked) @ np.abs(V).T @ np.abs(A[:, :q]))) / np.sqrt(M)
    assert abs(left - right) <= (521 + q) * U32 * scale < 0.1 * abs(left)


def test_products_with_the_tangent_kernel():
    """J J^T u is the kernel times u: jvp of vjp, for one output."""
    network = given_network(1)
    K = fn.ntk(X, network=network, layers="both")
    u = R[:, 0]
    product = fn.jvp(X, fn.vjp(X, u, network=network, layers="both"), network=network, layers="both")
    np.testing.assert_allclose(product, K @ u, rtol=0, atol=1e-4 * np.abs(K @ u).max())


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e15])
@pytest.mark.parametrize("width", [1, 1000])
def test_directions_along_the_inputs(size, width):
    """All neurons the same and V along x: |a| |V| |x| is attained, the bound behind fixed point."""
    x = rounded(size * RNG.standard_normal(D))
    network = fn.Network.from_arrays(np.tile(x, (width, 1)), np.ones(width))
    found = fn.jvp(x[None], np.tile(x, (width, 1)), network=network)
    np.testing.assert_allclose(found, np.sqrt(width) * x @ x, rtol=260 * U32)


def test_masks():
    """The masked inputs are those of mask.sample, and rows carry theirs along."""
    network, ids = given_network(1), np.array([5, 0, 63])
    masked = MASK.sample(X, seed=4, draw=7)
    options = {"network": network, "mask": MASK, "seed": 4, "draw": 7}
    u = R[:, 0].copy()
    np.testing.assert_array_equal(fn.vjp(X, u, **options), fn.vjp(masked, u, network=network))
    np.testing.assert_array_equal(fn.jvp(X, V, **options), fn.jvp(masked, V, network=network))
    np.testing.assert_array_equal(fn.jvp(X[ids], V, row_ids=ids, **options), fn.jvp(X, V, **options)[ids])
    np.testing.assert_array_equal(
        fn.vjp(X[ids], u[ids], row_ids=ids, **options), fn.vjp(masked[ids], u[ids], network=network)
    )


@pytest.mark.parametrize("q", [1, 3])
@pytest.mark.parametrize("virtual", [True, False])
def test_same_bits_for_any_number_of_threads(q, virtual):
    width = 2 * 16384 + 700
    rng = np.random.default_rng(1)
    directions = (
        rng.standard_normal((width, D)).astype(np.float32),
        outputs_as(rng.standard_normal((width, q)), q),
    )
    network = fn.Network(width, D, outputs=q, seed=3)
    if not virtual:
        network = fn.Network.from_arrays(network.weights(), rng.standard_normal((width, q)))
    results = []
    for threads in (1, 2, 3, 7):
        options = {"network": network, "mask": MASK, "layers": "both", "threads": threads}
        results.append([*fn.vjp(X, outputs_as(R, q), **options), fn.jvp(X, directions, **options)])
    for other in results[1:]:
        for mine, theirs in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("path", available_paths())
def test_same_bits_on_every_path(path, monkeypatch):
    """For one output; several go through fused multiply-adds, which the plain path has not."""
    network = fn.Network(2000, D, seed=3)
    directions = rounded(np.random.default_rng(1).standard_normal((2000, D)))

    def results(q=1):
        return [
            *fn.vjp(X, R[:, 0], network=network, layers="both"),
            fn.jvp(X, (directions, directions[:, 0]), network=network, layers="both"),
            fn.jvp(X, V, network=given_network()),
        ]

    expected = results()
    monkeypatch.setenv(VARIABLE, path)
    for mine, theirs in zip(expected, results(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_virtual_weights_are_those_given():
    virtual = fn.Network(1000, D, seed=6)
    arrays = fn.Network.from_arrays(virtual.weights(), virtual.output_weights())
    directions = rounded(np.random.default_rng(1).standard_normal((1000, D)))
    np.testing.assert_array_equal(fn.vjp(X, R[:, 0], network=virtual), fn.vjp(X, R[:, 0], network=arrays))
    np.testing.assert_allclose(
        fn.jvp(X, directions, network=virtual), fn.jvp(X, directions, network=arrays), rtol=1e-13
    )  # only the bounds behind fixed point differ


# ------------------------------------------------------------------------------ special inputs
def test_zero_rows_and_zero_weights():
    rows, u = np.vstack([np.zeros(D), X[:3], np.zeros(D)]), np.array([1e30, 1.0, 2.0, 3.0, 1e-30])
    network = given_network(1)
    np.testing.assert_array_equal(fn.vjp(rows, u, network=network), fn.vjp(X[:3], u[1:4], network=network))
    change = fn.jvp(rows, V, network=network)
    np.testing.assert_array_equal(change, [0, *fn.jvp(X[:3], V, network=network), 0])
    beside = np.vstack([np.full(D, 3e38), 1e-8 * X[:3]])  # a huge row without weight takes no digits
    several, weights = given_network(Q), np.vstack([np.zeros(Q), R[:3]])
    np.testing.assert_array_equal(
        fn.vjp(beside, weights, network=several), fn.vjp(beside[1:], weights[1:], network=several)
    )
    for zeros in (fn.vjp(X, 0 * R[:, 0], network=network), fn.vjp(0 * X, R[:, 0], network=network)):
        assert zeros.shape == (M, D)
        assert not zeros.any()
    silent = fn.Network.from_arrays(W, 0 * A)
    for q, quiet in ((1, fn.Network.from_arrays(W, 0 * A[:, 0])), (Q, silent)):
        assert not fn.vjp(X, outputs_as(R, q), network=quiet).any()
        assert not fn.jvp(X, V, network=quiet).any()
    assert not fn.jvp(0 * X, V, network=network).any()
    assert not fn.jvp(X, 0 * V, network=network).any()
    assert not fn.jvp(X, (0 * V, 0 * VA[:, 0]), network=network, layers="both").any()


@pytest.mark.parametrize("exponent", [-1000, -300, -30, 30, 300, 590])
def test_powers_of_two_change_nothing_else(exponent):
    """In u, in Va, and in V and the output weights as far as they go."""
    network, u, Va, size = given_network(1), R[:, 0], VA[:, 0], 2.0**exponent
    for call, second in ((fn.vjp, u), (fn.jvp, Va)):
        plain = call(X, second, network=network, layers="output")
        np.testing.assert_array_equal(call(X, size * second, network=network, layers="output"), size * plain)
    if exponent > 127:
        with pytest.raises(ValueError, match="beyond float32"):
            fn.vjp(X, size * u, network=network)
        return
    with np.errstate(under="ignore"):
        expected = np.ldexp(fn.vjp(X, u, network=network).astype(float), exponent).astype(np.float32)
    np.testing.assert_array_equal(fn.vjp(X, size * u, network=network), expected)
    if abs(exponent) < 100:
        louder = fn.Network.from_arrays(W, size * A[:, 0])
        np.testing.assert_array_equal(fn.vjp(X, u, network=louder), expected)
        for scaled in (fn.jvp(X, size * V, network=network), fn.jvp(X, V, network=louder)):
            np.testing.assert_array_equal(scaled, size * fn.jvp(X, V, network=network))


def test_beyond_float64():
    """The largest u stays inside, a direction may lead out."""
    network, rows = fn.Network(M, D, scale=1e60), np.full((2, D), 3e38)
    assert np.isfinite(fn.vjp(rows, [1e180, 1e180], network=network, layers="output")).all()
    with pytest.raises(
        ValueError, match=r"derivative along V is beyond float64 for row 0 of X\. Scale V down"
    ):
        fn.jvp(rows, np.full(M, 1e300), network=network, layers="output")


def test_out(tmp_path):
    network, expected = given_network(1), fn.vjp(X, R[:, 0], network=given_network(1))
    out = np.full((M, D), np.nan, np.float32)
    assert fn.vjp(X, R[:, 0], network=network, out=out) is out
    np.testing.assert_array_equal(out, expected)
    on_disk = np.lib.format.open_memmap(tmp_path / "gradient.npy", "w+", np.float32, (M, D))
    hidden, output = fn.vjp(X, R[:, 0], network=network, layers="both", out=on_disk)
    assert hidden is on_disk
    assert output.shape == (M,)
    on_disk.flush()
    np.testing.assert_array_equal(np.load(tmp_path / "gradient.npy"), expected)
    inside = np.zeros((3, M, D), np.float32)
    fn.vjp(X, R[:, 0], network=network, out=inside[1])
    np.testing.assert_array_equal(inside[1], expected)
    assert not inside[[0, 2]].any()


def forms_of_V(tmp_path):
    np.save(tmp_path / "V.npy", V.astype(np.float32))
    return {
        "float64": V,
        "memmap": np.load(tmp_path / "V.npy", mmap_mode="r"),
        "Fortran order": np.asfortranarray(V, np.float32),
        "strided": np.repeat(V.astype(np.float32), 2, axis=1)[:, ::2],
        "big-endian": V.astype(">f4"),
        "list": V.tolist(),
        "unaligned": np.frombuffer(b"?" + V.astype("f4").tobytes(), "f4", offset=1).reshape(V.shape),
    }


@pytest.mark.parametrize("q", [1, 2])
def test_any_form_of_V(tmp_path, q):
    expected = fn.jvp(X, V.astype(np.float32), network=given_network(q))
    for name, form in forms_of_V(tmp_path).items():
        np.testing.assert_array_equal(fn.jvp(X, form, network=given_network(q)), expected, err_msg=name)
    whole = np.rint(V).astype(np.int8)
    np.testing.assert_array_equal(
        fn.jvp(X, whole, network=given_network(q)), fn.jvp(X, whole.astype(float), network=given_network(q))
    )


def test_one_column_is_one_output():
    network = given_network(1)
    np.testing.assert_array_equal(fn.vjp(X, R[:, :1], network=network), fn.vjp(X, R[:, 0], network=network))
    assert fn.vjp(X, R[:, :1], network=network, layers="output").shape == (M,)
    own = fn.jvp(X, VA[:, :1], network=network, layers="output")
    np.testing.assert_array_equal(own, fn.jvp(X, VA[:, 0], network=network, layers="output"))


def test_nothing_given_is_written():
    frozen = [array.astype(np.float32) for array in (X, V)] + [R[:, 0].copy(), VA[:, 0].copy()]
    before = [array.copy() for array in frozen]
    for array in frozen:
        array.flags.writeable = False
    rows, directions, u, Va = frozen
    fn.vjp(rows, u, network=given_network(1), layers="both")
    fn.jvp(rows, (directions, Va), network=given_network(1), layers="both")
    for array, copy in zip(frozen, before, strict=True):
        np.testing.assert_array_equal(array, copy)


# ------------------------------------------------------------------------- inside other programs
CALLS = {
    "vjp": lambda X, **options: fn.vjp(X, np.ones(len(X)), **options),
    "jvp": lambda X, *, network, **options: fn.jvp(
        X, np.ones((network.width, network.dim)), network=network, **options
    ),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("threads", [1, 3])
def test_progress_rises_to_the_total(call, threads):
    reports, callers = [], set()

    def progress(done, total):
        reports.append((done, total))
        callers.add(threading.get_ident())

    call(X, network=fn.Network(60_000, D), threads=threads, progress=progress)
    done, totals = zip(*reports, strict=True)
    assert set(totals) == {60_000}
    assert list(done) == sorted(set(done))
    assert done[-1] == 60_000
    assert callers == {threading.get_ident()}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_exception_in_the_callback_ends_the_call(call):
    calls = []

    def progress(done, total):
        calls.append(done)
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        call(X, network=fn.Network(10**6, D), threads=2, progress=progress)
    assert len(calls) == 1


GENERAL = fn.Network.from_arrays(RNG.standard_normal((20_000, 16)), RNG.standard_normal(20_000))
SEVERAL = fn.Network.from_arrays(RNG.standard_normal((20_000, 16)), RNG.standard_normal((20_000, 30)))
VIRTUAL = fn.Network(50_000, 16)
MEMORY = {
    "vjp": (fn.vjp, GENERAL, "hidden", 1000, {}),
    "vjp, threads": (fn.vjp, VIRTUAL, "hidden", 1000, {"threads": 3}),
    "vjp, few rows": (fn.vjp, GENERAL, "both", 2, {}),
    "vjp, both": (fn.vjp, GENERAL, "both", 700, {}),
    "vjp, masked": (fn.vjp, fn.Network(2000, 300), "both", 600, {"mask": MASK}),
    "vjp, several": (fn.vjp, SEVERAL, "both", 1000, {}),
    "jvp": (fn.jvp, GENERAL, "hidden", 1000, {}),
    "jvp, threads": (fn.jvp, VIRTUAL, "hidden", 1000, {"threads": 3}),
    "jvp, few rows": (fn.jvp, GENERAL, "both", 2, {}),
    "jvp, both": (fn.jvp, GENERAL, "both", 700, {}),
    "jvp, masked": (fn.jvp, fn.Network(2000, 300), "both", 600, {"mask": MASK}),
    "jvp, several": (fn.jvp, SEVERAL, "both", 1000, {}),
}


@pytest.mark.parametrize("name", MEMORY)
def test_the_estimate_covers_the_peak(name):
    """A limit just below what the call really takes must be refused: the estimate is above it."""
    function, network, layers, n, options = MEMORY[name]
    m, d, q = network.width, network.dim, network.outputs
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((n, d)).astype(np.float32)
    hidden, output = rng.standard_normal((m, d)), rng.standard_normal((m, q))
    weights = rng.standard_normal((n, q)) if function is fn.vjp else (hidden, output)
    if function is fn.jvp and layers == "hidden":
        weights = hidden
    options = {"network": network, "layers": layers, "threads": 1, **options}
    peak, left = measured(lambda: function(rows, weights, **options))
    assert left < 100_000
    with pytest.raises(MemoryError, match="memory_limit is"):
        function(rows, weights, memory_limit=peak - 1, **options)


def test_memory_does_not_depend_on_the_width():
    """Of what is computed, where the gradient stands on disk or the caller's array."""
    rows, peaks = RNG.standard_normal((200, 16)).astype(np.float32), []
    for m in (50_000, 200_000):
        out, network = np.empty((m, 16), np.float32), fn.Network(m, 16)
        for call in (
            lambda out=out, net=network: fn.vjp(rows, np.ones(200), network=net, out=out, threads=2),
            lambda out=out, net=network: fn.jvp(rows, out, network=net, threads=2),
        ):
            out[:] = 0
            peaks.append(measured(call)[0])
    assert peaks[2] < peaks[0] + 1_000_000
    assert peaks[3] < peaks[1] + 1_000_000


def test_a_gradient_that_does_not_fit_names_the_way_out():
    with pytest.raises(MemoryError, match=r"10000000 neurons of 21 features takes 840 MB.*open_memmap"):
        fn.vjp(X, R[:, 0], network=fn.Network(10**7, D), memory_limit=10**8)


# ---------------------------------------------------------------------------------- bad input
SMALL = fn.Network(width=100, dim=3)
ROWS = np.random.default_rng(0).standard_normal((4, 3))  # as in test_bad_input


@pytest.mark.parametrize(("changes", "exception", "parts"), bad_cases(COMMON, ONE_DRAW))
@pytest.mark.parametrize("function", [fn.vjp, fn.jvp])
def test_what_no_function_takes(function, changes, exception, parts):
    arguments = {"X": ROWS, "network": SMALL, **changes}
    rows = arguments.pop("X")
    second = (
        np.ones((100, 3)) if function is fn.jvp else np.ones(len(rows) if getattr(rows, "ndim", 0) else 4)
    )
    if function is fn.vjp and "memory_limit" in parts:
        arguments["out"] = OUT  # or the gradient itself would be too large
    refused(lambda: function(rows, second, **arguments), exception, parts)


def bad(function, second, exception, parts, **options):
    return pytest.param(function, second, options, exception, parts)


NET2 = fn.Network(width=100, dim=3, outputs=2)
OUT = np.empty((100, 3), np.float32)
READ_ONLY = np.broadcast_to(np.float32(0), (100, 3))
OWN_W = np.ones((100, 3), np.float32)
GIVEN = fn.Network.from_arrays(OWN_W, np.ones(100))
LATE_NAN, LATE_HUGE = np.zeros((5000, 3)), np.zeros((5000, 3))
LATE_NAN[4321, 1], LATE_HUGE[1024, 2] = np.nan, -1e39
WIDE = fn.Network(width=5000, dim=3)


@pytest.mark.parametrize(
    ("function", "second", "options", "exception", "parts"),
    [
        bad(fn.vjp, np.ones(3), ValueError, "u has length 3; 4"),
        bad(fn.vjp, np.ones((4, 2)), ValueError, "u has shape (4, 2); (4,); 1 output"),
        bad(fn.vjp, np.ones(4), ValueError, "u has shape (4,); (4, 2); 2 outputs", network=NET2),
        bad(fn.vjp, np.ones((2, 4)), ValueError, "u has 2 rows; Transpose", network=NET2),
        bad(fn.vjp, np.ones((4, 1, 1)), ValueError, "u has shape (4, 1, 1); one dimension"),
        bad(fn.vjp, None, TypeError, "u has dtype object"),
        bad(fn.vjp, np.ones(4) * 1j, TypeError, "u has dtype complex128"),
        bad(fn.vjp, [1, np.nan, 1, 1], ValueError, "u is not finite; u[1] is nan"),
        bad(fn.vjp, [1, 2e200, 1, -3e300], ValueError, "u holds magnitudes up to 3e+300; at most 1e+180"),
        bad(fn.vjp, np.ones(4), ValueError, "layers is 'all'; 'hidden', 'output', 'both'", layers="all"),
        bad(fn.vjp, np.ones(4), TypeError, "out is list; float32 array of shape (100, 3)", out=[1]),
        bad(fn.vjp, np.ones(4), TypeError, "out has dtype float64; float32", out=np.ones((100, 3))),
        bad(fn.vjp, np.ones(4), TypeError, "out has dtype >f4; float32", out=OUT.astype(">f4")),
        bad(fn.vjp, np.ones(4), ValueError, "out has shape (3, 100); (100, 3)", out=OUT.reshape(3, 100)),
        bad(fn.vjp, np.ones(4), ValueError, "out is not C-contiguous", out=np.asfortranarray(OUT)),
        bad(fn.vjp, np.ones(4), ValueError, "out is not C-contiguous, aligned and writable", out=READ_ONLY),
        bad(fn.vjp, np.ones(4), ValueError, "out is given; 'output'; hidden part", out=OUT, layers="output"),
        bad(fn.vjp, np.ones(4), ValueError, "out shares memory with the weights", out=OWN_W, network=GIVEN),
        bad(fn.jvp, np.ones((100, 2)), ValueError, "V has shape (100, 2); (100, 3); row for each neuron"),
        bad(fn.jvp, np.ones(100), ValueError, "V has shape (100,); (100, 3)"),
        bad(fn.jvp, None, TypeError, "V has dtype object; real"),
        bad(fn.jvp, np.ones((100, 3)) * 1j, TypeError, "V has dtype complex128; real"),
        bad(fn.jvp, np.ma.ones((100, 3)), TypeError, "V is a masked array; filled"),
        bad(fn.jvp, LATE_NAN, ValueError, "V is not finite: V[4321, 1] is nan", network=WIDE),
        bad(
            fn.jvp,
            LATE_HUGE,
            ValueError,
            "V is not finite after rounding to float32: V[1024, 2] is -1e+39",
            network=WIDE,
        ),
        bad(
            fn.jvp,
            np.ones((100, 3)),
            TypeError,
            "V is ndarray; layers='both'; pair; (100, 3) and (100, 1)",
            layers="both",
        ),
        bad(fn.jvp, (np.ones((100, 3)), np.ones(99)), ValueError, "V[1] has length 99; 100", layers="both"),
        bad(
            fn.jvp,
            (np.ones((99, 3)), np.ones(100)),
            ValueError,
            "V has shape (99, 3); (100, 3)",
            layers="both",
        ),
        bad(fn.jvp, np.ones((100, 3)), ValueError, "V has shape (100, 3); (100,); 1 output", layers="output"),
        bad(fn.jvp, np.ones(100), ValueError, "V has shape (100,); (100, 2)", layers="output", network=NET2),
        bad(fn.jvp, np.full(100, np.inf), ValueError, "V is not finite; V[0] is inf", layers="output"),
    ],
)
def test_bad_input(function, second, options, exception, parts):
    refused(lambda: function(ROWS, second, **{"network": SMALL, **options}), exception, parts)


def test_out_that_is_the_inputs():
    rows = np.ones((100, 3), np.float32)
    refused(
        lambda: fn.vjp(rows, np.ones(100), network=SMALL, out=rows), ValueError, "out shares memory with X"
    )


def test_nan_is_refused_before_out_is_written():
    out = OUT.copy()
    out[:] = 7
    refused(lambda: fn.vjp(NAN, np.ones(4), network=SMALL, out=out), ValueError, "X; not finite")
    assert (out == 7).all()
