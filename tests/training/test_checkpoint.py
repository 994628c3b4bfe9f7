"""train(checkpoint=): a run that is stopped in any way goes on to the same bits."""

import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest

import fastntk as fn
from fastntk.engine import checkpoint as checkpoints

RNG = np.random.default_rng(0)
X = RNG.standard_normal((12, 5))
Y = np.sin(X[:, 0])
NETWORK = fn.Network(width=600, dim=5, seed=2)
MASK = fn.GaussianMask(0.2)
STEPS = 41


@pytest.fixture
def often(monkeypatch):
    """A save before every step."""
    monkeypatch.setattr(checkpoints, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "COST_FACTOR", 0.0)


def train(steps=STEPS, network=NETWORK, y=Y, **options):
    return fn.train(X, y, network=network, mask=MASK, steps=steps, record_every=4, **options)


class Killed(BaseException):
    """Stands for the end of the process: nothing of the package may catch it."""


@contextmanager
def killed_after(monkeypatch, saves):
    """The process ends in the middle of a save, after so many whole ones."""
    save = checkpoints.Checkpoint.save
    done = []

    def counted(self, *arguments):
        if len(done) == saves:
            raise Killed
        done.append(save(self, *arguments))

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.Checkpoint, "save", counted)
        yield


def same(run, other):
    np.testing.assert_array_equal(run.network.weights(), other.network.weights())
    for name in ("recorded_steps", "clean_loss", "masked_loss", "distance", "flipped", "accuracy"):
        np.testing.assert_array_equal(getattr(run, name), getattr(other, name))
    assert (run.step_size, run.steps_done, run.status) == (other.step_size, other.steps_done, other.status)


OPTIONS = {
    "full batches": {},
    "mini-batches": {"batch_size": 5, "step_size": 0.01},
    "classes": {"network": fn.Network(300, 5, outputs=3), "y": np.arange(12) % 3},
    "given weights": {
        "network": fn.Network.from_arrays(RNG.standard_normal((200, 5)), RNG.standard_normal((200, 1)))
    },
    "expected": {"mode": "expected", "network": fn.Network(60, 5)},
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.usefixtures("often")
def test_killed_runs_go_on_to_the_same_bits(name, tmp_path, monkeypatch):
    options = OPTIONS[name]
    whole = train(**options)
    for saves in (1, 9, 17):
        with killed_after(monkeypatch, saves), pytest.raises(Killed):
            train(checkpoint=tmp_path / "run", threads=1 + saves % 2, **options)
    same(train(checkpoint=tmp_path / "run", **options), whole)


@pytest.mark.usefixtures("often")
def test_more_steps(tmp_path):
    train(checkpoint=tmp_path / "run", steps=20)
    same(train(checkpoint=tmp_path / "run"), train())


def test_an_interrupt_keeps_the_last_step(tmp_path):
    def impatient(done, total):
        if done == 15:
            raise KeyboardInterrupt

    with pytest.raises(fn.TrainingInterrupted) as caught:
        train(checkpoint=tmp_path / "run", progress=impatient)
    began_with = []
    run = train(checkpoint=tmp_path / "run", progress=lambda done, total: began_with.append(done))
    assert began_with[0] == caught.value.run.steps_done + 1 >= 16
    same(run, train())


@pytest.mark.usefixtures("often")
def test_a_checkpoint_and_a_run_to_go_on_with(tmp_path):
    """The checkpoint begins with the run, and is what counts once it is there."""
    earlier = train(steps=10)
    train(steps=20, resume=earlier, checkpoint=tmp_path / "run")
    same(train(resume=earlier, checkpoint=tmp_path / "run"), train())


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, "is of another run: seed was 0, now 1"),
        ({"y": -Y}, "is of another run: y was"),
        ({"mode": "clean"}, "is of another run: mode was masked, now clean"),
        ({"step_size": 1e-3}, "checkpoint is a run of something else: step_size"),
        ({"steps": 5}, "checkpoint is a run of 19 steps already, more than steps=5"),
    ],
)
def test_another_run(changes, message, tmp_path):
    train(checkpoint=tmp_path / "run", steps=20)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(ValueError, match=message):
        train(checkpoint=tmp_path / "run", **changes)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


SCRIPT = """
import sys
import numpy as np
import fastntk as fn
from fastntk.engine import checkpoint

checkpoint.FIRST_SECONDS = checkpoint.COST_FACTOR = 0.0
X = np.random.default_rng(0).standard_normal((200, 30))
run = fn.train(
    X, X[:, 0], network=fn.Network(8000, 30), mask=fn.GaussianMask(0.1), steps=40, checkpoint=sys.argv[1],
    step_size=0.001, record_every=20, progress=lambda done, total: print(done, flush=True),
)
np.save(sys.argv[2], run.network.weights(0, 500))
"""


@pytest.mark.soak
def test_sigkill(tmp_path):
    """Killed after a few steps, again and again: each process goes on where a save of the last one was."""
    whole, command = tmp_path / "whole.npy", [sys.executable, "-P", "-c", SCRIPT]
    subprocess.run([*command, tmp_path / "once", whole], check=True, capture_output=True)
    first, done = [], False
    for _ in range(20):
        process = subprocess.Popen(
            [*command, tmp_path / "run", tmp_path / "K.npy"], stdout=subprocess.PIPE, text=True
        )
        with process:
            lines = []
            for line in process.stdout:
                lines.append(int(line))
                if len(lines) == 15:
                    process.kill()
        first += lines[:1]
        done = process.returncode == 0
        if done:
            break
    assert done
    assert first == sorted(first)
    assert first[-1] > 20
    np.testing.assert_array_equal(np.load(tmp_path / "K.npy"), np.load(whole))
