"""Workers that share tasks: a caller that waits is asked whether to go on."""

import time

import pytest

from fastntk.engine.chunk import Stopped
from fastntk.engine.workers import run_workers


def test_a_long_task_is_left_when_a_report_raises():
    reports = []

    def work(tasks):
        for _ in tasks:
            for _ in range(1000):
                time.sleep(0.01)
                if tasks.stopped():
                    raise Stopped

    def report(count):
        reports.append(count)
        if len(reports) == 2:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        run_workers(work, range(4), 2, report)
    assert reports == [0, 0]  # nothing was done, some tenths of a second apart
