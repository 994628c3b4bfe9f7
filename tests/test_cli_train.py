"""``fastntk train``: what it learns, what it writes, how it ends, and how it goes on."""

import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import fields

import numpy as np
import pytest

import fastntk as fn
from fastntk import cli
from fastntk.commands import arguments
from fastntk.study import mask_options, settings, watched
from fastntk.study.task import Task

from .train_command import draw_nothing, history, record, train

RUN = [sys.executable, "-c", "import sys; from fastntk.cli import main; sys.exit(main(sys.argv[1:]))"]
IRIS = ["--data", "iris", "--width", "64", "--quiet"]
FILES = ["data.npz", "history.csv", "index.html", "run.npz", "training.json", "training.png"]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def no_picture(monkeypatch):
    draw_nothing(monkeypatch)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A run on the digits that is long enough to learn them, and what was printed."""
    folder = tmp_path_factory.mktemp("digits") / "out"
    command = ["train", "--width", "256", "--steps", "150", "--batch-size", "200", "--record-every", "15"]
    done = subprocess.run(
        [*RUN, *command, "--eigenvalues-every", "75", "--audit-every", "75", "--output", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder, done


def weights(folder):
    return fn.TrainingRun.load(folder / "run.npz").network.weights()


# ------------------------------------------------------------------------------ what it learns


def test_the_digits_are_learned(digits):
    folder, done = digits
    scores = record(folder)["results"]["scores"]
    assert scores["held out"]["rows"] == 359
    # Always naming the most frequent digit is right in about 10 of 100 cases.
    assert scores["training"]["score"] > 0.85
    assert scores["held out"]["score"] > 0.8
    assert scores["held out"]["masked_score"] > 0.75
    lines = done.stdout.splitlines()
    assert lines[0] == "digits: 1,438 rows to train on, 359 held out, 64 features, 10 classes"
    assert lines[1] == "256 neurons, gaussian mask of kappa 0.2, seed 0"
    assert lines[2].startswith("150 steps of size 0.0")
    assert lines[4].split() == [
        "rows",
        "loss",
        "per",
        "row",
        "accuracy",
        "masked",
        "loss",
        "masked",
        "accuracy",
    ]
    assert [line.split()[0] for line in lines[6:8]] == ["training", "held"]
    assert lines[-1].endswith("out/index.html")


def test_the_scores_are_those_of_the_network_that_was_kept(digits):
    folder, _ = digits
    scores = record(folder)["results"]["scores"]
    network = fn.TrainingRun.load(folder / "run.npz").network
    with np.load(folder / "data.npz") as data:
        for kind, prefix in (("training", ""), ("held out", "held_out_")):
            X, y, ids = (data[prefix + name] for name in ("X", "y", "ids"))
            assert len(X) == scores[kind]["rows"]
            f = fn.outputs(X, network=network)
            residuals = f - (y[:, None] == np.arange(10))
            assert scores[kind]["score"] == np.mean([row.argmax() for row in f] == y)
            np.testing.assert_allclose(scores[kind]["loss"], (residuals**2).sum() / 2 / len(X), rtol=1e-12)
            masked = [  # the last draws there are, which no training reaches
                fn.outputs(
                    X, network=network, mask=fn.GaussianMask(0.2), seed=0, draw=2**28 - 1 - k, row_ids=ids
                )
                for k in range(8)
            ]
            hits = [(f.argmax(axis=1) == y).mean() for f in masked]
            np.testing.assert_allclose(scores[kind]["masked_score"], np.mean(hits), rtol=1e-12)
            np.testing.assert_allclose(scores[kind]["masked_score_spread"], np.std(hits), rtol=1e-9)


def test_the_history_is_that_of_the_api_and_of_the_rows_held_out(digits):
    folder, _ = digits
    found = history(folder)
    with np.load(folder / "data.npz") as data:
        y = data["held_out_y"]
        run = fn.train(
            *(data["X"], data["y"]),
            network=fn.Network(256, 64, outputs=10, seed=0),
            mask=fn.GaussianMask(0.2),
            step_size=record(folder)["results"]["step_size"],
            steps=150,
            batch_size=200,
            record_every=15,
            row_ids=data["ids"],
        )
        start = fn.outputs(data["held_out_X"], network=fn.Network(256, 64, outputs=10, seed=0))
        end = fn.outputs(data["held_out_X"], network=run.network)
    np.testing.assert_array_equal(weights(folder), run.network.weights())
    np.testing.assert_array_equal(found["step"], np.arange(0, 151, 15))
    for name in ("clean_loss", "masked_loss", "distance", "max_distance", "flipped", "accuracy"):
        np.testing.assert_array_equal(found[name], getattr(run, name), err_msg=name)
    for f, k in ((start, 0), (end, -1)):
        loss = np.square(f - np.eye(10)[y]).sum(axis=1).mean() / 2
        np.testing.assert_allclose(found["held_out_loss_per_row"][k], loss, rtol=1e-6)
        assert abs(found["held_out_score"][k] - (f.argmax(axis=1) == y).mean()) < 1 / len(y)
    assert np.flatnonzero(np.isfinite(found["largest_eigenvalue"])).tolist() == [0, 5, 10]
    assert np.flatnonzero(np.isfinite(found["audit_error"])).tolist() == [0, 5]
    assert np.nanmax(found["audit_error"]) < 1e-3


def test_a_quantity_is_learned(capsys, tmp_path, no_picture):
    from sklearn.datasets import load_diabetes
    from sklearn.metrics import r2_score

    arguments = ["--data", "diabetes", "--preprocess", "standardize", "--width", "512", "--steps", "30"]
    status, out, _ = train(capsys, *arguments, "--output", "out", "--quiet", "--kappa", "0.4")
    assert status == 0
    assert "354 rows to train on, 88 held out, 10 features, one quantity" in out
    assert "R²" in out
    scores = record(tmp_path / "out")["results"]["scores"]
    assert scores["held out"]["score"] > 0.25
    with np.load("out/data.npz") as data:
        target = load_diabetes().target[data["ids"]]
        np.testing.assert_allclose(data["y"] * data["deviation"] + data["mean"], target, rtol=1e-12)
        f = fn.outputs(data["X"], network=fn.TrainingRun.load("out/run.npz").network)
    explained = r2_score(target, f * target.std() + target.mean())
    np.testing.assert_allclose(scores["training"]["score"], explained, rtol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "mask"),
    [
        (["--kappa", "0.3"], fn.GaussianMask(0.3)),
        (["--mask", "lognormal"], fn.LognormalMask(0.2)),
        (["--mask", "additive", "--tau", "0.05"], fn.AdditiveMask(0.05)),
        (["--mask", "bernoulli", "--keep", "0.8"], fn.BernoulliMask(0.8)),
        (["--mask", "none"], None),
        (["--mask", "gaussian", "--mode", "clean"], None),
    ],
)
def test_every_mask_is_the_one_of_the_api(capsys, tmp_path, no_picture, arguments, mask):
    assert train(capsys, *IRIS, "--steps", "12", *arguments, "--output", "out", "--seed", "5")[0] == 0
    with np.load("out/data.npz") as data:
        run = fn.train(
            *(data["X"], data["y"]),
            network=fn.Network(64, 4, outputs=3, seed=5),
            mask=mask,
            step_size=record(tmp_path / "out")["results"]["step_size"],
            steps=12,
            seed=5,
            row_ids=data["ids"],
        )
    np.testing.assert_array_equal(weights(tmp_path / "out"), run.network.weights())


def test_weights_of_bfloat16(capsys, tmp_path, no_picture):
    options = "--steps", "3", "--dtype", "bfloat16", "--output", "out"
    status, out, _ = train(capsys, *IRIS, *options)
    assert status == 0
    assert "64 neurons of bfloat16 weights, gaussian mask" in out
    run = fn.TrainingRun.load("out/run.npz")
    with np.load("out/data.npz") as data:
        again = fn.train(
            *(data["X"], data["y"]),
            network=fn.Network(64, 4, outputs=3, dtype="bfloat16"),
            mask=fn.GaussianMask(0.2),
            step_size=run.step_size,
            steps=3,
            row_ids=data["ids"],
        )
    np.testing.assert_array_equal(run.network.weights(), again.network.weights())
    assert ', dtype="bfloat16")' in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


def test_no_row_held_out(capsys, tmp_path):
    status, out, _ = train(capsys, *IRIS, "--steps", "20", "--test-fraction", "0", "--output", "out")
    assert status == 0
    assert "150 rows to train on, 0 held out" in out
    assert set(record(tmp_path / "out")["results"]["scores"]) == {"training"}
    assert np.isnan(history(tmp_path / "out")["held_out_score"]).all()
    assert "Orange" not in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


def test_a_file_of_ones_own(capsys, tmp_path, no_picture):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 5))
    lines = [",".join(map(str, row)) + (",left" if row[0] < 0 else ",right") for row in X.round(3)]
    (tmp_path / "d.csv").write_text("\n".join(["a,b,c,d,e,side", *lines]) + "\n", encoding="utf-8")
    options = ["--target", "side", "--width", "128", "--steps", "60", "--output", "out", "--quiet"]
    status, out, _ = train(capsys, "--data", "d.csv", *options)
    assert status == 0
    assert out.startswith("d.csv: 48 rows to train on, 12 held out, 5 features, 2 classes\n")
    assert record(tmp_path / "out")["results"]["scores"]["training"]["score"] > 0.9
    (tmp_path / "d.csv").unlink()  # going on does not need it
    assert train(capsys, "--resume", "out", "--steps", "70", "--quiet")[0] == 0


# -------------------------------------------------------------------------------- the folder


def test_a_run_writes_its_folder_and_its_progress(digits):
    folder, done = digits
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert [path.name for path in folder.parent.iterdir()] == ["out"]
    assert "  1%  step 1 of 150" in done.stderr  # progress, as lines where there is no terminal
    kept = record(folder)
    assert kept["settings"]["batch_size"] == 200
    assert kept["settings"]["kappa"] == 0.2
    assert kept["results"]["status"] == "finished"
    assert kept["results"]["steps_done"] == 150
    assert {"fastntk", "numpy", "processor", "CPU path", "time"} <= set(kept["provenance"])
    assert set(kept["settings"]) == {field.name for field in fields(settings.Settings)}


def test_the_page_stands_alone(digits):
    import base64

    folder, _ = digits
    text = (folder / "index.html").read_text(encoding="utf-8")
    (source,) = re.findall(r'(?:src|href)="([^"]*)"', text)
    kind, content = source.split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(content) == (folder / "training.png").read_bytes()
    assert set(re.findall(r"https?:[^\"]*", text)) == {
        "http://www.w3.org/1998/Math/MathML"
    }  # a name, no address
    assert "<script" not in text
    assert "{{" not in text
    assert text.count("<tr") == text.count("</tr>")
    assert text.count("<dt") == text.count("</dt>")
    kept = record(folder)
    assert str(kept["results"]["step_size"]) in text
    assert kept["data_sha256"] in text
    for heading in ("Loss", "Accuracy", "Activations that have flipped", "Audit of the steps"):
        assert f"<dt>{heading}</dt>" in text


def test_the_python_of_the_page_gives_the_run_of_the_page(digits, monkeypatch):
    import html

    folder, _ = digits
    (code,) = re.findall("<pre><code>(.*?)</code>", (folder / "index.html").read_text("utf-8"), re.DOTALL)
    monkeypatch.chdir(folder)
    names: dict = {}
    exec(html.unescape(code), names)
    np.testing.assert_array_equal(names["run"].network.weights(), names["same"].network.weights())


def test_the_page_escapes_what_users_wrote(capsys, tmp_path):
    X = np.random.default_rng(1).standard_normal((30, 3))
    np.savez(tmp_path / "<b>&.npz", X=X, y=X[:, 0])
    options = ["--target", "y", "--width", "16", "--steps", "3", "--output", "out", "--quiet"]
    assert train(capsys, "--data", "<b>&.npz", *options)[0] == 0
    text = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;&amp;.npz" in text
    assert "<b>&" not in text


def test_results_are_replaced_only_when_asked(capsys, tmp_path, no_picture):
    arguments = [*IRIS, "--steps", "4", "--output", "out"]
    assert train(capsys, *arguments)[0] == 0
    status, out, err = train(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith(f"fastntk: {tmp_path}/out exists. Choose another --output, or --force")
    assert train(capsys, *arguments, "--seed", "7", "--force") == (0, *train_output(tmp_path / "out"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "study.json").write_text("{}")
    status, _, err = train(capsys, *IRIS, "--output", "other", "--force")
    assert status == 2
    assert "has no training.json" in err


def train_output(folder):
    """What a run prints, from what it wrote; the seconds are not known."""

    class Printed(str):
        def __eq__(self, other):
            return f"seed {record(folder)['settings']['seed']}\n" in other

        __hash__ = None

    return Printed(), ""


# ------------------------------------------------------------------------------------ going on


def test_a_run_that_goes_on_has_the_bits_of_one_that_never_stopped(capsys, tmp_path, no_picture):
    common = [*IRIS, "--batch-size", "32", "--record-every", "5", "--eigenvalues-every", "10"]
    assert train(capsys, *common, "--steps", "40", "--output", "whole")[0] == 0
    assert train(capsys, *common, "--steps", "17", "--output", "part")[0] == 0
    assert train(capsys, "--quiet", "--resume", "part", "--steps", "23")[0] == 0
    assert train(capsys, *common, "--output", "part", "--resume", "--steps", "40")[0] == 0
    assert (tmp_path / "part/history.csv").read_bytes() == (tmp_path / "whole/history.csv").read_bytes()
    np.testing.assert_array_equal(weights(tmp_path / "part"), weights(tmp_path / "whole"))
    part, whole = record(tmp_path / "part"), record(tmp_path / "whole")
    assert part["results"] == whole["results"]
    assert part["settings"] == whole["settings"] | {"audit_every": part["settings"]["audit_every"]}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part", "whole"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resume", "no"], "no does not hold a run of fastntk train (it has no training.json)"),
        (["--resume"], "fastntk-train does not hold a run"),
        (
            ["--resume", "run", "--seed", "3"],
            "was started with --seed 0, and goes on like that: leave --seed 3",
        ),
        (
            ["--resume", "run", "--width", "128", "--batch-size", "9", "--kappa", "0.2"],
            "--width 64 and no --batch-size, and goes on like that: leave --width 128 and --batch-size 9 out",
        ),
        (["--resume", "run", "--tau", "0.1"], "started with no --tau"),
        (["--resume", "run", "--data", "wine"], "started with --data iris"),
        (["--resume", "run", "--output", "other"], "goes on in that folder: leave --output other out"),
        (["--resume", "run"], "has its 6 steps already: to go on give a larger --steps"),
        (["--resume", "run", "--steps", "5"], "has its 6 steps already"),
        (["--resume", "damaged", "--steps", "9"], "the run in damaged is damaged"),
        (["--resume", "mixed", "--steps", "9"], "resume is a run of something else: X"),
        (["--resume", "newer", "--steps", "9"], "or of another version of fastntk"),
    ],
)
def test_what_cannot_go_on_is_told_and_left_as_it_is(capsys, tmp_path, runs, arguments, message):
    import shutil

    shutil.copytree(runs, tmp_path, dirs_exist_ok=True)
    before = contents(tmp_path)
    status, out, err = train(capsys, *arguments, "--quiet")
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert contents(tmp_path) == before


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A short run, and copies that something has happened to."""
    import shutil

    folder = tmp_path_factory.mktemp("runs")
    assert cli.main(["train", *IRIS, "--steps", "6", "--output", str(folder / "run")]) == 0
    for name in ("damaged", "mixed", "newer"):
        shutil.copytree(folder / "run", folder / name)
    (folder / "damaged" / "run.npz").write_bytes(b"rubbish")
    task = Task.load(folder / "mixed" / "data.npz")
    task.X[0, 0] += 1
    task.save(folder / "mixed" / "data.npz")
    kept = record(folder / "newer")
    kept["settings"]["momentum"] = 0.9
    (folder / "newer" / "training.json").write_text(json.dumps(kept))
    return folder


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ----------------------------------------------------------------------------- ending early


def interrupt_at(monkeypatch, step, signal_number=None):
    """Ctrl-C (or a signal) as soon as training has come so far."""
    real = watched.train

    def train(*args, progress, **kwargs):
        def stop(done, total):
            progress(done, total)
            if done >= step:
                if signal_number is None:
                    raise KeyboardInterrupt
                signal.raise_signal(signal_number)

        return real(*args, progress=stop, **kwargs)

    monkeypatch.setattr(watched, "train", train)


@pytest.mark.parametrize(("number", "status"), [(None, 130), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_an_interrupted_run_is_kept_and_goes_on_to_the_same_bits(
    capsys, monkeypatch, tmp_path, no_picture, number, status
):
    common = [*IRIS, "--steps", "40", "--record-every", "10"]
    assert train(capsys, *common, "--output", "whole")[0] == 0
    with monkeypatch.context() as patch:
        interrupt_at(patch, 13, number)
        found, out, err = train(capsys, *common, "--output", "part")
    assert found == status
    done = record(tmp_path / "part")["results"]["steps_done"]
    assert 13 <= done < 40
    assert err == (
        f"fastntk: interrupted after {done} of 40 steps; the run is kept, go on with: "
        "fastntk train --resume part\n"
    )
    assert f"{done} steps of size" in out
    assert sorted(path.name for path in (tmp_path / "part").iterdir()) == FILES
    text = (tmp_path / "part" / "index.html").read_text(encoding="utf-8")
    assert f"stopped after {done} of\n40 steps" in text
    assert train(capsys, "--resume", "part", "--quiet")[0] == 0
    assert (tmp_path / "part/history.csv").read_bytes() == (tmp_path / "whole/history.csv").read_bytes()
    np.testing.assert_array_equal(weights(tmp_path / "part"), weights(tmp_path / "whole"))


def test_ctrl_c_in_the_middle_of_a_look_at_held_out_rows(capsys, monkeypatch, tmp_path, no_picture):
    """The point that was missed is there once the run has gone on."""
    common = [*IRIS, "--steps", "40", "--record-every", "10"]
    assert train(capsys, *common, "--output", "whole")[0] == 0
    real, calls = watched.clean_score, []

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:  # the looks are before step 0, 10, 20
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(watched, "clean_score", interrupted)
        assert train(capsys, *common, "--output", "part")[0] == 130
    assert record(tmp_path / "part")["results"]["steps_done"] == 20
    assert record(tmp_path / "part")["held_out"]["steps"] == [0, 10]
    assert train(capsys, "--resume", "part", "--quiet")[0] == 0
    assert (tmp_path / "part/history.csv").read_bytes() == (tmp_path / "whole/history.csv").read_bytes()


def test_ctrl_c_while_the_scores_are_computed_keeps_the_run(capsys, monkeypatch, tmp_path, no_picture):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(watched, "final_score", interrupted)
        assert train(capsys, *IRIS, "--steps", "5", "--output", "out")[0] == 0
    assert record(tmp_path / "out")["results"]["scores"] == {}
    assert train(capsys, "--resume", "out", "--quiet")[0] == 0  # no step is left, but the scores are
    assert set(record(tmp_path / "out")["results"]["scores"]) == {"training", "held out"}


@pytest.mark.parametrize(
    ("place", "failure", "status", "message"),
    [
        ("watched.train", KeyboardInterrupt, 130, "fastntk: interrupted; nothing was written\n"),
        ("watched.train", ZeroDivisionError, 1, "unexpected failure"),
        ("training.write", KeyboardInterrupt, 130, "fastntk: interrupted; nothing was written\n"),
        ("training.write", OSError(28, "No space left on device"), 1, "No space left on device"),
    ],
)
def test_a_failure_on_the_way_leaves_nothing(capsys, monkeypatch, tmp_path, place, failure, status, message):
    def fail(*args, **kwargs):
        raise failure

    monkeypatch.setattr(f"fastntk.study.{place}", fail)
    result, out, err = train(capsys, *IRIS, "--steps", "5", "--output", "out")
    assert (result, out) == (status, "")
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_a_signal_keeps_a_long_run(tmp_path):
    arguments = ["train", "--data", "iris", "--width", "2000", "--steps", "1e6", "--output", "out"]
    with subprocess.Popen(
        [*RUN, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert "step" in run.stderr.readline()
        time.sleep(0.5)
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "Traceback" not in err
    assert "go on with: fastntk train --resume out" in err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES


def test_divergence_is_told_and_its_records_are_kept(capsys, tmp_path):
    status, _, err = train(
        capsys, *IRIS, "--steps", "60", "--record-every", "1", "--step-size", "50", "--output", "out"
    )
    assert status == 3
    assert "training diverged after" in err
    assert "Give a smaller --step-size" in err
    warned, told = err.splitlines()
    assert warned.startswith("fastntk: warning: step_size=50 times the largest eigenvalue")
    assert told.startswith("fastntk: training diverged")
    kept = record(tmp_path / "out")
    assert kept["results"]["status"] == "diverged"
    assert kept["results"]["scores"] == {}
    assert 0 < kept["results"]["steps_done"] < 60
    assert "This run diverged after" in (tmp_path / "out/index.html").read_text(encoding="utf-8")
    assert (tmp_path / "out/training.png").stat().st_size > 10_000
    status, _, err = train(capsys, "--resume", "out", "--steps", "100", "--quiet")
    assert status == 2
    assert "diverged after" in err
    assert "smaller --step-size than 50, and --force" in err


# -------------------------------------------------------------------------------- wrong input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--width", "ten"], "--width: invalid width value: 'ten'"),
        (["--steps", "1.5"], "--steps: invalid count value: '1.5'"),
        (["--mask", "poisson"], "invalid choice: 'poisson'"),
        (["--mode", "both"], "invalid choice: 'both'"),
        (["--momentum", "0.9"], "unrecognized arguments: --momentum"),
        (["--width", "0"], "width is 0"),
        (["--steps", "0"], "steps is 0"),
        (["--steps", "-3"], "steps is -3"),
        (["--batch-size", "0"], "batch_size is 0"),
        (["--batch-size", "121"], "batch_size is 121; it must be from 1 to 120"),
        (["--step-size", "-1"], "step_size is -1"),
        (["--step-size", "nan"], "step_size is nan"),
        (["--kappa", "-0.1"], "kappa is -0.1"),
        (
            ["--keep", "0.5"],
            "--keep belongs to --mask bernoulli, and the mask is gaussian: its strength is --kappa",
        ),
        (["--mask", "additive", "--kappa", "1"], "--kappa belongs to --mask gaussian or lognormal"),
        (["--mask", "none", "--kappa", "1"], "the mask is none: it has no strength"),
        (["--mask", "bernoulli", "--keep", "1.5"], "keep is 1.5"),
        (["--test-fraction", "1"], "--test-fraction is 1; it must be from 0"),
        (["--test-fraction", "-0.2"], "--test-fraction is -0.2"),
        (["--test-fraction", "nan"], "--test-fraction is nan"),
        (["--test-fraction", "0.999"], "holds out 150 of 150 rows and leaves none to train on"),
        (["--seed", "-1"], "seed is -1"),
        (["--record-every", "0"], "--record-every is 0"),
        (["--eigenvalues-every", "-1"], "eigenvalues_every is -1"),
        (["--audit-every", "-1"], "audit_every is -1"),
        (["--threads", "0"], "threads is 0"),
        (["--memory-limit", "1K"], "memory_limit is 1 KB. Use a smaller --width"),
        (["--data", "mnist"], "neither a built-in data set"),
        (["--data", "iris", "--target", "3"], "the target of iris is fixed"),
        (["--data", "rows.npy"], "rows.npy has no target to learn: name it with --target"),
        (["--data", "rows.npy", "--target", "9"], "--target 9 is not a column"),
        (["--data", "rows.npy", "--target", "1"], "the same in all rows to train on"),
        (["--output", "no/where"], "is not an existing folder"),
        (["--output", "rows.npy"], "exists and is not a folder"),
    ],
)
def test_wrong_commands_and_input_end_with_status_2_and_nothing_written(capsys, tmp_path, arguments, message):
    np.save(tmp_path / "rows.npy", np.c_[np.arange(20.0), np.full(20, 3.0), np.arange(20) % 2])
    before = contents(tmp_path)
    status, out, err = train(capsys, *IRIS, *arguments)
    assert status == 2
    assert out == ""
    assert message in err
    assert "Traceback" not in err
    assert not err.startswith("fastntk:") or err.count("\n") == 1
    assert contents(tmp_path) == before


def test_the_output_is_checked_before_anything_is_computed(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(watched, "train", lambda *a, **k: pytest.fail("it was computed"))
    (tmp_path / "out").mkdir()
    assert train(capsys, *IRIS, "--output", "out")[0] == 2


def test_help_names_every_setting_and_its_default(capsys):
    status, out, _ = train(capsys, "--help")
    assert status == 0
    text = " ".join(out.split())
    for name in (field.name for field in fields(settings.Settings)):
        assert f"--{name.replace('_', '-')} " in text
    for default in ("digits (default)", "unit (default)", "(default 0.2; 0 for none)", "(default 4096)"):
        assert default in text
    for default in ("(default 1000)", "masked (default)", "(gaussian, the default)", "(default 0.02)"):
        assert default in text
    chosen = settings.complete({}, 1797)
    assert (chosen.data, chosen.preprocess, chosen.test_fraction, chosen.width) == (
        "digits",
        "unit",
        0.2,
        4096,
    )
    assert (chosen.steps, chosen.mode, chosen.mask, chosen.kappa, chosen.seed) == (
        1000,
        "masked",
        "gaussian",
        0.2,
        0,
    )
    assert "exit status: 0 done" in out
    assert "3 training diverged" in text


def test_the_masks_of_the_help_are_those_there_are():
    assert set(mask_options.MASKS) == set(arguments.MASKS)


def test_how_often_is_recorded_unless_it_is_told():
    def every(**given):
        rows = given.pop("rows", 100)
        chosen = settings.complete(given, rows)
        return chosen.record_every, chosen.eigenvalues_every, chosen.audit_every

    assert every() == (10, 100, 100)
    assert every(steps=30) == (1, 10, 10)
    assert every(steps=10**6) == (100, 1000, 1000)  # there is something to see wherever it is stopped
    assert every(rows=50_000) == (10, 0, 0)
    assert every(rows=50_000, eigenvalues_every=500, record_every=3) == (3, 500, 0)
