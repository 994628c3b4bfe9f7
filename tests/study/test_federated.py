"""Federated training: against NumPy under the same masks, who sees what, and how it is shown."""

import io
from dataclasses import asdict

import numpy as np
import pytest
from matplotlib.figure import Figure

import fastntk as fn
from fastntk.datasets import Dataset
from fastntk.study import layout, numbers
from fastntk.study.parts import clients, federated
from fastntk.study.parts.federated import PART, FederatedStudy, federated_study
from fastntk.study.parts.part import Request

SEED = 3
RNG = np.random.default_rng(1)
X, HELD_OUT_X = RNG.standard_normal((23, 6)), RNG.standard_normal((14, 6))
LABELS, HELD_OUT_LABELS = (np.argmax(rows[:, :3], axis=1) for rows in (X, HELD_OUT_X))
QUANTITY, HELD_OUT_QUANTITY = (rows[:, 0] - 2 * rows[:, 1] for rows in (X, HELD_OUT_X))
SMALL = {
    "clients": 3,
    "fading": [0.0, 0.8],
    "missing": 0.4,
    "steps": 12,
    "local_steps": [1, 3, 6],
    "record_every": 3,
    "width": 40,
}

BRIEF = {"fading": [0.8], "local_steps": [6], "record_every": 6}


def study_of(*, quantity=False, **changes):
    y, held_out_y = (QUANTITY, HELD_OUT_QUANTITY) if quantity else (LABELS, HELD_OUT_LABELS)
    arrays = {"X": X, "y": y, "held_out_X": HELD_OUT_X, "held_out_y": held_out_y}
    return federated_study(**arrays | {"seed": SEED} | SMALL | changes)


@pytest.fixture(scope="module")
def study():
    return study_of()


@pytest.fixture(scope="module")
def task():
    return federated._as_task(X, LABELS, HELD_OUT_X, HELD_OUT_LABELS)


@pytest.fixture(scope="module")
def dealt(task):
    return clients.deal(task, 3, 0.4, SEED)


@pytest.fixture(scope="module")
def federation(task, dealt):
    return clients.Federation(task, dealt, 0.8 * dealt.quality, SEED)


@pytest.fixture(scope="module")
def training():
    network = fn.Network(40, 6, outputs=3, seed=SEED)
    return clients.Training(network, 0.5, 12, {"seed": SEED, "threads": None, "memory_limit": None})


def weights_after(rounds):
    """Weights of the first network of the last round."""
    *_, (_, networks) = rounds
    return networks[0].weights()


def gradient(W, a, X, y):
    """Of the sum of 1/2 |f(x) - onehot(y)|^2, in float64."""
    h = X.astype(float) @ W.T
    residuals = np.maximum(h, 0) @ a / np.sqrt(len(W)) - np.eye(a.shape[1])[y]
    return ((residuals @ a.T) * (h > 0)).T @ X / np.sqrt(len(W))


def averaged_in_numpy(views, training, every, *, draw_of=lambda step: step, weighted=True):
    """Federated averaging from its definition, under the masks that ``mask.sample`` gives."""
    server, a = training.network.weights(), training.network.output_weights()
    sizes = np.array([len(view.X) for view in views], float)
    shares = sizes / sizes.sum() if weighted else np.full(len(views), 1 / len(views))
    for first in range(0, training.steps, every):
        local = [server.copy() for _ in views]
        for W, view in zip(local, views, strict=True):
            for step in range(first, first + every):
                masked = view.mask.sample(view.X, seed=SEED, draw=draw_of(step), row_ids=view.ids)
                W -= training.step_size / len(view.X) * gradient(W, a, masked, view.y)
        server = np.tensordot(shares, local, axes=1)
    return server


# ------------------------------------------------------------------------------------ averaging


def test_one_local_step_is_central_gradient_descent_under_the_same_masks(federation, training):
    W, a = training.network.weights(), training.network.output_weights()
    whole = federation.whole
    for step in range(training.steps):
        masked = np.concatenate(
            [m.mask.sample(m.X, seed=SEED, draw=step, row_ids=m.ids) for m in federation.members]
        )
        answers = np.concatenate([member.y for member in federation.members])
        W -= training.step_size / len(whole.X) * gradient(W, a, masked, answers)
    averaged = weights_after(training.rounds(federation.members, 1, average=True))
    central = weights_after(training.rounds([whole], 3))
    moved = np.abs(W - training.network.weights()).max()
    np.testing.assert_allclose(averaged, W, rtol=0, atol=3e-6 * moved)
    np.testing.assert_allclose(central, W, rtol=0, atol=3e-6 * moved)


@pytest.mark.parametrize("every", [3, 6])
def test_several_local_steps_are_federated_averaging_under_new_masks_in_every_round(
    federation, training, every
):
    ours = weights_after(training.rounds(federation.members, every, average=True))
    theirs = averaged_in_numpy(federation.members, training, every)
    repeated = averaged_in_numpy(federation.members, training, every, draw_of=lambda step: step % every)
    moved = np.abs(theirs - training.network.weights()).max()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=3e-6 * moved)
    assert np.abs(ours - repeated).max() > 1e-2 * moved


def test_clients_count_by_their_rows(federation, training):
    view = federation.whole
    mask = fn.GaussianMask(0.3)
    unequal = [clients.View(view.X[s], view.y[s], view.ids[s], mask) for s in (slice(4), slice(4, None))]
    ours = weights_after(training.rounds(unequal, 4, average=True))
    theirs = averaged_in_numpy(unequal, training, 4)
    moved = np.abs(theirs - training.network.weights()).max()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=3e-6 * moved)
    assert np.abs(ours - averaged_in_numpy(unequal, training, 4, weighted=False)).max() > 1e-2 * moved


def test_without_fading_and_missing_features_one_local_step_is_training_on_all_rows(task, training):
    dealt = clients.deal(task, 3, 0.0, SEED)
    federation = clients.Federation(task, dealt, 0 * dealt.quality, SEED)
    averaged = weights_after(training.rounds(federation.members, 1, average=True))
    run = fn.train(
        X, LABELS, network=training.network, step_size=training.step_size / len(X), steps=training.steps
    )
    moved = run.network.weights() - training.network.weights()
    np.testing.assert_allclose(
        averaged - training.network.weights(), moved, rtol=0, atol=3e-6 * np.abs(moved).max()
    )


def test_clients_alone_are_runs_of_train(federation, training):
    *_, (done, networks) = training.rounds(federation.members, 3)
    assert done == training.steps
    for view, network in zip(federation.members, networks, strict=True):
        run = fn.train(
            *(view.X, view.y),
            network=training.network,
            mask=view.mask,
            row_ids=view.ids,
            step_size=training.step_size / len(view.X),
            steps=training.steps,
            seed=SEED,
        )
        np.testing.assert_array_equal(network.weights(), run.network.weights())


# ------------------------------------------------------------------------------- who sees what


def test_every_row_belongs_to_one_client(federation, task):
    ids = np.concatenate([view.ids for view in federation.members])
    np.testing.assert_array_equal(np.sort(ids), task.ids)
    assert sorted(len(view.X) for view in federation.members) == [7, 8, 8]
    for view in federation.members:
        np.testing.assert_array_equal(view.y, LABELS[view.ids])


def test_missing_features_are_zero_and_the_others_untouched(federation, dealt, task):
    assert (dealt.received.sum(axis=1) == 4).all()  # two of six are missing: 0.4 rounded down
    for view, received in zip(federation.members, dealt.received, strict=True):
        assert not view.X[:, ~received].any()
        np.testing.assert_array_equal(view.X[:, received], task.X[view.ids][:, received])


def test_masks_are_those_of_the_client_in_any_order_of_the_rows(federation):
    whole = federation.whole
    order = np.random.default_rng(0).permutation(len(whole.X))
    together = whole.mask.sample(whole.X[order], seed=SEED, draw=5, row_ids=whole.ids[order])
    for view in federation.members:
        alone = view.mask.sample(view.X, seed=SEED, draw=5, row_ids=view.ids)
        mine = np.isin(whole.ids[order], view.ids)
        places = np.argsort(whole.ids[order][mine])
        np.testing.assert_array_equal(together[mine][places], alone)


def test_masks_differ_between_steps_and_between_clients(task, dealt):
    kappas = np.full((3, 6), 0.5)
    members = clients.Federation(task, dealt, kappas, SEED).members
    factors = [
        view.mask.sample(np.ones_like(view.X), seed=SEED, draw=draw, row_ids=view.ids)
        for view in members
        for draw in range(4)
    ]
    values = np.concatenate([factor.ravel() for factor in factors])
    assert len(np.unique(values)) > 0.999 * len(values)
    assert abs(values.mean() - 1) < 4 * 0.5 / np.sqrt(len(values))
    assert abs(values.std() - 0.5) < 4 * 0.5 / np.sqrt(2 * len(values))


def test_moments_need_to_know_whose_a_row_is(federation):
    with pytest.raises(NotImplementedError, match="whose it is"):
        federation.whole.mask.variance(X)


def test_weights_of_missing_features_stay(study):
    assert (study.client_movement[:, ~study.received] == 0).all()
    assert (study.client_movement[:, study.received] > 0).all()
    lonely = study_of(**BRIEF, clients=1)
    nobody = ~lonely.received[0]
    assert nobody.sum() == 2
    assert (lonely.movement[:, 1:, nobody] == 0).all()
    assert (lonely.movement[:, 0] > 0).all()  # clean rows have all features
    assert (lonely.movement[:, 1:, ~nobody] > 0).all()


def test_held_out_rows_serve_for_scores_only():
    study = study_of(**BRIEF)
    other = study_of(**BRIEF, held_out_X=-HELD_OUT_X, held_out_y=HELD_OUT_LABELS[::-1])
    for name in ("loss", "movement", "sensitivity", "client_movement", "client_sensitivity", "step_size"):
        np.testing.assert_array_equal(getattr(study, name), getattr(other, name))
    assert not np.array_equal(study.clean_score, other.clean_score, equal_nan=True)
    assert not np.array_equal(study.channel_score, other.channel_score, equal_nan=True)


# ----------------------------------------------------------------------------------- the numbers


def test_scores_and_losses_are_those_of_the_outputs(task, dealt, federation, training):
    *_, (_, networks) = training.rounds(federation.members, 6)
    clean, through, losses = [], [], []
    for client, network in enumerate(networks):
        clean.append((fn.outputs(HELD_OUT_X, network=network).argmax(axis=1) == HELD_OUT_LABELS).mean())
        mine = dealt.owners[len(X) :] == client
        arriving = (task.held_out_X * dealt.received[client])[mine]
        for draw in range(clients.DRAWS):
            f = fn.outputs(
                arriving,
                network=network,
                mask=federation.members[client].mask,
                seed=SEED,
                draw=draw,
                row_ids=len(X) + np.flatnonzero(mine),
            )
            through.append((f.argmax(axis=1) == HELD_OUT_LABELS[mine]).mean())
        residuals = fn.outputs(X, network=network) - np.eye(3)[LABELS]
        losses.append(0.5 * np.square(residuals).sum(axis=1).mean())
    expected = np.mean(clean), np.mean(through), np.mean(losses)
    np.testing.assert_allclose(federation.scores(networks, None), expected, rtol=1e-12)


def test_one_local_step_scores_like_central_training(study):
    for scores in (study.clean_score, study.channel_score, study.loss, study.movement, study.sensitivity):
        np.testing.assert_allclose(scores[:, 2], scores[:, 1], rtol=2e-5)


def test_runs_are_recorded_where_a_round_ends(study):
    np.testing.assert_array_equal(study.recorded_steps, [0, 3, 6, 9, 12])
    for scores in (study.clean_score, study.channel_score, study.loss):
        recorded = np.isfinite(scores)
        assert recorded[:, [0, 1, 2, 3, 5]].all()
        np.testing.assert_array_equal(recorded[:, 4], [[True, False, True, False, True]] * 2)
        assert (scores[:, :, 0] == scores[:, :1, 0]).all()  # all start from the same network
    assert study.runs[2:] == (
        "averaged every step",
        *(f"averaged every {e} steps" for e in (3, 6)),
        "clients alone",
    )
    np.testing.assert_array_equal(study.local_steps, [0, 1, 1, 3, 6, 0])


def test_channels_scale_with_the_fading_and_the_rest_stays(study):
    np.testing.assert_array_equal(study.kappas[0], 0)
    assert ((study.kappas[1] > 0) & (study.kappas[1] < 0.8)).all()
    alone = study_of(**BRIEF)
    np.testing.assert_array_equal(alone.kappas[0], study.kappas[1])
    np.testing.assert_array_equal(alone.received, study.received)
    np.testing.assert_array_equal(study.clean_score[0, 0], study.clean_score[1, 0])  # of clean rows


def test_the_step_size_is_the_smallest_that_train_advises(task, study):
    advice = [
        fn.train(X, LABELS, network=fn.Network(40, 6, outputs=3, seed=SEED), steps=1).step_size * len(X)
    ]
    dealt = clients.deal(task, 3, 0.4, SEED)
    for kappas in study.kappas:
        for view in clients.Federation(task, dealt, kappas, SEED).members:
            run = fn.train(
                *(view.X, view.y),
                network=fn.Network(40, 6, outputs=3, seed=SEED),
                mask=view.mask,
                row_ids=view.ids,
                steps=1,
                seed=SEED,
            )
            advice.append(run.step_size * len(view.X))
    assert study.step_size == min(advice)


def test_movement_and_sensitivity(training):
    network = fn.Network.from_arrays(training.network.weights() + 0.25, training.network.output_weights())
    movement, sensitivity = clients.by_feature(network, training.network, X.astype(np.float32), None)
    np.testing.assert_allclose(movement, 0.25 * np.sqrt(40), rtol=1e-5)
    W, a = network.weights(), network.output_weights()
    slopes = np.einsum("ir,rc,rk->ick", X @ W.T > 0, a, W) / np.sqrt(40)
    np.testing.assert_allclose(sensitivity, np.sqrt(np.square(slopes).sum(axis=1).mean(axis=0)), rtol=1e-5)


def test_a_quantity_is_scored_by_what_is_explained():
    longer = {"quantity": True, "fading": [0.8], "local_steps": [6], "steps": 60, "record_every": 30}
    study = study_of(y=10 * QUANTITY + 3, held_out_y=10 * HELD_OUT_QUANTITY + 3, **longer)
    assert study.classes == 0
    assert study.score_name == "R²"
    standard = study_of(**longer)
    np.testing.assert_allclose(study.clean_score, standard.clean_score, rtol=1e-5, atol=1e-6)
    assert study.clean_score[0, 0, -1] > 0.6


def test_the_same_numbers_from_any_number_of_threads():
    study, again = study_of(**BRIEF, threads=1), asdict(study_of(**BRIEF, threads=2))
    for name, values in asdict(study).items():
        np.testing.assert_array_equal(again[name], values)
    other = study_of(**BRIEF, seed=SEED + 1)
    assert not np.array_equal(other.kappas, study.kappas)


def test_fading_makes_the_network_depend_less_on_a_feature():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((300, 12))
    y = rows.sum(axis=1)
    study = federated_study(
        *(rows[:200], y[:200], rows[200:], y[200:]),
        clients=4,
        fading=[2.0],
        missing=0.25,
        steps=60,
        local_steps=[20],
        width=100,
        record_every=20,
    )
    best, worst = study.by_reception("sensitivity")
    assert worst < 0.9 * best
    averaged, alone = study.relative("sensitivity")
    assert averaged.shape == (1, 3, 12)
    np.testing.assert_array_equal(averaged[:, 0], 1)
    np.testing.assert_allclose(alone[0] * study.sensitivity[0, 0], study.client_sensitivity[0], rtol=1e-12)


# --------------------------------------------------------------------------------- progress, errors


def test_progress_goes_from_0_to_1():
    seen = []
    study_of(**BRIEF | {"fading": [0.0, 0.8]}, progress=lambda *report: seen.append(report))
    fractions = [fraction for fraction, _ in seen]
    assert fractions[0] == 0
    assert fractions[-1] == 1
    assert fractions == sorted(fractions)
    assert len({stage for _, stage in seen}) == 2 * 4
    assert "fading 0.8, averaged every 6 steps" in {stage for _, stage in seen}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"X": X[0]}, ValueError, "X has shape"),
        ({"held_out_X": HELD_OUT_X[:, :4]}, ValueError, "held_out_X has 4 features.*6 are expected"),
        ({"y": LABELS[:5]}, ValueError, "y has length 5; 23 is expected"),
        ({"y": LABELS - 1}, ValueError, "y holds -1; class numbers are integers from 0"),
        ({"y": LABELS.astype(float)}, TypeError, "held_out_y has dtype int64 but y has float64"),
        ({"y": np.ones(23, int)}, ValueError, "y is 1 in all rows"),
        ({"clients": 0}, ValueError, "clients is 0; it must be from 1 to 14"),
        ({"clients": 15}, ValueError, "clients is 15; it must be from 1 to 14"),
        ({"fading": 0.5}, TypeError, "fading is 0.5; it must be a sequence"),
        ({"fading": []}, ValueError, "fading is empty"),
        ({"fading": [-0.1, 1]}, ValueError, "fading holds -0.1; strengths must be from 0 to 10"),
        ({"fading": [1, 11]}, ValueError, "fading holds 11; strengths must be from 0 to 10"),
        ({"fading": [np.nan]}, ValueError, "fading is not finite"),
        ({"missing": 1.0}, ValueError, "missing is 1.0; it must be from 0 to below 1"),
        ({"missing": "half"}, TypeError, "missing is 'half'; it must be a number from 0 to below 1"),
        ({"steps": 0}, ValueError, "steps is 0; it must be at least 1"),
        ({"local_steps": [5]}, ValueError, "local_steps is 5, which does not divide steps=12"),
        ({"local_steps": [24]}, ValueError, "local_steps is 24; it must be from 1 to 12"),
        ({"local_steps": []}, ValueError, "local_steps is empty"),
        ({"record_every": 5}, ValueError, "record_every is 5, which does not divide steps=12"),
        ({"width": 0}, ValueError, "width is 0; it must be at least 1"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"threads": 0}, ValueError, "threads is 0"),
    ],
)
def test_bad_arguments(changes, error, message):
    with pytest.raises(error, match=message):
        study_of(**changes)


# --------------------------------------------------------------------------------- how it is shown


@pytest.mark.parametrize(
    "changes",
    [{"fading": [0.5, 1.0]}, {"quantity": True, "fading": [0.0]}, {"missing": 0.0, "clients": 1}],
    ids=["classes", "a quantity, no fading", "one client, nothing missing"],
)
def test_figures_findings_table_and_text(changes, tmp_path):
    study = study_of(**BRIEF | changes)
    paths = {}
    for name, figure in PART.figures(study).items():
        assert isinstance(figure, Figure)
        paths[name] = tmp_path / f"{name}.png"
        figure.savefig(paths[name], dpi=30)
    headings, groups = PART.table(study)
    assert len(groups) == len(study.fading)
    assert {len(row) for group in groups for row in group} == {len(headings)}
    assert [row[1] for row in groups[0]] == list(study.runs)
    findings = PART.findings(study)
    assert len(findings) == 3
    text = layout.render("parts/federated.html", figures=paths, study=study)
    assert text.count("<img") == 3
    assert ("standard error" in text) == bool(study.classes)


def test_the_table_and_findings_say_what_was_computed(study):
    _, groups = PART.table(study)
    fading, run, averagings, clean, channels, loss = groups[1][3]
    assert (fading, run, averagings) == ("0.8", "averaged every 3 steps", "4")
    assert float(clean.removesuffix(" %")) == pytest.approx(100 * study.clean_score[1, 3, -1], rel=5e-3)
    assert float(channels.removesuffix(" %")) == pytest.approx(100 * study.channel_score[1, 3, -1], rel=5e-3)
    assert float(loss) == pytest.approx(study.loss[1, 3, -1], rel=5e-3)
    faded = study.by_reception("sensitivity")[1]
    assert float(PART.findings(study)[2][0].split()[0]) == pytest.approx(faded, rel=5e-2)


def test_lines_are_drawn_through_the_numbers(study):
    left, right = PART.figures(study)["federated-steps"].axes
    for axes, scores in ((left, study.clean_score), (right, study.channel_score)):
        for line, score in zip(axes.lines, scores[study.shown], strict=True):
            np.testing.assert_array_equal(line.get_ydata(), score[np.isfinite(score)])
    ends = PART.figures(study)["federated-fading"].axes[0]
    np.testing.assert_array_equal([line.get_ydata() for line in ends.lines], study.clean_score[:, :, -1].T)


def test_numbers_survive_a_file(study):
    file = io.BytesIO()
    numbers.save(study, file)
    file.seek(0)
    again = numbers.load(FederatedStudy, file)
    assert again.runs == study.runs
    for name, values in asdict(study).items():
        np.testing.assert_array_equal(getattr(again, name), values)


def test_the_part_takes_the_data_that_are_given(monkeypatch):
    sizes = {name: value for name, value in (SMALL | BRIEF).items() if name != "clients"}
    monkeypatch.setattr(federated, "SIZES", {False: sizes})
    monkeypatch.setattr(federated, "MOST_ROWS", {False: (20, 9)})
    rows = np.concatenate([X, HELD_OUT_X])
    data = Dataset("sensors", rows, np.concatenate([LABELS, HELD_OUT_LABELS]), ("a", "b", "c"), "kind")
    study = PART.compute(Request(data=data, preprocessing="none", seed=2, threads=1), None, None)
    assert (study.data, study.rows, study.held_out, study.classes) == ("sensors", 20, 9, 3)
    assert len(study.client_rows) == 5
    few = Dataset("few", rows[:12], QUANTITY[:12])
    assert len(PART.compute(Request(data=few, preprocessing="none"), None, None).client_rows) == 3
    digits = PART.compute(Request(data=Dataset("no target", rows), seed=2), None, None)
    assert (digits.data, digits.received.shape[1], digits.classes) == ("digits", 64, 10)
