"""Which problems are measured: one in the middle, and its width, rows, features and threads varied."""

from dataclasses import dataclass

from .problem import Problem


@dataclass(frozen=True)
class Sizes:
    """What a run measures.

    Attributes
    ----------
    n, d, width : int
        The problem in the middle.
    widths, rows, features : tuple of int
        What these become, one at a time.
    limit_rows : tuple of int
        Rows of the kernel at infinite width.
    rounds : int
    longest : float
        Seconds: a method whose call would take longer is left out.
    kernel_steps : float
        How long the kernels alone, and the peaks, are run, over the usual.
    """

    n: int
    d: int
    width: int
    widths: tuple[int, ...]
    rows: tuple[int, ...]
    features: tuple[int, ...]
    limit_rows: tuple[int, ...]
    rounds: int
    longest: float
    kernel_steps: float


SIZES = {
    "quick": Sizes(
        n=256,
        d=64,
        width=8192,
        widths=(1024, 8192, 65_536),
        rows=(64, 256, 1024),
        features=(16, 64, 256),
        limit_rows=(1024,),
        rounds=3,
        longest=2.0,
        kernel_steps=1.0,
    ),
    "default": Sizes(
        n=1000,
        d=64,
        width=32_768,
        widths=(2048, 8192, 32_768, 131_072, 524_288),
        rows=(250, 500, 1000, 2000, 4000),
        features=(16, 64, 256, 1024),
        limit_rows=(250, 1000, 4000),
        rounds=5,
        longest=5.0,
        kernel_steps=1.0,
    ),
}


@dataclass(frozen=True)
class Cell:
    """One problem, measured by all methods of its quantity in one interleaved run."""

    quantity: str
    problem: Problem

    @property
    def work(self):
        """Multiply-adds of the plain formulation."""
        n, d, m = self.problem.n, self.problem.d, self.problem.width
        return float(n * d * m + n * n * m if self.quantity == "kernel" else 100 * n * n)

    @property
    def most_work(self):
        """Those of the longest way, the Jacobian and its product with itself: times grow no faster."""
        n, d, m = self.problem.n, self.problem.d, self.problem.width
        return float(n * n * d * m)


def cells(sizes, threads, seed):
    """The cells of a run, small ones first, those of fewer threads last."""
    problems = {Problem(sizes.n, sizes.d, m, threads, seed) for m in sizes.widths}
    problems |= {Problem(n, sizes.d, sizes.width, threads, seed) for n in sizes.rows}
    problems |= {Problem(sizes.n, d, sizes.width, threads, seed) for d in sizes.features}
    found = [Cell("kernel", problem) for problem in problems]
    found += [Cell("limit", Problem(n, sizes.d, 1, threads, seed)) for n in sizes.limit_rows]
    found.sort(key=lambda cell: cell.work)
    fewer = [k for k in thread_counts(threads) if k < threads]
    return found + [Cell("kernel", Problem(sizes.n, sizes.d, sizes.width, k, seed)) for k in reversed(fewer)]


def thread_counts(threads):
    """1, 2, 4, ... and the number itself."""
    return sorted({1 << k for k in range(threads.bit_length()) if 1 << k < threads} | {threads})
