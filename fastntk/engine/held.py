"""What a worker process keeps from task to task, so that data are sent once and inputs packed once.

It is given up when another run needs the room, and when no task has come for a while.
"""

import os
import threading
from contextlib import contextmanager

KEPT = 2  # problems: two calls at once on one pool do not take turns in sending theirs
FORGET_SECONDS = 60.0  # after the last task

_lock = threading.Lock()
_held: dict = {}  # token: Held, the last used last
_users = 0  # tasks that run now
_timer: threading.Timer | None = None


class Held:
    """A problem, and the inputs of the part at hand."""

    def __init__(self, problem):
        self.problem = problem
        self._part = self._inputs = None
        self._lock = threading.Lock()

    def inputs(self, part):
        with self._lock:  # tasks that start together pack them once
            if part != self._part:
                self._part = self._inputs = None  # no two at a time
                self._inputs = self.problem.inputs(part)
                self._part = part
            return self._inputs


@contextmanager
def held(token, problem=None):
    """What is held under ``token``, from now on ``problem`` if nothing is; None where neither is there."""
    global _users
    with _lock:
        _users += 1
        _stop_timer()
        one = _held.pop(token, None) or (problem and Held(problem))
        if one is not None:
            _held[token] = one
        for old in list(_held)[:-KEPT]:
            del _held[old]
    try:
        yield one
    finally:
        with _lock:
            _users -= 1
            if not _users:
                _start_timer()


def _start_timer():
    global _timer
    _timer = threading.Timer(FORGET_SECONDS, _forget)
    _timer.daemon = True
    _timer.start()


def _stop_timer():
    global _timer
    if _timer is not None:
        _timer.cancel()
        _timer = None


def _forget():
    with _lock:
        if not _users:
            _held.clear()


def _after_fork():
    """A forked child has none of the parent's threads, and may have copied a held lock."""
    global _lock, _users, _timer
    _lock, _users, _timer = threading.Lock(), 0, None
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
