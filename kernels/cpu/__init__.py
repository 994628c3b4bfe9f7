"""The CPU backend: one :class:`CpuKernels` for each instruction-set path, compiled on first use."""

import math
from collections.abc import Callable
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np

from . import layout, layout_amx, product
from .paths import counts_with_amx, forwards_with_amx


class Forward(NamedTuple):
    """The forward pass of one type of weights: its layouts and its kernel."""

    inputs: Callable  # (n, d) fp32 rows as the kernel reads them
    scratch: Callable  # working memory of one worker, by the number of features: arrays
    pattern: Callable

    def scratch_bytes(self, dim):
        return sum(self.scratch(dim, make=layout.nbytes))


class ForwardByRows(NamedTuple):
    """``few`` for few rows, else ``many``, which spends more on the weights: the bits are the same."""

    few: Forward
    many: Forward

    def inputs(self, rows):
        return (self.few if len(rows) < layout_amx.FEWEST_ROWS else self.many).inputs(rows)

    def scratch(self, dim):
        return self.few.scratch(dim), self.many.scratch(dim)

    def scratch_bytes(self, dim):
        return self.few.scratch_bytes(dim) + self.many.scratch_bytes(dim)

    def pattern(self, inputs, weights, seed, stream_word, first, count, scratch, bits):
        for_few, for_many = scratch
        if isinstance(inputs, layout_amx.TileInputs):
            return self.many.pattern(inputs, weights, seed, stream_word, first, count, for_many, bits)
        return self.few.pattern(inputs, weights, seed, stream_word, first, count, for_few, bits)


class CpuKernels:
    """The kernels of one path and the layouts they read and write.

    Kernels compile (about a second each, then cached on disk) when they are first called.
    """

    def __init__(self, path):
        self.path = path
        self.name = path.name
        self.counts_with_amx = counts_with_amx(path)
        self.forwards_with_amx = forwards_with_amx(path)
        tiles = (layout_amx.TILE,) if self.forwards_with_amx else ()
        self.row_multiple = math.lcm(path.forward_rows, *tiles, *self._counting.tile(path))
        self.group_width = product.group_width(path)
        self.to_panels = partial(product.to_panels, path=path)
        self.from_panels = product.from_panels

    # ------------------------------------------------------------------------------ layouts
    def bits_shape(self, rows, neurons):
        """Shape of the uint8 pattern of ``rows`` samples: padded rows, whole 64-byte lines."""
        return layout.round_up(rows, self.row_multiple), layout.round_up(neurons, 512) // 8

    def counts_shape(self, rows, columns):
        return layout.round_up(rows, self.row_multiple), layout.round_up(columns, self.row_multiple)

    def groups(self, count):
        """Panels that ``count`` columns take."""
        return -(-count // self.group_width)

    def product_shape(self, rows, columns):
        """Shape of the result panels of a product with that many left and right columns."""
        return self.groups(columns), self.groups(rows) * self.group_width, self.group_width

    empty = staticmethod(layout.aligned)

    # ------------------------------------------------------------------------------ kernels
    def forward(self, dtype):
        """The forward pass of weights that are "float32", or "bfloat16" numbers."""
        return self._rounded_forward if dtype == "bfloat16" else self._forward

    @cached_property
    def _forward(self):
        return self.make_forward("float32")

    @cached_property
    def _rounded_forward(self):
        return self.make_forward("bfloat16")

    def make_forward(self, dtype, checked=True):
        """A forward pass; without ``checked``, bits are the signs of sums in float32 and not certified."""
        from .forward import make_pattern

        inputs = partial(layout.pattern_inputs, path=self.path)
        scratch = partial(layout.pattern_scratch, path=self.path)
        few = Forward(inputs, scratch, make_pattern(self.path, checked, rounded=dtype == "bfloat16"))
        if not self.forwards_with_amx:
            return few
        from . import forward_amx

        parts = {"bfloat16": 1, "float32": 2}[dtype]
        inputs = partial(layout_amx.tile_inputs, weight_parts=parts)
        scratch = partial(layout_amx.tile_scratch, weight_parts=parts)
        return ForwardByRows(few, Forward(inputs, scratch, forward_amx.make_pattern(parts, checked)))

    @cached_property
    def _counting(self):
        """The module of the fastest way to count."""
        from . import coactivation, coactivation_amx, coactivation_lookup

        if self.counts_with_amx:
            return coactivation_amx
        return coactivation_lookup if self.name == "avx2" else coactivation

    @cached_property
    def coactivation(self):
        return self._counting.make_coactivation(self.path)

    def coactivation_scratch_bytes(self, rows, columns):
        return self._counting.scratch_bytes(rows, columns)

    @cached_property
    def ordered_product(self):
        from .product import make_ordered_product

        return make_ordered_product(self.path)

    @cached_property
    def slices(self):
        """The module of rectified preactivations in bytes, which AMX multiplies; None where there is none."""
        if not self.counts_with_amx:
            return None
        from . import slices

        return slices

    @cached_property
    def cut_rectified(self):
        return self.slices.make_cut_rectified(self.path)

    def cut_scratch(self, dim):
        return self.slices.cut_scratch(dim, self.path)

    @cached_property
    def sliced_gram(self):
        from .sliced_gram import make_sliced_gram

        return make_sliced_gram(self.path)

    @cached_property
    def _random_rows(self):
        from .sampling import make_random_rows

        return make_random_rows(self.path)

    def random_rows(self, as_normals, seed, stream_word, ids, out):
        """Fill out (len(ids), d) with fp32 normals or uint32 words of the wire format."""
        quads = -(-out.shape[1] // 4)
        scratch = np.empty((4 * quads, 2 * self.path.lanes), out.dtype)
        self._random_rows(as_normals, np.uint64(seed), stream_word, ids, scratch, out)

    @cached_property
    def sums(self):
        """The module of plain loops over a block of neurons."""
        from . import sums

        return sums

    # ------------------------------------------------------------------------ pairs of neurons
    @cached_property
    def pairs(self):
        """The module of sums over pairs of neurons."""
        from . import pairs

        return pairs

    def pair_scratch(self, width, dim, owens_t):
        return self.pairs.pair_scratch(width, dim, owens_t, self.path)

    def pair_scratch_bytes(self, width, dim):
        return self.pairs.pair_scratch_bytes(width, dim, self.path)

    @cached_property
    def pair_variance(self):
        return self.pairs.make_pair_sums(self.path, self.pairs.VARIANCE)

    @cached_property
    def pair_poincare(self):
        return self.pairs.make_pair_sums(self.path, self.pairs.POINCARE)

    @cached_property
    def pair_gradient(self):
        return self.pairs.make_pair_sums(self.path, self.pairs.GRADIENT)

    # ------------------------------------------------------------------------- training steps
    def make_batch(self, rows, dim):
        from .batch import make_batch

        return make_batch(rows, dim, self.path)

    def batch_bytes(self, rows, dim):
        from .batch import batch_bytes

        return batch_bytes(rows, dim, self.path)

    def pack_batch(self, batch):
        """Fill a batch from its masked rows."""
        from .batch import pack_batch, prefix_counts

        dim = batch.masked.shape[1]
        pack_batch(prefix_counts(dim), layout.relative_bound(dim, self.path.fused), batch)

    def step_scratch(self, neurons, dim, outputs, samples):
        from .batch import step_scratch

        return step_scratch(neurons, dim, outputs, samples, self.path)

    @cached_property
    def forward_chunk(self):
        from .step_forward import make_forward_chunk

        return make_forward_chunk(self.path)

    @cached_property
    def update_by_lookup(self):
        from .step_update import make_update_by_lookup

        return make_update_by_lookup(self.path)

    @cached_property
    def update_dense(self):
        from .step_update import make_update_dense

        return make_update_dense(self.path)

    @cached_property
    def combine(self):
        from .step_update import combine

        return combine

    @cached_property
    def history(self):
        """The module of what a training run records."""
        from . import step_history

        return step_history

    # --------------------------------------------------------------------- gradient products
    @cached_property
    def gradients(self):
        """The module of gradients of the neurons."""
        from . import gradient

        return gradient

    @cached_property
    def tangents(self):
        """The module of tangents of the samples."""
        from . import tangent

        return tangent

    def weighted_rows(self, inputs, weights):
        return self.gradients.weighted_rows(inputs, weights, self.path)

    def gradient_scratch(self, samples):
        return self.gradients.gradient_scratch(samples, self.path)

    def gradient_scratch_bytes(self, samples):
        return self.gradients.gradient_scratch_bytes(samples, self.path)

    def tangent_scratch(self):
        return self.tangents.tangent_scratch(self.path)

    def tangent_scratch_bytes(self):
        return self.tangents.tangent_scratch_bytes(self.path)

    @cached_property
    def gradient_by_lookup(self):
        return self.gradients.make_gradient_by_lookup(self.path)

    @cached_property
    def dense_gradient(self):
        return self.gradients.make_dense_gradient(self.path)

    @cached_property
    def tangent(self):
        return self.tangents.make_tangent(self.path)

    # ------------------------------------------------------------------ kernel times vectors
    @cached_property
    def kernel_products(self):
        """The module of products of the kernel with vectors."""
        from . import kernel_product

        return kernel_product

    def double_rows(self, inputs):
        return self.kernel_products.double_rows(inputs, self.path)

    def double_rows_bytes(self, n, dim):
        return self.kernel_products.double_rows_bytes(n, dim, self.path)

    def product_scratch(self, samples, dim):
        return self.kernel_products.product_scratch(samples, dim, self.path)

    def product_scratch_bytes(self, samples, dim):
        return self.kernel_products.product_scratch_bytes(samples, dim, self.path)

    @cached_property
    def sums_by_neuron(self):
        return self.kernel_products.make_sums_by_neuron(self.path)

    @cached_property
    def project_by_sample(self):
        return self.kernel_products.make_project_by_sample(self.path)

    @cached_property
    def fma_rows(self):
        from .sampling import fma_rows

        return fma_rows
