"""A training run that is looked at, on rows held out, while it goes on."""

from dataclasses import asdict, dataclass, field

import numpy as np

from ..network import Network
from ..stability import output_factor
from ..training import TrainingRun, train
from .scores import clean_score, explained, final_score
from .settings import Settings
from .task import Task


@dataclass
class Curve:
    """Loss (a mean over the rows) and score on the rows held out, after so many steps."""

    steps: list = field(default_factory=list)
    loss: list = field(default_factory=list)
    score: list = field(default_factory=list)

    def add(self, step, loss, score):
        for values, value in ((self.steps, step), (self.loss, loss), (self.score, score)):
            values.append(value)


@dataclass
class WatchedRun:
    """A run and what was seen of it.

    Attributes
    ----------
    task : Task
    settings : Settings
    run : TrainingRun or None
        None before the first step.
    curve : Curve
        Empty where no rows are held out.
    scores : dict of str to Score
        Of the last network, "training" and "held out"; empty where it diverged.
    """

    task: Task
    settings: Settings
    run: TrainingRun | None = None
    curve: Curve = field(default_factory=Curve)
    scores: dict = field(default_factory=dict)

    @property
    def status(self):
        """How it ended: "finished", "interrupted" or "diverged"."""
        if self.run is not None and self.run.status == "diverged":
            return "diverged"
        done = 0 if self.run is None else self.run.steps_done
        return "finished" if done >= self.settings.steps else "interrupted"

    @property
    def training_score(self):
        """Accuracy or R^2 on the rows to train on at the recorded steps, (k,) float64."""
        if self.run is None:
            return np.empty(0)
        if self.task.classes:
            return self.run.accuracy
        return explained(self.run.clean_loss / len(self.task.y), self.task.y)

    @property
    def initial_network(self):
        """The network before the first step."""
        task, settings = self.task, self.settings
        options = {"outputs": task.outputs, "seed": settings.seed, "dtype": settings.dtype}
        return Network(settings.width, task.X.shape[1], **options)

    @property
    def output_gain(self):
        """What several outputs add to the largest step in function space: q lmax(a^T a) / |a|^2, or 1."""
        return output_factor(self.initial_network)

    @property
    def batch_share(self):
        """The rows of a batch, over all rows to train on."""
        return (self.settings.batch_size or len(self.task.X)) / len(self.task.X)


def advance(watched, progress, machine, checkpoint=None):
    """Train to the last step, or to Ctrl-C; from where the checkpoint stands, if that is further."""
    task, settings = watched.task, watched.settings
    if checkpoint is not None and checkpoint.saved is not None:
        _take_from(checkpoint, watched)
    first = watched.run.steps_done if watched.run else 0

    def show(done, total):
        if progress is not None:
            share = (done - first) / (settings.steps - first)
            progress(min(share, 1.0), f"step {done:,} of {settings.steps:,}")

    try:
        _look(watched, machine)
        for stop in _stops(first, settings, len(task.held_out_X) or checkpoint):
            watched.run = train(
                task.X,
                task.y,
                network=watched.initial_network,
                mask=settings.make_mask(),
                step_size=watched.run.step_size if watched.run else settings.step_size,
                steps=stop,
                batch_size=settings.batch_size,
                mode=settings.mode,
                seed=settings.seed,
                record_every=settings.record_every,
                eigenvalues_every=settings.eigenvalues_every or None,
                audit_every=settings.audit_every or None,
                expected_every=settings.expected_every or None,
                row_ids=task.ids,
                resume=watched.run,
                progress=show,
                **machine,
            )
            if watched.run.status == "diverged":
                return
            _look(watched, machine)
            if checkpoint is not None and checkpoint.is_due:
                described, arrays = watched.run.contents()
                checkpoint.save({"run": described, "curve": asdict(watched.curve)}, arrays)
    except KeyboardInterrupt as interrupt:
        watched.run = getattr(interrupt, "run", watched.run)
        if watched.run is None:
            raise


def _take_from(checkpoint, watched):
    """Go on with the run of a checkpoint where it has more steps."""
    position, arrays = checkpoint.take()
    run = TrainingRun.from_contents(position["run"], arrays)
    if watched.run is None or run.steps_done > watched.run.steps_done:
        watched.run, watched.curve = run, Curve(**position["curve"])


def _stops(first, settings, looking):
    """The steps to train to, one call each: every recorded one, where somebody looks at it, and the last."""
    if looking:
        every = settings.record_every
        yield from range((first // every + 1) * every, settings.steps, every)
    yield settings.steps


def _look(watched, machine):
    """Test the network on the rows held out, where it stands on a recorded step."""
    task, run = watched.task, watched.run
    step = run.steps_done if run else 0
    if len(task.held_out_X) and step % watched.settings.record_every == 0 and step not in watched.curve.steps:
        network = run.network if run else watched.initial_network
        watched.curve.add(step, *clean_score(task, network, task.held_out_X, task.held_out_y, **machine))


def final_scores(watched, machine):
    """The scores by the kind of rows; none of a diverged network, nor after (another) Ctrl-C."""
    task, settings = watched.task, watched.settings
    if watched.status == "diverged":
        return {}
    options = {"mask": settings.make_mask(), "seed": settings.seed, **machine}
    kinds = {"training": (task.X, task.y, task.ids)}
    if len(task.held_out_X):
        kinds["held out"] = (task.held_out_X, task.held_out_y, task.held_out_ids)
    try:
        network = watched.run.network
        return {name: final_score(task, network, *rows, **options) for name, rows in kinds.items()}
    except KeyboardInterrupt:
        return {}
