"""Weights that are bfloat16 numbers: their definition, and their patterns on every path and by AMX tiles."""

from fractions import Fraction
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastntk.kernels import cpu, load, reference
from fastntk.kernels.cpu import layout_amx
from fastntk.kernels.cpu.layout import aligned, scaled_by_power_of_two
from fastntk.kernels.cpu.paths import PATHS, available_paths

from ..adversarial import problems
from .test_pattern import adversarial_rows, pattern

WAYS = {name: load(name) for name in available_paths()}
WITH_AMX = any(kernels.forwards_with_amx for kernels in WAYS.values())
if WITH_AMX:
    with mock.patch.object(cpu, "forwards_with_amx", return_value=False):
        WAYS["avx512 without amx"] = cpu.CpuKernels(PATHS["avx512"])
LARGEST = np.float32(2.0**127 * (2 - 2.0**-7))  # of the bfloat16 numbers
SMALLEST = 2.0**-126  # of the normal numbers


@pytest.fixture(params=WAYS)
def kernels(request):
    return WAYS[request.param]


def require_bits(kernels, X, W):
    """Bits of given weights, rounded first, are those of the definition; how many were settled."""
    W = reference.round_to_bfloat16(np.clip(W, -LARGEST, LARGEST))
    bits, settled = pattern(kernels, X, W, dtype="bfloat16")
    np.testing.assert_array_equal(bits, reference.pattern(X, W))
    return settled


# ------------------------------------------------------------------------------- the definition
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.0, 1.0),
        (1 + 2.0**-8, 1.0),  # a tie, to even
        (1 + 3 * 2.0**-8, 1 + 2.0**-6),  # a tie, to even
        (1 + 2.0**-8 + 2.0**-23, 1 + 2.0**-7),  # just above one
        (1 + 2.0**-7 + 2.0**-8 - 2.0**-23, 1 + 2.0**-7),  # just below one
        (2 - 2.0**-9, 2.0),  # the carry runs into the exponent
        (LARGEST, LARGEST),
        (2.0**127 * (2 - 2.0**-8), np.inf),
        (np.finfo(np.float32).max, np.inf),
        (3 * 2.0**-134, 2.0**-132),  # denormals, a tie
        (2.0**-134, 0.0),
        (2.0**-149, 0.0),
        (2.0**-126 - 2.0**-149, 2.0**-126),
        (0.0, 0.0),
    ],
)
def test_golden_values_of_the_rounding(value, expected):
    rounded = reference.round_to_bfloat16(np.array([value, -value], np.float32))
    np.testing.assert_array_equal(rounded, np.array([expected, -expected], np.float32))
    np.testing.assert_array_equal(np.signbit(rounded), [False, True])


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=300)
def test_the_rounding_is_to_the_nearest(word):
    value = np.array([word], np.uint32).view(np.float32)
    if not np.isfinite(value[0]) or abs(value[0]) > LARGEST:
        return
    rounded = reference.round_to_bfloat16(value).view(np.uint32)
    assert rounded[0] & 0xFFFF == 0
    neighbours = np.array([word & 0xFFFF0000, (word & 0xFFFF0000) + 0x10000], np.uint64).astype(np.uint32)
    exact, below, above = (Fraction(float(v)) for v in (value[0], *neighbours.view(np.float32)))
    if abs(exact - below) != abs(exact - above):
        expected = neighbours[int(abs(exact - below) > abs(exact - above))]
    else:
        expected = neighbours[int(neighbours[0] >> 16 & 1)]
    assert rounded[0] == expected


def test_the_rounding_is_that_of_torch():
    torch = pytest.importorskip("torch")
    words = np.random.default_rng(0).integers(0, 2**32, 100_000, dtype=np.uint32)
    values = words.view(np.float32)[np.isfinite(words.view(np.float32))]
    expected = torch.from_numpy(values.copy()).to(torch.bfloat16).to(torch.float32).numpy()
    np.testing.assert_array_equal(reference.round_to_bfloat16(values), expected)


# --------------------------------------------------------------------------------- the patterns
@given(
    n=st.integers(1, 70),
    dim=st.one_of(st.integers(1, 12), st.sampled_from([31, 32, 33, 64, 131, 300])),
    count=st.integers(1, 100),
    first=st.integers(0, 10**6),
    seed=st.integers(0, 2**64 - 1),
)
@settings(max_examples=30)
def test_virtual_weights_on_ragged_shapes(n, dim, count, first, seed):
    X = np.random.default_rng(seed % 1000).standard_normal((n, dim)).astype(np.float32)
    normals = reference.normals(seed, np.arange(first, first + count), dim, 0)
    expected = reference.pattern(X, reference.round_to_bfloat16(normals))
    for kernels in WAYS.values():
        bits, _ = pattern(kernels, X, seed=seed, first=first, count=count, dtype="bfloat16")
        np.testing.assert_array_equal(bits, expected)


@given(problems())
@settings(max_examples=60)
def test_rows_and_weights_that_fp32_gets_wrong(problem):
    for kernels in WAYS.values():
        require_bits(kernels, *problem)


@pytest.mark.parametrize("dim", [1, 3, 64, 130, 1100])
def test_adversarial_rows(kernels, dim):
    rng = np.random.default_rng(dim)
    X = adversarial_rows(dim, rng)
    X = X[(X != 0).any(axis=1)]
    ordinary, small = rng.standard_normal((30, dim)), rng.standard_normal((20, dim)) * 1e-25
    weights = np.concatenate([ordinary, small, adversarial_rows(dim, rng), np.zeros((2, dim))])
    require_bits(kernels, X, weights.astype(np.float32))
    bits, _ = pattern(kernels, X, seed=5, count=70, dtype="bfloat16")
    virtual = reference.round_to_bfloat16(reference.normals(5, np.arange(70), dim, 0))
    np.testing.assert_array_equal(bits, reference.pattern(X, virtual))


@pytest.mark.parametrize("scale", [1.0, 2.0**-90, 2.0**60])
def test_nearly_orthogonal_pairs(kernels, scale):
    """x . w exactly zero, and one last place to either side of it, between products of all sizes."""
    rng = np.random.default_rng(1)
    rows, weights = [], []
    for _ in range(12):
        v, w = rng.integers(-(2**22), 2**22, 20) * 1.0, rng.integers(-(2**7), 2**7, 20) * 1.0
        rows += [np.concatenate([v, v, [last]]) for last in (0.0, 2.0**-40, -(2.0**-40))]
        weights.append(np.concatenate([w, -w, [1.0]]))
    X, W = (np.array(rows) * scale).astype(np.float32), np.array(weights).astype(np.float32)
    settled = require_bits(kernels, X, W)
    assert settled >= 36  # each neuron sees its three near-zero rows


def test_many_features(kernels):
    """More than one block of tile products, and a last one that is not full."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((5, 2100)).astype(np.float32)
    W = rng.standard_normal((40, 2100)).astype(np.float32)
    W[1] = -W[0]
    X[0, ::2], X[0, 1::2] = reference.round_to_bfloat16(W[2])[1::2], -reference.round_to_bfloat16(W[2])[::2]
    assert require_bits(kernels, X, W)


def test_zero_rows_are_decided_without_a_second_look(kernels):
    bits, settled = pattern(kernels, np.zeros((20, 7)), count=500, dtype="bfloat16")
    assert not bits.any()
    assert settled == 0


@pytest.mark.parametrize("dim", [20, 784])
def test_few_signs_are_settled(kernels, dim):
    """The certificate is tight enough: on random data about 4e-6 sqrt(d) of the signs need float64."""
    X = np.random.default_rng(0).standard_normal((200, dim)).astype(np.float32)
    _, settled = pattern(kernels, X, count=4096, dtype="bfloat16")
    assert settled < 200 * 4096 * 1e-5 * np.sqrt(dim)


# --------------------------------------------------------------------------------- AMX's tiles
def flushed(values):
    """Denormals as 0, as AMX takes them and leaves them."""
    return np.where(np.abs(values) < SMALLEST, np.float32(0), values)


def tile_product(sums, x, w):
    """TDPBF16PS as Intel specifies it: sums (n, m) after x (n, 32) times w (m, 32), bfloat16 in float32."""
    x, w, chains = flushed(x), flushed(w), [np.zeros_like(sums), np.zeros_like(sums)]
    for k in range(layout_amx.DEPTH):
        chains[k % 2] = flushed(reference.fma32(x[:, None, k], w[None, :, k], chains[k % 2]))
    return flushed(flushed(sums) + flushed(chains[0] + chains[1]))


def awkward(rng, shape, kind):
    """bfloat16 numbers in float32: of one size, of many, with denormals, or whose products nearly cancel."""
    values = rng.standard_normal(shape)
    exponents = {"even": 0, "wide": (-40, 40), "tiny": (-80, -55), "denormal": (-130, -60)}[kind]
    if exponents:
        values = np.ldexp(values, rng.integers(*exponents, shape))
    return reference.round_to_bfloat16(values.astype(np.float32))


KINDS = ("even", "wide", "tiny", "denormal")


@pytest.mark.skipif(not WITH_AMX, reason="this process has no AMX for bfloat16")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cancelling", [False, True])
def test_the_processor_keeps_to_the_specification(kind, cancelling):
    from numba import njit

    from fastntk.kernels.cpu import amx
    from fastntk.kernels.cpu.forward_amx import W_STEP_BYTES, sum_tiles

    @njit
    def sum_in_tiles(x, w, steps, sums, configuration):
        amx.configure_tiles(configuration.ctypes.data)
        sum_tiles(1, x.ctypes.data, w.ctypes.data, steps, sums.ctypes.data)
        amx.release_tiles()

    rng = np.random.default_rng(len(kind))
    for _ in range(20):
        x, w = awkward(rng, (2, 16, 32), kind), awkward(rng, (32, 32), kind)
        if cancelling:  # the second part takes back what the first one adds, but for a last place
            x[1] = reference.round_to_bfloat16(-x[0] * np.float32(1 + 2.0**-7))
        expected = np.zeros((16, 32), np.float32)
        for part in x:
            expected = tile_product(expected, part, w)
        packed = aligned((1, 2, 2, 16, 32), np.uint16, fill=0)
        packed[0, :, 0] = x.view(np.uint32) >> 16
        pairs = aligned((W_STEP_BYTES // 2,), np.uint16)
        pairs[:] = (w.view(np.uint32) >> 16).reshape(2, 16, 16, 2).transpose(0, 2, 1, 3).ravel()
        sums = aligned((2, 16, 16), np.float32)
        sum_in_tiles(packed, pairs, 1, sums, amx.CONFIGURATION)
        np.testing.assert_array_equal(sums.transpose(1, 0, 2).reshape(16, 32), expected)


@pytest.mark.parametrize("kind", ["normal", "wide", "cancelling", "two parts do"])
@pytest.mark.parametrize("dim", [3, 32, 100, 1500])
def test_the_bound_covers_the_error_of_tile_sums(kind, dim):
    """The stated bound holds for the sums as tiles form them, by their emulation against exact sums."""
    rng = np.random.default_rng(dim)
    X, W = rng.standard_normal((6, dim)), rng.standard_normal((20, dim))
    if kind == "wide":
        X, W = (np.ldexp(rows, rng.integers(-60, 60, rows.shape)) for rows in (X, W))
    if kind == "cancelling":
        X[:, 1::2] = -X[:, : dim - 1 : 2] * (1 + 2.0**-12)
        W[:, 1::2] = W[:, : dim - 1 : 2]
    if kind == "two parts do":
        X = np.rint(X * 2**10)
    X = np.ascontiguousarray(X, np.float32)
    W = scaled_by_power_of_two(reference.round_to_bfloat16(W.astype(np.float32)))
    inputs = layout_amx.tile_inputs(X)
    steps, depth = layout_amx.steps_of(dim), layout_amx.DEPTH
    padded = np.zeros((20, steps * depth), np.float32)
    padded[:, :dim] = W
    total = np.zeros((32, 20), np.float32)
    for start in range(0, steps, layout_amx.BLOCK_STEPS):
        sums = np.zeros_like(total)
        for step in range(start, min(start + layout_amx.BLOCK_STEPS, steps)):
            for part in range(layout_amx.PARTS):
                x = (inputs.packed[0, step, part].astype(np.uint32) << 16).view(np.float32).reshape(32, depth)
                sums = tile_product(sums, x, padded[:, step * depth : (step + 1) * depth])
        total += sums
    squares = np.square(padded.astype(float)).reshape(20, steps, depth).sum(axis=2)
    share = layout_amx.CHAIN + layout_amx.REST_SHARE**2
    factors = np.sqrt(share * squares.sum(axis=1) + layout_amx.prefix_square_sum(squares))
    bound = (inputs.factors.astype(float)[:, None] * factors)[:6]
    error = np.abs(total[:6] - reference.preactivation(scaled_by_power_of_two(X), W))
    assert (error <= bound).all()
    assert error.max() > bound.min() / 1000  # and is not absurdly loose


def test_without_a_grant_of_tiles_they_are_not_used(monkeypatch):
    monkeypatch.setattr(cpu.paths, "_tiles_are_granted", lambda: False)
    assert not any(cpu.CpuKernels(PATHS[name]).forwards_with_amx for name in available_paths())


def test_without_bfloat16_tiles_they_are_not_used(monkeypatch):
    features = cpu.paths.target_features() - {"amx-bf16"}
    monkeypatch.setattr(cpu.paths, "target_features", lambda: features)
    assert not any(cpu.CpuKernels(PATHS[name]).forwards_with_amx for name in available_paths())
