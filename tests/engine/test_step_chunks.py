"""Every neuron stands in one chunk, and its output weights are its scale times its direction."""

import numpy as np
import pytest

from fastntk import Network
from fastntk.engine import step_chunks
from fastntk.engine.step_chunks import CHUNK, StepChunks

RNG = np.random.default_rng(0)
SIGNS = np.array([-1.0, 1.0])
OUTPUT_WEIGHTS = {
    "one output": RNG.standard_normal(5000),
    "signs": RNG.choice(SIGNS, (5000, 3)),
    "scaled signs": RNG.choice(SIGNS, (5000, 3)) * 2.0 ** RNG.integers(-3, 4, (5000, 1)),
    "one output each": np.eye(4)[RNG.integers(0, 4, 5000)] * RNG.standard_normal((5000, 1)),
    "with zeros": RNG.choice([-1.0, 0.0, 1.0], (5000, 2)),
    "all zero": np.zeros((100, 2)),
    "all equal": np.ones((3, 2)),
    "huge": 1e60 * RNG.choice(SIGNS, (50, 2)),
    "tiny": 1e-60 * RNG.standard_normal(50),
}


@pytest.mark.parametrize("a", OUTPUT_WEIGHTS.values(), ids=OUTPUT_WEIGHTS)
def test_output_weights_are_scale_times_direction(a):
    network = Network.from_arrays(np.ones((len(a), 1)), a)
    plan = StepChunks(network._neurons, tile=6)
    a = a.reshape(len(a), -1)
    assert (np.sort(np.concatenate([chunk.order for chunk in plan.chunks])) == np.arange(len(a))).all()
    for chunk in plan.chunks:
        count = len(chunk.order)
        assert count <= CHUNK
        assert len(chunk.a) % 6 == 0
        assert (chunk.a[count:] == 0).all()
        np.testing.assert_allclose(
            np.ldexp(chunk.a[:count].astype(float), plan.exponent), a[chunk.order], rtol=1e-7
        )
        if not len(chunk.stops):
            assert (chunk.scale == 1).all()
            continue
        direction = chunk.directions[np.searchsorted(chunk.stops, np.arange(count), side="right")]
        assert np.abs(direction).max() <= 1
        rebuilt = np.ldexp(chunk.scale.astype(float)[:, None] * direction, plan.exponent)
        np.testing.assert_allclose(rebuilt, a[chunk.order], rtol=1e-7)


def test_signs_of_several_outputs_are_sorted_into_half_as_many_directions_as_there_are():
    network = Network(5000, 1, outputs=3)
    chunks = StepChunks(network._neurons, tile=6).chunks
    assert len({direction.tobytes() for chunk in chunks for direction in chunk.directions}) == 4
    assert sum(len(chunk.stops) for chunk in chunks) == 4 + len(chunks) - 1  # a chunk's end may cut one


def test_many_directions_are_left_to_the_dense_update():
    network = Network.from_arrays(np.ones((3000, 1)), RNG.standard_normal((3000, 2)))
    for chunk in StepChunks(network._neurons, tile=6).chunks:
        assert len(chunk.stops) == len(chunk.directions) == 0
        assert (chunk.scale == 1).all()
        assert (np.diff(chunk.order) == 1).all()


def test_a_few_common_directions_beside_many_rare_ones():
    common = RNG.choice(SIGNS, (40_000, 2))
    rare = RNG.standard_normal((2000, 2))
    network = Network.from_arrays(np.ones((42_000, 1)), np.concatenate([common, rare]))
    chunks = StepChunks(network._neurons, tile=6).chunks
    by_table = [chunk for chunk in chunks if len(chunk.stops)]
    assert all(len(chunk.stops) * step_chunks.NEURONS_PER_CLASS <= len(chunk.order) for chunk in by_table)
    assert sum(len(chunk.order) for chunk in by_table) > 35_000


def test_rows_that_one_number_does_not_tell_apart():
    confused = np.array([[np.cos(2.0), 0.0], [0.0, np.cos(1.0)]])  # both give cos(1) cos(2)
    unique, place = step_chunks._unique_rows(confused[[0, 1, 0]])
    assert (unique[place] == confused[[0, 1, 0]]).all()
    assert len(unique) == 2


def test_groups_hold_all_chunks_in_order_and_do_not_grow_without_end():
    plan = StepChunks(Network(2_000_000, 1)._neurons, tile=6)
    for values in (1, 10**5, 10**9):
        groups = plan.groups(values)
        assert [chunk for group in groups for chunk in group] == list(range(len(plan.chunks)))
        assert len(groups) <= step_chunks.MOST_GROUPS
        assert len(groups) * values <= 2 * step_chunks.GROUP_VALUES or len(groups) <= 16
