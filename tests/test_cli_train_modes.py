"""``fastntk train --mode expected | first-order --expected-every``: the run, its records and its page."""

import re

import numpy as np
import pytest

import fastntk as fn
from fastntk import cli
from fastntk.figures import training as figures_of_training
from fastntk.study import training_folder

from .train_command import draw_nothing, history, record, train

IRIS = ["--data", "iris", "--width", "24", "--steps", "6", "--record-every", "2", "--quiet"]
MODES = ["expected", "first-order"]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def page(folder):
    return " ".join((folder / "index.html").read_text(encoding="utf-8").split())


@pytest.fixture
def no_picture(monkeypatch):
    draw_nothing(monkeypatch)


@pytest.fixture(
    scope="module",
    params=[("expected", fn.GaussianMask(0.2)), ("first-order", fn.AdditiveMask(0.02))],
    ids=["expected", "first-order"],
)
def run(request, tmp_path_factory):
    """(mode, mask, the folder of a run with everything recorded)."""
    mode, mask = request.param
    folder = tmp_path_factory.mktemp("run") / "out"
    options = ["--mode", mode, "--expected-every", "3", "--batch-size", "60", "--output", str(folder)]
    options += ["--mask", "additive"] if isinstance(mask, fn.AdditiveMask) else []
    assert cli.main(["train", *IRIS, *options]) == 0
    return mode, mask, folder


def test_the_run_is_that_of_the_api(run):
    """Weights, and the records by the columns of the CSV file, empty where a step has none of a kind."""
    mode, mask, folder = run
    with np.load(folder / "data.npz") as data:
        expected = fn.train(
            *(data["X"], data["y"]),
            network=fn.Network(24, 4, outputs=3, seed=0),
            mask=mask,
            mode=mode,
            step_size=record(folder)["results"]["step_size"],
            steps=6,
            batch_size=60,
            record_every=2,
            expected_every=3,
            row_ids=data["ids"],
        )
    kept = fn.TrainingRun.load(folder / "run.npz")
    np.testing.assert_array_equal(kept.network.weights(), expected.network.weights())
    columns = history(folder)
    np.testing.assert_array_equal(columns["step"], [0, 2, 3, 4, 6])
    for name, steps in (
        ("clean_loss", [0, 2, 4, 6]),
        ("masked_loss", [0, 2, 4, 6]),
        ("accuracy", [0, 2, 4, 6]),
        ("smoothed_mse", [0, 3, 6]),
        ("regulariser", [0, 3, 6]),
    ):
        recorded = np.isin(columns["step"], steps)
        np.testing.assert_array_equal(columns[name][recorded], getattr(expected, name), err_msg=name)
        assert np.isnan(columns[name][~recorded]).all()
    assert "audit_error" in columns
    assert np.isnan(columns["audit_error"]).all()  # there are no steps under masks to audit
    settings = record(folder)["settings"]
    assert (settings["mode"], settings["expected_every"], settings["audit_every"]) == (mode, 3, 0)


def test_the_page_says_what_was_descended(run):
    mode, _, folder = run
    text = page(folder)
    assert "Every step descends the loss in the mean over all masks" in text
    assert ("by its exact gradient" in text) == (mode == "expected")
    assert ("the first term of the regulariser" in text) == (mode == "first-order")
    assert "no mask is drawn" in text
    assert "which is what the step sees" not in text
    assert "Violet: the mean over all masks" in text
    assert "<dt>Audit of the steps</dt>" not in text
    assert "{{" not in text
    assert f'mode="{mode}"' in text  # in the Python that gives the same run
    assert re.search(r"expected.every</t[dh]> ?<td>3</td>", text)


def test_the_page_says_whose_masked_loss_is_drawn(run):
    """That of all rows: only steps under masks see the masked rows of a batch alone."""
    assert "those of its batch" not in page(run[-1])


def test_the_python_of_the_page_gives_the_run_of_the_page(run, monkeypatch):
    import html

    *_, folder = run
    (code,) = re.findall("<pre><code>(.*?)</code>", (folder / "index.html").read_text("utf-8"), re.DOTALL)
    monkeypatch.chdir(folder)
    names: dict = {}
    exec(html.unescape(code), names)
    np.testing.assert_array_equal(names["run"].network.weights(), names["same"].network.weights())


def test_expected_losses_of_a_masked_run(capsys, tmp_path, no_picture):
    """They go with every mode; without them neither the page nor the picture speaks of them."""
    assert train(capsys, *IRIS, "--expected-every", "6", "--output", "with")[0] == 0
    assert train(capsys, *IRIS, "--output", "without")[0] == 0
    found = history(tmp_path / "with")
    assert np.isfinite(found["regulariser"]).tolist() == [True, False, False, True]
    kept = fn.TrainingRun.load(tmp_path / "with" / "run.npz")
    np.testing.assert_array_equal(found["smoothed_mse"][[0, 3]], kept.smoothed_mse)
    assert "Violet" in page(tmp_path / "with")
    assert "Every step sees every row under a fresh mask" in page(tmp_path / "with")
    assert np.isnan(history(tmp_path / "without")["regulariser"]).all()
    assert "Violet" not in page(tmp_path / "without")
    assert record(tmp_path / "without")["settings"]["expected_every"] == 0


def test_the_picture_has_the_expected_loss_and_its_regulariser(capsys, monkeypatch):
    """A mean over the rows, like the other losses of the panel."""
    real, figures = figures_of_training.training_figure, []

    def kept(watched):
        figures.append(real(watched))
        return figures[-1]

    monkeypatch.setattr(training_folder.figures, "training_figure", kept)
    assert train(capsys, *IRIS, "--mode", "first-order", "--expected-every", "3", "--output", "out")[0] == 0
    run, (figure,) = fn.TrainingRun.load("out/run.npz"), figures
    (axes,) = [axes for axes in figure.axes if axes.get_title() == "Loss" or axes.get_title("left") == "Loss"]
    drawn = [line.get_data() for line in axes.lines]
    for values in (run.expected_loss / 120, run.regulariser / 120):
        assert [1 for x, y in drawn if len(x) == 3 and np.allclose(y, values, rtol=1e-12)] == [1]
    assert "training rows, mean over masks" in [line.get_label() for line in axes.lines]


@pytest.mark.parametrize("mode", MODES)
def test_a_run_that_goes_on_has_the_bits_of_one_that_never_stopped(capsys, tmp_path, no_picture, mode):
    common = [*IRIS, "--mode", mode, "--expected-every", "2", "--eigenvalues-every", "3"]
    assert train(capsys, *common, "--steps", "9", "--output", "whole")[0] == 0
    assert train(capsys, *common, "--steps", "4", "--output", "part")[0] == 0
    assert train(capsys, "--quiet", "--resume", "part", "--steps", "9")[0] == 0
    assert (tmp_path / "part/history.csv").read_bytes() == (tmp_path / "whole/history.csv").read_bytes()
    part, whole = (fn.TrainingRun.load(tmp_path / name / "run.npz") for name in ("part", "whole"))
    np.testing.assert_array_equal(part.network.weights(), whole.network.weights())
    assert record(tmp_path / "part")["results"] == record(tmp_path / "whole")["results"]
    status, _, err = train(capsys, "--quiet", "--resume", "part", "--steps", "12", "--mode", "masked")
    assert status == 2
    assert f"started with --mode {mode}" in err
    status, _, err = train(capsys, "--quiet", "--resume", "part", "--steps", "12", "--expected-every", "1")
    assert status == 2
    assert "started with --expected-every 2" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mode", "expected", "--mask", "none"], "a mean over masks, but there is no mask"),
        (["--mode", "first-order", "--mask", "none"], "a mean over masks, but there is no mask"),
        (["--mode", "expected", "--mask", "lognormal"], "mask is LognormalMask(kappa=0.2); closed forms"),
        (["--mode", "expected", "--mask", "bernoulli"], "mask is BernoulliMask(keep=0.9); closed forms"),
        (["--mask", "bernoulli", "--expected-every", "2"], "mask is BernoulliMask(keep=0.9); closed forms"),
        (["--mode", "expected", "--audit-every", "2"], "audit_every is given with mode='expected'"),
        (["--expected-every", "-1"], "expected_every is -1"),
        (["--expected-every", "1.5"], "--expected-every: invalid count value: '1.5'"),
        (["--mode", "mean"], "invalid choice: 'mean'"),
        (["--backend", "gpu"], "invalid choice: 'gpu'"),
        (["--backend", "cuda", "--mode", "expected"], "backend is 'cuda' with mode='expected'"),
        (["--mode", "expected", "--memory-limit", "1K"], "memory_limit is 1 KB. Use a smaller --width"),
    ],
)
def test_wrong_commands_end_with_status_2_and_nothing_written(capsys, tmp_path, arguments, message):
    status, out, err = train(capsys, *IRIS, *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_help_tells_the_cost(capsys):
    _, out, _ = train(capsys, "--help")
    text = " ".join(out.split())
    assert "{masked,clean,expected,first-order}" in text
    assert "cost rows x width^2" in text
