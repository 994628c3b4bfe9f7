"""The part on certificates: those of the call itself, and runs that stay within what they allow."""

import numpy as np
import pytest

import fastntk as fn
from fastntk.study import certificate_study
from fastntk.study.parts import certificate
from fastntk.study.parts.certificate import PART

from .plain import Descent, assert_column, assert_shown, body

SEED, STEPS, DELTA, WIDTHS, KAPPAS = 0, 20, 0.02, (300, 8000), (0.0, 1e-5, 0.1)
PLACES = [(k, w) for k in range(3) for w in range(2)]


@pytest.fixture(scope="module")
def study():
    return certificate_study(widths=WIDTHS, kappas=KAPPAS, steps=STEPS, delta=DELTA, seed=SEED)


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng([SEED, 4])
    X = rng.standard_normal((4, 50))
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32), rng.standard_normal(4)


@pytest.fixture(scope="module")
def found(problem):
    """Certificates, asked for one by one."""
    return {
        (k, w): fn.certify(
            *problem,
            network=fn.Network(WIDTHS[w], 50, seed=SEED),
            mask=fn.GaussianMask(KAPPAS[k]),
            step_size=1.0,
            steps=STEPS,
            delta=DELTA,
        )
        for k, w in PLACES
    }


@pytest.fixture(scope="module")
def residuals(problem):
    """|r_t| of plain descent for all steps."""
    return {
        (k, w): np.sqrt(
            2 * Descent(*problem, fn.Network(WIDTHS[w], 50, seed=SEED), KAPPAS[k], 1.0, STEPS, SEED).clean
        )
        for k, w in PLACES
    }


def test_numbers_are_those_of_the_certificates(study, found):
    for place, one in found.items():
        for name in ("ok", "rate", "ball", "slack"):
            assert getattr(study, name)[place] == getattr(one, name)
        assert study.ok[place] == all(verdict for *_, verdict in one.hypotheses.values())


def test_there_is_a_proof_only_where_the_network_is_wide_and_the_mask_weak(study):
    np.testing.assert_array_equal(study.ok, [[False, True], [False, True], [False, False]])
    assert (study.rate[study.ok] < 1).all()
    assert (study.slack[study.ok] >= 1).all()
    assert ((study.rate >= 1) | (study.slack < 1))[~study.ok].all()


def test_there_is_no_proof_where_a_hypothesis_is_broken(monkeypatch, found):
    monkeypatch.setattr(certificate, "STEP_SIZE", 6.0)  # times the largest eigenvalue is above 2
    assert 6 * found[0, 1].largest_eigenvalue > 2
    with pytest.warns(fn.TrainingWarning):
        study = certificate_study(widths=[8000], kappas=[1e-5], steps=3)
    assert not study.ok.any()
    assert study.shown.tolist() == [0, 0]
    monkeypatch.setattr(certificate, "STEP_SIZE", 1.0)
    study = certificate_study(widths=[8000], kappas=[1e-5], steps=400, delta=1e-300)
    assert study.rate < 1
    assert study.slack < 1
    assert not study.ok


def test_measured_residuals_are_those_of_plain_descent(study, residuals):
    for place, expected in residuals.items():
        assert study.residual[place] == pytest.approx(expected[-1], rel=1e-3, abs=3e-5)
    shown = residuals[tuple(study.shown)]
    np.testing.assert_allclose(study.shown_residuals, shown, rtol=1e-4, atol=3e-5)


def test_certified_runs_stay_within_their_bounds(study, found, residuals):
    """Float32 outputs are off by some 1e-6."""
    times = np.arange(STEPS + 1)
    for place in np.argwhere(study.ok):
        one = found[tuple(place)]
        assert (residuals[tuple(place)] <= one.bound(times) + 1e-12).all()
        assert study.residual[tuple(place)] <= one.bound(STEPS) + 1e-5
    np.testing.assert_array_equal(study.shown_bound, found[tuple(study.shown)].bound(times))
    assert (study.shown_residuals <= study.shown_bound + 1e-6).all()


def test_the_strongest_certified_mask_is_shown_at_the_largest_width(study):
    assert study.shown.tolist() == [1, 1]
    assert study.shown_residuals.shape == study.shown_bound.shape == (STEPS + 1,)
    assert study.shown_residuals[-1] == study.residual[1, 1]


def test_the_table_and_the_findings_show_the_numbers(study):
    rows, ok = body(PART, study), study.ok.ravel()
    assert_column(rows, 0, np.repeat(KAPPAS, 2))
    assert_column(rows, 1, np.tile(WIDTHS, 3))
    assert [row[2] for row in rows] == [("no", "yes")[int(one)] for one in ok]
    for column, values in ((3, study.rate), (4, study.slack), (6, study.residual)):
        assert_column(rows, column, values)
    certified = [row for row, one in zip(rows, ok, strict=True) if one]
    assert_column(certified, 5, study.ball[study.ok])
    assert {row[5] for row, one in zip(rows, ok, strict=True) if not one} == {""}
    ((count, meaning),) = PART.findings(study)
    assert count == "2 of 6"
    assert_shown(meaning.split(" = ")[1].removesuffix(" or less"), study.residual.max())
