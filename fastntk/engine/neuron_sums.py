"""Sums over all neurons of a network for given masked inputs: planned once, run for each draw."""

from ..kernels import load
from .chunk import nbytes_chunk
from .inputs import PackedInputs, nbytes_packed
from .plan import make_plan
from .sweep import sweep

COPIES_AT_FINISH = 4  # matrices alive while the result is put together: sums, products, result, a temporary


class NeuronSums:
    """The quantities (accumulator classes) that one sweep over the neurons adds up.

    ``rows`` and ``columns`` are numbers of samples, ``columns`` None where there are only rows.  A result
    has a value for each row and column, or as many for each row as ``values`` says (1 without columns).
    ``sweeps`` is how many times :meth:`run` will be called, for progress(done, total); ``result_bytes`` is
    what the caller allocates besides, and ``scratch_bytes`` what a worker does that the shape of a result
    does not tell.
    """

    def __init__(
        self,
        neurons,
        quantities,
        rows,
        columns=None,
        *,
        options,
        values=None,
        sweeps=1,
        result_bytes=0,
        scratch_bytes=0,
    ):
        self.neurons = neurons
        self.quantities = quantities
        self.kernels = kernels = load()
        self.progress = options.progress
        self.done, self.total = 0, neurons.width * sweeps
        dim, sizes = neurons.dim, [n for n in (rows, columns) if n is not None]
        self.needs = needs = {need for quantity in quantities for need in quantity.needs}
        values = values or columns or 1
        worker_bytes = nbytes_chunk(kernels, dim, sizes, needs) + scratch_bytes
        worker_bytes += sum(quantity.nbytes(kernels, rows, values) for quantity in quantities)
        shared_bytes = sum(nbytes_packed(n, dim, kernels, needs) for n in sizes)
        shared_bytes += 8 * rows * values * COPIES_AT_FINISH + result_bytes
        self.plan = make_plan(
            neurons.width,
            exact=all(quantity.exact for quantity in quantities),
            shared_bytes=shared_bytes,
            worker_bytes=worker_bytes,
            threads=options.threads,
            memory_limit=options.memory_limit,
            subject=f"{' x '.join(map(str, sizes))} samples of {dim} features",
        )

    def pack(self, masked):
        """Masked inputs (n, d) float32 as :meth:`run` takes them."""
        inputs = PackedInputs(masked, self.kernels)
        inputs.prepare(self.needs)
        return inputs

    def run(self, inputs, **extra):
        """The finished sums, one array for each quantity, for [rows] or [rows, columns]."""
        merged = sweep(
            self.plan,
            self.kernels,
            self.neurons,
            inputs,
            lambda: [quantity(self.kernels, inputs, self.neurons, **extra) for quantity in self.quantities],
            None if self.progress is None else self._report,
        )
        return [accumulator.finish() for accumulator in merged]

    def _report(self, count):
        self.done += count
        self.progress(self.done, self.total)
