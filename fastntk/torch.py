"""Differentiable outputs and kernels for PyTorch, with fastntk's kernels behind them.

    net = MaskedNetwork(width, dim, mask=fn.GaussianMask(0.2))    a torch.nn.Module
    outputs(X, W, a, mask=mask, seed=0, draw=0)                   gradients with respect to X, W and a
    ntk(X, Y, network=network, mask=mask)                         gradients with respect to X and Y

Gradients are those with the activation pattern held fixed: the pattern is constant almost everywhere, so
they are the derivative wherever there is one, and those of relu'(0) = 0 elsewhere.  Forward values are those
of :func:`fastntk.outputs` and :func:`fastntk.ntk`, at weights and masked inputs rounded to float32.
Results are on the device of the tensors, and computed there where the CUDA backend can.  ``torch.compile``
leaves these functions alone, and compiles what is around them.
"""

from .explained import EXTRAS

try:
    import torch
except ImportError as error:
    raise ImportError(
        f'fastntk.torch needs PyTorch: python -m pip install "fastntk[torch]". {EXTRAS}'
    ) from error

from . import derivatives, forward, gradient, masking, validation
from .gram import checked_draws
from .kernels.reference import DRAW_LIMIT, ROW_MASK_STREAM
from .network import Network, as_network
from .sides import kernel_sides

__all__ = ["MaskedNetwork", "ntk", "outputs"]


@torch.compiler.disable
def outputs(X, W, a, *, mask=None, seed=0, draw=0, row_ids=None):
    """Outputs f_c(x~_i) = m^{-1/2} sum_r a_rc relu(w_r . x~_i), differentiable by X, W and a.

    Parameters
    ----------
    X : (n, d) tensor
    W : (m, d) tensor
        Hidden weights.
    a : (m,) tensor, (m, q) for q outputs
        Output weights.
    mask, seed, draw, row_ids
        Which masks, as in :func:`fastntk.outputs`; a gradient with respect to X passes through them.

    Returns
    -------
    (n,) float64 tensor, (n, q) for a of two dimensions and q > 1

    Raises
    ------
    TypeError, ValueError
        As :func:`fastntk.outputs`; backward too, where gradients that come in are not finite.

    Notes
    -----
    X and W are rounded to float32, and the rounding counts as the identity: finite differences by small
    steps see it.  Forward: O(m n (d + q)) in float64.  Backward: :func:`fastntk.vjp` for W and a, in float32
    for W (its error bound is there), and a product with W in float64 for X, each only where it is needed.
    Gradients are not differentiable again.  Under ``torch.func.vmap`` calls are made one after the other.

    Source: arXiv 2602.17423; docs/mathematics.md, section 6.

    Examples
    --------
    >>> import torch
    >>> from fastntk.torch import outputs
    >>> W = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]], requires_grad=True)
    >>> outputs(torch.tensor([[1.0, 2.0]]), W, torch.ones(4)).sum().backward()
    >>> W.grad
    tensor([[0.5000, 1.0000],
            [0.5000, 1.0000],
            [0.0000, 0.0000],
            [0.0000, 0.0000]])
    """
    for name, value in (("X", X), ("W", W), ("a", a)):
        _require_tensor(value, name)
    seed, draw = validation.as_seed(seed), validation.as_count(draw, "draw", low=0, high=DRAW_LIMIT - 1)
    return _Outputs.apply(_masked(X, mask, seed, draw, row_ids), W, a)


@torch.compiler.disable
def ntk(
    X,
    Y=None,
    *,
    network,
    mask=None,
    draws=1,
    seed=0,
    row_ids=None,
    column_ids=None,
    share_masks=False,
    threads=None,
    memory_limit=None,
):
    """The hidden-layer kernel of :func:`fastntk.ntk`, differentiable by the inputs X and Y.

    K_ij = (x~_i . x~_j) C_ij with C_ij = (1/m) sum_r a_r^2 b_ri b_rj, which is constant almost everywhere:
    the gradient is that of the inner products.  With respect to the hidden weights it is zero almost
    everywhere, and none is recorded.

    Parameters
    ----------
    X : (n, d) tensor
    Y : (p, d) tensor, optional
    network : Network, or MaskedNetwork
        The weights of a MaskedNetwork as they are now; its mask does not count.
    mask, draws, seed, row_ids, column_ids, share_masks, threads, memory_limit
        As for :func:`fastntk.ntk`.

    Returns
    -------
    (n, p) float64 tensor

    Notes
    -----
    Equal to fastntk.ntk to 1e-14 of |x~_i| |x~_j|: the inner products are torch's.  Cost of one fastntk.ntk a
    draw; the gradient O(n p d).  Memory 16 n p bytes a draw where gradients are recorded.

    Examples
    --------
    >>> import torch, fastntk as fn
    >>> from fastntk.torch import ntk
    >>> X = torch.tensor([[1.0, 2.0]], requires_grad=True)
    >>> net = fn.Network.from_arrays([[1.0, 0.0], [0.0, -1.0]], [1.0, 1.0])
    >>> ntk(X, network=net).sum().backward()
    >>> X.grad
    tensor([[1., 2.]])
    """
    _require_tensor(X, "X")
    if Y is not None:
        _require_tensor(Y, "Y")
    draws, seed = checked_draws(draws, seed, "hidden")
    with torch.no_grad():
        sides = kernel_sides(X, Y, mask=mask, row_ids=row_ids, column_ids=column_ids, share_masks=share_masks)
    rows, columns = sides
    network = network.network() if isinstance(network, MaskedNetwork) else network
    as_network(network, rows.X)
    total = 0.0
    for draw in range(draws):
        x = _masked(X, rows.mask, seed, draw, rows.ids, rows.stream)
        y = (
            x
            if columns is rows
            else _masked(X if Y is None else Y, columns.mask, seed, draw, columns.ids, columns.stream)
        )
        factor = derivatives.kernel_factor(
            x.detach(),
            None if columns is rows else y.detach(),
            network=network,
            threads=threads,
            memory_limit=memory_limit,
        )
        total = total + (x.double() @ y.double().T) * torch.from_numpy(factor).to(X.device)
    return total / draws


class MaskedNetwork(torch.nn.Module):
    """A two-layer ReLU network under random input masks, fresh for every step of training.

    In train mode (``net.train()``, the default) each call draws masks anew, ``mask.sample(X, seed=seed,
    draw=step)``, and counts ``step`` up: the masks of ``fastntk.train(..., seed=seed)``.  In eval mode there
    is no mask.

    Parameters
    ----------
    width, dim, outputs, seed
        Of the :class:`fastntk.Network` whose weights it begins with.  ``seed`` is the masks' too.
    mask : mask or None

    Attributes
    ----------
    weight : (m, d) float32 Parameter
    output_weight : (m,) float32 Parameter, (m, q) for q outputs
        Not trained, as in ``fastntk.train``; ``net.output_weight.requires_grad_()`` trains it too.
    step : int64 tensor, a buffer
        The number of the next draw of the masks; it is in the state dict, so training that is loaded goes on
        with fresh masks.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it was and what it may be.

    Notes
    -----
    Cost, errors and accuracy as :func:`fastntk.torch.outputs`; results are rounded to the dtype of
    ``weight``.  On the CPU alone.  Activation checkpointing (torch.utils.checkpoint) calls
    forward twice and would see two masks.

    Source: arXiv 2602.17423.

    Examples
    --------
    >>> import torch, fastntk as fn
    >>> from fastntk.torch import MaskedNetwork
    >>> net = MaskedNetwork(1000, 3, mask=fn.GaussianMask(0.2), seed=1)
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    >>> X, y = torch.eye(3), torch.tensor([1.0, 0.0, -1.0])
    >>> for _ in range(20):
    ...     optimizer.zero_grad()
    ...     loss = ((net(X) - y) ** 2).sum() / 2
    ...     loss.backward()
    ...     optimizer.step()
    >>> bool(((net.eval()(X) - y) ** 2).sum() < 0.1)
    True
    """

    step: torch.Tensor

    def __init__(self, width, dim, outputs=1, mask=None, seed=0):
        super().__init__()
        network = Network(width, dim, outputs=outputs, seed=seed)
        self.mask = masking.as_mask(mask)
        self.seed = network.seed
        self.weight = torch.nn.Parameter(torch.from_numpy(network.weights()).float())
        signs = torch.from_numpy(network.output_weights()).float()
        self.output_weight = torch.nn.Parameter(signs, requires_grad=False)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    @torch.compiler.disable
    def forward(self, X, row_ids=None):
        """Outputs (n,), (n, q) for q outputs, of inputs (n, d).

        ``row_ids``, (n,) integers, key the masks of a mini-batch as in the whole data set; 0..n-1 by default.
        """
        mask = self.mask if self.training else None
        f = outputs(
            X,
            self.weight,
            self.output_weight,
            mask=mask,
            seed=self.seed,
            draw=int(self.step),
            row_ids=row_ids,
        )
        if self.training:
            self.step += 1
        return f.to(self.weight.dtype)

    def network(self):
        """The :class:`fastntk.Network` of copies of the weights: for ``fn.ntk`` and all else there is.

        Examples
        --------
        >>> import torch, fastntk as fn
        >>> from fastntk.torch import MaskedNetwork
        >>> fn.ntk_diag(torch.ones(2, 3), network=MaskedNetwork(1000, 3).network()).shape
        torch.Size([2])
        """
        W, a = self.weight.detach(), self.output_weight.detach()
        return Network.from_arrays(W.clone(), a.clone())

    def extra_repr(self):
        width, dim = self.weight.shape
        outputs = self.output_weight.shape[1] if self.output_weight.ndim == 2 else 1
        return f"{width}, {dim}, outputs={outputs}, mask={self.mask}, seed={self.seed}"


class _OneByOne(torch.autograd.Function):
    """Under torch.func.vmap, a call for each element of the batch."""

    @classmethod
    def vmap(cls, info, in_dims, *arguments):
        results = [
            cls.apply(
                *(
                    value if dim is None else value.select(dim, place)
                    for value, dim in zip(arguments, in_dims, strict=True)
                )
            )
            for place in range(info.batch_size)
        ]
        if isinstance(results[0], tuple):
            return tuple(map(torch.stack, zip(*results, strict=True))), (0,) * len(results[0])
        return torch.stack(results), 0


class _Outputs(_OneByOne):
    """Outputs of masked inputs."""

    @staticmethod
    def forward(X, W, a):
        return forward.outputs(X, network=Network.from_arrays(W, a))

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, u):
        found = iter(_Gradients.apply(*ctx.saved_tensors, u, *ctx.needs_input_grad))
        return tuple(next(found) if needed else None for needed in ctx.needs_input_grad)


class _Gradients(_OneByOne):
    """Gradients of sum(u * outputs) by those of X, W and a that are needed."""

    @staticmethod
    def forward(X, W, a, u, by_X, by_W, by_a):
        network = Network.from_arrays(W, a)
        found = []
        if by_X:
            found.append(torch.from_numpy(derivatives.input_gradient(X, u, network=network)))
        if by_W or by_a:
            layers = "both" if by_W and by_a else "hidden" if by_W else "output"
            parts = gradient.vjp(X, u, network=network, layers=layers)
            found += parts if layers == "both" else [parts]
        leaves = [value for value, is_needed in zip((X, W, a), (by_X, by_W, by_a), strict=True) if is_needed]
        return tuple(g.reshape(leaf.shape).to(leaf) for g, leaf in zip(found, leaves, strict=True))

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, *gradients):
        raise RuntimeError(
            "the gradients of fastntk.torch.outputs cannot be differentiated again. Leave out create_graph."
        )


class _Masked(_OneByOne):
    """Masked inputs (n, d); the gradient is multiplied by what the inputs are multiplied by.

    They hold float32 numbers, as float64 where X is: gradients are rounded to the dtype of what they are of.
    """

    @staticmethod
    def forward(X, mask, seed, draw, row_ids, stream):
        masked = masking.sample(mask, X, seed=seed, draw=draw, row_ids=row_ids, stream=stream)
        dtype = torch.float64 if X.dtype == torch.float64 else torch.float32
        return torch.from_numpy(masked).to(X.device, dtype)

    @staticmethod
    def setup_context(ctx, inputs, output):
        X, mask, seed, draw, row_ids, stream = inputs
        ctx.dtype = X.dtype
        ctx.factor = None
        if mask is not None and ctx.needs_input_grad[0]:
            factor = derivatives.mask_factor(mask, X, seed=seed, draw=draw, row_ids=row_ids, stream=stream)
            ctx.factor = torch.from_numpy(factor).to(X.device)

    @staticmethod
    def backward(ctx, u):
        g = u if ctx.factor is None else u * ctx.factor
        return g.to(ctx.dtype), None, None, None, None, None


def _masked(X, mask, seed, draw, row_ids=None, stream=ROW_MASK_STREAM):
    """Masked inputs as a tensor of float32 numbers that gradients pass through."""
    if masking.as_mask(mask) is None and X.dtype == torch.float32:
        return X
    return _Masked.apply(X, mask, seed, draw, row_ids, stream)


def _require_tensor(value, name):
    if not isinstance(value, torch.Tensor):
        raise TypeError(
            f"{name} is {type(value).__name__}; it must be a tensor. Give torch.as_tensor({name})."
        )
