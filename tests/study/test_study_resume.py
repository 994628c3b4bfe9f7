"""`fastntk study --resume`: what is there is kept as it is, what is missing comes out as in one go."""

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from fastntk import cli
from fastntk.figures import style
from fastntk.study.folder import MARK
from fastntk.study.parts import data, movement, plateau, smoothing

PARTS = ["smoothing", "movement", "data"]
SIZES = {
    smoothing: {"kappas": (0.2, 1.0), "neurons": 20, "draws": 200, "rows": 3},
    movement: {"widths": (50, 100), "kappas": (0.0, 0.3), "rows": 8, "steps": 10},
    data: {"kappas": (0.0, 0.3), "width": 30, "steps": 50, "most_rows": 30},
}
STUDIES = {smoothing: "smoothing_study", movement: "movement_study", data: "data_study"}
STUDY = ["study", *PARTS, "--seed", "4", "--data", "mine.csv", "--target", "kind", "--quiet"]


def write_data(sign=1):
    """A file of 20 rows with a target, "mine.csv"."""
    rows = np.random.default_rng(0).standard_normal((20, 3))
    lines = [f"{x:.6f},{y:.6f},{z:.6f},{'no' if sign * (x + y) < z else 'yes'}" for x, y, z in rows]
    Path("mine.csv").write_text("\n".join(["x,y,z,kind", *lines]), encoding="utf-8")


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with a data set, a study "whole" in one go and a "stopped" one, and small parts."""
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        for module, sizes in SIZES.items():
            patch.setattr(module, "SIZES", {False: sizes})
        patch.setattr(data, "DATA", {"iris": "standardize"})
        patch.setattr(plateau, "SNAPSHOTS", 5)
        save = style.save
        patch.setattr(style, "save", lambda figure, path: save(Figure(figsize=(1, 1)), path))
        folder = tmp_path_factory.mktemp("studies")
        patch.chdir(folder)
        write_data()
        assert cli.main([*STUDY, "--output", "whole"]) == 0
        with patch.context() as inner:
            stop_in(inner, movement)
            assert cli.main([*STUDY, "--output", "stopped"]) == 130
        yield folder
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture(autouse=True)
def a_copy(here, tmp_path, monkeypatch):
    """Every test has its own."""
    shutil.copytree(here, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")


def stop_in(patch, module):
    """Ctrl-C within a part, as soon as it has got somewhere."""
    real = getattr(module, STUDIES[module])

    def progress(fraction, stage):
        if fraction > 0:
            raise KeyboardInterrupt

    patch.setattr(
        module, STUDIES[module], lambda *args, **given: real(*args, **given | {"progress": progress})
    )


def noting(names, name, function):
    def called(*args, **given):
        names.append(name)
        return function(*args, **given)

    return called


@pytest.fixture
def computed(monkeypatch):
    """Names of the parts that are computed in this test."""
    names = []
    for module, function in STUDIES.items():
        noted = noting(names, function.removesuffix("_study"), getattr(module, function))
        monkeypatch.setattr(module, function, noted)
    return names


def resume(capsys, *arguments, folder="stopped"):
    capsys.readouterr()
    status = cli.main(["study", "--quiet", "--resume", folder, *arguments])
    return status, *capsys.readouterr()


def files(folder="."):
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()
    }


def assert_same(folder, other):
    """All numbers and tables, figures of the same names, and the settings."""
    ours, theirs = files(folder), files(other)
    assert sorted(ours) == sorted(theirs)
    for name in PARTS:
        assert ours[f"tables/{name}.csv"] == theirs[f"tables/{name}.csv"]
        one, two = (dict(np.load(f"{where}/{name}.npz")) for where in (folder, other))
        assert list(one) == list(two)
        for field, values in two.items():
            np.testing.assert_array_equal(one[field], values, err_msg=f"{name}: {field}")
    records = [json.loads(one[MARK]) for one in (ours, theirs)]
    assert records[0]["settings"] == records[1]["settings"]
    assert records[0]["finished"] == records[1]["finished"] == PARTS


# ------------------------------------------------------------------------------------- going on


def test_an_interrupted_study_ends_as_if_it_had_never_stopped(computed, capsys):
    before = files("stopped")
    assert [name for name in before if name.endswith(".npz")] == ["smoothing.npz"]
    status, out, err = resume(capsys)
    assert (status, err) == (0, "")
    assert computed == ["movement", "data"]
    assert [f"({name})" in out for name in PARTS] == [True] * 3
    assert_same("stopped", "whole")
    kept = [name for name in before if name not in ("index.html", MARK)]
    assert len(kept) == 4  # numbers, a table and two figures
    assert [files("stopped")[name] == before[name] for name in kept] == [True] * 4
    assert sorted(path.name for path in Path().iterdir()) == ["mine.csv", "stopped", "whole"]


def test_a_study_may_be_interrupted_again(computed, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        stop_in(patch, movement)
        before = files()
        status, _, err = resume(capsys)
        assert (status, err) == (130, "fastntk: interrupted; nothing was written\n")
        assert files() == before
    with monkeypatch.context() as patch:
        stop_in(patch, data)
        status, _, err = resume(capsys)
    assert status == 130
    assert "interrupted; data missing" in err
    assert err.endswith("fastntk study --resume stopped\n")
    computed.clear()
    assert cli.main(["study", "--quiet", "--output", "stopped", "--resume"]) == 0
    assert computed == ["data"]
    assert_same("stopped", "whole")


def test_figures_and_tables_come_from_the_numbers(capsys):
    for name in ("figures/smoothing-gaps.png", "tables/smoothing.csv"):
        Path("stopped", name).unlink()
    assert resume(capsys)[0] == 0
    assert_same("stopped", "whole")


# ------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["--seed", "4"], "--seed"),
        (["--full"], "--full"),
        (["--data", "iris"], "--data"),
        (["--kappas", "0.1", "--save-kernels", "all"], "--kappas, --save-kernels"),
    ],
)
def test_settings_beside_resume_are_refused(computed, capsys, given, named):
    before = files()
    status, _, err = resume(capsys, *given)
    assert status == 2
    assert err == f"fastntk: the study in stopped goes on with its own settings: leave {named} out.\n"
    assert (files(), computed) == (before, [])


def remove(name):
    return Path(name).unlink


@pytest.mark.parametrize(
    ("folder", "damage", "message"),
    [
        ("whole", None, "the study in whole is complete"),
        ("nowhere", None, "nowhere does not hold a study (it has no study.json) to go on with"),
        ("stopped", remove("stopped/study.json"), "does not hold a study"),
        ("stopped", remove("stopped/smoothing.npz"), "the study in stopped cannot be read"),
        ("stopped", lambda: shutil.copy("whole/movement.npz", "stopped/smoothing.npz"), "is damaged"),
        ("stopped", remove("mine.csv"), "mine.csv: there is no such file"),
        (
            "stopped",
            lambda: write_data(sign=-1),
            "mine.csv is not what it was when",
        ),
    ],
)
def test_what_cannot_go_on_is_refused_and_left_as_it_is(computed, capsys, folder, damage, message):
    damage and damage()
    before = files()
    status, _, err = resume(capsys, folder=folder)
    assert status == 2
    assert message in err
    assert err.count("\n") == 1
    assert (files(), computed) == (before, [])


def test_without_resume_a_study_is_not_written_over(computed, capsys):
    before = files()
    assert cli.main([*STUDY, "--output", "stopped"]) == 2
    assert "stopped exists. Choose another --output, or --force" in capsys.readouterr().err
    assert (files(), computed) == (before, [])
