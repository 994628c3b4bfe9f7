"""How a matrix that is larger than the memory is cut into tiles."""

from itertools import pairwise

from .problem import Part


def tile_edges(n, p, threads_that_fit):
    """(rows, columns) of a tile, as few and as square as the memory allows.

    ``threads_that_fit(rows, columns)`` raises MemoryError where the memory is too small for a tile.
    """
    try:
        threads_that_fit(n, p)
    except MemoryError:
        pass
    else:
        return n, p
    longest = max(n, p)
    for pieces in _growing(longest):
        edge = -(-longest // pieces)
        rows, columns = min(edge, n), min(edge, p)
        try:
            threads_that_fit(rows, columns)
        except MemoryError:
            if edge == 1:
                raise
        else:
            return rows, columns
    raise AssertionError("a tile of one entry has been tried")


def _growing(longest):
    """2, 3, 4 ... pieces, in steps of a few percent where there are many, up to ``longest``."""
    pieces = 2
    while pieces < longest:
        yield pieces
        pieces += max(pieces // 16, 1)
    yield longest


def tile_parts(n, p, edges, draws, symmetric):
    """The parts of a run, tile by tile, all draws of a tile in turn; one triangle if ``symmetric``."""
    rows, columns = (_cut(size, edge) for size, edge in zip((n, p), edges, strict=True))
    return [
        Part(draw, row, column)
        for i, row in enumerate(rows)
        for column in (columns[i:] if symmetric else columns)
        for draw in range(draws)
    ]


def _cut(size, edge):
    """0 .. size - 1 in ranges of nearly the same length, at most ``edge``."""
    pieces = -(-size // edge)
    bounds = [size * k // pieces for k in range(pieces + 1)]
    return list(pairwise(bounds))
