"""Whole calls beside those of others, and that what these count is right."""

import numpy as np
import pytest


def test_calls_are_compared_with_the_fastest(part, lab, said):
    calls = part("calls")

    def formulations(X):
        def fails(width):
            raise RuntimeError("no such product")

        return {"slow": lambda width: sum(range(10**6)), "fast": id, "odd": fails}, {"cupy": "not there"}

    figure, left_out = calls.measure(lab, 24, 5, 300, formulations)
    assert figure.against.startswith("fast (")
    assert set(figure.seconds) == {"fastntk", "slow", "fast"}
    assert left_out == {"cupy": "not there", "odd": "RuntimeError: no such product"}
    assert calls.run(lab, said.append)["figures"]["n=24, d=5, m=300"]["case"].startswith(
        "hidden kernel on a GPU"
    )


def test_calls_that_differ_are_not_timed(part, lab, monkeypatch):
    calls = part("calls")
    monkeypatch.setattr(
        calls.fn, "ntk", lambda *_, backend, **__: np.array([len(backend + "0"[backend == "cpu" :])])
    )
    with pytest.raises(AssertionError, match="differ"):
        calls.measure(lab, 24, 5, 300)


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    X, W = rng.standard_normal((21, 5)), rng.standard_normal((100, 5))
    P = (X @ W.T > 0).astype(int)
    return X.astype(np.float32), W.astype(np.float32), P @ P.T


@pytest.mark.parametrize("gram", ["int8", "bf16"])
@pytest.mark.parametrize("forward", ["fp32", "tf32", "bf16"])
def test_pytorch_counts(part, monkeypatch, problem, forward, gram):
    """In bf16 a few signs of a hundred are wrong."""
    torch, peers = pytest.importorskip("torch"), part("peers")
    X, W, expected = problem
    left = list(torch.from_numpy(W).split(48))
    # on a CPU PyTorch has no products of bf16 into fp32
    monkeypatch.setitem(peers.TORCH_GRAMS, "bf16", lambda torch, P: P.float() @ P.float().T)

    def draw(count, dim, dtype):
        return left.pop(0).to(dtype)

    counts = peers.torch_counts(torch.from_numpy(X), draw, 100, forward=forward, gram=gram, block=48)
    assert counts.dtype == torch.int32
    assert np.abs(counts.numpy() - expected).max() <= (4 if forward == "bf16" else 0)


def test_cupy_counts(part, problem):
    X, W, expected = problem
    left, set_to = np.split(W, [40, 80]), []
    counts = part("peers").cupy_counts(
        np, X, lambda count, dim: left.pop(0), 100, set_tf32=set_to.append, forward="fp32", block=40
    )
    np.testing.assert_array_equal(counts, expected)
    assert set_to == 3 * [False, True] + [False]
