"""``fastntk ntk``: what it writes, how it ends, how it goes on, and where it computes."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastntk as fn
from fastntk import cli, datasets
from fastntk.commands import cluster
from fastntk.engine import checkpoint
from fastntk.spectrum import extreme_eigenvalues
from fastntk.study import kernel_file, sorted_pixels

from .train_command import TINY_PICTURE

IRIS = ["--data", "iris", "--width", "20000", "--output", "K.npy", "--quiet"]
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def no_picture(monkeypatch):
    """Kernels whose picture is of no interest are not drawn."""
    monkeypatch.setattr(kernel_file.figures, "figure", lambda *arguments, **options: None)
    monkeypatch.setattr(kernel_file.style, "save", lambda figure, file: file.write(TINY_PICTURE))


def ntk(capsys, *arguments):
    """Exit status, standard output and standard error of ``fastntk ntk`` in this process."""
    status = cli.main(["ntk", *arguments])
    return status, *capsys.readouterr()


def expected(mask=fn.GaussianMask(0.2), width=20_000, seed=0, mask_seed=0, dtype="float32", **options):  # noqa: B008
    network = fn.Network(width, 4, seed=seed, dtype=dtype)
    X = datasets.preprocess(datasets.load("iris").features, "unit")
    return fn.ntk(X, network=network, mask=mask, seed=mask_seed, **options)


def require_kernel(kernel):
    found = np.load("K.npy")
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, kernel)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# ------------------------------------------------------------------------------ what it writes


def test_the_kernel_its_picture_and_a_summary(capsys, tmp_path):
    status, out, err = ntk(capsys, *IRIS, "--draws", "2", "--layers", "both", "--seed", "3")
    assert (status, err) == (0, "")
    kernel = expected(seed=3, mask_seed=3, draws=2, layers="both")
    require_kernel(kernel)
    lines = out.splitlines()
    assert lines[:3] == [
        "iris: 150 rows, 4 features",
        "20,000 neurons, gaussian mask of kappa 0.2, 2 draws, both layers, seed 3",
        "150 x 150 float64, 180 KB",
    ]
    smallest, largest = extreme_eigenvalues(kernel)
    assert lines[3] == f"eigenvalues from {smallest:.3g} to {largest:.3g}"
    assert "neurons/s in " in lines[4]
    assert lines[-1].endswith(" s; kernel and picture: K.npy, K.png")
    assert (tmp_path / "K.png").read_bytes().startswith(PNG)
    assert names(tmp_path) == ["K.npy", "K.png"]


@pytest.mark.parametrize(
    ("arguments", "mask", "text"),
    [
        (["--kappa", "0.3"], fn.GaussianMask(0.3), "gaussian mask of kappa 0.3, 1 draw, "),
        (["--mask", "lognormal"], fn.LognormalMask(0.2), "lognormal mask of kappa 0.2, "),
        (["--mask", "additive", "--tau", "0.05"], fn.AdditiveMask(0.05), "additive mask of tau 0.05, "),
        (["--mask", "bernoulli", "--keep", "0.8"], fn.BernoulliMask(0.8), "bernoulli mask of keep 0.8, "),
        (["--mask", "none"], None, "20,000 neurons, no mask, hidden layer, "),
    ],
)
def test_every_mask_is_the_one_of_the_api(capsys, no_picture, arguments, mask, text):
    status, out, _ = ntk(capsys, *IRIS, *arguments, "--seed", "5", "--mask-seed", "7")
    assert status == 0
    assert text in out
    assert "seed 5, mask seed 7" in out
    require_kernel(expected(mask, seed=5, mask_seed=7))


def test_weights_of_bfloat16(capsys, no_picture):
    status, out, _ = ntk(capsys, *IRIS, "--dtype", "bfloat16")
    assert status == 0
    assert "20,000 neurons of bfloat16 weights, gaussian mask" in out
    require_kernel(expected(dtype="bfloat16"))


def test_the_memory_bounds_the_tiles_and_not_the_matrix(capsys, monkeypatch, no_picture):
    parts = []
    original = kernel_file.ntk

    def watched(X, **options):
        monkeypatch.setattr(
            "fastntk.engine.kernel_matrix.tile_parts",
            lambda *shape: parts.append(tile_parts(*shape)) or parts[-1],
        )
        return original(X, **options)

    from fastntk.engine.kernel_matrix import tile_parts

    monkeypatch.setattr(kernel_file, "ntk", watched)
    X = np.random.default_rng(0).standard_normal((600, 4))
    np.save("rows.npy", X)
    options = ("--data", "rows.npy", *IRIS[2:], "--preprocess", "none", "--mask", "none", "--threads", "1")
    for limit, one_tile in (("1G", True), ("5M", False)):
        assert ntk(capsys, *options, "--memory-limit", limit, "--force")[0] == 0
        assert (len(parts.pop()) == 1) is one_tile
        require_kernel(fn.ntk(X, network=fn.Network(20_000, 4)))


def test_rows_without_a_target_stand_as_they_are(capsys, tmp_path):
    X = np.random.default_rng(0).standard_normal((40, 3))
    np.save("rows.npy", X)
    status, out, _ = ntk(capsys, "--data", "rows.npy", *IRIS[2:], "--preprocess", "none", "--mask", "none")
    assert status == 0
    assert "rows.npy: 40 rows, 3 features" in out
    require_kernel(fn.ntk(X, network=fn.Network(20_000, 3)))
    assert (tmp_path / "K.png").read_bytes().startswith(PNG)


def test_an_eigenvalue_that_is_only_rounding(capsys, no_picture):
    X = np.random.default_rng(0).standard_normal((20, 3))
    np.save("rows.npy", np.concatenate([X, X[:3]]))
    _, out, _ = ntk(capsys, "--data", "rows.npy", *IRIS[2:], "--preprocess", "none", "--mask", "none")
    assert "eigenvalues from 0 (to rounding) to " in out


def test_eigenvalues_where_they_are_cheap(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(kernel_file, "MOST_ROWS_FOR_EIGENVALUES", 149)
    status, out, _ = ntk(capsys, *IRIS)
    assert status == 0
    assert "eigenvalues" not in out
    assert (tmp_path / "K.png").read_bytes().startswith(PNG)


def test_a_picture_is_the_means_over_sorted_rows_however_few_are_read_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    dataset = datasets.Dataset("d", np.ones((90, 1)), rng.permutation(90).astype(float))
    matrix = rng.standard_normal((90, 90))
    in_order = matrix[np.ix_(dataset.order(), dataset.order())]
    for at_once in (sorted_pixels.BLOCK_BYTES, 2 * 8 * 90, 1):
        monkeypatch.setattr(sorted_pixels, "BLOCK_BYTES", at_once)
        image = sorted_pixels.SortedPixels(dataset, 30).shrunk(matrix)
        np.testing.assert_allclose(image, in_order.reshape(30, 3, 30, 3).mean(axis=(1, 3)), rtol=1e-12)


def test_progress_counts_neurons_and_draws(capsys, no_picture):
    arguments = [argument for argument in IRIS if argument != "--quiet"]
    status, _, err = ntk(capsys, *arguments, "--draws", "3")
    assert status == 0
    assert "of 60 k neurons" in err


# ---------------------------------------------------------------------- interrupted and resumed


def end_at_save(monkeypatch, number, end):
    """Save as often as can be, and call ``end`` after so many saves."""
    save, saves = checkpoint.Checkpoint.save, []

    def then_end(self, *arguments):
        save(self, *arguments)
        saves.append(arguments)
        if len(saves) == number:
            end()

    monkeypatch.setattr(checkpoint, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "COST_FACTOR", 0)
    monkeypatch.setattr(checkpoint.Checkpoint, "save", then_end)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("draws", ["1", "2"])
def test_the_same_command_goes_on(capsys, monkeypatch, no_picture, number, status, draws):
    command = [*IRIS, "--checkpoint", "ck", "--threads", "1", "--draws", draws]
    with monkeypatch.context() as patch:
        end_at_save(patch, 2, lambda: signal.raise_signal(number))
        found, out, err = ntk(capsys, *command)
    assert (found, out) == (status, "")
    told = (
        "fastntk: interrupted; ck has what was saved, go on with the same command: fastntk ntk --data iris "
    )
    assert err.startswith(told)
    assert err.endswith(f"--draws {draws}\n")
    assert not Path("K.npy").exists()
    status, out, _ = ntk(capsys, *command)
    assert status == 0
    assert "k neurons were in ck" in out
    require_kernel(expected(draws=int(draws)))


def test_a_kill_loses_what_is_not_saved_and_nothing_else(capsys, tmp_path, no_picture):
    script = """
import os, signal, sys
from fastntk.cli import main
from fastntk.engine import checkpoint

save, saves = checkpoint.Checkpoint.save, []
def then_die(self, *arguments):
    save(self, *arguments)
    saves.append(arguments)
    if len(saves) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

checkpoint.FIRST_SECONDS, checkpoint.COST_FACTOR, checkpoint.Checkpoint.save = 0.0, 0, then_die
main(sys.argv[1:])
"""
    command = [*IRIS, "--checkpoint", "ck", "--layers", "both", "--width", "200000"]
    done = subprocess.run([sys.executable, "-c", script, "ntk", *command], check=False)
    assert done.returncode == -signal.SIGKILL
    assert names(tmp_path)[-1] == "ck"
    assert "K.npy" not in names(tmp_path)
    status, out, _ = ntk(capsys, *command)
    assert status == 0
    assert "neurons were in ck" in out
    require_kernel(expected(layers="both", width=200_000))
    assert names(tmp_path) == ["K.npy", "K.png", "ck"]


def test_a_checkpoint_that_has_come_to_its_end_has_nothing_to_do(capsys, no_picture):
    command = [*IRIS, "--checkpoint", "ck"]
    assert ntk(capsys, *command)[0] == 0
    status, out, _ = ntk(capsys, *command)
    assert status == 0
    assert "20 k of 20 k neurons were in ck" in out
    assert "neurons/s" not in out
    require_kernel(expected())
    status, _, err = ntk(capsys, *command, "--kappa", "0.3")
    assert status == 2
    assert "of another run: mask of the rows was GaussianMask(kappa=0.2), now GaussianMask(kappa=0.3)" in err


def test_an_interruption_before_anything_is_saved(capsys, monkeypatch, tmp_path):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("fastntk.engine.kernel_matrix.assemble", interrupt)
    status, out, err = ntk(capsys, *IRIS)
    assert (status, out, err) == (130, "", "fastntk: interrupted; nothing was written\n")
    assert names(tmp_path) == []
    _, _, err = ntk(capsys, *IRIS, "--checkpoint", "ck")
    assert "nothing was saved yet" in err
    assert err.endswith("start again: fastntk ntk --data iris --width 20000 --output K.npy --quiet "
                        "--checkpoint ck\n")  # fmt: skip


@pytest.mark.parametrize(
    ("failure", "status", "told"),
    [
        (KeyboardInterrupt, 130, "interrupted"),
        (OSError(28, "No space left"), 1, "[Errno 28] No space left: 'K.png'"),
    ],
)
def test_a_kernel_without_its_picture_is_whole(capsys, monkeypatch, tmp_path, failure, status, told):
    def fail(*arguments):
        raise failure

    monkeypatch.setattr(kernel_file.style, "save", fail)
    found, _, err = ntk(capsys, *IRIS)
    assert found == status
    assert err == f"fastntk: {told}; the kernel is whole, in K.npy; its picture was not drawn\n"
    require_kernel(expected())
    assert names(tmp_path) == ["K.npy"]


# ---------------------------------------------------------------------------- earlier results


@pytest.mark.parametrize("there", ["K.npy", "K.png"])
def test_what_is_there_is_replaced_by_force_alone(capsys, tmp_path, no_picture, there):
    np.save("K.npy", np.zeros((150, 150)))
    (tmp_path / "K.npy").rename(there)
    before = (tmp_path / there).read_bytes()
    for arguments in ([], ["--checkpoint", "ck"]):
        status, out, err = ntk(capsys, *IRIS, *arguments)
        assert (status, out) == (2, "")
        told = f"fastntk: {tmp_path}/{there} exists. Choose another --output, or --force to replace it.\n"
        assert err == told
        assert (tmp_path / there).read_bytes() == before
        assert names(tmp_path) == [there]
    assert ntk(capsys, *IRIS, "--force")[0] == 0
    require_kernel(expected())
    assert (tmp_path / "K.png").read_bytes() == TINY_PICTURE


def test_an_unfinished_run_excuses_no_file_that_came_meanwhile(capsys, monkeypatch):
    command = [*IRIS, "--checkpoint", "ck"]
    with monkeypatch.context() as patch:
        end_at_save(patch, 1, lambda: signal.raise_signal(signal.SIGINT))
        assert ntk(capsys, *command)[0] == 130
    np.save("K.npy", np.zeros((150, 150)))
    assert "K.npy exists" in ntk(capsys, *command)[2]
    require_kernel(np.zeros((150, 150)))


# ------------------------------------------------------------------------------ wrong commands


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--width", "ten"], "--width: invalid width value: 'ten'"),
        (["--width", "0"], "width is 0"),
        (["--width", "3e9"], "width is 3000000000"),
        (["--mask", "pink"], "invalid choice: 'pink'"),
        (["--kappa", "-1"], "kappa is -1.0"),
        (["--tau", "0.1"], "--tau belongs to --mask additive, and the mask is gaussian"),
        (["--draws", "0"], "draws is 0"),
        (["--draws", "1.5"], "--draws: invalid count value: '1.5'"),
        (["--layers", "all"], "invalid choice: 'all'"),
        (["--seed", "-1"], "seed is -1"),
        (["--mask-seed", "-1"], "seed is -1"),
        (["--threads", "0"], "threads is 0"),
        (["--memory-limit", "1K"], "memory_limit is 1 KB. Give a larger --memory-limit, or fewer --threads."),
        (["--data", "mnist"], "neither a built-in data set"),
        (["--data", "no.csv"], "no.csv: there is no such file"),
        (["--target", "y"], "--target belongs to a file"),
        (["--data", "huge.npy", "--preprocess", "none"], "not finite after rounding to float32"),
        (["--output", "K.npz"], "K.npz; its name must end in .npy"),
        (["--output", "no/K.npy"], "no is not an existing folder"),
        (["--output", "folder.npy"], "folder.npy exists and is not a file"),
        (["--output", "small.npy", "--force"], "which holds float64 of shape (3, 3)"),
        (["--checkpoint", "no/ck"], "no is not an existing folder"),
        (["--checkpoint", "huge.npy"], "which is not a folder"),
        (["--checkpoint", "folder.npy"], "which holds a: it is not a checkpoint"),
        (["--checkpoint", "odd", "--force"], "odd is damaged: manifest.json"),
        (["--scheduler", "nowhere"], "--scheduler nowhere: no Dask scheduler answers there (missing port"),
        (["--scheduler", "foo://a:1"], "unknown address scheme 'foo'"),
    ],
)
def test_wrong_commands_and_input_end_with_status_2_and_nothing_written(capsys, tmp_path, arguments, message):
    np.save("huge.npy", np.full((3, 2), 1e200))
    np.save("small.npy", np.ones((3, 3)))
    (tmp_path / "folder.npy").mkdir()
    (tmp_path / "folder.npy" / "a").touch()
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "lock").touch()
    (tmp_path / "odd" / "manifest.json").write_text('{"position": 1, "identity": 2}')
    before = sorted(path.name for path in tmp_path.rglob("*"))
    status, out, err = ntk(capsys, *IRIS, *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert not err.startswith("fastntk:") or err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_the_help_answers_questions(capsys):
    status, out, _ = ntk(capsys, "--help")
    assert status == 0
    text = " ".join(out.split())
    for told in ("(default 1000000)", "(gaussian, the default)", "unit (default)", "(default hidden)"):
        assert told in text
    for told in (
        "float64, rows and columns in the order of the data",
        "the same command goes on",
        "--mask-seed",
    ):
        assert told in text
    assert "\n  fastntk ntk --width 1e9 --draws 4 --output K.npy --checkpoint K.checkpoint\n" in out
    assert "exit status: 0 done" in out
    assert max(map(len, out.splitlines())) <= 80


# ------------------------------------------------------------------------------ on a cluster


@pytest.fixture
def dask():
    """The address of a scheduler in this process, with a worker."""
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options, protocol="tcp://") as here:
        yield here.scheduler_address


def test_on_the_workers_of_a_scheduler(capsys, dask, no_picture):
    status, out, err = ntk(capsys, *IRIS, "--draws", "2", "--scheduler", dask)
    assert status == 0, err
    assert "neurons/s" in out
    require_kernel(expected(draws=2))


def test_nobody_listens(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(cluster, "SECONDS", 0.3)
    status, out, err = ntk(capsys, *IRIS, "--scheduler", "tcp://127.0.0.1:9")
    assert (status, out) == (2, "")
    assert err.startswith(
        "fastntk: --scheduler tcp://127.0.0.1:9: no Dask scheduler answers there (Timed out"
    )
    assert err.count("\n") == 1
    assert names(tmp_path) == []


def test_dask_is_not_installed(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    status, _, err = ntk(capsys, *IRIS, "--scheduler", "tcp://127.0.0.1:9")
    assert (status, err) == (
        2,
        'fastntk: --scheduler needs Dask: python -m pip install "fastntk[study,dask]"\n',
    )


@pytest.mark.parametrize("checkpoint_", [[], ["--checkpoint", "ck"]])
def test_a_cluster_that_fails_is_named(capsys, monkeypatch, dask, checkpoint_):
    def fail(*arguments, **options):
        raise RuntimeError("neurons 0 to 511 were lost 4 times.")

    monkeypatch.setattr(kernel_file, "ntk", fail)
    status, _, err = ntk(capsys, *IRIS, "--scheduler", dask, *checkpoint_)
    assert status == 1
    assert err.startswith(f"fastntk: --scheduler {dask}: neurons 0 to 511 were lost 4 times; nothing was ")


def test_the_callers_handler_of_a_polite_kill_is_left(capsys, no_picture):
    """Processes that are forked later would have the command's, which their executor cannot end them by."""
    before = signal.getsignal(signal.SIGTERM)
    assert ntk(capsys, *IRIS)[0] == 0
    assert signal.getsignal(signal.SIGTERM) is before
