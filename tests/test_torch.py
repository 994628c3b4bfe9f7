"""fastntk.torch against plain PyTorch: values, gradients, training."""

import copy
import pickle

import numpy as np
import pytest

import fastntk as fn

torch = pytest.importorskip("torch")

from fastntk.torch import MaskedNetwork, ntk, outputs  # noqa: E402  where there is PyTorch

UNIT = 2.0**-24  # rounding of float32
MASKS = [None, fn.GaussianMask(0.3), fn.AdditiveMask(0.2), fn.LognormalMask(0.4), fn.BernoulliMask(0.6)]


def plain(X, W, a):
    """The definition, in plain PyTorch: (n,) or (n, q)."""
    return torch.relu(X @ W.T) @ a / W.shape[0] ** 0.5


def problem(n=7, dim=5, width=40, outputs=None, seed=0):
    """X, W, a in float64 that float32 holds, no neuron near a kink."""
    rng = np.random.default_rng(seed)
    X, W = (
        torch.from_numpy(rng.standard_normal(shape).astype(np.float32)).double()
        for shape in ((n, dim), (width, dim))
    )
    a = torch.from_numpy(rng.standard_normal(width if outputs is None else (width, outputs)))
    assert (X @ W.T).abs().min() > 1e-4
    return X, W, a


def on_a_grid(n=3, dim=4, width=12, outputs=2, step=2.0**-7):
    """X, W of multiples of 1/8, and no sign that a step of any of them changes: differences are exact."""
    rng = np.random.default_rng(3)
    while True:
        X, W = (torch.from_numpy(rng.integers(-12, 13, shape) / 8) for shape in ((n, dim), (width, dim)))
        largest = max(X.abs().max(), W.abs().max())
        if (X @ W.T).abs().min() > 2 * step * largest:
            break
    a = torch.from_numpy(rng.integers(-8, 9, (width, outputs)) / 8)
    return X, W, a


# ------------------------------------------------------------------------------------- outputs
@pytest.mark.parametrize("q", [None, 1, 3])
@pytest.mark.parametrize("mask", MASKS[:3], ids=repr)
def test_values_are_those_of_fastntk(mask, q):
    X, W, a = problem(outputs=q)
    found = outputs(X, W, a, mask=mask, seed=3, draw=2, row_ids=np.arange(7) + 4)
    network = fn.Network.from_arrays(W, a)
    expected = fn.outputs(X, network=network, mask=mask, seed=3, draw=2, row_ids=np.arange(7) + 4)
    assert found.dtype == torch.float64
    assert torch.equal(found, expected)


@pytest.mark.parametrize("q", [None, 3])
@pytest.mark.parametrize("mask", MASKS, ids=repr)
def test_gradients_against_autograd_of_the_definition(mask, q):
    """Each within the error bound of its kernel: float64 for X and a, (260 + q) 2^-24 for W."""
    X, W, a = (value.requires_grad_() for value in problem(outputs=q))
    u = torch.from_numpy(np.random.default_rng(1).standard_normal((7,) if q is None else (7, q)))
    (outputs(X, W, a, mask=mask, seed=1, draw=4) * u).sum().backward()
    with torch.no_grad():
        masked = X.clone() if mask is None else torch.from_numpy(mask.sample(X, seed=1, draw=4)).double()
        if mask is None or isinstance(mask, fn.AdditiveMask):
            factor = torch.ones_like(X)
        else:
            factor = torch.from_numpy(mask.sample(torch.ones_like(X), seed=1, draw=4)).double()
        assert (masked @ W.T).abs().min() > 1e-5 or isinstance(mask, fn.BernoulliMask)
    masked.requires_grad_()
    expected = torch.autograd.grad((plain(masked, W, a) * u).sum(), (masked, W, a))
    U, A = u.reshape(7, -1).abs(), a.detach().reshape(40, -1).abs()
    weighted = U @ A.T / 40**0.5  # (n, m)
    bounds = (
        40 * 2.0**-52 * (weighted @ W.detach().abs() * factor.abs())
        + 2 * UNIT * (expected[0] * factor).abs(),
        (262 + (q or 1)) * UNIT * (weighted.T @ masked.detach().abs()),
        40 * 2.0**-52 * (masked.detach().abs() @ W.detach().abs().T).T @ U / 40**0.5,
    )
    for found, wanted, bound in zip(
        (X.grad, W.grad, a.grad), (expected[0] * factor, *expected[1:]), bounds, strict=True
    ):
        assert found.dtype == torch.float64
        assert ((found - wanted).abs() <= bound.reshape(wanted.shape)).all()


@pytest.mark.parametrize("mask", [None, fn.BernoulliMask(0.5)], ids=repr)
def test_gradcheck(mask):
    """In double precision: on a grid that float32 holds, and linear between kinks, differences are exact.

    What is left is the float32 of the gradient by W: 264 2^-24 of at most m^{-1/2} sum_ic |a_rc| |x~_ik|.
    """
    X, W, a = on_a_grid()
    bound = 264 * UNIT * float(a.abs().max() * X.abs().max() * 2)
    X, W, a = (value.requires_grad_() for value in (X, W, a))
    torch.autograd.gradcheck(
        lambda X, W, a: outputs(X, W, a, mask=mask, seed=1),
        (X, W, a),
        eps=2.0**-8,
        atol=bound + 1e-10,
        rtol=0,
    )


def test_whole_jacobians_against_functional_ones():
    X, W, a = problem(n=4, width=16, outputs=2)
    found = torch.autograd.functional.jacobian(outputs, (X, W, a))
    expected = torch.func.jacrev(plain, argnums=(0, 1, 2))(X, W, a)
    for one, other, unit in zip(found, expected, (2.0**-46, 264 * UNIT, 2.0**-46), strict=True):
        scale = X.abs().max() * W.abs().max() * a.abs().max() * 5
        assert (one - other).abs().max() <= unit * scale


def test_transforms_of_torch_func():
    """grad, vmap of grad (one gradient a sample), jacrev: the same as autograd, and as the definition's."""
    X, W, a = problem(n=4, width=16)
    found = torch.func.grad(lambda W: outputs(X, W, a).square().sum())(W)
    leaf = W.clone().requires_grad_()
    outputs(X, leaf, a).square().sum().backward()
    assert torch.equal(found, leaf.grad)

    def each(function):
        return torch.func.vmap(torch.func.grad(lambda W, x: function(x[None], W, a)[0]), (None, 0))(W, X)

    unit = 264 * UNIT * float(a.abs().max() * X.abs().max())
    assert (each(outputs) - each(plain)).abs().max() <= unit
    one, other = (torch.func.jacrev(function, 1)(X, W, a) for function in (outputs, plain))
    assert (one - other).abs().max() <= unit
    draws = torch.func.vmap(lambda X: outputs(X, W, a, mask=fn.GaussianMask(0.2)))(torch.stack([X, 2 * X]))
    assert torch.equal(draws[1], outputs(2 * X, W, a, mask=fn.GaussianMask(0.2)))


def test_only_what_is_needed_is_computed(monkeypatch):
    from fastntk import derivatives, gradient

    X, W, a = problem()
    monkeypatch.setattr(derivatives, "input_gradient", None)
    outputs(X, W.requires_grad_(), a).sum().backward()
    monkeypatch.undo()
    monkeypatch.setattr(gradient, "vjp", None)
    outputs(X.requires_grad_(), W.detach(), a).sum().backward()
    assert X.grad is not None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_have_the_type_of_what_they_are_of(dtype):
    X, W, a = problem()
    X, W, a = X.to(dtype).requires_grad_(), W.to(dtype).requires_grad_(), a.to(dtype).requires_grad_()
    outputs(X, W, a).sum().backward()
    leaves = [value.detach().double().requires_grad_() for value in (X, W, a)]
    plain(*leaves).sum().backward()
    for value, leaf in zip((X, W, a), leaves, strict=True):
        assert value.grad.dtype == dtype
        # a rounding to the type, after sums of 40 terms of magnitude 4 in float32
        torch.testing.assert_close(
            value.grad.double(), leaf.grad, rtol=torch.finfo(dtype).eps, atol=264 * UNIT * 40 * 4 / 40**0.5
        )


def test_no_second_derivatives():
    X, W, a = (value.requires_grad_() for value in problem())
    (g,) = torch.autograd.grad(outputs(X, W, a).square().sum(), W, create_graph=True)
    with pytest.raises(RuntimeError, match="cannot be differentiated again"):
        g.sum().backward()


def test_zero_rows_and_dead_neurons():
    """relu'(0) = 0, as in PyTorch."""
    X, W, a = problem()
    X[2] = 0
    W[3] = 0
    for function in (outputs, plain):
        leaves = [value.clone().requires_grad_() for value in (X, W, a)]
        function(*leaves).sum().backward()
        assert not leaves[0].grad[2].any()
        assert not leaves[1].grad[3].any()


WRONG = {
    "an array": ({"X": np.ones((2, 5))}, TypeError, "X is ndarray; it must be a tensor"),
    "weights an array": ({"W": np.ones((2, 5))}, TypeError, "W is ndarray"),
    "features": ({"X": torch.ones(2, 4)}, ValueError, "X has 4 features"),
    "output weights": ({"a": torch.ones(3)}, ValueError, "a has length 3; 40"),
    "not finite": ({"X": torch.full((2, 5), torch.nan)}, ValueError, "X is not finite"),
    "beyond float32": ({"X": torch.full((2, 5), 1e39, dtype=torch.float64)}, ValueError, "X is not finite"),
    "mask": ({"mask": 0.1}, TypeError, "mask is 0.1"),
    "draw": ({"draw": -1}, ValueError, "draw is -1"),
    "seed": ({"seed": 0.5}, TypeError, "seed is 0.5"),
    "device": ({"X": torch.ones(2, 5, device="meta")}, TypeError, r"X\.cpu\(\)"),
}


@pytest.mark.parametrize(("changed", "kind", "message"), WRONG.values(), ids=WRONG)
def test_wrong_input(changed, kind, message):
    X, W, a = problem()
    with pytest.raises(kind, match=message):
        outputs(**{"X": X, "W": W, "a": a} | changed)


# ------------------------------------------------------------------------------------- kernels
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mask": fn.GaussianMask(0.3), "draws": 3, "seed": 2},
        {"mask": (None, fn.AdditiveMask(0.3))},
        {"mask": fn.BernoulliMask(0.5), "row_ids": np.arange(7) + 3},
    ],
    ids=str,
)
@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize(
    "network", [fn.Network(300, 5, seed=1), fn.Network.from_arrays(*problem()[1:])], ids=repr
)
def test_kernel_values(options, cross, network):
    X = problem()[0]
    Y = X[:4] + 0.5 if cross else None
    found, expected = ntk(X, Y, network=network, **options), fn.ntk(X, Y, network=network, **options)
    assert found.dtype == torch.float64
    norms = X.norm(dim=1).max() * (X if Y is None else Y).norm(dim=1).max()
    weight = 1 if network.is_virtual else float(np.square(network.output_weights()).mean())
    assert (
        found - expected
    ).abs().max() <= 2e-14 * 9 * norms * weight  # masks stretch a row less than 3 times


@pytest.mark.parametrize("mask", [None, fn.BernoulliMask(0.5)], ids=repr)
def test_kernel_gradcheck(mask):
    """Quadratic between kinks, and exact on the grid: central differences are exact but for float64."""
    X, W, a = on_a_grid()
    X = X.requires_grad_()
    network = fn.Network.from_arrays(W, a)
    torch.autograd.gradcheck(
        lambda X: ntk(X, network=network, mask=mask, draws=2), (X,), eps=2.0**-8, atol=1e-10, rtol=0
    )
    Y = (X[:2] / 2).detach().requires_grad_()  # half as large: the same signs
    torch.autograd.gradcheck(
        lambda X, Y: ntk(X, Y, network=network, mask=mask), (X, Y), eps=2.0**-8, atol=1e-10, rtol=0
    )


def test_kernel_gradient_of_the_definition():
    """Jacobians' products by torch.func, differentiated by torch: the indicator has derivative zero there."""
    X, W, a = problem(n=4, width=16)
    G = torch.from_numpy(np.random.default_rng(2).standard_normal((4, 4)))

    def definition(X):
        J = torch.func.vmap(torch.func.grad(lambda W, x: plain(x[None], W, a)[0]), (None, 0))(W, X)
        return torch.einsum("irk,jrk->ij", J, J)

    one, other = (X.clone().requires_grad_() for _ in range(2))
    (ntk(one, network=fn.Network.from_arrays(W, a)) * G).sum().backward()
    (definition(other) * G).sum().backward()
    torch.testing.assert_close(one.grad, other.grad, rtol=1e-12, atol=1e-12)


# -------------------------------------------------------------------------------------- module
def train(module, X, y, steps, rate, forward):
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=rate)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = 0.5 * (forward(step) - y).square().sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


class Plain(torch.nn.Module):
    """The network of MaskedNetwork in ordinary PyTorch, float64."""

    def __init__(self, network):
        super().__init__()
        self.W = torch.nn.Parameter(torch.from_numpy(network.weights()))
        self.a = torch.from_numpy(network.output_weights())

    def forward(self, X):
        return plain(X, self.W, self.a)


@pytest.mark.parametrize("q", [1, 3])
def test_training_equals_plain_training_under_the_same_masks(q):
    """The loss falls, and the weights are those of float64 within what float32 rounds off.

    One step rounds the weights, by 2^-24 |W|, and its gradient, by at most (262 + q) 2^-24 of its sum of
    magnitudes.  The step is below 2 / largest eigenvalue, where what a step before has left does not grow but
    for neurons that are so near a kink that they flip: for those the seed is chosen, and twice is allowed.
    """
    n, dim, width, steps, rate, mask = 20, 6, 400, 40, 0.2, fn.GaussianMask(0.2)
    rng = np.random.default_rng(5)
    X = torch.from_numpy(rng.standard_normal((n, dim)).astype(np.float32)) / 3
    y = torch.from_numpy(rng.standard_normal(n if q == 1 else (n, q)).astype(np.float32))
    net = MaskedNetwork(width, dim, outputs=q, mask=mask, seed=3)
    reference = Plain(fn.Network(width, dim, outputs=q, seed=3))
    masked = [torch.from_numpy(mask.sample(X, seed=3, draw=t)).double() for t in range(steps)]

    losses = train(net, X, y, steps, rate, lambda step: net(X))
    expected = train(reference, X, y.double(), steps, rate, lambda step: reference(masked[step]))

    assert losses[-1] < losses[0] / 2
    residual = (2 * losses[0] * n * q) ** 0.5  # at least sum |f - y|
    rounding = reference.W.norm() + rate * (262 + q) * residual * X.norm(dim=1).max() * 2
    assert (net.weight - reference.W).norm() <= 2 * steps * UNIT * rounding
    np.testing.assert_allclose(losses, expected, rtol=1e-4)

    run = fn.train(
        X,
        y,
        network=fn.Network(width, dim, outputs=q, seed=3),
        mask=mask,
        seed=3,
        steps=steps,
        step_size=rate,
    )
    assert (net.weight - torch.from_numpy(run.network.weights())).norm() <= 2 * steps * UNIT * rounding


def test_masks_are_fresh_in_training_and_absent_in_evaluation():
    X = torch.ones(4, 3)
    net = MaskedNetwork(200, 3, mask=fn.GaussianMask(0.5), seed=2)
    network = fn.Network(200, 3, seed=2)
    for step in range(3):
        expected = fn.outputs(X, network=network, mask=fn.GaussianMask(0.5), seed=2, draw=step)
        assert torch.equal(net(X), expected.float())
    net.eval()
    assert torch.equal(net(X), fn.outputs(X, network=network).float())
    assert net.step == 3
    net.train()
    batch = net(X[2:], row_ids=[2, 3])
    whole = fn.outputs(X, network=network, mask=fn.GaussianMask(0.5), seed=2, draw=3)
    assert torch.equal(batch, whole[2:].float())


def test_state_goes_on_with_the_masks(tmp_path):
    X = torch.ones(4, 3)
    net = MaskedNetwork(50, 3, mask=fn.GaussianMask(0.5))
    net(X)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    other = MaskedNetwork(50, 3, mask=fn.GaussianMask(0.5))
    other.load_state_dict(torch.load(tmp_path / "net.pt"))
    copies = [other, copy.deepcopy(net), pickle.loads(pickle.dumps(net))]
    expected = net(X)
    assert all(torch.equal(one(X), expected) for one in copies)


def test_it_is_an_ordinary_module():
    """In a Sequential, in double precision, with another optimizer and its output weights trained."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(4, 3), MaskedNetwork(64, 3, outputs=2), torch.nn.Softmax(dim=1)
    )
    model[1].output_weight.requires_grad_()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    X, labels = torch.randn(30, 4), torch.arange(30) % 2
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = -model(X)[torch.arange(30), labels].log().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(p.grad.any() for p in model.parameters())
    assert losses[-1] < losses[0]
    assert model.double()(X.double()).dtype == torch.float64
    assert "64, 3, outputs=2" in repr(model)


def test_compiled_around():
    """torch.compile breaks its graph there, and the masks go on."""
    model = torch.nn.Sequential(MaskedNetwork(50, 3, outputs=2, mask=fn.GaussianMask(0.3)), torch.nn.Tanh())
    other, X = copy.deepcopy(model), torch.eye(3)
    compiled = torch.compile(other, backend="eager")
    for _ in range(2):
        for one in (model, compiled):
            one(X).sum().backward()
        assert torch.equal(compiled(X), model(X))
    assert torch.equal(other[0].weight.grad, model[0].weight.grad)


def test_the_network_of_the_module_is_a_copy():
    net = MaskedNetwork(50, 3, outputs=2)
    network = net.network()
    X = torch.eye(3)
    assert torch.equal(fn.outputs(X, network=network).float(), net(X))
    assert torch.equal(ntk(X, network=net), ntk(X, network=network))
    before = network.weights()
    with torch.no_grad():
        net.weight += 1
    np.testing.assert_array_equal(network.weights(), before)


def test_weights_changed_between_forward_and_backward():
    net = MaskedNetwork(50, 3)
    f = net(torch.eye(3)).sum()
    with torch.no_grad():
        net.weight += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        f.backward()


def test_wrong_arguments_of_the_module():
    with pytest.raises(ValueError, match="width is 0"):
        MaskedNetwork(0, 3)
    with pytest.raises(TypeError, match=r"mask is 0\.1"):
        MaskedNetwork(10, 3, mask=0.1)
    with pytest.raises(ValueError, match="X has 2 features"):
        MaskedNetwork(10, 3)(torch.ones(1, 2))
