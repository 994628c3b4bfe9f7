"""The kernels of a training step against plain formulas, on every path of the host."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastntk as fn
from fastntk.kernels import load, reference
from tests import adversarial

UNIT = 2.0**-24
SMALLEST = 2.0**-126
FIXTURE_IS_CONSTANT = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def default_kernels():
    return load()


def packed(kernels, rows):
    batch = kernels.make_batch(*rows.shape)
    batch.masked[:] = rows
    kernels.pack_batch(batch)
    return batch


def read_only(array):
    view = array.view()
    view.flags.writeable = False
    return view


def forward(kernels, rows, weights, order, a):
    """(bits (n, count), outputs (n, q) float64, words, scratch, batch) of the kernel."""
    batch = packed(kernels, rows)
    tile = kernels.path.step_neurons
    padded = np.zeros((-(-len(order) // tile) * tile, a.shape[1]), np.float32)
    padded[: len(order)] = a
    panels = len(batch.panels)
    words = np.full((panels, len(padded)), 0x5A5A5A5A5A5A5A5A, np.uint64)
    totals = np.zeros((panels, a.shape[1], 64))
    scratch = kernels.step_scratch(len(order), rows.shape[1], a.shape[1], len(rows))
    settled = kernels.forward_chunk(read_only(weights), order, padded, batch, words, totals, scratch)
    assert settled >= 0
    bits = np.unpackbits(np.ascontiguousarray(words.T).view(np.uint8), axis=1, bitorder="little")
    outputs = totals.transpose(0, 2, 1).reshape(-1, a.shape[1])[: len(rows)]
    outputs = np.ldexp(outputs, batch.exponents[:, None])
    return bits[: len(order), : len(rows)].T.astype(bool), outputs, words, scratch, batch, padded


def words_of(kernels, bits):
    """Bits (n, count) as the words that the update kernels read."""
    n, count = bits.shape
    tile = kernels.path.step_neurons
    padded = np.zeros((-(-count // tile) * tile, -(-n // 64) * 64), bool)
    padded[:count, :n] = bits.T
    return np.ascontiguousarray(np.packbits(padded, axis=1, bitorder="little").view(np.uint64).T)


@st.composite
def problems(draw):
    """(rows, weights, order, a): weights in the range of training, an order that leaves some out."""
    rows, weights = draw(adversarial.problems())
    weights = np.where(np.abs(weights) > 1e15, np.sign(weights), weights)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    order = rng.permutation(len(weights))[: draw(st.integers(1, len(weights)))].astype(np.int64)
    a = rng.standard_normal((len(order), draw(st.sampled_from([1, 2, 5])))).astype(np.float32)
    return rows, weights, order, a


@FIXTURE_IS_CONSTANT
@given(problem=problems())
def test_bits_are_exact_and_outputs_within_the_bound(kernels, problem):
    rows, weights, order, a = problem
    bits, outputs, *_ = forward(kernels, rows, weights, order, a)
    assert (bits == reference.pattern(rows, weights[order])).all()

    H = reference.preactivation(rows, weights[order])
    exact = reference.outputs(H, a.astype(float))
    # h: d roundings of a sum (twice as many unfused) of magnitude |x| . |w|; the outputs: one product and
    # at most 192 + 1 additions in fp32.  What falls below 2^-126 is relative to the row's largest entry.
    magnitude = np.abs(rows).astype(float) @ np.abs(weights[order]).T.astype(float)
    bound = UNIT * 2 * ((rows.shape[1] + 4) * magnitude + 200 * np.maximum(H, 0)) @ np.abs(a)
    floor = SMALLEST * np.abs(rows).max(axis=1).astype(float) * rows.shape[1] * len(order) * 16
    assert (np.abs(outputs - exact) <= bound + floor[:, None] + 1e-300).all()


@pytest.mark.parametrize("dim", [1, 3, 20, 127, 128, 129, 300])
def test_several_panels_and_depth_blocks(kernels, dim):
    rng = np.random.default_rng(dim)
    rows = rng.standard_normal((131, dim)).astype(np.float32)
    weights = rng.standard_normal((401, dim)).astype(np.float32)
    order, a = rng.permutation(401).astype(np.int64), rng.standard_normal((401, 3)).astype(np.float32)
    bits, outputs, *_ = forward(kernels, rows, weights, order, a)
    H = rows.astype(float) @ weights[order].T.astype(float)
    assert (bits == (H > 0)).all()
    bound = UNIT * 2 * ((dim + 4) * (np.abs(rows) @ np.abs(weights[order]).T) + 200 * np.abs(H)) @ np.abs(a)
    assert (np.abs(outputs - np.maximum(H, 0) @ a.astype(float)) <= bound).all()


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_whole_step_is_that_of_the_definition(outputs):
    """train() without masks, one step: outputs, weights and flipped bits."""
    rng = np.random.default_rng(outputs)
    X, W = rng.standard_normal((9, 5)).astype(np.float32), rng.standard_normal((23, 5)).astype(np.float32)
    a = rng.standard_normal((23, outputs)).astype(np.float32).astype(float)
    y = rng.standard_normal((9, outputs))
    run = fn.train(X, y, network=fn.Network.from_arrays(W, a), step_size=0.05, steps=1, record_every=1)
    f, after = reference.training_step(W.astype(float), a, X, y, 0.05)
    np.testing.assert_allclose(run.clean_loss[0], 0.5 * np.square(f - y).sum(), rtol=40 * UNIT)
    # products, chains of at most 9 samples and 3 outputs, the step, the new weight: below 30 roundings
    np.testing.assert_allclose(run.network.weights(), after, rtol=0, atol=30 * UNIT * np.abs(after).max())
    assert run.flipped[1] == reference.flipped(X, run.network.weights(), W) / (9 * 23)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e25])
def test_weights_out_of_range_are_reported(kernels, bad):
    rows, weights = np.ones((3, 5), np.float32), np.ones((9, 5), np.float32)
    weights[7, 2] = bad
    batch, order = packed(kernels, rows), np.arange(9)
    words, totals = np.empty((1, 12), np.uint64), np.zeros((1, 1, 64))
    scratch = kernels.step_scratch(9, 5, 1, 3)
    a = np.ones((12, 1), np.float32)
    assert kernels.forward_chunk(read_only(weights), order, a, batch, words, totals, scratch) < 0


@st.composite
def updates(draw):
    """(rows, bits, weights, order, factors, residuals) of ragged shapes."""
    n, d = draw(st.sampled_from([1, 5, 64, 65, 150])), draw(st.sampled_from([1, 7, 16, 17, 33, 64, 65, 130]))
    count, segments = draw(st.integers(1, 40)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return (
        (rng.standard_normal((n, d)) * 2.0 ** rng.integers(-20, 20, (n, 1))).astype(np.float32),
        rng.random((n, count)) < draw(st.sampled_from([0.0, 0.5, 1.0])),
        rng.standard_normal((count + 3, d)).astype(np.float32),
        rng.permutation(count + 3)[:count].astype(np.int64),
        rng.standard_normal(count).astype(np.float32),
        rng.standard_normal((segments, n)),
    )


def padded_residuals(batch, residuals):
    out = np.zeros((len(residuals), len(batch.bounds)), np.float32)
    out[:, : residuals.shape[1]] = residuals
    return out


def check_update(before, after, order, factors, exact, magnitude, additions):
    """Rows of ``order`` have moved by factors * exact, within the rounding of fp32; the others have not."""
    expected = before.astype(float)
    expected[order] += factors[:, None].astype(float) * exact
    bound = UNIT * np.abs(expected)
    bound[order] += UNIT * 2 * additions * np.abs(factors[:, None]) * magnitude
    assert (np.abs(after - expected) <= bound * (1 + 1e-6)).all()


@FIXTURE_IS_CONSTANT
@given(update=updates())
def test_update_by_lookup(kernels, update):
    rows, bits, weights, order, factors, residuals = update
    batch, words = packed(kernels, rows), words_of(kernels, bits)
    residuals = padded_residuals(batch, residuals)
    stops = np.unique(np.linspace(len(order), 1, len(residuals)).astype(np.int64))
    segment = np.searchsorted(stops, np.arange(len(order)), side="right")
    scratch = kernels.step_scratch(len(order), rows.shape[1], 1, len(rows))
    after = weights.copy()
    kernels.update_by_lookup(after, order, factors, words, batch.rows, residuals, stops, scratch)
    own = bits.T * residuals[segment, : len(rows)].astype(float)
    inputs = batch.rows[: len(rows), : rows.shape[1]].astype(float)
    # one rounding of each product, three additions in a table and one for every four samples
    check_update(
        weights, after, order, factors, own @ inputs, np.abs(own) @ np.abs(inputs), len(batch.bounds) / 4 + 6
    )


@FIXTURE_IS_CONSTANT
@given(update=updates(), outputs=st.sampled_from([1, 3]))
def test_update_dense(kernels, update, outputs):
    rows, bits, weights, order, factors, residuals = update
    batch, words = packed(kernels, rows), words_of(kernels, bits)
    residuals = padded_residuals(
        batch, residuals[:1].repeat(outputs, axis=0) * np.arange(1, outputs + 1)[:, None]
    )
    a = np.zeros((words.shape[1], outputs), np.float32)
    a[: len(order)] = np.random.default_rng(0).standard_normal((len(order), outputs))
    scratch = kernels.step_scratch(len(order), rows.shape[1], outputs, len(rows))
    after = weights.copy()
    kernels.update_dense(after, order, factors, words, batch.rows, a, residuals, scratch)
    mixed = a[: len(order)].astype(float) @ residuals[:, : len(rows)]
    size = np.abs(a[: len(order)]).astype(float) @ np.abs(residuals[:, : len(rows)])
    inputs = batch.rows[: len(rows), : rows.shape[1]].astype(float)
    # the coefficients: 2 q roundings; then a multiply-add a sample, two roundings where they are not fused
    check_update(
        weights, after, order, factors, (bits.T * mixed) @ inputs, (bits.T * size) @ np.abs(inputs),
        2 * len(batch.bounds) + 2 * outputs,
    )  # fmt: skip


def test_combine(kernels):
    rng = np.random.default_rng(0)
    directions, values = rng.standard_normal((5, 3)), rng.standard_normal((3, 70))
    out = np.full((5, 128), np.nan, np.float32)
    kernels.combine(directions, values, np.empty(100), out)
    assert (out[:, 70:] == 0).all()
    np.testing.assert_allclose(out[:, :70], directions @ values, rtol=UNIT, atol=1e-14)


@given(n=st.integers(1, 130), count=st.integers(1, 9), spare=st.integers(0, 3), seed=st.integers(0, 2**32))
def test_count_differences_leaves_what_pads_out(default_kernels, n, count, spare, seed):
    rng = np.random.default_rng(seed)
    words, others = rng.integers(0, 2**64, (2, -(-n // 64), count + spare), np.uint64)
    bits = np.unpackbits(np.ascontiguousarray((words ^ others).T).view(np.uint8), axis=1, bitorder="little")
    assert default_kernels.history.count_differences(words, others, n, count) == bits[:count, :n].sum()


def test_distance_moved(default_kernels):
    rng = np.random.default_rng(0)
    weights, start = rng.standard_normal((2, 9, 4)).astype(np.float32)
    order = np.array([8, 0, 3])
    squares = ((weights[order].astype(float) - start[:3]) ** 2).sum(axis=1)
    total, largest = default_kernels.history.distance_moved(read_only(weights), order, read_only(start[:3]))
    np.testing.assert_allclose([total, largest], [squares.sum(), squares.max()], rtol=1e-14)
