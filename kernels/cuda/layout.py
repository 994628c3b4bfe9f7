"""How arrays lie in the memory of a device: what the kernels take for granted, stated once.

A **pattern** of n rows and m neurons is a (rows, words) uint32 array, C order: neuron r is bit r % 32 of word
r // 32 of its row.  Rows are padded to ``ROW_TILE`` and words to ``STEP_WORDS``; bits of neurons beyond the
last are zero, and so are padded rows, or whatever they hold is counted in padded entries only.

**Counts** of the pairs of rows of two patterns are an int32 array of their padded rows, C order.
"""

from ..cpu.layout import round_up

WORD_BITS = 32
ROW_TILE = 256  # the longer side of a tile of counts
STEP_WORDS = 32  # 1024 neurons: what is held of each row in shared memory at a time, one line of 128 bytes


def pattern_shape(rows, neurons):
    """Shape of the uint32 pattern of ``rows`` samples."""
    return round_up(rows, ROW_TILE), round_up(neurons, WORD_BITS * STEP_WORDS) // WORD_BITS


def counts_shape(rows, columns):
    return round_up(rows, ROW_TILE), round_up(columns, ROW_TILE)
