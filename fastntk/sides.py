"""The two sides of a kernel, rows and columns: which inputs, which mask, which random values."""

from typing import NamedTuple

import numpy as np

from . import masking, validation
from .explained import KERNELS_UNDER_MASKS
from .kernels.reference import COLUMN_MASK_STREAM, ROW_MASK_STREAM


class Side(NamedTuple):
    """The rows, or the columns, of a kernel, checked."""

    X: np.ndarray  # (n, d), before the mask
    mask: masking.Mask | None
    ids: np.ndarray  # (n,) uint64
    stream: int
    name: str  # what errors call X

    def masked(self, seed, draw, rows=slice(None)):
        """(n, d) float32 inputs of one draw; those of some rows are a part of those of all."""
        X, ids = self.X[rows], self.ids[rows]
        return masking.sample(
            self.mask, X, seed=seed, draw=draw, row_ids=ids, stream=self.stream, name=self.name
        )


def kernel_sides(X, Y=None, *, mask=None, row_ids=None, column_ids=None, share_masks=False, dtype=np.float32):
    """Rows and columns of the kernel of X and Y; the same object twice where the kernel is symmetric.

    ``mask`` is one mask (or None) for both sides or a pair (row mask, column mask).  Without Y both
    sides are X with one stream of random values; with Y they use two, even where Y is X, unless
    ``share_masks``: then a row and a column with the same id see the same random values.
    """
    row_mask, column_mask = mask if _is_pair(mask) else (mask, mask)
    masking.as_mask(row_mask, "mask[0]" if _is_pair(mask) else "mask")
    masking.as_mask(column_mask, "mask[1]" if _is_pair(mask) else "mask")
    share_masks = validation.as_flag(share_masks, "share_masks")
    X = validation.as_inputs(X, "X", dtype)
    rows = Side(X, row_mask, validation.as_ids(row_ids, "row_ids", len(X)), ROW_MASK_STREAM, "X")
    if Y is None:
        if column_ids is not None:
            raise ValueError(
                "column_ids is given without Y; the columns are the rows then, and row_ids are their ids."
            )
        return rows, rows if column_mask == row_mask else rows._replace(mask=column_mask)
    Y = validation.as_inputs(Y, "Y", dtype, columns=X.shape[1])
    stream = ROW_MASK_STREAM if share_masks else COLUMN_MASK_STREAM
    return rows, Side(Y, column_mask, validation.as_ids(column_ids, "column_ids", len(Y)), stream, "Y")


def require_closed_form(rows, columns, has_columns, share_masks, otherwise):
    """Refuse masks shared between rows and columns, except of a row with itself.

    ``otherwise`` says in the imperative what helps.
    """
    if has_columns:
        if share_masks and rows.mask is not None and columns.mask is not None:
            raise ValueError(
                f"share_masks=True with Y has no closed form for the mask mean; {otherwise}. "
                f"{KERNELS_UNDER_MASKS}"
            )
        return
    if None not in (rows.mask, columns.mask) and columns is not rows:
        raise ValueError(
            f"mask is a pair of different masks without Y: both sides see the same random values, which has "
            f"no closed form for the mask mean; {otherwise}, or give Y for independent masks. "
            f"{KERNELS_UNDER_MASKS}"
        )
    if columns is rows and len(np.unique(rows.ids)) < len(rows.ids):
        raise ValueError(
            f"row_ids holds an id more than once, and those rows share a mask, which has no closed form for "
            f"the mask mean; {otherwise}. {KERNELS_UNDER_MASKS}"
        )


def _is_pair(mask):
    return isinstance(mask, (tuple, list)) and len(mask) == 2
