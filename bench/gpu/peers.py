"""The hidden layer's kernel as one writes it with PyTorch or CuPy for a GPU with tensor cores.

Blocks of neurons: normal weights made on the device, X W^T in fp32, tf32 or bf16, its signs as 0 and 1, and
the product of these with themselves in a type that is exact and fast there: int8 into int32; bf16 or tf32
into fp32, which holds whole numbers up to 2^24, far more than a block.  Signs of products in few digits are
wrong where a preactivation is near 0: these formulations are no match in that, only in speed.

``counts(X, draw, width)`` is the number of neurons active on both of two rows; draw(count, d) makes weights.
"""

from functools import partial

BLOCK = 1 << 16  # neurons: 10,000 rows of them take 2.6 GB in fp32
MULTIPLE = 16  # rows are padded to it: int8 products need it
FORWARD = ("fp32", "tf32", "bf16")


def blocks(width, block):
    """Sizes of the blocks of neurons."""
    return [min(block, width - first) for first in range(0, width, block)]


# ---------------------------------------------------------------------------------- PyTorch
def torch_gram_int8(torch, P):
    P = P.to(torch.int8)
    return torch._int_mm(P, P.T)


def torch_gram_bf16(torch, P):
    """``out_dtype`` (CUDA, from 2.8 on): without it sums would be rounded to bf16."""
    P = P.to(torch.bfloat16)
    return torch.mm(P, P.T, out_dtype=torch.float32)


TORCH_GRAMS = {"int8": torch_gram_int8, "bf16": torch_gram_bf16}


def torch_counts(X, draw, width, *, forward, gram, block=BLOCK):
    """int32 (n, n) of a tensor X, on its device."""
    import torch

    n, dtype = len(X), torch.bfloat16 if forward == "bf16" else torch.float32
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32, matmul.allow_bf16_reduced_precision_reduction
    matmul.allow_tf32, matmul.allow_bf16_reduced_precision_reduction = forward == "tf32", False
    try:
        padded = X.new_zeros(-(-n // MULTIPLE) * MULTIPLE, X.shape[1], dtype=dtype)
        padded[:n] = X
        counts = torch.zeros(len(padded), len(padded), dtype=torch.int32, device=X.device)
        for count in blocks(width, block):
            whole = -(-count // MULTIPLE) * MULTIPLE
            W = padded.new_zeros(whole, X.shape[1])  # padding is inactive everywhere
            W[:count] = draw(count, X.shape[1], dtype)
            counts += TORCH_GRAMS[gram](torch, padded @ W.T > 0).to(torch.int32)
        return counts[:n, :n]
    finally:
        matmul.allow_tf32, matmul.allow_bf16_reduced_precision_reduction = before


def torch_kernel(X, width, **formulation):
    """K float64 of a CUDA tensor, weights of PyTorch's generator."""
    import torch

    def draw(count, dim, dtype):
        return torch.randn(count, dim, dtype=dtype, device=X.device)

    counts = torch_counts(X, draw, width, **formulation)
    exact = X.double()
    K = (exact @ exact.T).mul_(counts).div_(width)
    torch.cuda.synchronize()
    return K


# ------------------------------------------------------------------------------------- CuPy
def cupy_counts(xp, X, draw, width, *, set_tf32, forward, block=BLOCK):
    """fp32 (n, n) where below 2^24, counted in float64; ``set_tf32(on)`` chooses how fp32 is multiplied."""
    counts = xp.zeros((len(X), len(X)))
    for count in blocks(width, block):
        set_tf32(forward == "tf32")
        P = (X @ draw(count, X.shape[1]).T > 0).astype(xp.float32)
        set_tf32(True)  # 0 and 1 and their sums are exact in it
        counts += P @ P.T
    set_tf32(False)
    return counts


def cupy_kernel(X, width, forward):
    """K float64 of a CuPy array."""
    import cupy
    from cupy._core import _routines_linalg as linalg

    def set_tf32(on):
        linalg.set_compute_type(cupy.float32, linalg.COMPUTE_TYPE_TF32 if on else linalg.COMPUTE_TYPE_DEFAULT)

    def draw(count, dim):
        return cupy.random.standard_normal((count, dim), cupy.float32)

    counts = cupy_counts(cupy, X, draw, width, set_tf32=set_tf32, forward=forward)
    exact = X.astype(cupy.float64)
    K = (exact @ exact.T) * counts / width
    cupy.cuda.get_current_stream().synchronize()
    return K


# ------------------------------------------------------------------------------------ which
def formulations(X):
    """({name: call(width)}, {library: why it is missing}) for a host array X."""
    found, missing = {}, {}
    try:
        import torch

        if not torch.cuda.is_available():
            raise ImportError("this PyTorch sees no CUDA device")
        on_device = torch.from_numpy(X).cuda()
        for forward in FORWARD:
            for gram in TORCH_GRAMS:
                call = partial(torch_kernel, on_device, forward=forward, gram=gram)
                found[f"PyTorch, forward {forward}, counts {gram}"] = call
    except ImportError as error:
        missing["torch"] = str(error)
    try:
        import cupy

        there = cupy.asarray(X)
        for forward in ("fp32", "tf32"):
            found[f"CuPy, forward {forward}, counts tf32"] = partial(cupy_kernel, there, forward=forward)
    except ImportError as error:
        missing["cupy"] = str(error)
    return found, missing
