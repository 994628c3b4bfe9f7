"""Masked inputs as a sweep reads them."""

from functools import cached_property

import numpy as np

from .moments import nbytes_moment_inputs
from .neurons import read_only


class PackedInputs:
    """One side of a Gram matrix: rows x~ (n, d) float32, the zero rows taken out.

    The pattern, the outputs and every kernel entry of a zero row are zero, so zero rows never enter a
    sweep (unless there are no others); ``active`` says where the others stand.  ``dtype`` is that of the
    weights that they meet.
    """

    def __init__(self, masked, kernels, dtype="float32"):
        self.total = len(masked)
        self.active = np.flatnonzero(masked.any(axis=1))
        if not len(self.active):
            self.active = np.zeros(1, int)  # no kernel has to know about empty inputs
        self.rows = read_only(masked if len(self.active) == self.total else masked[self.active])
        self.kernels = kernels
        self.dtype = dtype
        self.store = self.name = (
            None  # where patterns are kept (patterns.py), and what these are called there
        )

    def prepared(self, needs):
        """Itself, packed for ``needs`` now: workers that start together would each pack their own."""
        if "bits" in needs:
            self.pattern_inputs  # noqa: B018
        if "relu" in needs:
            self.feature_panels, self.norm_exponents  # noqa: B018
        return self

    def prepare_products(self, needs):
        """Pack now what products with vectors read."""
        self.norm_exponents  # noqa: B018
        if "bits" in needs:
            self.double_rows  # noqa: B018

    def __len__(self):
        return len(self.rows)

    @cached_property
    def pattern_inputs(self):
        """What the forward kernel reads."""
        return self.kernels.forward(self.dtype).inputs(self.rows)

    @cached_property
    def feature_panels(self):
        """x~^T in float64 panels, for products over the features."""
        return self.kernels.to_panels(self.rows.T)

    @cached_property
    def double_rows(self):
        """x~ in float64, for products of the kernel with vectors."""
        return self.kernels.double_rows(self.rows)

    @cached_property
    def norm_bounds(self):
        """At least ||x~_i||, (n,) float64: the same bits whatever NumPy."""
        squares = np.empty(len(self))
        self.kernels.sums.row_squares(self.rows, squares)
        return np.sqrt(squares) * (1 + 1e-9)

    @cached_property
    def norm_exponents(self):
        """Integers e with ||x~_i|| <= 2^e_i, (n,)."""
        return np.frexp(self.norm_bounds)[1]

    @property
    def places(self):
        """Where the rows stand: an index of the first axis of a result."""
        return slice(None) if len(self) == self.total else self.active

    def places_of(self, rows):
        """Where a slice of the rows stands."""
        return rows if len(self) == self.total else self.active[rows]

    def spread_rows(self, values):
        """Results of the active rows at their places along the first axis, zeros elsewhere."""
        if len(self) == self.total:
            return values
        out = np.zeros((self.total, *values.shape[1:]), values.dtype)
        out[self.places] = values
        return out


def nbytes_packed(n, dim, kernels, needs):
    """Bytes of one packed side, beyond the (n, d) rows themselves."""
    if "moments" in needs:
        return nbytes_moment_inputs(n, dim, kernels)
    bits = 4 * (n + 32) * (dim + 32) if "bits" in needs else 0  # the padding of any layout
    panels = 8 * kernels.groups(n) * kernels.group_width * dim
    temporaries = 8 * n * dim * (3 if "bits" in needs else 1)  # float64 copies while packing
    return 4 * n * dim + bits + panels + temporaries
