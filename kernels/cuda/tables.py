"""What is chosen for each architecture, where the best choice differs.

None of it is measured yet: the forms are those that the hardware has instructions for, the stages what fits
into the shared memory of a multiprocessor.
"""

from typing import NamedTuple


class Counting(NamedTuple):
    kernel: str  # count_b1: products of bits; count_u8: of bits expanded to bytes
    stages: int  # steps of both sides that shared memory holds, 48 KB each


# Products of bits are instructions up to Hopper; later tensor cores have bytes at most.
COUNTING = {
    "sm_80": Counting("count_b1", 3),
    "sm_86": Counting("count_b1", 2),
    "sm_87": Counting("count_b1", 3),
    "sm_89": Counting("count_b1", 2),
    "sm_90a": Counting("count_b1", 3),
    "sm_100a": Counting("count_u8", 3),
}
OTHER_COUNTING = Counting("count_u8", 2)
