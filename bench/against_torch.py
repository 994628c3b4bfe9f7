"""Figures: masked training steps against PyTorch on the CPU, in fp32, the sampling of the masks included."""

from functools import partial
from time import perf_counter

import numpy as np

from fastntk.benchmarks.interleave import interleave_turns, repeated
from fastntk.benchmarks.peaks import peak_turn

from .cores import CORES
from .figures import Figure, speedup
from .operations import KAPPA, STEP_SIZE, fastntk_training, regression

BLOCKS = (512, 2048, 4096)  # neurons at a time, the fastest of the powers of two; besides all at once
WARM_UP = 2  # first steps of a run, left out


def import_torch():
    """PyTorch on two threads; it is needed by these figures alone."""
    try:
        import torch
    except ImportError:
        raise SystemExit(
            "the training figures compare with PyTorch, which is not installed: "
            'python -m pip install -e ".[bench]" (a CPU build is enough), or name the other figures.'
        ) from None
    torch.set_num_threads(CORES)
    return torch


def tensors(problem):
    """X, y, W and a / sqrt(m) of a training problem as fp32 tensors."""
    torch = import_torch()
    network = problem.network
    W = network.weights().astype(np.float32)
    a = (network.output_weights() / np.sqrt(network.width)).astype(np.float32).reshape(len(W), -1)
    return [torch.from_numpy(array) for array in (problem.X, problem.y, W, a)]


# ---------------------------------------------------------------------------- the step in PyTorch
#
# Each returns step(X), which changes W in place.  a carries the factor 1 / sqrt(m).


def plain_step(y, W, a, block, by_sample):
    """The formulas, in place and with every buffer used again, on blocks of neurons.

    The pattern is stored with the samples of a neuron side by side, or ``by_sample`` the other way round.
    For one output the residuals multiply the n d inputs; for more they make an array like the pattern.
    """
    torch = import_torch()
    (n, outputs), (m, d) = y.shape, W.shape

    def by_neuron_and_sample():
        return torch.empty(n, block).T if by_sample else torch.empty(block, n)

    patterns = [by_neuron_and_sample() for _ in range(0, m, block)]
    cotangents = by_neuron_and_sample()
    gradient = torch.empty(block, d)
    blocks = list(zip(W.split(block), a.split(block), patterns, strict=True))

    @torch.no_grad()
    def step(X):
        f = torch.zeros(n, outputs)
        for w, a_w, active in blocks:
            torch.mm(w, X.T, out=active).relu_()
            f.addmm_(active.T, a_w)
            active.sign_()
        residuals = f.sub_(y)
        weighted = residuals * X if outputs == 1 else None
        for w, a_w, active in blocks:
            if outputs == 1:
                torch.mm(active, weighted, out=gradient)
                w.addcmul_(gradient, a_w, value=-STEP_SIZE)
            else:
                torch.mm(a_w, residuals.T, out=cotangents).mul_(active)
                w.addmm_(cotangents, X, alpha=-STEP_SIZE)

    return step


def onednn_step(y, W, a, block):
    """The same with oneDNN's matrix products instead of ``torch.mm``, which is MKL's.

    MKL's can be half as fast, on processors of other makes.  PyTorch uses oneDNN's for fp32 in compiled
    models only, so this calls an operation that is not public.
    """
    torch = import_torch()
    (n, outputs), (m, _) = y.shape, W.shape
    patterns = [torch.empty(block, n) for _ in range(0, m, block)]
    cotangents = torch.empty(block, n)
    blocks = list(zip(W.split(block), a.split(block), patterns, strict=True))

    def times_transposed(left, right, then="none"):
        return torch.ops.mkldnn._linear_pointwise(left, right, None, then, [], "")

    @torch.no_grad()
    def step(X):
        f = torch.zeros(n, outputs)
        for w, a_w, active in blocks:
            relu = times_transposed(w, X, "relu")
            f.addmm_(relu.T, a_w)
            torch.sign(relu, out=active)
        residuals = f.sub_(y)
        columns = (residuals * X if outputs == 1 else X).T.contiguous()
        for w, a_w, active in blocks:
            if outputs == 1:
                w.addcmul_(times_transposed(active, columns), a_w, value=-STEP_SIZE)
            else:
                torch.mm(a_w, residuals.T, out=cotangents).mul_(active)
                w.add_(times_transposed(cotangents, columns), alpha=-STEP_SIZE)

    return step


def autograd_step(y, W, a):
    """As one writes it: the loss, backward(), an optimizer."""
    torch = import_torch()
    W = W.detach().requires_grad_()
    optimizer = torch.optim.SGD([W], lr=STEP_SIZE)

    def step(X):
        optimizer.zero_grad()
        loss = 0.5 * (torch.relu(X @ W.T) @ a - y).square().sum()
        loss.backward()
        optimizer.step()

    return step


def formulations(width):
    """(plain formulations, others): name to make(y, W, a)."""
    plain = {
        f"{'all neurons' if block == width else f'blocks of {block}'}, {layout}": partial(
            plain_step, block=block, by_sample=layout == "by sample"
        )
        for block in (*BLOCKS, width)
        for layout in ("by neuron", "by sample")
    }
    others = {"autograd": autograd_step}
    torch = import_torch()
    if torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        others |= {f"oneDNN, blocks of {block}": partial(onednn_step, block=block) for block in BLOCKS}
    return plain, others


# ---------------------------------------------------------------------------- turns


def torch_turn(make, X, y, W, a, steps):
    """Seconds a step, fresh masks each."""
    step, inputs = make(y, W, a), X.clone()

    def masked_step():
        inputs.normal_(1, KAPPA).mul_(X)
        step(inputs)

    return repeated(masked_step, steps)


def fastntk_turn(problem, steps):
    """Seconds a step of one run of ``fn.train``, from the times at which it reports them done."""

    def turn():
        times = []
        fastntk_training(
            problem, WARM_UP + steps, threads=CORES, progress=lambda *_: times.append(perf_counter())
        )
        return (times[-1] - times[WARM_UP - 1]) / steps

    return turn


def check_same_step(d, outputs):
    """One step without masks on a small problem: all must change the weights alike."""
    problem = regression(40, d, 2 * max(BLOCKS), outputs)
    X, y, W, a = tensors(problem)
    trained = fastntk_training(problem, 1, mask=None).network.weights()
    expected = trained - W.numpy()
    plain, others = formulations(len(W))
    for name, make in (plain | others).items():
        changed = W.clone()
        make(y, changed, a)(X)
        error = np.linalg.norm((changed - W).numpy() - expected) / np.linalg.norm(expected)
        # A preactivation that rounds to the other side of 0 is one of 10^5; a wrong formula changes all.
        if not error < 0.02:
            raise AssertionError(f"fastntk and PyTorch ({name}) train differently: {error:.2g}")


# ---------------------------------------------------------------------------- figures


def _training_step(n, d, outputs, steps, at_least, limit, quick):
    width, rounds = 65_536, 5
    if quick:
        n, width, steps, rounds = 40, 2 * max(BLOCKS), 2, 1
    check_same_step(d, outputs)
    problem = regression(n, d, width, outputs)
    X, y, W, a = tensors(problem)
    plain, others = formulations(width)
    turns = {"fastntk": fastntk_turn(problem, steps)}
    for name, make in (plain | others).items():
        turns[name] = torch_turn(make, X, y, W, a, -(-steps // 4))
    turns["peak"] = peak_turn(2 * n * d * width, CORES, quick)
    seconds = interleave_turns(turns, rounds)

    best = min(plain, key=lambda name: min(seconds[name]))
    ours, theirs, products = (min(seconds[name]) for name in ("fastntk", best, "peak"))
    against = f"PyTorch, CPU, the fastest of {len(plain)} plain formulations ({best})"
    against += f"; autograd: {speedup(seconds, 'fastntk', 'autograd'):.3g} x"
    if onednn := [min(seconds[name]) for name in others if name != "autograd"]:
        against += f"; oneDNN's products, by an operation that is not public: {min(onednn) / ours:.3g} x"
    # Forward, d multiply-adds and one for each output; back, d / 4 look-ups: each a load and an addition.
    needed = products * (1.25 * d + outputs) / (2 * d)
    return Figure(
        case=f"masked training step, n={n}, d={d}, m={width}, "
        f"{f'{outputs} outputs' if outputs > 1 else 'one output'} ({1e3 * ours:.3g} ms)",
        against=against,
        value=theirs / ours,
        unit="x faster",
        at_least=at_least,
        limit=f"{limit}; at the fp32 peak, multiply-adds and look-ups take {100 * needed / ours:.0f} % of "
        f"the step (PyTorch's products by X and W: {100 * products / theirs:.0f} % of its own)",
        seconds=seconds,
    )


def training_large_inputs(quick=False):
    limit = "forward multiply-adds, two thirds of the step and near their peak, then look-ups of the gradient"
    return _training_step(500, 784, 1, 8, 1.4, limit, quick)


def training_large_inputs_ten_outputs(quick=False):
    limit = (
        "as with one output, and a table of the residuals for each of the 512 directions of output weights"
    )
    return _training_step(500, 784, 10, 8, 1.3, limit, quick)


def training_narrow_inputs(quick=False):
    limit = "an output, a bound check and a bit for every 20 multiply-adds; look-ups are of 32 columns"
    return _training_step(500, 20, 1, 48, 4.5, limit, quick)


def training_narrow_inputs_ten_outputs(quick=False):
    limit = "ten outputs are half as much work as the 20 features, and each direction has tables of its own"
    return _training_step(500, 20, 10, 32, 3.5, limit, quick)


def training_small_inputs(quick=False):
    limit = "forward multiply-adds, two thirds of the step and near their peak, then look-ups of the gradient"
    return _training_step(1797, 64, 1, 16, 3.2, limit, quick)


FIGURES = (
    training_large_inputs,
    training_large_inputs_ten_outputs,
    training_narrow_inputs,
    training_narrow_inputs_ten_outputs,
    training_small_inputs,
)
