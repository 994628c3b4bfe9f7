"""Sums over all neurons of a network for given masked inputs: planned once, run for each draw."""

from ..kernels import load
from .chunk import nbytes_chunk
from .devices import devices_of
from .inputs import PackedInputs, nbytes_packed
from .plan import make_plan
from .sweep import sweep

COPIES_AT_FINISH = 4  # matrices alive while the result is put together: sums, products, result, a temporary


class NeuronSums:
    """The quantities (accumulator classes) that one sweep over the neurons adds up.

    ``rows`` and ``columns`` are numbers of samples, ``columns`` None where there are only rows.  A result
    has a value for each row and column, or as many for each row as ``values`` says (1 without columns).
    ``result_bytes`` is what the caller allocates besides, and ``scratch_bytes`` what a worker does that the
    shape of a result does not tell.
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
        result_bytes=0,
        scratch_bytes=0,
    ):
        self.neurons = neurons
        self.quantities = quantities
        self.kernels = load()
        self.progress = options.progress
        self.done = 0
        self.needs = all_needs(quantities)
        result_bytes += 8 * rows * (values or columns or 1) * COPIES_AT_FINISH
        self.plan = plan_sums(
            neurons, quantities, rows, columns, options, values, result_bytes, scratch_bytes=scratch_bytes
        )

    def pack(self, masked):
        """Masked inputs (n, d) float32 as :meth:`run` takes them."""
        return PackedInputs(masked, self.kernels, self.neurons.dtype).prepared(self.needs)

    def run(self, inputs, **extra):
        """The finished sums, one array for each quantity, for [rows] or [rows, columns]."""
        sums = sweep(
            self.plan,
            self.kernels,
            self.neurons,
            inputs,
            lambda: [quantity(self.kernels, inputs, self.neurons, **extra) for quantity in self.quantities],
            None if self.progress is None else self._report,
        )
        return [accumulator.finish() for accumulator in sums.accumulators]

    def _report(self, count):
        self.done += count
        self.progress(self.done, self.neurons.width)


def plan_sums(
    neurons,
    quantities,
    rows,
    columns,
    options,
    values=None,
    result_bytes=0,
    *,
    scratch_bytes=0,
    finishing_bytes=0,
):
    """The :class:`Plan` of sums for so many samples; arguments as for :class:`NeuronSums`.

    ``finishing_bytes`` is what each thread takes besides the sums while it puts the result together.
    """
    kernels, dim, sizes = load(), neurons.dim, [n for n in (rows, columns) if n is not None]
    needs, values = all_needs(quantities), values or columns or 1
    worker_bytes = max(nbytes_chunk(kernels, neurons, sizes, needs) + scratch_bytes, finishing_bytes)
    worker_bytes += sum(quantity.nbytes(kernels, rows, values) for quantity in quantities)
    plan = make_plan(
        neurons.width,
        exact=all(quantity.exact for quantity in quantities),
        shared_bytes=result_bytes + sum(nbytes_packed(n, dim, kernels, needs) for n in sizes),
        worker_bytes=worker_bytes,
        threads=options.threads,
        memory_limit=options.memory_limit,
        subject=f"{' x '.join(map(str, sizes))} samples of {dim} features",
    )
    if options.backend == "cuda" and columns is not None:
        from .device_worker import require_room

        require_room(devices_of("cuda"), quantities, rows, columns)
    return plan._replace(backend=options.backend)


def all_needs(quantities):
    """What chunks have to provide for all of these."""
    return {need for quantity in quantities for need in quantity.needs}
