"""Bits from tensor cores: exact for every way of adding that the bound allows; others are noticed."""

import shutil
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import fastntk as fn
from fastntk.engine import devices
from fastntk.kernels import reference
from fastntk.kernels.cpu.layout import UNIT_ROUNDOFF, scaled_by_power_of_two
from fastntk.kernels.cuda import compile as compiling
from fastntk.kernels.cuda import forward, forward_bf16

from ..adversarial import orthogonal_to, problems
from . import patterns
from .conftest import DEVICES, GPU
from .emulator import EmulatedDevice, TensorCore

FEW = settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])

MEASURED = {
    "as Volta": TensorCore(4, 23),
    "as Ampere": TensorCore(8, 24),
    "as Hopper": TensorCore(16, 25),
}
AT_THE_EDGE = {
    f"21 bits, {direction}": TensorCore(4, 21, direction, backward)
    for direction, backward in (
        ("toward zero", True),
        ("down", False),
        ("up", True),
        ("away from zero", False),
    )
}
CORES = MEASURED | AT_THE_EDGE
WORSE = TensorCore(4, 17, "down")  # 16 times what the bound allows for

SOURCE_OF_SUMS = """
#include "forward_bf16.cu"
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    write_sums(const unsigned* x, const unsigned* w, int slabs, int rows, int neurons, float* to) {
    float sums[EACH][EACH] = {};
    multiply_tile(x, w, slabs, rows, neurons, sums);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (int i = 0; i < EACH; ++i)
        for (int j = 0; j < EACH; ++j)
            to[(warp % 2 * WARP_ROWS + row_of(lane, i)) * neurons +
               warp / 2 * WARP_NEURONS + lane % 4 * EACH + j] = sums[i][j];
}
"""
SOURCE_OF_PRODUCTS = """
#include "ptx.cuh"
extern "C" __global__ void products(const unsigned* a, const unsigned* b, const float* c, float* to) {
    const int g = threadIdx.x / 4, t = threadIdx.x % 4;
    a += blockIdx.x * 128, b += blockIdx.x * 64, c += blockIdx.x * 128, to += blockIdx.x * 128;
    const unsigned left[4] = {a[g * 8 + t], a[g * 8 + 64 + t], a[g * 8 + 4 + t], a[g * 8 + 68 + t]};
    const unsigned right[2] = {b[g * 8 + t], b[g * 8 + 4 + t]};
    float sums[4];
    for (int e = 0; e < 4; ++e) sums[e] = c[(g + e / 2 * 8) * 8 + 2 * t + e % 2];
    mma_bf16(sums, left, right);
    for (int e = 0; e < 4; ++e) to[(g + e / 2 * 8) * 8 + 2 * t + e % 2] = sums[e];
}
"""


@pytest.fixture
def core_device(request, emulator_folder):
    """A device whose tensor cores add in the way of the parameter."""
    device = EmulatedDevice(emulator_folder)
    device.tensor_core = request.param
    return device


on_all_cores = pytest.mark.parametrize("core_device", CORES.values(), ids=CORES, indirect=True)
on_worse_cores = pytest.mark.parametrize("core_device", [WORSE], indirect=True)


@pytest.fixture
def more_sources(tmp_path, monkeypatch):
    """The sources of the package and two more, which show what bits do not."""
    folder = shutil.copytree(compiling.SOURCES, tmp_path / "sources")
    (folder / "sums_bf16.cu").write_text(SOURCE_OF_SUMS)
    (folder / "products.cu").write_text(SOURCE_OF_PRODUCTS)
    monkeypatch.setattr(compiling, "SOURCES", folder)


def truncated(W):
    """bfloat16 numbers near the largest float32 as well, which rounding makes infinite."""
    return (np.asarray(W, np.float32).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


pattern = partial(patterns.pattern, forward_pass=forward_bf16)


@pytest.mark.parametrize(
    ("n", "dim", "count", "first", "seed"),
    [
        (1, 1, 1, 0, 0),
        (3, 5, 200, 2**32 - 100, 2**64 - 1),
        (130, 17, 129, 10**9 + 7, 2**33),
        (5, 32, 40, 3, 1),
        (5, 100, 300, 3, 1),
        (2, 400, 130, 0, 5),
    ],
)
def test_virtual_weights(device, n, dim, count, first, seed):
    X = np.random.default_rng(dim).standard_normal((n, dim)).astype(np.float32)
    normals = reference.normals(seed, np.arange(first, first + count, dtype=np.uint64), dim, 0)
    bits, _ = pattern(device, X, seed=seed, first=first, count=count)
    np.testing.assert_array_equal(bits, reference.pattern(X, reference.round_to_bfloat16(normals)))


@FEW
@given(problem=problems())
def test_adversarial_rows_and_neurons(device, problem):
    _same_bits(device, problem)


@on_all_cores
@FEW
@given(problem=problems())
def test_any_way_of_adding_gives_these_bits(core_device, problem):
    _same_bits(core_device, problem)


def _same_bits(device, problem):
    X, W = problem[0], truncated(problem[1])
    rng = np.random.default_rng(len(X))
    X = np.vstack([X, *(orthogonal_to(w, rng, ulps)[None] for w in W[:3] for ulps in (0, -1, 2))])
    np.testing.assert_array_equal(pattern(device, X, W)[0], reference.pattern(X, W))


@on_all_cores
def test_nearly_orthogonal_pairs(core_device):
    """Sums of little beside their terms, which tensor cores lose: float64 or integers decide."""
    rng = np.random.default_rng(1)
    v = rng.integers(-(2**7), 2**7, (4, 20)).astype(float)
    ones = np.ones((4, 1))
    W = np.hstack([v[:, ::-1], -v[:, ::-1], ones])
    rests = [0.0, 2.0**-40, -(2.0**-40), 2.0**-10, -(2.0**-10)]  # beside sums of about 2^17
    X = np.vstack([np.hstack([v, v, rest * ones]) for rest in rests])
    bits, settled = pattern(core_device, X, W)
    np.testing.assert_array_equal(bits, reference.pattern(X.astype(np.float32), W.astype(np.float32)))
    assert bits[::4, 0].tolist() == [rest > 0 for rest in rests]
    assert settled[0] == 20 * 4  # each row with each neuron


def test_what_is_zero_is_not_looked_at_again(device):
    X, W = np.zeros((2, 6), np.float32), np.zeros((3, 6), np.float32)
    X[1], W[1] = 1.0, 1.0
    bits, settled = pattern(device, X, W)
    assert bits.tolist() == [[False] * 3, [False, True, False]]
    assert settled.tolist() == [0, 0]


def test_few_signs_of_random_data_are_settled(one_device):
    """About 3 in 10^4 at 64 features (docs/mathematics.md, section 4), none of them beyond float64."""
    X = np.random.default_rng(0).standard_normal((128, 64)).astype(np.float32)
    bits, settled = pattern(one_device, X, count=512, group=512)
    W = reference.round_to_bfloat16(reference.normals(0, np.arange(512), 64, 0))
    np.testing.assert_array_equal(bits, X.astype(float) @ W.T > 0)
    assert settled[0] < 1e-3 * bits.size
    assert settled[1] == 0


# ------------------------------------------------------------------------------ the assumption
def product_errors(device):
    """|computed - exact| / (u (|c| + sum_k |a_k b_k|)) of many products, with small and large and no c."""
    rng = np.random.default_rng(0)

    def entries(*shape):
        spread = rng.choice([0, 3, 30], (shape[0], 1, 1))
        kinds = [
            rng.standard_normal(shape),
            rng.choice([-1, 1], shape) * (2 - 2.0**-7),
            1 + rng.random(shape),
        ]
        values = np.choose(rng.integers(0, 3, (shape[0], 1, 1)), kinds)
        return truncated(np.ldexp(values, rng.integers(-spread, spread + 1, shape)))

    many = 300
    a, b = entries(many, 16, 16), entries(many, 8, 16)
    exact = np.einsum("zik,zjk->zij", a.astype(float), b.astype(float))
    size = rng.choice([0, 1, 2.0**10, 2.0**-10], (many, 1, 1))
    c = (size * exact * rng.choice([-1, 1, 0.7], exact.shape)).astype(np.float32)
    words = [(side.view(np.uint32) >> 16).astype(np.uint16).view(np.uint32) for side in (a, b)]
    computed = device.empty(c.shape, np.float32)
    device.launch("products", "products", many, 32, *map(device.upload, (*words, c)), computed)
    magnitude = np.abs(c) + np.einsum("zik,zjk->zij", np.abs(a, dtype=float), np.abs(b, dtype=float))
    return np.abs(device.download(computed) - (exact + c)) / (UNIT_ROUNDOFF * magnitude)


@pytest.mark.usefixtures("more_sources")
@pytest.mark.parametrize(
    ("core_device", "most"),
    list(zip(MEASURED.values(), (48, 22, 10.5), strict=True)),
    ids=MEASURED,
    indirect=["core_device"],
)
def test_what_was_measured_is_well_inside_of_the_assumption(core_device, most):
    """``most``: steps (items 2^-bits + 2^-23) / u, from docs/mathematics.md."""
    assert most / 8 < product_errors(core_device).max() <= most


@pytest.mark.usefixtures("more_sources")
@pytest.mark.parametrize("core_device", AT_THE_EDGE.values(), ids=AT_THE_EDGE, indirect=True)
def test_the_edge_of_the_assumption(core_device):
    assert forward_bf16.MOST_ERROR / 8 < product_errors(core_device).max() <= forward_bf16.MOST_ERROR


@pytest.mark.usefixtures("more_sources")
@on_worse_cores
def test_worse_products_are_noticed(core_device):
    assert product_errors(core_device).max() > forward_bf16.MOST_ERROR


@pytest.mark.gpu
@pytest.mark.usefixtures("more_sources")
@pytest.mark.parametrize("device", [GPU], indirect=True)
def test_a_real_tensor_core_keeps_the_assumption(device):
    assert product_errors(device).max() <= forward_bf16.MOST_ERROR / 4


def errors_of_sums(device):
    """(errors, bounds) of the sums of the kernel: random data, terms of one sign, the largest rests."""
    rng = np.random.default_rng(2)
    errors, bounds = [], []
    for dim in (5, 33, 200):
        shape, other = (12, dim), (40, dim)
        for X, W in (
            (rng.standard_normal(shape), rng.standard_normal(other)),
            (1 + rng.random(shape), 1 + rng.random(other)),
            (np.full(shape, 1 + 2.0**-8 - 2.0**-17 + 2.0**-23), np.ones(other)),
            (np.ldexp(rng.standard_normal(shape), rng.integers(-12, 1, shape)), rng.standard_normal(other)),
        ):
            X, W = X.astype(np.float32), truncated(W)
            inputs, scratch = _packed(device, X, W)
            slabs, _, rows, _ = inputs.parts.shape
            sums = device.empty((rows, 128), np.float32)
            device.launch(
                "sums_bf16", "write_sums", 1, 256, inputs.parts, scratch.tiles,
                *map(np.int32, (slabs, rows, 128)), sums,
                shared=forward_bf16.STAGES * forward_bf16.STAGE_BYTES,
            )  # fmt: skip
            exact = scaled_by_power_of_two(X).astype(float) @ scaled_by_power_of_two(W).astype(float).T
            errors.append(np.abs(device.download(sums)[:12, :40] - exact))
            factors = device.download(inputs.factors)[:12], device.download(scratch.factors)[:40]
            bounds.append(np.multiply.outer(*(factor.astype(float) for factor in factors)))
    return np.array(errors), np.array(bounds)


def _packed(device, X, W):
    """Inputs, and given weights of a tile of neurons as the kernel reads them."""
    scratch = forward_bf16.forward_scratch(device, *X.shape, 128)
    given = device.upload(W)
    forward.fill_panel(device, scratch, given, 0, 0, 0, len(W), W.shape[1], 128)
    forward_bf16.pack(device, scratch, 128)
    return forward_bf16.forward_inputs(device, X), scratch


@pytest.mark.usefixtures("more_sources")
@on_all_cores
def test_no_sum_is_off_by_more_than_its_bound(core_device):
    errors, bounds = errors_of_sums(core_device)
    assert (errors <= bounds).all()
    assert (errors / bounds).max() > 1 / 50  # and the bound is not absurdly loose


@pytest.mark.usefixtures("more_sources")
@on_worse_cores
def test_sums_of_worse_products_leave_the_bound(core_device):
    errors, bounds = errors_of_sums(core_device)
    assert (errors > bounds).any()


@pytest.mark.parametrize("dim", [5, 40, 200])
def test_the_bound_is_at_least_the_sum_of_its_parts(one_device, dim):
    """docs/mathematics.md, section 4, before Cauchy-Schwarz; and little more where that loses little."""
    rng = np.random.default_rng(dim)
    X = rng.standard_normal((4, dim)).astype(np.float32)
    X[0] = 1 + 2.0**-8 - 2.0**-17 + 2.0**-23  # the largest rest there is, 2^-17
    W = truncated(rng.standard_normal((40, dim)))
    W[0] = 1
    inputs, scratch = _packed(one_device, X, W)
    factors = one_device.download(inputs.factors)[:4], one_device.download(scratch.factors)[:40]
    bounds = np.multiply.outer(*(factor.astype(float) for factor in factors)) / UNIT_ROUNDOFF

    x, w = scaled_by_power_of_two(X).astype(float), scaled_by_power_of_two(W).astype(float)
    x1 = reference.round_to_bfloat16(x.astype(np.float32))
    rest = x - x1 - reference.round_to_bfloat16((x - x1).astype(np.float32))

    def norms(first, stop):
        return np.outer(*(np.linalg.norm(side[:, first:stop], axis=1) for side in (x, w)))

    parts = np.outer(np.linalg.norm(rest, axis=1), np.linalg.norm(w, axis=1)) / UNIT_ROUNDOFF
    for slab in range(0, dim, 32):
        products = 2 * norms(slab, slab + 16) + norms(slab + 16, slab + 32)
        parts += (1 + 2.0**-5) * (192 * products + norms(0, slab + 32))
    assert (bounds >= parts).all()
    assert bounds[0, 0] < 1.25 * parts[0, 0]


# ------------------------------------------------------------------------------ when it is used
@pytest.fixture
def launches(emulator_folder, monkeypatch):
    """Names of the sources that calls on the one device launch."""
    device, names = EmulatedDevice(emulator_folder, *DEVICES["shuffled"]), set()
    launch = device.launch
    monkeypatch.setattr(
        device, "launch", lambda module, *rest, **more: (names.add(module), launch(module, *rest, **more))
    )
    monkeypatch.setattr(devices, "all_devices", lambda: [device])
    return names


X = np.random.default_rng(0).standard_normal((37, 6))
NETWORKS = {
    "virtual": fn.Network(700, 6, seed=3, dtype="bfloat16"),
    "given": fn.Network.from_arrays(
        np.random.default_rng(1).standard_normal((500, 6)), np.ones(500), dtype="bfloat16"
    ),
}


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_networks_of_bfloat16_weights(launches, monkeypatch, network):
    arguments = {"network": network, "mask": fn.GaussianMask(0.3), "layers": "both"}
    expected = fn.ntk(X, **arguments, backend="cuda")
    assert "forward_bf16" not in launches
    monkeypatch.setenv(forward_bf16.VARIABLE, "1")
    np.testing.assert_array_equal(fn.ntk(X, **arguments, backend="cuda"), expected)
    assert "forward_bf16" in launches


def test_other_networks_keep_the_certified_forward_pass(launches, monkeypatch):
    monkeypatch.setenv(forward_bf16.VARIABLE, "1")
    fn.activation_pattern(X, network=fn.Network(50, 6), backend="cuda")
    assert "forward_bf16" not in launches
    monkeypatch.setenv(forward_bf16.VARIABLE, "0")
    fn.activation_pattern(X, network=NETWORKS["virtual"], backend="cuda")
    assert "forward_bf16" not in launches


def test_unknown_settings(launches, monkeypatch):
    monkeypatch.setenv(forward_bf16.VARIABLE, "yes")
    with pytest.raises(ValueError, match=r"FASTNTK_TENSOR_FORWARD is 'yes'; it must be '1' .* or '0'"):
        fn.activation_pattern(X, network=NETWORKS["virtual"], backend="cuda")
