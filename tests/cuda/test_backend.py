"""backend="cuda": whole calls on devices, with the bits that the processors give."""

import numpy as np
import pytest

import fastntk as fn
from fastntk.engine import device_worker, devices, ranges
from fastntk.kernels.cuda import device as cuda_device

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((37, 6)), RNG.standard_normal((20, 6))
X[3] = 0.0
NETWORKS = {
    "virtual": fn.Network(3000, 6, seed=3),
    "of bfloat16 weights": fn.Network(700, 6, seed=3, dtype="bfloat16"),
    "of two outputs": fn.Network(700, 6, outputs=2, seed=3),
    "given": fn.Network.from_arrays(RNG.standard_normal((500, 6)), RNG.standard_normal((500, 2))),
}
MASK = fn.GaussianMask(0.3)


@pytest.fixture
def two_devices(one_device, sums_in_float64, monkeypatch):
    """Calls find the device, as if there were two of them."""
    monkeypatch.setattr(devices, "all_devices", lambda: [one_device, one_device])


CALLS = {
    **{
        f"{layers} {name}": call
        for layers in ("hidden", "output", "both")
        for name, call in {
            "ntk": lambda layers=layers, **to: fn.ntk(X, mask=MASK, draws=2, layers=layers, **to),
            "cross ntk": lambda layers=layers, **to: fn.ntk(X, Y, mask=MASK, layers=layers, **to),
            "ntk_diag": lambda layers=layers, **to: fn.ntk_diag(X, mask=MASK, layers=layers, **to),
        }.items()
    },
    "outputs": lambda **to: fn.outputs(X, mask=MASK, **to),
    "activation_pattern": lambda **to: fn.activation_pattern(X, mask=MASK, **to).packed,
}


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_devices_give_the_bits_of_the_processors(two_devices, call, network):
    np.testing.assert_array_equal(call(network=network, backend="cuda"), call(network=network, backend="cpu"))


def test_devices_share_the_neurons_of_float_sums(two_devices):
    """Two chunks of them, whatever device takes which."""
    network = fn.Network(17_000, 2, seed=1)
    expected = fn.ntk(X[:5, :2], network=network, layers="both", backend="cpu")
    np.testing.assert_array_equal(fn.ntk(X[:5, :2], network=network, layers="both", backend="cuda"), expected)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_gradient_products(two_devices, network):
    """Both backends keep the bound of docs/mathematics.md, section 6; the output layer is float64's."""
    rng = np.random.default_rng(1)
    q = network.outputs
    shape = (lambda *sizes: sizes) if q > 1 else (lambda *sizes: sizes[:1])
    u, V = rng.standard_normal(shape(37, q)), rng.standard_normal((network.width, 6))
    Va = rng.standard_normal(shape(network.width, q))
    a = np.abs(network.output_weights(0, network.width)).reshape(-1, q)
    bound = 2 * (261 + q) * 2.0**-24 / np.sqrt(network.width)

    hidden, output = fn.vjp(X, u, network=network, layers="both", backend="cuda")
    expected_hidden, expected_output = fn.vjp(X, u, network=network, layers="both", backend="cpu")
    magnitude = np.abs(u).reshape(-1, q) @ a.T
    assert (np.abs(hidden - expected_hidden) <= bound * magnitude.T @ np.abs(X)).all()
    np.testing.assert_allclose(output, expected_output, rtol=0, atol=1e-12 * np.abs(output).max())

    f = fn.jvp(X, (V, Va), network=network, layers="both", backend="cuda")
    expected = fn.jvp(X, (V, Va), network=network, layers="both", backend="cpu")
    magnitude = np.abs(X) @ np.abs(V).T @ a
    assert (np.abs(f - expected).reshape(-1, q) <= bound * magnitude + 1e-12 * np.abs(f).max()).all()


def test_a_gradient_beyond_float32(two_devices):
    network = fn.Network.from_arrays(np.ones((3, 1)), [1.0, 1e40, 1.0])
    with pytest.raises(ValueError, match=r"beyond float32: entry \[1, 0\]"):
        fn.vjp([[1.0]], [1.0], network=network, backend="cuda")


def test_a_run_goes_on_where_another_backend_stopped(two_devices, tmp_path):
    network = fn.Network(17_000, 2, seed=1)
    arguments = {
        "network": network,
        "draws": 2,
        "layers": "both",
        "mask": MASK,
        "checkpoint": tmp_path / "kept",
    }

    def stop(done, total):
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fn.ntk(X[:5, :2], **arguments, backend="cuda", progress=stop)
    resumed = fn.ntk(X[:5, :2], **arguments, backend="cpu")
    del arguments["checkpoint"]
    np.testing.assert_array_equal(resumed, fn.ntk(X[:5, :2], **arguments, backend="cuda"))


class Small:
    """A device that has no room for arrays of more than ``nbytes`` bytes."""

    def __init__(self, device, nbytes):
        self._device, self._nbytes = device, nbytes
        self.refused = 0

    def __getattr__(self, name):
        return getattr(self._device, name)

    def empty(self, shape, dtype):
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if nbytes > self._nbytes:
            self.refused += 1
            raise MemoryError(f"no room for {nbytes} bytes")
        return self._device.empty(shape, dtype)

    def zeros(self, shape, dtype):
        self.empty(shape, dtype)
        return self._device.zeros(shape, dtype)


def test_a_device_with_little_room_takes_fewer_neurons_at_a_time(one_device, monkeypatch):
    small = Small(one_device, 1_200_000)
    monkeypatch.setattr(devices, "all_devices", lambda: [small])
    monkeypatch.setattr(ranges, "DEVICE_CHUNK", 1 << 15)
    monkeypatch.setattr(device_worker, "DEVICE_CHUNK", 1 << 15)
    network = fn.Network(1 << 15, 2)
    K = fn.ntk(X[:3, :2], network=network, backend="cuda")
    np.testing.assert_array_equal(K, fn.ntk(X[:3, :2], network=network, backend="cpu"))
    assert small.refused == 1  # 2 MB for the weights of all neurons


def test_a_device_without_room(one_device, monkeypatch):
    monkeypatch.setattr(devices, "all_devices", lambda: [Small(one_device, 10_000)])
    with pytest.raises(MemoryError, match=r"no room for .* Use fewer rows .*backend='cpu'"):
        fn.ntk(X, network=NETWORKS["virtual"], backend="cuda")


def test_sums_that_no_device_can_hold(monkeypatch):
    class Tiny:
        name, memory_bytes = "a small GPU", 100_000

    monkeypatch.setattr(devices, "all_devices", lambda: [Tiny()])
    with pytest.raises(MemoryError, match=r"37 x 37 samples need about .* a small GPU has 100 KB"):
        fn.ntk(X, network=NETWORKS["virtual"], backend="cuda")


@pytest.fixture
def no_devices(monkeypatch):
    monkeypatch.setattr(cuda_device, "why_unavailable", lambda: "no NVIDIA GPU is visible")
    monkeypatch.setattr(cuda_device, "find_devices", list)


def test_without_a_device(no_devices):
    u = np.ones(37)
    for call in (fn.ntk, fn.ntk_diag, fn.outputs, fn.activation_pattern, lambda X, **to: fn.vjp(X, u, **to)):
        with pytest.raises(RuntimeError, match=r"backend is 'cuda', but no NVIDIA GPU is visible"):
            call(X, network=NETWORKS["virtual"], backend="cuda")
        with pytest.raises(ValueError, match=r"backend is 'gpu'; .*'auto', 'cpu', 'cuda'"):
            call(X, network=NETWORKS["virtual"], backend="gpu")
    automatic = fn.ntk(X, network=NETWORKS["virtual"], backend="auto")
    np.testing.assert_array_equal(automatic, fn.ntk(X, network=NETWORKS["virtual"]))


def test_arrays_on_a_device_choose_it(monkeypatch):
    monkeypatch.setattr(devices.arrays, "on_cuda", lambda value: value is Y)
    monkeypatch.setattr(devices, "all_devices", lambda: ["a device"])
    assert devices.checked_backend("auto", X, Y) == "cuda"
    assert devices.checked_backend("auto", X, X) == "cpu"
    assert devices.checked_backend("cpu", X, Y) == "cpu"
    monkeypatch.setattr(devices, "all_devices", list)
    assert devices.checked_backend("auto", X, Y) == "cpu"
