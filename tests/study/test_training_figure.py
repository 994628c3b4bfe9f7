"""The figure of a training run: what it shows, of common and of extreme runs."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from fastntk.datasets import load
from fastntk.figures import style
from fastntk.figures import training as figures
from fastntk.study.settings import complete
from fastntk.study.task import make_task
from fastntk.study.watched import WatchedRun, advance, final_scores

SMALL = {"width": 64, "steps": 30, "record_every": 3, "eigenvalues_every": 10, "audit_every": 10}


def watched(data="iris", **given):
    """A short run on a data set."""
    settings = complete(SMALL | {"data": data} | given, rows=150)
    task = make_task(
        load(data), preprocessing="unit", test_fraction=settings.test_fraction, seed=settings.seed
    )
    result = WatchedRun(task, settings)
    advance(result, None, {"threads": 1})
    result.scores = final_scores(result, {"threads": 1})
    return result


@pytest.fixture(scope="module")
def usual():
    return watched()


def panels(figure):
    return {axes.get_title(loc="left"): axes for axes in figure.axes if axes.axison}


def curves(axes):
    """What is drawn, by colour: (steps, values)."""
    return {line.get_color(): line.get_xydata().T for line in axes.lines if len(line.get_xdata()) > 2}


def test_the_records_stand_in_the_figure(usual):
    figure = figures.training_figure(usual)
    assert isinstance(figure, Figure)
    shown, run, rows = panels(figure), usual.run, len(usual.task.X)
    assert list(shown) == [
        "Loss",
        "Accuracy",
        "How far the weights have moved",
        "Activations that have flipped",
        r"Step size $\times$ eigenvalues of the kernel",
        "Audit of the steps",
    ]
    loss = curves(shown["Loss"])
    np.testing.assert_array_equal(loss[figures.TRAINING], (run.recorded_steps, run.clean_loss / rows))
    np.testing.assert_array_equal(loss[figures.MASKED], (run.recorded_steps, run.masked_loss / rows))
    np.testing.assert_array_equal(loss[figures.HELD_OUT], (usual.curve.steps, usual.curve.loss))
    assert shown["Loss"].get_yscale() == "log"
    accuracy = curves(shown["Accuracy"])
    np.testing.assert_array_equal(accuracy[figures.TRAINING][1], run.accuracy)
    np.testing.assert_array_equal(accuracy[figures.HELD_OUT][1], usual.curve.score)
    moved = curves(shown["How far the weights have moved"])
    norms = np.linalg.norm(run.network.weights() - usual.initial_network.weights().astype(np.float32), axis=1)
    np.testing.assert_allclose(moved[figures.OTHER][1, -1], norms.max() / 2, rtol=1e-5)
    np.testing.assert_allclose(moved[figures.TRAINING][1, -1], np.sqrt((norms**2).mean()) / 2, rtol=1e-5)
    flipped = curves(shown["Activations that have flipped"])[figures.TRAINING]
    np.testing.assert_array_equal(flipped[1], run.flipped)


def test_the_default_step_size_is_half_of_what_is_stable():
    """The largest eigenvalue in the units of the figure is 1 at the start, over outputs and batches."""
    for given in ({"mask": "none"}, {"mask": "none", "batch_size": 40}, {"data": "diabetes", "mask": "none"}):
        run = watched(**given, steps=3, eigenvalues_every=3)
        axes = panels(figures.training_figure(run))[r"Step size $\times$ eigenvalues of the kernel"]
        largest = [line.get_ydata()[0] for line in axes.lines if line.get_label() == "largest"]
        assert largest == pytest.approx([1], abs=0.15 if "batch_size" in given else 0.01)


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ({"eigenvalues_every": 0}, 5),
        ({"eigenvalues_every": 0, "audit_every": 0, "test_fraction": 0}, 4),
        ({"steps": 1}, 6),
        ({"steps": 1, "record_every": 1, "mask": "none"}, 6),
        ({"data": "diabetes", "mode": "clean"}, 6),
        ({"batch_size": 1, "steps": 10}, 6),
    ],
)
def test_figures_of_extreme_runs(tmp_path, given, count):
    figure = figures.training_figure(watched(**given))
    assert len(panels(figure)) == count
    style.save(figure, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_numbers_that_are_not_finite_are_left_out(usual, tmp_path):
    run = usual.run
    broken = replace(
        run,
        clean_loss=np.where(run.recorded_steps > 9, np.inf, run.clean_loss),
        masked_loss=np.full_like(run.masked_loss, np.nan),
        accuracy=np.full_like(run.accuracy, 0.5),
        distance=np.where(run.recorded_steps > 9, np.nan, run.distance),
        smallest_eigenvalue=-np.abs(run.smallest_eigenvalue),
        audit_error=np.zeros_like(run.audit_error),
        status="diverged",
    )
    figure = figures.training_figure(WatchedRun(usual.task, usual.settings, broken, usual.curve))
    style.save(figure, tmp_path / "figure.png")


def test_curves_reach_the_end_of_a_run_that_stopped_between_records(usual):
    run = watched(steps=31)
    loss = curves(panels(figures.training_figure(run))["Loss"])
    for color, kind in ((figures.TRAINING, "training"), (figures.HELD_OUT, "held out")):
        assert loss[color][0, -1] == 31
        assert loss[color][1, -1] == run.scores[kind].loss


def test_figures_leave_matplotlib_as_it_was(usual):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    figures.training_figure(usual)
    assert dict(mpl.rcParams) == before
