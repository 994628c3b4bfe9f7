"""The command line: exit status, messages, and nothing half-written."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import fastntk
from fastntk import cli
from fastntk.commands import arguments, study, terminal

STUDY = ["study", "width"]
SMALL = ["--widths", "64", "256", "--kappas", "0", "0.2", "--save-kernels", "none"]
RUN = [sys.executable, "-c", "import sys; from fastntk.cli import main; sys.exit(main(sys.argv[1:]))"]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", X=rng.standard_normal((20, 4)), y=np.arange(20) % 2)
    return "data.npz"


def run(capsys, *arguments):
    """Exit status, standard output and standard error of a command in this process."""
    status = cli.main(list(arguments))
    return status, *capsys.readouterr()


def test_version_and_help(capsys):
    assert run(capsys, "--version") == (0, f"fastntk {fastntk.__version__}\n", "")
    status, out, _ = run(capsys, "--help")
    assert status == 0
    assert "study" in out
    status, out, _ = run(capsys, "study", "--help")
    assert status == 0
    assert "exit status: 0 done" in out


def test_info_names_versions_and_the_instruction_set(capsys):
    status, out, _ = run(capsys, "info")
    assert status == 0
    facts = dict(line.split("  ", 1) for line in out.splitlines())
    assert facts["fastntk"].strip() == fastntk.__version__
    path, _, with_amx = facts["CPU path"].strip().partition(", ")
    assert path in ("avx512", "avx2", "plain")
    assert with_amx in ("", *(f"with AMX {kinds}" for kinds in ("int8", "bf16", "int8 and bf16")))


@pytest.mark.parametrize("command", [["info"], [*STUDY, "--data", "data.npz", "--quiet", *SMALL]])
def test_an_unknown_instruction_set_is_named(capsys, monkeypatch, tmp_path, data, command):
    monkeypatch.setenv("FASTNTK_CPU_PATH", "sse9")
    status, out, err = run(capsys, *command)
    assert (status, out) == (2, "")
    assert "FASTNTK_CPU_PATH is 'sse9'" in err
    assert [path.name for path in tmp_path.iterdir()] == [data]


def test_info_says_whether_tensor_cores_are_trusted(capsys, monkeypatch):
    monkeypatch.setenv("FASTNTK_TENSOR_FORWARD", "1")
    assert "exact if they round as measured" in run(capsys, "info")[1]
    monkeypatch.setenv("FASTNTK_TENSOR_FORWARD", "0")
    assert "measured" not in run(capsys, "info")[1]
    monkeypatch.setenv("FASTNTK_TENSOR_FORWARD", "on")
    status, out, err = run(capsys, "info")
    assert (status, out) == (2, "")
    assert "FASTNTK_TENSOR_FORWARD is 'on'; it must be '1'" in err


def test_a_study_prints_its_table_and_writes_its_folder(capsys, tmp_path, data):
    status, out, err = run(capsys, *STUDY, "--data", data, "--target", "y", *SMALL, "--output", "out")
    assert status == 0
    lines = out.splitlines()
    assert lines[0] == "The kernel, from finite to infinite width (width)"
    assert "of 4  distances to infinite width are where" in lines[1]
    assert lines[5].split()[:2] == ["kappa", "width"]
    assert len([line for line in lines if " infinite  " in line]) == 2
    assert lines[-1].endswith("out/index.html")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "figures",
        "index.html",
        "rows.npz",
        "study.json",
        "tables",
        "width.npz",
    ]
    assert "width: kappa 0, infinite width" in err  # progress, as lines where there is no terminal
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.npz", "out"]


def test_quiet_is_quiet_and_force_replaces(capsys, tmp_path, data):
    arguments = [*STUDY, "--data", data, "--quiet", "--output", "out", *SMALL]
    assert run(capsys, *arguments)[0] == 0
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith(f"fastntk: {tmp_path}/out exists. Choose another --output, or --force")
    status, _, err = run(capsys, *arguments, "--seed", "7", "--force")
    assert (status, err) == (0, "")
    assert np.load("out/width.npz")["kernel.seed"] == 7


def test_a_terminal_gets_a_bar_with_the_time_left(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with terminal.progress_display(quiet=False) as show:
        time.sleep(0.2)  # bars are not drawn more often than ten times a second
        show(0.5, "kappa 0.2, width 256")
    drawn = capsys.readouterr().err.split("\r")
    assert any(line.startswith("kappa 0.2, width 256") and " 50% |" in line for line in drawn)
    assert drawn[-1] == ""  # and wiped at the end
    assert "00:00 left" in "".join(drawn)


def test_the_default_study_is_all_parts(capsys, monkeypatch):
    calls = []

    def instead(names, request, output, **options):
        calls.append((names, request, output))
        raise KeyboardInterrupt

    monkeypatch.setattr("fastntk.study.report.write_report", instead)
    assert run(capsys, "study", "--quiet")[0] == 130
    ((names, request, output),) = calls
    assert names == list(study.PARTS)
    assert request.data is None
    assert (request.full, request.seed, request.widths, request.kappas) == (False, 0, None, None)
    assert output == "fastntk-study"


@pytest.mark.parametrize(
    ("text", "width"), [("1000", 1000), ("1e6", 10**6), ("1_000", 1000), ("2147483647", 2**31 - 1)]
)
def test_widths_are_read_as_people_write_them(text, width):
    assert arguments.width(text) == width


@pytest.mark.parametrize(
    ("text", "size"), [("4G", 4 * 10**9), ("500mb", 5 * 10**8), ("1.5K", 1500), ("77", 77)]
)
def test_sizes_are_read_as_people_write_them(text, size):
    assert arguments.size(text) == size


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["stduy"], "invalid choice: 'stduy'"),
        (["study", "--widths", "ten"], "--widths: invalid width value: 'ten'"),
        (["study", "--widths", "1.5"], "invalid width value: '1.5'"),
        (["study", "--widths", "inf"], "invalid width value: 'inf'"),
        (["study", "--widths", "nan"], "invalid width value: 'nan'"),
        (["study", "--widths"], "expected at least one argument"),
        (["study", "--kappas", "x"], "invalid float value: 'x'"),
        (["study", "--memory-limit", "much"], "invalid size value: 'much'"),
        (["study", "--preprocess", "whiten"], "invalid choice: 'whiten'"),
        (["study", "--colour"], "unrecognized arguments: --colour"),
        (["study", "kernels"], "there is no part 'kernels'; the parts are smoothing, training, "),
        (["study", "--target", "y", "kernels"], "there is no part 'kernels'"),
        (["study", "--widths", "0"], "width is 0"),
        (["study", "--widths", "3e9"], "width is 3000000000"),
        (["study", "--kappas", "-0.1"], "kappa is -0.1"),
        (["study", "--kappas", "nan"], "kappa is nan"),
        (["study", "--kappas", "1e9"], "kappa is 1000000000.0"),
        (["study", "--seed", "-1"], "seed is -1"),
        (["study", "--threads", "0"], "threads is 0"),
        (["study", "--memory-limit", "1K"], "memory_limit is 1 KB"),
        (["study", "--data", "mnist"], "neither a built-in data set"),
        (["study", "--data", "no.csv"], "no.csv: there is no such file"),
        (["study", "--data", "data.npz", "--target", "z"], "no array 'z' for --target"),
        (["study", "--data", "text.csv"], "the column 'b' is not numeric"),
        (["study", "--data", "broken.parquet"], "broken.parquet is malformed"),
        (["study", "--data", "broken.npz"], "pickled Python objects"),
        (["study", "--data", "zero.npy"], "0 of its values are not zero"),
        (["study", "--data", "huge.npy", "--preprocess", "none"], "not finite after rounding to float32"),
        (["study", "--output", "no/where"], "is not an existing folder"),
        (["study", "--output", "text.csv"], "exists and is not a folder"),
        (["study", "--output", "/proc/fastntk"], "/proc/fastntk cannot be written"),
    ],
)
def test_wrong_commands_and_input_end_with_status_2_and_nothing_written(
    capsys, tmp_path, data, arguments, message
):
    (tmp_path / "text.csv").write_text("a,b\n1,x\n2,y\n", encoding="utf-8")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and rubbish")
    (tmp_path / "broken.npz").write_bytes(b"rubbish")
    np.save(tmp_path / "zero.npy", np.zeros((3, 2)))
    np.save(tmp_path / "huge.npy", np.full((3, 2), 1e200))
    before = sorted(path.name for path in tmp_path.rglob("*"))
    if arguments and arguments[0] == "study" and "kernels" not in arguments:
        arguments = [*STUDY, *arguments[1:], *([] if "--data" in arguments else ["--data", data])]
    status, out, err = run(capsys, *arguments, *(["--quiet"] if "study" in arguments else []))
    assert status == 2
    assert out == ""
    assert message in err
    assert "Traceback" not in err
    assert not err.startswith("fastntk:") or err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_the_output_is_checked_before_anything_is_computed(capsys, monkeypatch, tmp_path, data):
    monkeypatch.setattr("fastntk.study.parts.width.width_study", lambda *a, **k: pytest.fail("computed"))
    (tmp_path / "out").mkdir()
    assert run(capsys, *STUDY, "--data", data, "--output", "out")[0] == 2


@pytest.mark.parametrize(
    ("failure", "status", "message"),
    [
        (KeyboardInterrupt, 130, "fastntk: interrupted; nothing was written\n"),
        (ZeroDivisionError, 1, "unexpected failure"),
        (OSError(28, "No space left on device"), 1, "No space left on device; nothing was written"),
    ],
)
@pytest.mark.parametrize("place", ["study.parts.width.width_study", "figures.kernel.distance_figure"])
def test_a_failure_on_the_way_leaves_nothing(
    capsys, monkeypatch, tmp_path, data, place, failure, status, message
):
    def fail(*args, **kwargs):
        raise failure

    monkeypatch.setattr(f"fastntk.{place}", fail)
    result, out, err = run(capsys, *STUDY, "--data", data, "--quiet", *SMALL, "--output", "out")
    assert (result, out) == (status, "")
    assert message in err
    assert [path.name for path in tmp_path.iterdir()] == ["data.npz"]


@pytest.mark.soak
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_a_signal_stops_a_long_study_and_leaves_nothing(tmp_path, data, number, status):
    arguments = [*STUDY, "--data", data, "--widths", "2e9", "--kappas", "0.1", "--output", "out"]
    with subprocess.Popen([*RUN, *arguments], stderr=subprocess.PIPE, text=True) as process:
        assert "kappa" in process.stderr.readline()
        time.sleep(2)
        assert any(path.name.endswith(".part") for path in tmp_path.iterdir())
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["data.npz"]


@pytest.mark.parametrize(
    ("missing", "named"), [("matplotlib", "matplotlib"), ("jinja2", "jinja2"), ("sklearn", "scikit-learn")]
)
def test_a_missing_library_is_named_with_the_command_that_installs_it(missing, named):
    code = f"import sys; sys.modules[{missing!r}] = None; from fastntk.cli import main; exit(main(['study']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert named in done.stderr
    assert 'python -m pip install "fastntk[study]"' in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_reader_that_leaves_is_no_failure_to_report():
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        done = subprocess.run([*RUN, "info"], stdout=pipe, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == ""


def test_the_parser_loads_no_heavy_library():
    code = (
        "import sys; from fastntk.cli import main; main(['--version']);"
        "print({'numba', 'scipy', 'pandas', 'matplotlib', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
