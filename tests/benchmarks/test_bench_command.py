"""``fastntk bench`` on tiny sizes: whole, stopped, gone on with, and with peers that are missing or wrong."""

import csv
import json
import signal
from pathlib import Path

import numpy as np
import pytest

from fastntk import cli
from fastntk.benchmarks import measure, methods, numpy_methods, peaks, sizes, worker
from fastntk.benchmarks.results import Measurement, Results, load
from fastntk.benchmarks.roofline import KernelRate, Roofline, measure_roofline
from fastntk.figures.benchmarks import figures

TINY = sizes.Sizes(
    n=24,
    d=8,
    width=512,
    widths=(256, 512),
    rows=(24, 40),
    features=(8,),
    limit_rows=(30,),
    rounds=2,
    longest=30.0,
    kernel_steps=0.001,
)
BENCH = ["bench", "--quick", "--threads", "1", "--quiet", "--peers", "numpy"]


class HereWorker(worker.Worker):
    """A worker without a process of its own: quick to begin, and tests can change what it does."""

    def __init__(self, method, threads):
        self._desk = worker._Desk(method, threads)
        self._started = False

    def close(self):
        pass

    def _ask(self, name, *arguments):
        try:
            if not self._started:
                self._started = True
                self._desk.start()
            return getattr(self._desk, name)(*arguments)
        except Exception as error:
            raise worker.MethodFailed(f"{type(error).__name__}: {error}") from error


def one_rate(*_):
    """In the place of a roofline, which has a test of its own."""
    kernel = KernelRate("forward to bits, d=64", "fp32", 1e10, 100.0, [0.1])
    return Roofline({"fp32": 2e10, "memory": 1e9, "popcount": 1e12}, [kernel])


@pytest.fixture(autouse=True)
def tiny(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sizes.SIZES, "quick", TINY)
    monkeypatch.setattr(measure, "PAUSE", 0)
    monkeypatch.setattr(measure, "Worker", HereWorker)
    monkeypatch.setattr(measure, "measure_roofline", one_rate)
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


def stop_at(patch, number):
    """Ctrl-C when so many problems have been measured."""
    real, seen = measure._measure_cell, []

    def interrupted(*arguments):
        if len(seen) == number:
            raise KeyboardInterrupt
        seen.append(real(*arguments))
        return seen[-1]

    patch.setattr(measure, "_measure_cell", interrupted)


def record(folder="fastntk-bench"):
    return json.loads(Path(folder, "bench.json").read_text(encoding="utf-8"))


def test_the_folder_holds_page_figures_tables_and_numbers():
    assert cli.main(BENCH) == 0
    whole = Path("fastntk-bench")
    images = {path.stem for path in (whole / "figures").glob("*.png")}
    assert images == {"time", "memory", "roofline"}  # one thread: nothing to draw of threads
    page = (whole / "index.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 3
    assert "scikit-learn has no kernel of a ReLU network" in page
    with (whole / "methods.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    # three kernels by three methods, and a limit by two
    assert len(lines) == 3 * 3 + 2
    assert {line["method"] for line in lines if line["quantity"] == "kernel"} == {
        "fastntk",
        "fastntk-given",
        "numpy",
    }
    assert all(0 < float(line["seconds"]) <= float(line["slowest"]) for line in lines)
    found = record()
    assert found["packages"]["numpy"] == np.__version__
    assert found["hardware"]
    assert all(len(one["seconds"]) == 2 for cell in found["measured"] for one in cell["methods"].values())
    given = [cell["methods"].get("fastntk-given") for cell in found["measured"]]
    assert [one["difference"] for one in given if one] == [0.0] * 3  # the same bits as virtual weights
    with (whole / "kernels.csv").open(encoding="utf-8") as file:
        line = next(csv.DictReader(file))
    assert float(line["rate"]) / float(line["peak"]) == 0.5
    assert "50.0 %" in page
    assert "gt;" not in page.partition("<math")[2].partition("</math>")[0]  # LaTeX is not HTML
    assert load(whole)[0].roofline == one_rate()


def test_a_peer_that_is_missing_is_named_with_its_command(monkeypatch, capsys):
    real = methods.importlib.util.find_spec
    monkeypatch.setattr(
        methods.importlib.util, "find_spec", lambda name: None if name == "numkong" else real(name)
    )
    assert cli.main([*BENCH, "numkong"]) == 0
    hint = "numkong is not installed: python -m pip install numkong"
    assert hint in capsys.readouterr().out
    assert hint in Path("fastntk-bench", "index.html").read_text(encoding="utf-8")


def test_a_peer_that_does_not_import_says_why(monkeypatch, tmp_path):
    (tmp_path / "neural_tangents.py").write_text("raise AttributeError('jax has no such thing')")
    monkeypatch.syspath_prepend(tmp_path)
    reason = methods.why_missing("neural-tangents")
    assert reason == "is installed but does not import here (AttributeError: jax has no such thing)"


def test_a_peer_that_is_wrong_is_not_timed(monkeypatch, capsys):
    real = numpy_methods.hidden_kernel
    monkeypatch.setattr(numpy_methods, "hidden_kernel", lambda *given: 1.05 * real(*given))
    assert cli.main(BENCH) == 1
    assert "not all results agree" in capsys.readouterr().err
    found, _ = load(Path("fastntk-bench"))
    for cell, measured in found.measured.items():
        if cell.quantity == "kernel":
            assert not measured["numpy"].seconds
            assert "away from fastntk's" in measured["numpy"].stopped
            assert measured["fastntk"].seconds


def test_a_peer_that_raises_is_left_out(monkeypatch):
    def fail(*_):
        raise MemoryError("no more")

    monkeypatch.setattr(numpy_methods, "hidden_kernel", fail)
    assert cli.main(BENCH) == 0
    found, _ = load(Path("fastntk-bench"))
    reasons = {measured[name].stopped for measured in found.measured.values() for name in measured}
    assert reasons == {None, "MemoryError: no more"}


def test_what_does_not_fit_the_limit_is_not_begun():
    assert cli.main([*BENCH, "--memory-limit", "1500K"]) == 0
    found, _ = load(Path("fastntk-bench"))
    left_out = [one for measured in found.measured.values() for one in measured.values() if one.stopped]
    assert {one.stopped.rpartition("; ")[2] for one in left_out} == {
        "the limit is 1.5 MB",
        "fastntk's result, to compare with, is not there",
    }
    assert all(one.seconds == [] and one.peak_bytes is None for one in left_out)


def test_roofline(monkeypatch):
    monkeypatch.setattr(peaks, "TRIAD_BYTES", 3 * 2**20)
    found = measure_roofline(1, 1, 0.001, with_numkong=False)
    assert {"fp32", "memory", "popcount"} <= set(found.peaks)
    labels = [kernel.label for kernel in found.kernels]
    assert "forward to bits, d=64" in labels
    assert "counts, by population count" in labels
    assert all(kernel.rate > 0 and kernel.against in found.peaks for kernel in found.kernels)


def test_stopped_before_anything_is_measured_nothing_is_left(monkeypatch, capsys):
    stop_at(monkeypatch, 0)
    assert cli.main(BENCH) == 130
    assert "nothing was written" in capsys.readouterr().err
    assert list(Path().iterdir()) == []


def test_stopped_it_keeps_what_is_measured_and_goes_on(capsys):
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 2)
        assert cli.main(BENCH) == 130
    assert "--resume fastntk-bench" in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["fastntk-bench"]
    stopped = record()
    assert len(stopped["measured"]) == 2
    assert "was stopped with 3 of 5" in Path("fastntk-bench", "index.html").read_text(encoding="utf-8")
    assert cli.main(["bench", "--resume", "--quiet"]) == 0
    done = record()
    assert done["measured"][:2] == stopped["measured"]
    assert len(done["measured"]) == 4
    assert done["roofline"] is not None
    assert cli.main(["bench", "--resume", "--quiet"]) == 2
    assert "is complete" in capsys.readouterr().err


@pytest.mark.parametrize("which", range(4))
def test_figures_of_a_run_that_was_stopped(which):
    """Whichever problem was done: no panel needs another one."""
    settings = {"size": "quick", "threads": 1, "memory_limit": 10**9, "seed": 0, "methods": ["fastntk"]}
    cells = sizes.cells(TINY, 1, 0)
    name = "fastntk" if cells[which].quantity == "kernel" else "fastntk-limit"
    measured = {cells[which]: {name: Measurement(1e6, [0.5, 0.25], 10**6)}}
    drawn = figures(Results(settings, {}, cells, measured), {"fastntk": ("fastntk", lambda *_: 1e6)})
    assert set(drawn) == ({"time", "memory"} if name == "fastntk" else set())
    for figure in drawn.values():
        figure.canvas.draw()


def test_going_on_takes_no_other_settings_and_no_other_machine(monkeypatch, capsys):
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 1)
        assert cli.main(BENCH) == 130
    capsys.readouterr()
    assert cli.main(["bench", "--resume", "--threads", "1"]) == 2
    assert "leave --threads out" in capsys.readouterr().err
    monkeypatch.setattr("fastntk.benchmarks.hardware.processor", lambda: "another")
    assert cli.main(["bench", "--resume"]) == 2
    assert "is of another machine" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--threads", "0"], "--threads is 0"),
        (["--threads", "100000"], "the processors that this process may use"),
        (["--resume", "nowhere"], "does not hold a benchmark"),
    ],
)
def test_wrong_commands(arguments, said, capsys):
    assert cli.main(["bench", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert list(Path().iterdir()) == []
