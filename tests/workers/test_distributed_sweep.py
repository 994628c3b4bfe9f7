"""Which ranges are where: every neuron once, whatever becomes of the tasks."""

import random
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastntk.engine import distributed_sweep, task_sizes
from fastntk.engine.chunk import CHUNK
from fastntk.engine.distributed_sweep import ExecutorWarning
from fastntk.engine.workers_elsewhere import Broken, Cancelled, Lost, NoWorkers, Unknown

from .toy import Toy, ToyWorkers

pytestmark = pytest.mark.filterwarnings("ignore::fastntk.ExecutorWarning")
FOREVER = 1e9


@pytest.fixture
def toy(monkeypatch):
    return Toy(monkeypatch)


def in_turn(*fates, after=(1.0, None)):
    """A plan: the first tasks have these (seconds, fate), the others ``after``."""
    left = list(fates)
    return lambda workers, what: left.pop(0) if left else after


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=400)
@given(
    seed=st.integers(0, 2**32),
    merges=st.booleans(),
    exact=st.booleans(),
    count=st.integers(1, 9),
    width=st.integers(1, 2 * 10**6),
    every=st.sampled_from([7.0, 100.0, float("inf")]),
)
def test_anything_may_happen_to_tasks(monkeypatch, seed, merges, exact, count, width, every):
    chance, toy = random.Random(seed), Toy(monkeypatch)
    monkeypatch.setattr(distributed_sweep, "ATTEMPTS", 50)
    monkeypatch.setattr(distributed_sweep, "POLL_SECONDS", 2.0)
    monkeypatch.setattr(task_sizes, "SMALLEST_EXACT", 2 * CHUNK)

    def plan(workers, what):
        if chance.random() < 0.01:
            workers.workers = chance.choice([1, count, count + 3])  # workers leave and join
        if chance.random() < 0.001 and toy.clock.now > 1010:
            workers.broken = Broken("as planned")
        seconds = chance.expovariate(0.2) + (FOREVER if chance.random() < 0.05 else 0)
        fates = [None, Lost("as planned"), MemoryError("as planned"), Unknown()]
        fate = chance.choices(fates, [80, 10, 3, 7 if what != "merge" else 0])[0]
        return seconds, fate

    toy.sweep(ToyWorkers(toy.clock, plan, count, merges), width, exact, every)


@pytest.mark.parametrize("merges", [False, True])
def test_a_lost_task_is_done_again(toy, merges):
    workers = ToyWorkers(toy.clock, in_turn((1, Lost("its worker died"))), merges=merges)
    with pytest.warns(ExecutorWarning, match="its worker died") as caught:
        toy.sweep(workers)
    assert len(caught) == 1


def test_a_worker_that_does_not_know_the_problem_is_no_loss(toy, recwarn):
    toy.sweep(ToyWorkers(toy.clock, in_turn((1, Unknown()), (1, Unknown()))))
    assert not recwarn


def test_a_range_that_is_always_lost_is_an_error(toy):
    first = []

    def plan(workers, what):
        first[:] = first or [what]
        return 1.0, Lost("short of luck") if what == first[0] else None

    workers = ToyWorkers(toy.clock, plan)
    with pytest.raises(RuntimeError, match=r"neurons 0 to .* were lost 4 times .*: short of luck"):
        toy.sweep(workers)
    assert sum(handle.place == first[0] for handle in workers.handles) == 4


def test_restarts_of_all_workers_are_no_fault_of_a_range(toy):
    """However many there are; it is said that there were some."""
    restarts = in_turn(*[(1.0, Cancelled("it was cancelled"))] * 9)
    with pytest.warns(ExecutorWarning, match="it was cancelled"):
        toy.sweep(ToyWorkers(toy.clock, restarts, count=1))


def test_a_memory_error_that_stays_is_the_callers(toy):
    error = MemoryError("1797 x 1797 samples need about 3 GB")
    workers = ToyWorkers(toy.clock, lambda workers, what: (1.0, error))
    with pytest.raises(MemoryError) as caught:
        toy.sweep(workers)
    assert caught.value is error


@pytest.mark.parametrize("merges", [False, True])
def test_what_a_task_raises_is_the_callers_at_once(toy, merges):
    error = ZeroDivisionError("in a kernel")
    workers = ToyWorkers(toy.clock, in_turn((5, None), (1, error), after=(100, None)), merges=merges)
    with pytest.raises(ZeroDivisionError) as caught:
        toy.sweep(workers)
    assert caught.value is error
    assert toy.clock.now < 1002
    assert all(handle.is_dropped for handle in workers.handles if handle.fate is not error)


def test_a_stalled_task_gets_a_twin_and_may_still_come_back(toy):
    """The first range takes forever, its twin twice as long as the patience; it is added once."""
    workers = ToyWorkers(toy.clock, in_turn((FOREVER, None)))
    toy.sweep(workers)
    twins = [handle for handle in workers.handles if handle.place == workers.handles[0].place]
    assert len(twins) == 2
    assert twins[0].is_dropped
    assert 1060 < toy.clock.now < 1090


def test_a_lost_twin_does_not_start_a_third(toy):
    """The one of two that is lost is forgotten while the other one runs."""
    fates = iter([(100, None), (75, Lost("late"))])  # the stalled one, and its twin
    first = []

    def plan(workers, what):
        first[:] = first or [what]
        return next(fates, (1.0, None)) if what == first[0] else (1.0, None)

    workers = ToyWorkers(toy.clock, plan)
    toy.sweep(workers, width=40 * CHUNK)
    assert sum(handle.place == first[0] for handle in workers.handles) == 2


def test_workers_that_never_answer_are_given_up(toy):
    """After a first success nothing ends any more: the rest is done here."""
    workers = ToyWorkers(toy.clock, in_turn((1, None), after=(FOREVER, None)))
    with pytest.warns(ExecutorWarning, match="no answer for 240 s"):
        toy.sweep(workers)
    assert toy.added_here
    assert all(handle.is_dropped for handle in workers.handles[1:])


def test_not_a_single_answer(toy):
    """Nothing to compare with: ten times the patience."""
    with pytest.warns(ExecutorWarning, match="no answer for 2400 s"):
        toy.sweep(ToyWorkers(toy.clock, in_turn(after=(FOREVER, None))))


def test_a_stalled_merge_is_done_again_from_its_ranges(toy):
    stalled = []

    def plan(workers, what):
        if what == "merge" and not stalled:
            stalled.append(what)
            return FOREVER, None
        return 1.0, None

    with pytest.warns(ExecutorWarning, match="no answer"):
        toy.sweep(ToyWorkers(toy.clock, plan, merges=True))


@pytest.mark.parametrize("merges", [False, True])
def test_a_broken_executor_leaves_the_rest_to_this_process(toy, merges):
    def plan(workers, what):
        if len(workers.handles) == 9:
            workers.broken = Broken("a process died")
        return 1.0, None

    with pytest.warns(ExecutorWarning, match=r"executor has failed \(a process died\)"):
        toy.sweep(ToyWorkers(toy.clock, plan, merges=merges), width=10**7, every=2.0)


def test_no_workers_for_a_while(toy):
    """The workers leave after the first tasks; the run says so once, and waits."""

    def plan(workers, what):
        if len(workers.handles) == 8:
            workers.workers, workers.back_at = 0, toy.clock.now + 5000
            return 5000.0, None
        if workers.workers == 0 and toy.clock.now >= workers.back_at:
            workers.workers = 3
        return (1.0 if workers.workers else 5000.0), None

    workers = ToyWorkers(toy.clock, plan)
    with pytest.warns(ExecutorWarning, match="no workers; waiting") as caught:
        toy.sweep(workers, width=10**7)
    assert len(caught) == 1
    places = [handle.place for handle in workers.handles]
    assert len(set(places)) == len(places)  # waiting is no stall


def test_nobody_to_submit_to_for_a_while(toy):
    """The data has gone with the last worker: nothing is submitted until there is another."""
    workers = ToyWorkers(toy.clock, in_turn())
    submit, back_at = workers.submit, toy.clock.now + 500

    def not_yet(*arguments, **options):
        if toy.clock.now < back_at:
            raise NoWorkers
        return submit(*arguments, **options)

    workers.submit = not_yet
    toy.sweep(workers)


def test_sums_are_fetched_now_and_then(toy):
    """So that a worker that dies does not take the work of hours with it."""
    workers, fetched = ToyWorkers(toy.clock, in_turn(after=(8.0, None)), merges=True), []
    fetch = workers.fetch
    workers.fetch = lambda handle: fetched.append(toy.clock.now) or fetch(handle)
    toy.sweep(workers, width=3 * 10**7)
    times = [1000.0, *fetched]
    assert len(times) > 4
    assert max(later - earlier for earlier, later in pairwise(times)) < 50


def test_a_deadline_is_kept_and_tasks_stay_on_their_way(toy):
    """Between two advances nothing is dropped, and nothing is submitted twice."""
    workers = ToyWorkers(toy.clock, in_turn(after=(3.0, None)), count=2, merges=True)
    toy.sweep(workers, width=10**7, every=4.0)
    ranges = [handle.place for handle in workers.handles if handle.place != "merge"]
    assert len(set(ranges)) == len(ranges)
    assert not any(handle.is_dropped for handle in workers.handles)


def test_progress_that_raises_leaves_nothing_behind(toy):
    def report(count):
        if count:
            raise KeyboardInterrupt

    workers = ToyWorkers(toy.clock, in_turn((1.0, None), after=(50.0, None)))
    with pytest.raises(KeyboardInterrupt):
        toy.sweep(workers, report=report)
    assert all(handle.is_dropped for handle in workers.handles[1:])


def test_tasks_grow_to_their_seconds_and_shrink_to_the_end(toy):
    speed = 10**6
    workers = ToyWorkers(toy.clock, lambda workers, what: (what[1] / speed, None), count=2)
    toy.sweep(workers, width=3 * 10**8)
    sizes = [handle.place[1] / speed for handle in workers.handles]
    assert sizes[0] < 1
    assert 8 < max(sizes) < 45  # two of them are on their way to one worker here: the speed is overestimated
    assert sizes[-1] < 1
    assert len(sizes) < 60


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("width", [1, 511, CHUNK + 1, 40 * CHUNK - 3])
def test_ranges_begin_where_the_sums_allow(toy, width, exact):
    workers = ToyWorkers(toy.clock, in_turn(after=(1.0, None)))
    toy.sweep(workers, width, exact)
    unit = 512 if exact else CHUNK
    assert all(handle.place[0] % unit == 0 for handle in workers.handles)
