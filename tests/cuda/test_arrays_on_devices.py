"""Arrays of other libraries on a real device: results are there too, with the numbers of the processors."""

import numpy as np
import pytest

import fastntk as fn
from fastntk.kernels.cuda.device import why_unavailable

pytestmark = pytest.mark.gpu

RNG = np.random.default_rng(0)
X, U = RNG.standard_normal((20, 5)), RNG.standard_normal(20)
NETWORK = fn.Network(3000, 5, seed=1)
MASK = fn.GaussianMask(0.3)


@pytest.fixture(autouse=True)
def gpu():
    reason = why_unavailable()
    if reason:
        pytest.skip(reason)


def test_arrays_of_cupy():
    cupy = pytest.importorskip("cupy")
    K = fn.ntk(cupy.asarray(X), network=NETWORK, mask=MASK)
    assert isinstance(K, cupy.ndarray)
    np.testing.assert_array_equal(K.get(), fn.ntk(X, network=NETWORK, mask=MASK))


def test_arrays_of_jax():
    jax = pytest.importorskip("jax")
    if jax.default_backend() != "gpu":
        pytest.skip("this JAX computes on the processors")
    f = fn.outputs(jax.numpy.asarray(X, np.float32), network=NETWORK)
    assert {device.platform for device in f.devices()} == {"gpu"}
    np.testing.assert_allclose(f, fn.outputs(X.astype(np.float32), network=NETWORK), rtol=1e-6)


@pytest.fixture
def torch():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch computes on the processors")
    return torch


def test_tensors(torch):
    g = fn.vjp(torch.from_numpy(X).cuda(), torch.from_numpy(U).cuda(), network=NETWORK)
    assert g.is_cuda
    expected = fn.vjp(X, U, network=NETWORK)
    np.testing.assert_allclose(g.cpu(), expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_a_module_and_its_gradients(torch):
    from fastntk.torch import MaskedNetwork

    found = []
    for device in ("cpu", "cuda"):
        net = MaskedNetwork(3000, 5, mask=MASK).to(device)
        rows = torch.from_numpy(X).float().to(device).requires_grad_()
        f = net(rows)
        f.square().sum().backward()
        assert f.device == rows.grad.device == net.weight.grad.device == net.weight.device
        found.append([value.detach().cpu().numpy() for value in (f, rows.grad, net.weight.grad)])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(ours).max())
