"""The forward pass on AMX: what its instruction computes, what its bound covers, and when it is taken."""

import numpy as np
import pytest

from fastntk.kernels import cpu, load, reference
from fastntk.kernels.cpu import layout_amx
from fastntk.kernels.cpu.layout import aligned, scaled_by_power_of_two, sum_of_prefixes
from fastntk.kernels.cpu.paths import PATHS, available_paths

from .forward_ways import WAYS, WITH_AMX
from .test_pattern import pattern

SMALLEST = 2.0**-126  # of the normal numbers


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


def parts_of(values, count):
    """Float32 values as bfloat16 parts, and what is left after each."""
    parts, left = [], [values]
    for _ in range(count):
        parts.append(reference.round_to_bfloat16(left[-1]))
        left.append(left[-1] - parts[-1])
    return parts, left


@pytest.mark.skipif(not WITH_AMX, reason="this process has no AMX for bfloat16")
@pytest.mark.parametrize("weight_parts", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cancelling", [False, True])
def test_the_processor_keeps_to_the_specification(kind, cancelling, weight_parts):
    from numba import njit

    from fastntk.kernels.cpu import amx
    from fastntk.kernels.cpu.forward_amx import sum_tiles

    @njit
    def sum_in_tiles(x, w, sums, configuration):
        amx.configure_tiles(configuration.ctypes.data)
        sum_tiles(1, weight_parts, x.ctypes.data, w.ctypes.data, 1, sums.ctypes.data, x.ctypes.data)
        amx.release_tiles()

    rng = np.random.default_rng(len(kind))
    for _ in range(20):
        x, w = awkward(rng, (2, 16, 32), kind), awkward(rng, (weight_parts, 32, 32), kind)
        if cancelling:  # a second part takes back what the first one adds, but for a last place
            x[1] = reference.round_to_bfloat16(-x[0] * np.float32(1 + 2.0**-7))
        expected = np.zeros((16, 32), np.float32)
        for w_part, x_part in layout_amx.MULTIPLIED[: layout_amx.products_of(weight_parts)]:
            expected = tile_product(expected, x[x_part], w[w_part])
        packed = aligned((2, 2, 16, 32), np.uint16, fill=0)
        packed[:, 0] = x.view(np.uint32) >> 16
        pairs = aligned((weight_parts, 2, 16, 16, 2), np.uint16)
        words = (w.view(np.uint32) >> 16).reshape(weight_parts, 2, 16, 16, 2)  # part, z, neuron, pair, odd
        pairs[:] = words.transpose(0, 1, 3, 2, 4)
        sums = aligned((2, 16, 16), np.float32)
        sum_in_tiles(packed, pairs, sums, amx.CONFIGURATION)
        np.testing.assert_array_equal(sums.transpose(1, 0, 2).reshape(16, 32), expected)


def by_steps(values):
    """Values (..., d) as (..., steps, DEPTH), with zeros beyond d."""
    *shape, dim = values.shape
    steps = layout_amx.steps_of(dim)
    padded = np.zeros((*shape, steps * layout_amx.DEPTH), values.dtype)
    padded[..., :dim] = values
    return padded.reshape(*shape, steps, layout_amx.DEPTH)


def sums_of_tiles(X, W, weight_parts):
    """Sums as tiles form them, by emulation."""
    x, w = (by_steps(np.array(parts_of(values, count)[0])) for values, count in ((X, 2), (W, weight_parts)))
    total = np.zeros((len(X), len(W)), np.float32)
    for start in range(0, x.shape[2], layout_amx.BLOCK_STEPS):
        sums = np.zeros_like(total)
        for step in range(start, min(start + layout_amx.BLOCK_STEPS, x.shape[2])):
            for w_part, x_part in layout_amx.MULTIPLIED[: layout_amx.products_of(weight_parts)]:
                sums = tile_product(sums, x[x_part, :, step], w[w_part, :, step])
        total += sums
    return total


def weight_factors(W, weight_parts):
    """sqrt(S_w) of weights, by its definition."""
    squares = np.square(by_steps(W).astype(float)).sum(axis=2)
    whole, *lost = (np.square(left.astype(float)).sum(axis=1) for left in parts_of(W, weight_parts)[1])
    total = (layout_amx.CHAIN + layout_amx.WHOLE_SHARE) * whole
    total += sum_of_prefixes(squares, layout_amx.BLOCK_STEPS, layout_amx.products_of(weight_parts))
    if weight_parts == 2:
        total += layout_amx.BEYOND_SHARE * lost[0] + layout_amx.LOST_SHARE * lost[1]
    return np.sqrt(total)


@pytest.mark.parametrize("weight_parts", [1, 2])
@pytest.mark.parametrize("kind", ["normal", "wide", "cancelling", "two parts do"])
@pytest.mark.parametrize("dim", [3, 32, 100, 1500])
def test_the_bound_covers_the_error_of_tile_sums(kind, dim, weight_parts):
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
    X, W = np.ascontiguousarray(X, np.float32), W.astype(np.float32)
    W = scaled_by_power_of_two(W if weight_parts == 2 else reference.round_to_bfloat16(W))
    scaled = scaled_by_power_of_two(X)
    inputs = layout_amx.tile_inputs(X, weight_parts)
    bound = inputs.factors[:6].astype(float)[:, None] * weight_factors(W, weight_parts)
    error = np.abs(sums_of_tiles(scaled, W, weight_parts) - reference.preactivation(scaled, W))
    assert (error <= bound).all()
    assert error.max() > bound.min() / 1000  # and is not absurdly loose


@pytest.mark.parametrize("weight_parts", [1, 2])
def test_the_bound_is_attained_within_a_small_factor(weight_parts):
    """Parts that all err the same way: what is not multiplied alone comes near the bound."""
    dim = 64
    X = np.full((1, dim), np.float32(1 + 2.0**-8 - 2.0**-17 - 2.0**-23))  # both parts round down
    W = X if weight_parts == 2 else np.ones((1, dim), np.float32)
    bound = layout_amx.tile_inputs(X, weight_parts).factors[0].astype(float) * weight_factors(W, weight_parts)
    error = np.abs(sums_of_tiles(X, W, weight_parts) - reference.preactivation(X, W))
    assert bound / 20 < error <= bound


@pytest.mark.skipif(not WITH_AMX, reason="this process has no AMX for bfloat16")
@pytest.mark.parametrize(("dtype", "weight_parts"), [("bfloat16", 1), ("float32", 2)])
@pytest.mark.parametrize("dim", [1, 7, 64, 1500])
def test_the_kernel_takes_the_bound_of_its_definition(dtype, weight_parts, dim):
    """sqrt(S_w) as vectors sum it, to the slack of the bound."""
    kernels, W = WAYS["amx"], np.random.default_rng(0).standard_normal((32, dim)).astype(np.float32)
    W = scaled_by_power_of_two(W if weight_parts == 2 else reference.round_to_bfloat16(W))
    forward = kernels.forward(dtype)
    scratch, bits = forward.scratch(dim), kernels.empty(kernels.bits_shape(1, 32), np.uint8, fill=0)
    forward.pattern(
        forward.inputs(np.ones((1, dim), np.float32)), W, np.uint64(0), np.uint64(0), 0, 32, scratch, bits
    )
    expected = weight_factors(W, weight_parts)
    np.testing.assert_allclose(scratch.panel_factors[0, :32], expected, rtol=(dim + 64) * 2.0**-24)
    assert scratch.panel_factors[0, 32] == scratch.panel_factors[0, :32].max()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("n", [layout_amx.FEWEST_ROWS - 1, layout_amx.FEWEST_ROWS, 97])
def test_few_rows_and_many_have_the_same_bits(dtype, n):
    X = np.random.default_rng(0).standard_normal((n, 40)).astype(np.float32)
    bits, _ = pattern(load(), X, count=700, dtype=dtype)
    np.testing.assert_array_equal(bits, pattern(load("plain"), X, count=700, dtype=dtype)[0])


def test_without_a_grant_of_tiles_they_are_not_used(monkeypatch):
    monkeypatch.setattr(cpu.paths, "_tiles_are_granted", lambda: False)
    assert not any(cpu.CpuKernels(PATHS[name]).forwards_with_amx for name in available_paths())


def test_without_bfloat16_tiles_they_are_not_used(monkeypatch):
    features = cpu.paths.target_features() - {"amx-bf16"}
    monkeypatch.setattr(cpu.paths, "target_features", lambda: features)
    assert not any(cpu.CpuKernels(PATHS[name]).forwards_with_amx for name in available_paths())
