"""The width study: its numbers against brute force and theory, and what is made of them."""

import base64
import json
import re
from dataclasses import asdict, replace

import numpy as np
import pytest
import scipy.linalg
from matplotlib.figure import Figure

import fastntk as fn
from fastntk import plots, plots_style
from fastntk.datasets import Dataset, load, preprocess
from fastntk.study import page, table, width_study
from fastntk.study.folder import MARK, OutputError, new_folder
from fastntk.study.pictures import PIXELS, Pictures
from fastntk.study.report import StudyError, write_report

N, D = 40, 6
X = preprocess(np.random.default_rng(1).standard_normal((N, D)) + 0.3, "unit")
WIDTHS, KAPPAS = (200, 1600), (0.0, 0.4)


@pytest.fixture(scope="module")
def study():
    return width_study(X, widths=WIDTHS, kappas=KAPPAS, seed=5)


# -------------------------------------------------------------------------------- the numbers


def test_every_number_is_that_of_the_kernels_of_the_api(study):
    for k, kappa in enumerate(KAPPAS):
        mask = fn.GaussianMask(kappa)
        limit = fn.ntk_limit(X, mask=mask, draws=1, seed=5)
        ends = scipy.linalg.eigvalsh(limit)[[0, -1]]
        np.testing.assert_allclose((study.limit_smallest[k], study.limit_largest[k]), ends, rtol=1e-9)
        np.testing.assert_allclose(study.limit_norm[k], np.linalg.norm(limit), rtol=1e-12)
        for w, width in enumerate(WIDTHS):
            K = fn.ntk(X, network=fn.Network(width, D, seed=5), mask=mask, seed=5)
            values = scipy.linalg.eigvalsh(K)
            off = K[~np.eye(N, dtype=bool)].mean()
            np.testing.assert_allclose(study.distance[k, w], np.linalg.norm(K - limit), rtol=1e-12)
            np.testing.assert_allclose(
                (study.smallest[k, w], study.largest[k, w]), values[[0, -1]], atol=1e-12
            )
            np.testing.assert_allclose(study.diagonal[k, w], np.diag(K).mean(), rtol=1e-12)
            np.testing.assert_allclose(study.off_diagonal[k, w], off, rtol=1e-10)
        np.testing.assert_allclose(study.spectrum[k], values, atol=1e-12)


def test_the_prediction_is_the_variance_of_the_pattern_products(study):
    for k, kappa in enumerate(KAPPAS):
        masked = fn.GaussianMask(kappa).sample(X, seed=5).astype(float)
        G = masked @ masked.T
        norm = np.sqrt(np.diag(G))
        p = (np.pi - np.arccos(np.clip(G / norm / norm[:, None], -1, 1))) / (2 * np.pi)
        expected = np.sqrt((G**2 * p * (1 - p)).sum() / np.array(WIDTHS))
        np.testing.assert_allclose(study.predicted[k], expected, rtol=1e-6)


def test_distances_follow_the_prediction_over_many_networks():
    """Mean square of the ratio is one and the slope is -1/2, each within 4 of its standard errors."""
    widths, seeds = np.array([250, 1000, 4000]), 48
    ratios = np.array(
        [width_study(X, widths=widths, kappas=[0.3], seed=seed).ratio[0] for seed in range(seeds)]
    )
    mean = (ratios**2).mean(axis=0)
    error = (ratios**2).std(axis=0, ddof=1) / np.sqrt(seeds)
    assert (np.abs(mean - 1) < 4 * error).all()
    assert (error < 0.15).all()

    centred = np.log(widths) - np.log(widths).mean()
    excess = np.log(ratios) @ centred / (centred @ centred)  # of the slope over -1/2, for each network
    assert abs(excess.mean()) < 4 * excess.std(ddof=1) / np.sqrt(seeds)
    assert excess.std(ddof=1) / np.sqrt(seeds) < 0.03


def test_the_typical_range_holds_95_of_100_networks():
    limit = fn.ntk_limit(X)
    expected = fn.limit.width_error(X, width=500)
    low, high = width_study(X, widths=[500], kappas=[0]).typical[0]
    ratios = np.array(
        [
            np.linalg.norm(fn.ntk(X, network=fn.Network(500, D, seed=s)) - limit) / expected
            for s in range(1000, 1400)
        ]
    )
    inside = ((ratios > low) & (ratios < high)).mean()
    assert 0.90 <= inside <= 0.99
    assert low < np.median(ratios) < high


def test_the_slope_is_a_least_squares_fit(study):
    fit = np.polyfit(np.log(WIDTHS), np.log(study.distance).T, 1)[0]
    np.testing.assert_allclose(study.slope, fit, rtol=1e-10)
    assert np.isnan(width_study(X, widths=[64], kappas=[0]).slope).all()


def test_widths_and_strengths_come_sorted_and_once():
    result = width_study(X, widths=[300, 100, 300], kappas=[0.5, 0, 0.5])
    assert result.widths.tolist() == [100, 300]
    assert result.kappas.tolist() == [0, 0.5]


def test_the_same_numbers_again_and_with_another_number_of_threads(study):
    again = width_study(X, widths=WIDTHS, kappas=KAPPAS, seed=5, threads=1)
    for name, value in asdict(study).items():
        if name != "seconds":
            np.testing.assert_array_equal(asdict(again)[name], value, err_msg=name)


def test_each_kernel_is_shown_once_with_its_limit():
    seen = {}
    width_study(
        X, widths=WIDTHS, kappas=KAPPAS, each_kernel=lambda *call: seen.setdefault(call[:2], call[2:]), seed=2
    )
    assert set(seen) == {(kappa, width) for kappa in KAPPAS for width in WIDTHS}
    K, limit = seen[0.4, 200]
    mask = fn.GaussianMask(0.4)
    np.testing.assert_array_equal(K, fn.ntk(X, network=fn.Network(200, D, seed=2), mask=mask, seed=2))
    np.testing.assert_array_equal(limit, fn.ntk_limit(X, mask=mask, draws=1, seed=2))


def test_progress_goes_from_zero_to_one_through_all_stages():
    calls = []
    width_study(X, widths=WIDTHS, kappas=KAPPAS, progress=lambda *call: calls.append(call))
    fractions = [fraction for fraction, _ in calls]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] == pytest.approx(1, abs=1e-12)
    stages = list(dict.fromkeys(stage for _, stage in calls))
    assert stages[:3] == ["kappa 0, infinite width", "kappa 0, width 200", "kappa 0, width 1,600"]
    assert len(stages) == 6


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"X": X[:1]}, ValueError, "X has 1 rows"),
        ({"X": np.zeros((3, 2))}, ValueError, "0 of its values are not zero"),
        ({"X": np.where(np.eye(N, D), np.nan, X)}, ValueError, r"X\[0, 0\] is nan"),
        ({"widths": []}, ValueError, "widths is empty"),
        ({"widths": 100}, TypeError, "widths is 100; it must be a sequence"),
        ({"widths": [0]}, ValueError, "width is 0"),
        ({"kappas": [0.1, -1]}, ValueError, r"kappa is -1"),
        ({"kappas": [np.nan]}, ValueError, "kappa is nan"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"memory_limit": 1000}, MemoryError, "40 rows needs about 64 KB, but memory_limit is 1 KB"),
        ({"X": X * 1e38, "kappas": [50.0]}, ValueError, "not finite in float32"),
    ],
)
def test_bad_arguments_are_named(change, kind, message):
    arguments = {"X": X, "widths": [100], "kappas": [0.1]} | change
    with pytest.raises(kind, match=message):
        width_study(arguments.pop("X"), **arguments)


@pytest.mark.parametrize("scale", [1e-15, 1e15])
def test_ratios_do_not_depend_on_the_scale_of_the_data(study, scale):
    scaled = width_study(
        X.astype(np.float32) * np.float32(2) ** round(np.log2(scale)), widths=WIDTHS, kappas=KAPPAS, seed=5
    )
    np.testing.assert_allclose(scaled.ratio, study.ratio, rtol=1e-6)
    np.testing.assert_allclose(scaled.typical, study.typical, rtol=1e-4)


# ----------------------------------------------------------------------------------- pictures


def test_pictures_are_block_means_of_the_sorted_kernel():
    n = 2 * PIXELS
    labels = np.arange(n) % 3
    K = np.random.default_rng(0).random((n, n))
    pictures = Pictures(Dataset("d", np.ones((n, 1)), labels, ("a", "b", "c"), "kind"), 10)
    pictures.add(0.0, 9, K, K)
    assert pictures.kappas == []
    pictures.add(0.5, 10, K, K - 1)
    order = np.argsort(labels, kind="stable")
    means = K[np.ix_(order, order)].reshape(PIXELS, 2, PIXELS, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(pictures.kernels[0], means, rtol=1e-12)
    np.testing.assert_allclose(pictures.differences[0], 1, rtol=1e-12)
    assert [name for _, name in pictures.ticks] == ["a", "b", "c"]
    assert pictures.edges == [PIXELS / 3, 2 * PIXELS / 3]


def test_small_kernels_are_shown_entry_by_entry():
    pictures = Pictures(Dataset("d", X), 10)
    K = X @ X.T
    pictures.add(0.0, 10, K, 0 * K)
    np.testing.assert_array_equal(pictures.kernels[0], K)


# -------------------------------------------------------------------------------------- table


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (11.9876, "11.99"),
        (0.013314, "0.01331"),
        (467.96, "468.0"),
        (123456.7, "123,457"),
        (2.8e-9, "2.800e-09"),
        (-0.5, "-0.5000"),
        (1.2e7, "1.200e+07"),
        (float("nan"), "nan"),
    ],
)
def test_numbers_have_four_digits(value, text):
    assert table.number(value) == text


def test_the_table_has_a_row_for_each_kernel_and_each_limit(study):
    lines = table.as_text(study).splitlines()
    assert lines[0].split()[:4] == ["kappa", "width", "distance", "predicted"]
    cells = [line.split() for line in lines[2:] if line]
    assert [row[:2] for row in cells[:3]] == [["0", "200"], ["0", "1,600"], ["0", "infinite"]]
    assert len(cells) == 6
    assert cells[0][2] == table.number(study.distance[0, 0])
    assert max(map(len, lines)) <= 105


# ------------------------------------------------------------------------------------ figures


@pytest.mark.parametrize(
    "draw", [plots.distance_figure, plots.eigenvalue_figure, plots.ridge_figure], ids=lambda f: f.__name__
)
def test_figures_of_common_and_of_extreme_studies(study, draw, tmp_path):
    one = width_study(X, widths=[100], kappas=[0.2])
    flat = replace(study, smallest=study.smallest * 0 - 1e-18, spectrum=np.abs(study.spectrum) * [[0], [1]])
    for which in (study, one, flat):
        figure = draw(which)
        assert isinstance(figure, Figure)
        plots_style.save(figure, tmp_path / "figure.png")
        assert (tmp_path / "figure.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_measured_points_stand_in_the_distance_figure(study):
    ratio_panel = plots.distance_figure(study).axes[1]
    drawn = np.array([line.get_ydata() for line in ratio_panel.lines if len(line.get_ydata()) == len(WIDTHS)])
    for ratios in study.ratio:
        assert (drawn == ratios).all(axis=1).any()


def test_figures_leave_matplotlib_as_it_was(study):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    plots.distance_figure(study)
    assert dict(mpl.rcParams) == before


# ------------------------------------------------------------------------------------- folder


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "out"
    with new_folder(target) as part:
        (part / MARK).write_text("1")
        assert not target.exists()
    assert (target / MARK).read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]

    def interrupted():
        with new_folder(target, replace=True) as part:
            (part / MARK).write_text("2")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (target / MARK).read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]

    with new_folder(target, replace=True) as part:
        (part / MARK).write_text("3")
    assert (target / MARK).read_text() == "3"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_folders_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    cases = [
        ("file", False, "exists and is not a folder"),
        ("file", True, "exists and is not a folder"),
        ("link", True, "exists and is not a folder"),
        ("other", False, "exists. Choose another --output, or --force"),
        ("other", True, f"has no {MARK}"),
        ("no/where", False, "is not an existing folder"),
        ("file/in", False, "is not an existing folder"),
        ("x" * 300, False, "cannot be written"),
    ]
    before = sorted(path.name for path in tmp_path.rglob("*"))
    for name, force, message in cases:
        with pytest.raises(OutputError, match=message), new_folder(tmp_path / name, replace=force):
            pytest.fail("entered")
    with pytest.raises(OutputError, match="MB free"), new_folder(tmp_path / "big", needed_bytes=1 << 62):
        pytest.fail("entered")
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_results_are_kept_where_the_name_is_taken_in_the_meantime(tmp_path):
    def late():
        with new_folder(tmp_path / "out") as part:
            (part / MARK).write_text("results")
            (tmp_path / "out").write_text("somebody was faster")

    with pytest.raises(OutputError, match="They are in") as error:
        late()
    kept = re.search(r"They are in (\S+?)\.?$", str(error.value)).group(1)
    assert (tmp_path / kept / MARK).read_text() == "results"
    assert (tmp_path / "out").read_text() == "somebody was faster"


# ------------------------------------------------------------------------- the whole report


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "out"
    dataset = replace(load("iris"), name="<iris> & $co", class_names=("a$b_", "<b>", "c" * 40))
    options = {"widths": [300, 100], "kappas": [0.0, 0.25], "seed": 3, "save_kernels": "all"}
    return write_report(dataset, folder, command="fastntk study --x <y>", **options), folder


def test_a_report_has_the_arrays_as_they_were_computed(report):
    study, folder = report
    with np.load(folder / "summary.npz") as summary:
        assert set(summary.files) == set(asdict(study))
        for name, value in asdict(study).items():
            np.testing.assert_array_equal(summary[name], value)
    with np.load(folder / "data.npz") as data:
        rows, labels = data["X"], data["target"]
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-6)
    assert labels.shape == (150,)
    assert len(list((folder / "kernels").iterdir())) == 4
    K = np.load(folder / "kernels" / "kappa_0.25_width_300.npz")["kernel"]
    mask = fn.GaussianMask(0.25)
    np.testing.assert_array_equal(K, fn.ntk(rows, network=fn.Network(300, 4, seed=3), mask=mask, seed=3))


def test_a_report_names_its_settings_and_origin(report):
    record = json.loads((report[1] / MARK).read_text(encoding="utf-8"))
    assert record["settings"]["widths"] == [100, 300]
    assert record["settings"]["seed"] == 3
    assert len(record["settings"]["data_sha256"]) == 64
    assert record["provenance"]["fastntk"] == fn.__version__
    assert {"numpy", "numba", "processor", "CPU path", "time"} <= set(record["provenance"])


def test_the_page_stands_alone_and_escapes_what_users_wrote(report):
    _, folder = report
    text = (folder / "index.html").read_text(encoding="utf-8")
    sources = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert len(sources) == 4
    for source, name in zip(sources, ("distance", "eigenvalues", "kernels", "ridge"), strict=True):
        kind, content = source.split(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(content) == (folder / "figures" / f"{name}.png").read_bytes()
    assert "http" not in text.replace("http-equiv", "")
    assert "<script" not in text
    assert "&lt;iris&gt; &amp; $co" in text
    assert "<iris>" not in text
    assert "--x &lt;y&gt;" in text
    assert "{{" not in text
    assert text.count("<tr") == text.count("</tr>")


def test_the_page_shows_the_numbers_of_the_table(report):
    study, folder = report
    text = (folder / "index.html").read_text(encoding="utf-8")
    for row in table.rows(study):
        assert "".join(f"<td>{cell}</td>" for cell in row) in text


@pytest.mark.parametrize(("choice", "files"), [("none", 0), ("widest", 2)])
def test_kernels_are_kept_as_asked(tmp_path, choice, files):
    small = Dataset("small", X)
    write_report(small, tmp_path / "out", widths=[50, 100], kappas=[0, 0.1], save_kernels=choice)
    assert len(list((tmp_path / "out").glob("kernels/*"))) == files
    assert page.KEPT_KERNELS[choice] in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


def test_a_refused_study_leaves_nothing(tmp_path):
    with pytest.raises(StudyError, match="width is 0"):
        write_report(Dataset("small", X), tmp_path / "out", widths=[0], kappas=[0])
    assert list(tmp_path.iterdir()) == []
