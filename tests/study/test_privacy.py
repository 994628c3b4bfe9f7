"""Membership inference: the attack on scores whose AUC is known, and on networks that memorise."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from fastntk.datasets import Dataset, load, preprocess
from fastntk.figures import style
from fastntk.study import layout, numbers
from fastntk.study.parts import privacy
from fastntk.study.parts.membership import attack_scores, complementary_halves, found_at, measures
from fastntk.study.parts.part import Request
from fastntk.study.parts.privacy import PART, PrivacyStudy, privacy_study

SMALL = {"models": 8, "width": 100, "checkpoints": [1, 10]}
MEMORISING = {"models": 8, "width": 300}


def small_digits(rows):
    """Rows of the digits with their labels."""
    digits = load("digits")
    taken = np.random.default_rng(0).permutation(len(digits.features))[:rows]
    return preprocess(digits.features[taken], "unit"), digits.target[taken]


@pytest.fixture(scope="module")
def memorised():
    """Networks that fit 30 digits without a mask, and the same under a strong one."""
    return privacy_study(*small_digits(60), kappas=[0.0, 1.0], **MEMORISING, checkpoints=[1, 100])


def normal_scores(rng, members, *, shift=0.0, ratio=1.0, spread=3.0):
    """Normal scores about a level for each row; members' are shifted, and ``ratio`` times as spread."""
    levels = spread * rng.standard_normal(members.shape[1])
    noise = rng.standard_normal(members.shape) * np.where(members, ratio, 1.0)
    return levels + noise + shift * members


# ------------------------------------------------------------------------------------ the attack


def test_ratios_by_hand():
    """Six models and three rows, with the formula of the normal density written out."""
    rng = np.random.default_rng(1)
    members, scores = complementary_halves(6, 3, rng), rng.standard_normal((6, 3))

    def moments(target, row, inside):
        """Mean of a row's scores, variance averaged over the rows, without the target and its complement."""
        kept = [model for model in range(6) if model // 2 != target // 2]
        groups = [[scores[m, i] for m in kept if members[m, i] == inside] for i in range(3)]
        variances = [sum((s - sum(g) / 2) ** 2 for s in g) for g in groups]  # two scores: n - 1 = 1
        return sum(groups[row]) / 2, sum(variances) / 3

    def log_density(x, mean, variance):
        return -0.5 * math.log(2 * math.pi * variance) - (x - mean) ** 2 / (2 * variance)

    expected = [
        [
            log_density(scores[t, i], *moments(t, i, True)) - log_density(scores[t, i], *moments(t, i, False))
            for i in range(3)
        ]
        for t in range(6)
    ]
    np.testing.assert_allclose(attack_scores(scores, members), expected, rtol=1e-12)


def test_no_target_is_among_its_own_references():
    """What models 2 and 3 say changes their own ratios alone through the score itself."""
    rng = np.random.default_rng(2)
    members = complementary_halves(8, 10, rng)
    scores = normal_scores(rng, members, shift=1.0)
    before = attack_scores(scores, members)
    changed = scores.copy()
    changed[2] += 100
    after = attack_scores(changed, members)
    np.testing.assert_array_equal(after[3], before[3])
    assert (np.delete(after != before, [2, 3], axis=0)).all()
    changed[2] = scores[3]
    np.testing.assert_array_equal(attack_scores(changed, members)[2], before[3])


@pytest.mark.parametrize("shift", [0.5, 1.5, 3.0])
def test_auc_of_shifted_normals(shift):
    """With very many shadow models the AUC is Phi(shift / sqrt 2), whatever the levels of the rows."""
    rng = np.random.default_rng(3)
    members = complementary_halves(300, 40, rng)
    scores = normal_scores(rng, members, shift=shift)
    by_pair = [
        roc_auc_score(members[pair : pair + 2].ravel(), ratios.ravel())
        for pair, ratios in zip(range(0, 300, 2), np.split(attack_scores(scores, members), 150), strict=True)
    ]
    error = np.std(by_pair) / math.sqrt(150)
    assert abs(np.mean(by_pair) - norm.cdf(shift / math.sqrt(2))) < 4 * error + 0.002  # few models' bias
    simple = roc_auc_score(members.ravel(), scores.ravel())
    levels = np.var(scores.mean(axis=0), ddof=1)
    assert (
        abs(simple - norm.cdf(shift / math.sqrt(2 + 2 * levels))) < 0.03
    )  # forty levels are not quite normal


@pytest.mark.parametrize("ratio", [0.2, 0.5])
def test_auc_of_normals_of_other_spread(ratio):
    """Of equal means, the narrower one is told by |x|: the AUC is 2 / pi atan(1 / ratio)."""
    rng = np.random.default_rng(4)
    members = complementary_halves(300, 40, rng)
    ratios = attack_scores(normal_scores(rng, members, ratio=ratio), members)
    expected = 2 / math.pi * math.atan(1 / ratio)
    assert abs(roc_auc_score(members.ravel(), ratios.ravel()) - expected) < 0.015  # 12,000 pairs: 4 sigma


def test_nothing_is_found_where_nothing_leaks():
    """Scores that do not depend on membership: no side is favoured, and the error is of the right size."""
    rng = np.random.default_rng(5)
    aucs, errors = [], []
    for _ in range(20):
        members = complementary_halves(10, 40, rng)
        value, error = measures(members, normal_scores(rng, members), rng.random((10, 40)) < 0.3)
        aucs.append(value[0])
        errors.append(error[0])
        assert abs(value[1] - 0.5) < 5 * error[1] + 0.01
        assert abs(value[3] - 0.3) < 5 * math.sqrt(0.21 / 200)
    assert abs(np.mean(aucs) - 0.5) < 4 * np.std(aucs) / math.sqrt(20)
    assert 0.8 < np.mean(errors) / np.std(aucs) < 3  # a jackknife is too large where nothing is found


def test_the_error_is_the_scatter_over_repetitions():
    rng = np.random.default_rng(6)
    aucs, errors = [], []
    for _ in range(20):
        members = complementary_halves(10, 40, rng)
        value, error = measures(members, normal_scores(rng, members, shift=2.0), members)
        aucs.append(value[0])
        errors.append(error[0])
        assert (value[3], value[4]) == (0, 1)
    assert np.mean(errors) == pytest.approx(np.std(aucs), rel=0.45)


def test_rates_by_hand():
    """Nine rows from the likeliest on: three found before the first false alarm, and so on."""
    members = np.array([1, 1, 1, 0, 1, 0, 0, 1, 0], bool)
    ratios = np.arange(9, 0, -1.0)
    np.testing.assert_allclose(
        found_at([0, 0.2, 0.25, 0.6, 0.8, 1], members, ratios), [0.6, 0.6, 0.8, 0.8, 1, 1]
    )


@pytest.mark.parametrize("rows", [2, 7, 30])
def test_every_row_is_in_half_of_the_models(rows):
    members = complementary_halves(20, rows, np.random.default_rng(7))
    assert members.shape == (20, rows)
    assert (members.sum(axis=0) == 10).all()
    assert set(members.sum(axis=1)) == {rows // 2, rows - rows // 2}
    np.testing.assert_array_equal(members[::2], ~members[1::2])


@pytest.mark.parametrize(
    ("scores", "members", "message"),
    [
        (np.zeros((6, 2)), np.zeros((6, 3), bool), r"members is bool of shape \(6, 3\).*\(6, 2\)"),
        (np.zeros((6, 2)), np.zeros((6, 2), int), "members is int64"),
        (np.zeros((4, 2)), np.eye(2, dtype=bool)[[0, 1] * 2], "members has 4 models; .* at least 6"),
        (np.zeros((6, 2)), np.ones((6, 2), bool), "members has a row in both or none"),
        (np.zeros((6, 2)), np.eye(2, dtype=bool)[[0, 1] * 3], "scores are the same .* must vary"),
        (np.full((6, 2), np.nan), np.eye(2, dtype=bool)[[0, 1] * 3], "scores is not finite"),
    ],
)
def test_scores_that_cannot_be_attacked(scores, members, message):
    with pytest.raises(ValueError, match=message):
        attack_scores(scores, members)


# ------------------------------------------------------------------------------------ the study


def test_networks_that_memorise_are_found_out(memorised):
    """Without a mask the attack succeeds after many steps, not after one; a mask takes much of that away."""
    assert (memorised.seen_accuracy[0, -1], memorised.members.sum()) == (1, 8 * 30)
    assert memorised.auc[0, -1] > 0.9
    assert memorised.threshold_auc[0, -1] > 0.85
    assert memorised.auc[0, -1] - 4 * memorised.auc_error[0, -1] > 0.85
    assert abs(memorised.auc[0, 0] - 0.5) < 0.1
    gap = memorised.auc[0, -1] - memorised.auc[1, -1]
    assert gap > 4 * math.hypot(*memorised.auc_error[:, -1])
    assert 0.5 < memorised.unseen_accuracy[0, -1] < 0.95


def test_measures_are_those_of_the_scores(memorised):
    for k in range(2):
        for c in range(2):
            scores = memorised.scores[k, c]
            ratios = attack_scores(scores, memorised.members)
            truth = memorised.members.ravel()
            assert memorised.auc[k, c] == roc_auc_score(truth, ratios.ravel())
            assert memorised.threshold_auc[k, c] == roc_auc_score(truth, scores.ravel())
            false = ratios[~memorised.members]
            allowed = np.sort(false)[-int(0.01 * len(false)) - 1]  # above it there are 1 % of them
            assert memorised.found[k, c] == pytest.approx((ratios[memorised.members] > allowed).mean())
        assert (np.diff(memorised.roc[k]) >= 0).all()
        assert memorised.roc[k, -1] == 1
        at_one_percent = np.flatnonzero(memorised.roc_rates <= 0.01 * (1 + 1e-9))[-1]
        assert memorised.roc[k, at_one_percent] == pytest.approx(memorised.found[k, -1])


def test_scores_are_those_of_networks_trained_in_one_go(memorised):
    """Where training stops on the way makes no difference, nor do the other mask strengths."""
    again = privacy_study(*small_digits(60), kappas=[1.0], **MEMORISING, checkpoints=[100])
    assert again.step_size == memorised.step_size
    np.testing.assert_array_equal(again.scores[0, 0], memorised.scores[1, 1])
    np.testing.assert_array_equal(again.members, memorised.members)


def test_the_seed_decides_and_threads_do_not():
    X, y = small_digits(30)
    X = np.tile(X, 2)
    options = SMALL | {"kappas": [0.5], "width": 2500, "checkpoints": [1, 3]}
    one = privacy_study(X, y, **options, seed=3, threads=1)
    two = privacy_study(X, y, **options, seed=3, threads=2)
    other = privacy_study(X, y, **options | {"checkpoints": [1]}, seed=4, threads=2)
    for field in ("members", "scores", "auc", "auc_error", "found", "roc"):
        np.testing.assert_array_equal(getattr(one, field), getattr(two, field))
    assert not np.array_equal(one.members, other.members)
    assert not np.isclose(one.scores[:, 0], other.scores[:, 0]).any()


def test_every_model_has_masks_and_weights_of_its_own():
    """At one step no two models say the same of a row, and masks matter."""
    X, y = small_digits(12)
    study = privacy_study(X, y, kappas=[0.0, 0.5], **SMALL | {"checkpoints": [1]})
    for row in study.scores.reshape(2 * 8, 12).T:
        assert len(np.unique(row)) == 16


def test_classes_may_have_any_numbers():
    X, y = small_digits(20)
    y %= 2
    plain = privacy_study(X, y, kappas=[0.3], **SMALL)
    named = privacy_study(X, np.where(y == 1, 70, -5), kappas=[0.3], **SMALL)
    assert plain.classes == named.classes == 2
    np.testing.assert_array_equal(plain.scores, named.scores)


def test_progress_goes_from_nothing_to_all():
    seen = []
    privacy_study(*small_digits(12), kappas=[0.5, 0.0], progress=lambda *report: seen.append(report), **SMALL)
    shares, names = zip(*seen, strict=True)
    assert (shares[0], shares[-1]) == (0, 1)
    assert (np.diff(shares) >= 0).all()
    assert len(shares) == 2 * (1 + 8)
    assert list(dict.fromkeys(names)) == ["kappa 0", "kappa 0.5"]


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"models": 7}, ValueError, "models is 7; it must be at least 8"),
        ({"models": 9}, ValueError, "models is 9; it must be even"),
        ({"models": 8.0}, TypeError, "models is 8.0"),
        ({"kappas": [-0.5]}, ValueError, "kappa is -0.5.*from 0"),
        ({"kappas": []}, ValueError, "kappas is empty"),
        ({"kappas": 0.5}, TypeError, "kappas is 0.5"),
        ({"checkpoints": []}, ValueError, "checkpoints is empty"),
        ({"checkpoints": [0, 5]}, ValueError, "checkpoints is 0; it must be at least 1"),
        ({"checkpoints": [2.5]}, TypeError, "checkpoints is 2.5"),
        ({"width": 0}, ValueError, "width is 0"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"threads": 0}, ValueError, "threads is 0"),
        ({"X": [[1.0, math.nan]] * 12}, ValueError, "X is not finite"),
        ({"y": [0, 1]}, ValueError, r"y has shape \(2,\); it must be \(12,\)"),
        ({"y": [1] * 12}, ValueError, "y is 1 in every row; it must have at least two classes"),
        ({"y": np.linspace(0, 1, 12)}, TypeError, "y has dtype float64; it must be class labels as integers"),
    ],
)
def test_arguments_that_cannot_be(changed, error, message):
    X, y = small_digits(12)
    with pytest.raises(error, match=message):
        privacy_study(**({"X": X, "y": y, "kappas": [0.5]} | SMALL | changed))


# ------------------------------------------------------------------------------------ the part


@pytest.fixture
def small_part(monkeypatch):
    """The part with sizes that take no time."""
    sizes = SMALL | {"rows": 16, "kappas": (0.0, 0.5)}
    monkeypatch.setattr(privacy, "SIZES", {False: sizes, True: sizes | {"kappas": (0.0, 0.5, 1.0)}})
    return PART


def quantity(rows):
    """A data set whose target is no class."""
    rng = np.random.default_rng(8)
    return Dataset("wages.csv", rng.standard_normal((rows, 3)), rng.standard_normal(rows))


def test_the_part_takes_the_users_classes(small_part):
    iris = load("iris")
    study = small_part.compute(Request(data=iris, kappas=(0.2,), preprocessing="standardize"), None, None)
    assert (study.data, study.note) == ("iris", "")
    assert (study.rows, study.features, study.classes) == (16, 4, 3)
    assert study.kappas.tolist() == [0.2]


def test_a_quantity_is_replaced_and_the_page_says_so(small_part):
    study = small_part.compute(Request(data=quantity(20), kappas=(0.5,)), None, None)
    assert study.data == "digits"
    assert study.note == "wages.csv has a target that is not a class; this part takes digits in its place."
    no_target = small_part.compute(
        Request(data=replace(quantity(20), target=None), kappas=(0.5,)), None, None
    )
    assert no_target.note == "wages.csv has no target; this part takes digits in its place."
    np.testing.assert_array_equal(no_target.scores, study.scores)


@pytest.mark.parametrize("kappas", [None, (0.5,)])
def test_figures_table_and_page(small_part, tmp_path, kappas):
    study = small_part.compute(Request(full=kappas is None, kappas=kappas), None, None)
    count = len(study.kappas)
    paths = {}
    for name, figure in small_part.figures(study).items():
        paths[name] = tmp_path / f"{name}.png"
        style.save(figure, paths[name])
        assert len(figure.legends[0].get_texts()) == count + 1
    headings, groups = small_part.table(study)
    assert [len(group) for group in groups] == [2] * count
    assert all(len(row) == len(headings) for group in groups for row in group)
    assert groups[0][1][2].startswith(f"{study.auc[0, 1]:.3f} ± ")
    findings = small_part.findings(study)
    ends = f"{study.auc[0, -1]:.2f}", f"{study.auc[-1, -1]:.2f}"
    assert findings[0][0] == (ends[0] if count == 1 else " → ".join(ends))

    page = layout.render("parts/privacy.html", study=study, figures=paths)
    assert "no differential privacy" in page
    assert "of 16 rows of digits (64 features" in " ".join(page.split())
    assert "64 pairs of a network and a row" in " ".join(page.split())
    assert page.count("<img ") == 2


def test_numbers_come_back_from_their_file(memorised, tmp_path):
    numbers.save(memorised, tmp_path / "privacy.npz")
    again = numbers.load(PrivacyStudy, tmp_path / "privacy.npz")
    assert (again.models, again.data, again.step_size) == (8, "", memorised.step_size)
    np.testing.assert_array_equal(again.scores, memorised.scores)
