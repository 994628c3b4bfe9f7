"""The width study: its numbers against brute force and theory, and what is made of them."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import scipy.linalg
from matplotlib.figure import Figure

import fastntk as fn
from fastntk.datasets import Dataset, preprocess
from fastntk.figures import kernel as figures
from fastntk.figures import style
from fastntk.study import table, width_study
from fastntk.study.pictures import PIXELS, Pictures

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


@pytest.mark.soak
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
    "draw",
    [figures.distance_figure, figures.eigenvalue_figure, figures.ridge_figure],
    ids=lambda f: f.__name__,
)
def test_figures_of_common_and_of_extreme_studies(study, draw, tmp_path):
    one = width_study(X, widths=[100], kappas=[0.2])
    flat = replace(study, smallest=study.smallest * 0 - 1e-18, spectrum=np.abs(study.spectrum) * [[0], [1]])
    for which in (study, one, flat):
        figure = draw(which)
        assert isinstance(figure, Figure)
        style.save(figure, tmp_path / "figure.png")
        assert (tmp_path / "figure.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_measured_points_stand_in_the_distance_figure(study):
    ratio_panel = figures.distance_figure(study).axes[1]
    drawn = np.array([line.get_ydata() for line in ratio_panel.lines if len(line.get_ydata()) == len(WIDTHS)])
    for ratios in study.ratio:
        assert (drawn == ratios).all(axis=1).any()


def test_figures_leave_matplotlib_as_it_was(study):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    figures.distance_figure(study)
    assert dict(mpl.rcParams) == before
