"""The kernel in PyTorch, on the CPU: products of matrices, and the Jacobian of torch.func."""

import torch

from .problem import BLOCK


def _tensors(problem):
    """X (n, d), W (m, d), a / sqrt(m) (m,), float32."""
    torch.set_num_threads(problem.threads)
    W, a = problem.weights()
    return torch.from_numpy(problem.X), torch.from_numpy(W), torch.from_numpy(a).float() / len(W) ** 0.5


def matrix_form(problem):
    """As one writes it with matrices, blocks of neurons at a time."""
    X, W, _ = _tensors(problem)

    @torch.no_grad()
    def call():
        counts = torch.zeros(len(X), len(X))
        for block in W.split(BLOCK):
            P = (X @ block.T > 0).float()
            counts.addmm_(P, P.T)
        return ((X @ X.T) * counts / len(W)).numpy()

    return call


def jacobian(problem):
    """The Jacobian by vmap and jacrev, contracted with itself, as in PyTorch's tutorial."""
    X, W, a = _tensors(problem)

    def output(W, x):
        return torch.relu(W @ x) @ a

    def call():
        J = torch.func.vmap(torch.func.jacrev(output), (None, 0))(W, X).flatten(1)
        return (J @ J.T).detach().numpy()

    return call
