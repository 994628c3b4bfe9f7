"""The study as a folder: parts, page, tables, numbers; kept after an interrupt, computed to the end."""

import base64
import csv
import json
import re
from dataclasses import dataclass, replace

import jinja2
import numpy as np
import pytest
from matplotlib.figure import Figure

import fastntk as fn
from fastntk.commands import study as command
from fastntk.datasets import Dataset, load
from fastntk.study import layout, numbers, page, report
from fastntk.study.folder import MARK, OutputError
from fastntk.study.parts.part import Part, Request, stages
from fastntk.study.parts.registry import PARTS
from fastntk.study.report import StudyError, load_report, write_report

SETTINGS = {"full": False, "seed": 0, "data": "small"}
X = np.random.default_rng(1).standard_normal((40, 6)) + 0.3
TEXT = """{% from "macros.html" import image with context %}
<p>{{ study.names[1] }}</p>{{ image("NAME-figure", "nothing") }}"""


@dataclass(frozen=True)
class Nothing:
    """The numbers of a part that computes nothing."""

    seed: int
    names: tuple
    values: np.ndarray


def part(name, compute=None):
    """A part that is there at once."""

    def nothing(request, progress, folder):
        progress and progress(1.0, "done")
        return Nothing(request.seed, ("a", "<b>"), np.arange(3.0))

    return Part(
        name=name,
        title=f"On {name} & more",
        numbers=Nothing,
        compute=compute or nothing,
        figures=lambda study: {f"{name}-figure": Figure(figsize=(1, 1))},
        findings=lambda study: [("<1>", f"of {name}")],
        table=lambda study: (("number", "text"), [[("1", "<x>")], [("2", "y")]]),
        seconds=(1, 2),
    )


@pytest.fixture
def small_parts(monkeypatch):
    """Parts "one", "two" and "three" in place of the real ones."""
    parts = {name: part(name) for name in ("one", "two", "three")}
    environment = layout.environment()
    texts = jinja2.DictLoader({f"parts/{name}.html": TEXT.replace("NAME", name) for name in parts})
    monkeypatch.setattr(environment, "loader", jinja2.ChoiceLoader([texts, environment.loader]))
    for module in (report, page):
        monkeypatch.setattr(module, "PARTS", parts)
    return parts


def write(tmp_path, names=("one", "two", "three"), **options):
    settings = {"full": False, "seed": 3, "data": None}
    return write_report(names, Request(seed=3), tmp_path / "out", settings=settings, **options)


# ------------------------------------------------------------------------------------- the folder


def test_every_part_leaves_its_numbers_its_table_and_its_figures(small_parts, tmp_path):
    done = write(tmp_path)
    assert list(done.finished) == ["one", "two", "three"]
    assert done.missing == []
    folder = tmp_path / "out"
    for name in small_parts:
        found = numbers.load(Nothing, folder / f"{name}.npz")
        assert (found.seed, found.names) == (3, ("a", "<b>"))
        np.testing.assert_array_equal(found.values, [0, 1, 2])
        lines = (folder / "tables" / f"{name}.csv").read_text(encoding="utf-8").splitlines()
        assert list(csv.reader(lines)) == [["number", "text"], ["1", "<x>"], ["2", "y"]]
        assert (folder / "figures" / f"{name}-figure.png").read_bytes()[:4] == b"\x89PNG"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_no_part_writes_over_the_files_of_another():
    assert not {f"{name}.npz" for name in PARTS} & set(report.FILES)


def test_the_page_stands_alone_and_escapes_what_users_wrote(small_parts, tmp_path):
    write(tmp_path, command="fastntk study --x <y>")
    text = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    sources = re.findall(r'src="([^"]*)"', text)
    assert len(sources) == 3
    for source, name in zip(sources, small_parts, strict=True):
        kind, content = source.split(",")
        assert kind == "data:image/png;base64"
        path = tmp_path / "out" / "figures" / f"{name}-figure.png"
        assert base64.b64decode(content) == path.read_bytes()
    assert re.findall(r'href="([^"]*)"', text) == ["#one", "#two", "#three"]
    assert "http" not in text.replace("http-equiv", "")
    assert "<script" not in text
    assert "On one &amp; more" in text
    assert "<p>&lt;b&gt;</p>" in text
    assert "<td>1</td><td>&lt;x&gt;</td>" in text
    assert "--x &lt;y&gt;" in text
    assert "{{" not in text
    assert "stopped" not in text


def test_settings_and_origin_are_recorded(small_parts, tmp_path):
    write(tmp_path)
    record = json.loads((tmp_path / "out" / MARK).read_text(encoding="utf-8"))
    assert record["settings"] == {"full": False, "seed": 3, "data": None, "parts": ["one", "two", "three"]}
    assert record["finished"] == ["one", "two", "three"]
    assert record["provenance"]["fastntk"] == fn.__version__
    assert {"numpy", "numba", "processor", "CPU path", "time"} <= set(record["provenance"])


def test_progress_goes_from_zero_to_one_through_all_parts(small_parts, tmp_path):
    calls = []
    write(tmp_path, progress=lambda *call: calls.append(call))
    assert calls == [
        (pytest.approx(1 / 3), "one: done"),
        (pytest.approx(2 / 3), "two: done"),
        (pytest.approx(1.0), "three: done"),
    ]


def test_stages_share_the_progress():
    calls = []
    for name, report_share in stages(lambda *call: calls.append(call), ["a", "b"]):
        report_share(0.5)
        assert name in "ab"
    assert calls == [(0, "a"), (0.25, "a"), (0.5, "b"), (0.75, "b")]


# ------------------------------------------------------------------ interrupted, failed and resumed


def failing(error):
    def compute(request, progress, folder):
        (folder / "half").write_text("written")
        raise error

    return compute


def test_an_interrupt_keeps_what_is_done_and_resuming_computes_the_rest(small_parts, tmp_path):
    small_parts["two"] = part("two", failing(KeyboardInterrupt()))
    done = write(tmp_path)
    assert done.missing == ["two", "three"]
    text = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "stopped before two, three" in " ".join(text.split())
    before = (tmp_path / "out" / "one.npz").read_bytes()

    small_parts["one"] = part("one", failing(AssertionError("computed again")))
    small_parts["two"] = part("two")
    earlier = load_report(tmp_path / "out")
    assert earlier.missing == ["two", "three"]
    names = earlier.settings["parts"]
    again = write_report(names, Request(seed=3), tmp_path / "out", settings=earlier.settings, earlier=earlier)
    assert again.missing == []
    assert (tmp_path / "out" / "one.npz").read_bytes() == before
    assert len(re.findall("src=", (tmp_path / "out" / "index.html").read_text(encoding="utf-8"))) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_interrupt_of_the_first_part_leaves_nothing(small_parts, tmp_path):
    small_parts["one"] = part("one", failing(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [ValueError("too few rows."), MemoryError("too many rows.")])
def test_a_part_that_refuses_leaves_what_was_done_before(small_parts, tmp_path, error):
    small_parts["three"] = part("three", failing(error))
    with pytest.raises(StudyError, match=r"rows\. Finished parts are kept in .*out"):
        write(tmp_path)
    assert load_report(tmp_path / "out").missing == ["three"]
    assert not (tmp_path / "out" / "half").exists()


def test_a_first_part_that_refuses_leaves_nothing(small_parts, tmp_path):
    small_parts["three"] = part("three", failing(ValueError("too few rows.")))
    with pytest.raises(StudyError, match=r"rows\.$"):
        write(tmp_path, names=["three"])
    assert list(tmp_path.iterdir()) == []


def test_a_failure_nobody_expected_goes_on_and_leaves_what_was_done_before(small_parts, tmp_path):
    small_parts["two"] = part("two", failing(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        write(tmp_path)
    assert load_report(tmp_path / "out").missing == ["two", "three"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "one.npz").write_bytes(b"rubbish"), "is damaged"),
        (lambda folder: (folder / "one.npz").unlink(), "cannot be read"),
        (lambda folder: (folder / MARK).write_text("{}"), "is damaged"),
        (lambda folder: (folder / MARK).write_text("{"), "is damaged"),
        (lambda folder: (folder / MARK).unlink(), f"has no {MARK}"),
    ],
)
def test_damaged_studies_are_refused(small_parts, tmp_path, damage, message):
    write(tmp_path)
    damage(tmp_path / "out")
    with pytest.raises(OutputError, match=message):
        load_report(tmp_path / "out")


# ---------------------------------------------------------------------------------- the real parts


def test_the_command_knows_all_parts_in_order():
    assert tuple(PARTS) == command.PARTS
    for name, one in PARTS.items():
        assert one.name == name
        assert 0 < one.seconds[0] < one.seconds[1]


@pytest.mark.parametrize("name", PARTS)
def test_every_part_keeps_to_the_memory(name, tmp_path):
    with pytest.raises(MemoryError, match="memory_limit is 1 KB"):
        PARTS[name].compute(Request(memory_limit=1000), None, tmp_path)


def test_numbers_come_back_from_their_file_nested_or_not(tmp_path):
    @dataclass(frozen=True)
    class Inner:
        text: str
        values: np.ndarray

    @dataclass(frozen=True)
    class Outer:
        count: int
        share: float
        flag: bool
        inner: Inner

    kept = Outer(2, 0.5, True, Inner("", np.eye(2)))
    numbers.save(kept, tmp_path / "n.npz")
    found = numbers.load(Outer, tmp_path / "n.npz")
    assert (found.count, found.share, found.flag, found.inner.text) == (2, 0.5, True, "")
    np.testing.assert_array_equal(found.inner.values, np.eye(2))


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """The report of the part "width" on a data set with awkward names."""
    folder = tmp_path_factory.mktemp("report") / "out"
    dataset = replace(load("iris"), name="<iris> & $co", class_names=("a$b_", "<b>", "c" * 40))
    request = Request(seed=3, data=dataset, widths=(300, 100), kappas=(0.0, 0.25), save_kernels="all")
    settings = {"full": False, "seed": 3, "data": dataset.name}
    return write_report(["width"], request, folder, settings=settings).finished["width"], folder


def test_kernels_of_a_data_set_are_kept_as_they_were_computed(kernels):
    _, folder = kernels
    with np.load(folder / "rows.npz") as data:
        rows, labels = data["X"], data["target"]
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-6)
    assert labels.shape == (150,)
    assert len(list((folder / "kernels").iterdir())) == 4
    K = np.load(folder / "kernels" / "kappa_0.25_width_300.npz")["kernel"]
    mask = fn.GaussianMask(0.25)
    np.testing.assert_array_equal(K, fn.ntk(rows, network=fn.Network(300, 4, seed=3), mask=mask, seed=3))


def test_a_real_page_shows_its_numbers_and_escapes_names(kernels):
    study, folder = kernels
    text = (folder / "index.html").read_text(encoding="utf-8")
    assert "&lt;iris&gt; &amp; $co" in text
    assert "<iris>" not in text
    for group in PARTS["width"].table(study)[1]:
        for row in group:
            assert "".join(f"<td>{cell}</td>" for cell in row) in text
    assert text.count("<tr") == text.count("</tr>")
    assert len(study.data_sha256) == 64
    loaded = load_report(folder).finished["width"]
    np.testing.assert_array_equal(loaded.kernel.distance, study.kernel.distance)
    assert loaded.pictures.tick_names == study.pictures.tick_names


@pytest.mark.parametrize(("choice", "files"), [("none", 0), ("widest", 2)])
def test_kernels_are_kept_as_asked(tmp_path, choice, files):
    request = Request(data=Dataset("small", X), widths=(50, 100), kappas=(0.0, 0.1), save_kernels=choice)
    write_report(["width"], request, tmp_path / "out", settings=SETTINGS)
    assert len(list((tmp_path / "out").glob("kernels/*"))) == files
    assert page.KEPT_KERNELS[choice] in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


def test_a_refused_study_leaves_nothing(tmp_path):
    request = Request(data=Dataset("small", X), widths=(0,), kappas=(0.0,))
    with pytest.raises(StudyError, match="width is 0"):
        write_report(["width"], request, tmp_path / "out", settings=SETTINGS)
    assert list(tmp_path.iterdir()) == []
