"""Going on with a run: by more steps, through a file, in another process; the bits never know."""

import dataclasses

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastntk as fn

from ..subprocesses import run_script
from .problems import HISTORY, MASK, assert_same, network, rows, targets, train, weights

RECORDED = {"record_every": 3, "eigenvalues_every": 4, "audit_every": 2}
STEPS = 11


# ------------------------------------------------------------------------------------- more steps
@given(
    splits=st.lists(st.integers(1, STEPS), max_size=3),
    batch_size=st.sampled_from([None, 4]),
    q=st.sampled_from([1, 3]),
    virtual=st.booleans(),
    in_file=st.booleans(),
)
@hypothesis.settings(max_examples=12)
def test_any_split(tmp_path_factory, splits, batch_size, q, virtual, in_file):
    """0 .. a, a .. b, .. , to the end: the weights and the whole history of going there at once."""
    net = fn.Network(70, 5, outputs=q) if virtual else network(outputs=q)
    options = {"network": net, "outputs": q, "batch_size": batch_size, **RECORDED}
    path, run = tmp_path_factory.mktemp("run") / "run.npz", None
    for steps in [*sorted(splits), STEPS]:
        run = train(steps=steps, resume=run, **options)
        if in_file:
            run.save(path)
            run = path if steps % 2 else fn.TrainingRun.load(path)
    run = fn.TrainingRun.load(run) if run is path else run
    assert_same(run, train(steps=STEPS, **options))


def test_resume_with_other_threads():
    net = fn.Network(20_001, 5)
    half = train(network=net, steps=3, threads=2)
    assert_same(train(network=net, threads=3, resume=half), train(network=net, threads=1))


def test_resume_with_the_step_size_of_the_rule():
    """Found once: the resumed run has it from the run, whether it is given again or not."""
    whole, half = train(step_size=None), train(step_size=None, steps=3)
    assert_same(train(step_size=None, resume=half), whole)
    assert_same(train(step_size=half.step_size, resume=half), whole)


def test_resume_into_an_array(tmp_path):
    half, out = train(steps=3), np.lib.format.open_memmap(tmp_path / "W.npy", "w+", np.float32, (37, 5))
    run = train(resume=half, out=out)
    assert_same(run, train())
    np.testing.assert_array_equal(out, weights(run))


def test_resume_in_place():
    """The array of the first run is that of the second."""
    out = np.empty((37, 5), np.float32)
    half = train(steps=3, out=out)
    assert_same(train(resume=half, out=out), train())


def test_resume_of_a_run_whose_array_has_been_written_over():
    """Its weights are no longer those of its steps: refused, or right, but not silently something else."""
    out = np.empty((37, 5), np.float32)
    half = train(steps=3, out=out)
    train(resume=half, out=out)
    try:
        run = train(resume=half)
    except ValueError:
        return
    assert_same(run, train())


def test_a_run_whose_array_has_been_written_over_is_not_saved(tmp_path):
    out = np.empty((37, 5), np.float32)
    half = train(steps=3, out=out)
    half.save(tmp_path / "half.npz")
    train(resume=half, out=out)
    with pytest.raises(ValueError, match="written over"):
        half.save(tmp_path / "other.npz")
    assert [file.name for file in tmp_path.iterdir()] == ["half.npz"]
    assert_same(train(resume=tmp_path / "half.npz"), train())


def test_records_that_the_first_part_did_not_have():
    half = train(steps=4, record_every=3)
    run = train(steps=8, resume=half, record_every=2, eigenvalues_every=4, audit_every=4)
    np.testing.assert_array_equal(run.recorded_steps, [0, 3, 4, 6, 8])
    np.testing.assert_array_equal(run.eigenvalue_steps, [4, 8])
    np.testing.assert_array_equal(run.audit_steps, [4])


def test_a_run_that_was_interrupted_before_it_recorded_anything():
    half = train(steps=4)
    empty = {name: getattr(half, name)[:0] for name in HISTORY if getattr(half, name) is not None}
    start = fn.Network.from_arrays(network().weights(), network().output_weights())
    first = dataclasses.replace(half, network=start, steps_done=0, loss_limit=None, **empty)
    assert_same(train(resume=first), train())


def test_labels_do_not_go_on_with_a_run_of_numbers():
    labels = np.arange(14) % 3
    half = train(y=np.eye(3)[labels], outputs=3, steps=3)
    with pytest.raises(ValueError, match="y differ"):
        train(y=labels, outputs=3, resume=half)


def test_resume_leaves_the_first_run_alone():
    half = train(steps=3, record_every=1)
    kept = weights(half), half.clean_loss.copy()
    train(steps=7, record_every=1, resume=half)
    np.testing.assert_array_equal(weights(half), kept[0])
    np.testing.assert_array_equal(half.clean_loss, kept[1])
    assert half.steps_done == 3


def test_resume_of_a_finished_run():
    run = train()
    assert_same(train(resume=run), run)


def test_labels_and_accuracy_survive(tmp_path):
    labels = np.random.default_rng(0).integers(0, 3, 14)
    options = {"y": labels, "outputs": 3, "record_every": 2}
    whole, half = train(steps=8, **options), train(steps=4, **options)
    half.save(tmp_path / "run.npz")
    assert_same(train(steps=8, resume=tmp_path / "run.npz", **options), whole)


def test_resume_in_another_process(tmp_path):
    """Nothing of the run lives in the process."""
    code = """
    import sys
    y = np.linspace(-1, 1, 9)
    options = dict(network=NETWORK, mask=MASK, step_size=0.1, seed=2, record_every=4, batch_size=4)
    run = fn.train(X, y, steps=int(sys.argv[1]), resume=sys.argv[2] if len(sys.argv) > 2 else None, **options)
    run.save(f"{sys.argv[1]}.npz")
    print(hash((run.network.weights().tobytes(), run.clean_loss.tobytes(), run.masked_loss.tobytes())))
    """
    whole = run_script(code, 9, cwd=tmp_path)
    run_script(code, 5, cwd=tmp_path)
    assert run_script(code, 9, "5.npz", cwd=tmp_path) == whole


# ------------------------------------------------------------------------------- not the same run
DIFFERENT = {
    "network": {"network": network(seed=1)},
    "output weights": {
        "network": fn.Network.from_arrays(network().weights(), -network().output_weights()),
        "named": "network",
    },
    "width": {"network": network(width=36), "named": "network"},
    "virtual network": {"network": fn.Network(37, 5), "named": "network"},
    "X": {"X": rows(seed=1)},
    "number of rows": {"X": rows(15)[1:], "named": "X"},
    "y": {"y": -targets()},
    "mask": {"mask": fn.GaussianMask(0.31)},
    "kind of mask": {"mask": fn.AdditiveMask(0.3), "named": "mask"},
    "no mask": {"mask": None, "named": "mask"},
    "step_size": {"step_size": 0.31},
    "batch_size": {"batch_size": 7},
    "mode": {"mode": "clean"},
    "seed": {"seed": 6},
    "row_ids": {"row_ids": np.arange(1, 15)},
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_resume_of_another_run(name, tmp_path):
    """The error says what differs, and nothing else; from a file too."""
    half, changes = train(steps=3), dict(DIFFERENT[name])
    named = changes.pop("named", name)
    half.save(tmp_path / "run.npz")
    for state in (half, tmp_path / "run.npz"):
        with pytest.raises(ValueError, match=rf"\b{named}\b") as caught:
            train(resume=state, **changes)
        others = {"network", "y", "mask", "step_size", "batch_size", "mode", "seed", "row_ids"} - {named}
        said = str(caught.value)
        assert not [other for other in others if f"{other} " in said.split(";", maxsplit=1)[0]], said


def test_virtual_networks_of_another_seed_or_scale():
    half = train(network=fn.Network(37, 5), steps=3)
    for other in (fn.Network(37, 5, seed=1), fn.Network(37, 5, scale=2.0)):
        with pytest.raises(ValueError, match="network"):
            train(network=other, resume=half)


def test_targets_in_another_form_are_the_same_targets():
    labels = np.random.default_rng(0).integers(0, 3, 14)
    half = train(y=np.eye(3)[labels], outputs=3, steps=3)
    whole = train(y=np.eye(3)[labels], outputs=3)
    assert_same(train(y=np.eye(3)[labels].astype(int), outputs=3, resume=half), whole)
    assert_same(train(mask=fn.GaussianMask(np.float64(0.3)), resume=train(steps=2)), train(mask=MASK))


def test_resume_of_more_steps_than_wanted():
    with pytest.raises(ValueError, match="steps"):
        train(steps=3, resume=train(steps=7))


@pytest.mark.parametrize("state", [7, b"run", np.zeros(3), {"steps": 3}], ids=repr)
def test_resume_of_something_else(state):
    with pytest.raises((TypeError, ValueError), match="resume"):
        train(resume=state)
