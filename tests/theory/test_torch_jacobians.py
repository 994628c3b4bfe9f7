"""The kernel of a PyTorch module, by contraction of its Jacobian, and the constants that lead to it."""

import numpy as np
import pytest

import fastntk as fn

torch = pytest.importorskip("torch")

N, TESTED, DIM, WIDTH = 7, 4, 5, 64


def module(outputs):
    """Linear, ReLU, Linear in float64, with weights that float32 holds too, as fastntk rounds to it."""
    torch.manual_seed(outputs)
    net = torch.nn.Sequential(
        torch.nn.Linear(DIM, WIDTH, bias=False), torch.nn.ReLU(), torch.nn.Linear(WIDTH, outputs, bias=False)
    )
    return net.double()


def rows():
    rng = np.random.default_rng(12)
    return (np.float32(rng.standard_normal((n, DIM))).astype(float) for n in (TESTED, N))


def jacobians(net, x):
    """{parameter: (n, q, size)}, by torch.func as in PyTorch's tutorial on tangent kernels."""
    parameters = {name: value.detach() for name, value in net.named_parameters()}

    def one_row(values, row):
        return torch.func.functional_call(net, values, (row[None],))[0]

    found = torch.func.vmap(torch.func.jacrev(one_row), (None, 0))(parameters, torch.from_numpy(x))
    return {name: value.flatten(2).numpy() for name, value in found.items()}


def kernels(net, x1, x2):
    """{parameter: blocks (n, p, q, q)}."""
    first, second = jacobians(net, x1), jacobians(net, x2)
    return {name: np.einsum("icw,jdw->ijcd", first[name], second[name]) for name in first}


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_module_in_the_usual_parameterisation(outputs):
    """a = sqrt(m) times the weights of the last layer: then hidden is PyTorch's, and output 1/m of it."""
    net, (x1, x2) = module(outputs), rows()
    W, last = (value.detach().numpy() for value in net.parameters())
    # sqrt(m) = 8 here, so that float32 holds a exactly
    same = fn.Network.from_arrays(W, np.sqrt(WIDTH) * last.T)
    f = net(torch.from_numpy(x1)).detach().numpy()
    np.testing.assert_allclose(fn.outputs(x1, network=same).reshape(f.shape), f, rtol=1e-12, atol=1e-13)
    hidden, output = (np.trace(block, axis1=2, axis2=3) / outputs for block in kernels(net, x1, x2).values())
    found = {layers: fn.ntk(x1, x2, network=same, layers=layers) for layers in ("hidden", "output")}
    np.testing.assert_allclose(found["hidden"], hidden, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(WIDTH * found["output"], output, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("outputs", [1, 2])
def test_a_module_with_the_width_in_its_output(outputs):
    """f = a . relu(W x) / sqrt(m): the network of this package, so the whole kernel is ``layers="both"``."""

    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = module(outputs)

        def forward(self, x):
            return self.inner(x) / WIDTH**0.5

    net, (x1, x2) = Scaled(), rows()
    W, a = (value.detach().numpy() for value in net.parameters())
    blocks = sum(kernels(net, x1, x2).values())
    found = fn.ntk(x1, x2, network=fn.Network.from_arrays(W, a.T), layers="both")
    mean = np.trace(blocks, axis1=2, axis2=3) / outputs
    np.testing.assert_allclose(found, mean, rtol=1e-12, atol=1e-13)
