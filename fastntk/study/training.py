"""The whole of `fastntk train`: a run on a data set, watched on held-out rows, in a folder that can go on."""

from dataclasses import asdict, replace
from pathlib import Path

from ..engine.devices import BackendError
from ..engine.digests import digest
from ..keeping import checkpoint_in
from .folder import new_folder
from .settings import TrainingError, complete, require_same
from .task import make_task
from .training_folder import MARK, load, write
from .watched import WatchedRun, advance, final_scores

SMALL_FILES = 20_000_000  # bytes: what does not grow with the network and the data, generously


def start(
    dataset, output, given, *, replace_earlier=False, command="", checkpoint=None, progress=None, **machine
):
    """Train on a data set and write a folder with all that came of it.

    =================  ==========================================================================
    index.html         the page, self-contained
    training.png       the figure
    history.csv        what was recorded, a row for each recorded step
    run.npz            the run, for ``TrainingRun.load``: the trained weights and the records
    data.npz           the rows as the network saw them before the masks, and the answers
    training.json      settings, results and provenance
    =================  ==========================================================================

    Parameters
    ----------
    dataset : Dataset
    output : str or path
        The folder to make.
    given : dict
        Settings by the names of :class:`Settings`; the rest are the defaults.
    replace_earlier : bool
        Take the place of an earlier run's folder.
    command : str
        What the user typed, for the page.
    checkpoint : str or path, optional
        A folder to keep the run in from time to time; the same call goes on from it.
    progress : callable, optional
        ``progress(fraction, stage)``.
    machine
        ``backend``, ``threads`` and ``memory_limit`` as for ``train``.

    Returns
    -------
    WatchedRun
        Where its ``status`` is "interrupted" (Ctrl-C), the folder holds what there was and can go on;
        where it is "diverged", it holds the records up to there.

    Raises
    ------
    OutputError
        Before anything is computed, where the folder cannot be made.
    TrainingError
        The settings or the data are refused, or there is no such backend; no folder is left.
    KeyboardInterrupt
        Before there was anything to keep; no folder is left.
    """
    settings = complete(given, len(dataset.features))
    try:
        task = make_task(
            dataset,
            preprocessing=settings.preprocess,
            test_fraction=settings.test_fraction,
            seed=settings.seed,
        )
    except (TypeError, ValueError) as error:
        raise TrainingError(str(error)) from error
    return _finish(
        WatchedRun(task, settings), output, replace_earlier, command, checkpoint, progress, machine
    )


def go_on(folder, given, *, command="", checkpoint=None, progress=None, **machine):
    """Take the run in a folder further, to the same bits as if it had never stopped.

    Arguments, result and errors as for :func:`start`; `given` may change ``steps`` alone.  The folder is
    replaced once all is done.
    """
    watched = load(Path(folder))
    require_same(watched.settings, {k: v for k, v in given.items() if k != "steps"}, folder)
    watched.settings = replace(watched.settings, steps=given.get("steps", watched.settings.steps))
    done = watched.run.steps_done
    if watched.status == "diverged":
        raise TrainingError(
            f"the run in {folder} diverged after {done:,} steps and cannot go on. Start again with a smaller "
            f"--step-size than {watched.run.step_size:.3g}, and --force."
        )
    if watched.settings.steps < done or (watched.settings.steps == done and watched.scores):
        raise TrainingError(
            f"the run in {folder} has its {done:,} steps already: to go on give a larger --steps than that "
            "(it counts all steps)."
        )
    return _finish(watched, folder, True, command, checkpoint, progress, machine)


def _finish(watched, output, replace_earlier, command, checkpoint, progress, machine):
    """Train to the last step in a new folder, and fill it."""
    task = watched.task
    weights = 4 * watched.settings.width * task.X.shape[1]
    needed = SMALL_FILES + weights + task.X.nbytes + task.held_out_X.nbytes
    smaller = ", or a smaller --width"
    with new_folder(
        output, replace=replace_earlier, needed_bytes=needed, mark=MARK, or_smaller=smaller
    ) as folder:
        try:
            with checkpoint_in(checkpoint, _identity(watched), weights) as kept:
                advance(watched, progress, machine, kept)
            watched.scores = final_scores(watched, machine)
        except MemoryError as error:
            needs = str(error).partition(" Use ")[0]
            raise TrainingError(f"{needs} Use a smaller --width or --batch-size, or fewer rows.") from error
        except (TypeError, ValueError, BackendError) as error:
            raise TrainingError(str(error)) from error
        write(watched, folder, command)
    return watched


def _identity(watched):
    """All that the run depends on but its length."""
    settings = {name: value for name, value in asdict(watched.settings).items() if name != "steps"}
    return {"function": "fastntk train", **settings, "rows": digest(watched.task.X, watched.task.y)}
