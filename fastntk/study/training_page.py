"""The page of a training run."""

from . import layout, scores, table
from .mask_options import mask_text
from .page import ROWS_AS

FACTS = (  # of the settings, in the order of the page
    "data",
    "target",
    "preprocess",
    "test_fraction",
    "width",
    "dtype",
    "mask",
    "kappa",
    "tau",
    "keep",
    "mode",
    "steps",
    "batch_size",
    "seed",
    "record_every",
    "eigenvalues_every",
    "audit_every",
    "expected_every",
)


def render(watched, figure, record):
    """The page as a text.

    Parameters
    ----------
    watched : WatchedRun
    figure : Path
        The PNG file.
    record : dict
        Settings, results and provenance, as ``training.json`` has them.

    Returns
    -------
    str
    """
    task, settings = watched.task, watched.settings
    masked = settings.mask != "none"
    return layout.render(
        "training.html",
        figures={"training": figure},
        settings=settings,
        results=record["results"],
        provenance=record["provenance"],
        facts_of_run={
            **{name: getattr(settings, name) for name in FACTS},
            "step_size": record["results"]["step_size"],
            "data_sha256": record["data_sha256"],
            "command": record["command"],
        },
        rows=len(task.X),
        held_out_rows=len(task.held_out_X),
        features=task.X.shape[1],
        classes=task.classes,
        outputs=task.outputs,
        mean=task.mean,
        deviation=task.deviation,
        rows_as=ROWS_AS[settings.preprocess],
        mask_text=mask_text(settings.mask, settings.strength),
        mask_code=f"fn.{settings.make_mask()!r}" if masked else "None",
        strength=settings.strength[1] if masked else None,
        step_size=table.number(watched.run.step_size, 3),
        draws=scores.DRAWS,
        headings=scores.headings(task, masked),
        score_rows=scores.rows(watched.scores, task, masked),
        summary=_summary(watched),
        held_out_shown=bool(watched.curve.steps),
        eigenvalues_shown=len(watched.run.eigenvalue_steps) > 0,
        audits_shown=len(watched.run.audit_steps) > 0,
        expected_shown=len(watched.run.expected_steps) > 0,
    )


def _summary(watched):
    """The findings at the head of the page: (figure, what it is) pairs."""
    run, task, masked = watched.run, watched.task, watched.settings.mask != "none"
    show = scores.shown(task)
    findings = []
    for kind, rows in (("held out", "rows held out"), ("training", "rows to train on")):
        score = watched.scores.get(kind)
        if score is not None:
            under = show(score.masked_score)
            findings.append(
                (
                    show(score.score),
                    f"{task.score_name} on {score.rows:,} {rows}" + f"; {under} masked" * masked,
                )
            )
    if len(run.recorded_steps):
        first, last = (table.number(run.clean_loss[k] / len(task.X), 3) for k in (0, -1))
        findings.append((f"{first} \N{RIGHTWARDS ARROW} {last}", "loss per row to train on, first and last"))
        findings.append(
            (table.percent(run.flipped[-1]), "of the activations on rows to train on have flipped")
        )
    return findings
