"""Ranges that are given to workers elsewhere: few, as each result has to travel, but even at the end."""

from collections import deque

from .chunk import CHUNK

# Neurons of a task, at least: adding them up takes far longer than moving the sums.
SMALLEST, SMALLEST_EXACT = CHUNK, 16 * CHUNK
TASKS_EACH = 2  # of what is left, for each worker: tasks shrink towards the end
TASK_SECONDS = 5.0  # a longer one would lose more with its worker, and say less often how far it is


class Uncut:
    """The neurons that no worker has: ranges that came back, and those that have not been cut yet.

    Sums of integers are ``exact``: any cut will do.  Float sums are cut between whole chunks.
    """

    def __init__(self, ranges, exact, workers):
        self.ranges = deque(ranges)
        self.returned: deque = deque()
        self.unit = 512 if exact else CHUNK
        self.smallest = min(SMALLEST_EXACT if exact else SMALLEST, -(-self._left // max(workers, 1)))

    @property
    def _left(self):
        return sum(count for _, count in self.ranges)

    def __bool__(self):
        return bool(self.returned or self.ranges)

    def put_back(self, one):
        self.returned.append(one)

    def take(self, workers, speed=None):
        """The next task, for one of so many workers that add ``speed`` neurons a second each (if known)."""
        if self.returned:
            return self.returned.popleft()
        share = -(-self._left // (TASKS_EACH * max(workers, 1)))
        longest = 0 if speed is None else round(speed * TASK_SECONDS)
        size = max(min(share, longest), self.smallest)
        size = -(-size // self.unit) * self.unit
        first, count = self.ranges.popleft()
        if count > size:
            self.ranges.appendleft((first + size, count - size))
        return first, min(count, size)
