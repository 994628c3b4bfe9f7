"""``fastntk train``: gradient descent under masks on a data set, with a picture of the run."""

import argparse
import shlex
import time
import warnings

from . import arguments
from .terminal import (
    INTERRUPTED,
    EndedEarly,
    InputError,
    interrupt_on_terminate,
    missing_library,
    progress_display,
    warnings_as_lines,
)

FOLDER = "fastntk-train"
DIVERGED = 3  # exit status
NOT_SETTINGS = {
    "run",
    "command",
    "output",
    "force",
    "resume",
    "checkpoint",
    "quiet",
    "backend",
    "threads",
    "memory_limit",
}


def add_to(commands):
    """Describe the command to argparse."""
    train = commands.add_parser(
        "train",
        argument_default=argparse.SUPPRESS,  # so that the options that were given can be told from the rest
        help="train a network under masks on a data set, and draw the run",
        description="Train the hidden layer of a wide two-layer ReLU network by gradient descent on a data "
        "set, every step under a fresh random mask; test it on rows held out; print the results, and write a "
        "folder with a page (index.html), a figure (training.png), the records (history.csv) and the run "
        "itself, which --resume takes further. Ctrl-C keeps what there is.",
        epilog="exit status: 0 done, 1 unexpected failure, 2 wrong command or input, 3 training diverged "
        "(the records are kept), 130 interrupted (the run is kept and can be resumed)",
    )
    data = arguments.add_data(train, "what to learn, needed with a file")
    data.add_argument(
        "--test-fraction",
        type=float,
        metavar="SHARE",
        help="of the rows, held out for testing (default 0.2; 0 for none)",
    )
    _add_network(train)
    _add_steps(train)
    _add_records(train)
    results = arguments.add_results(train, FOLDER)
    arguments.add_resume(
        results,
        "go on with the run in DIR (default: that of --output) up to --steps, with its own settings and to "
        "the same bits as if it had never stopped",
    )
    arguments.add_checkpoint(results)
    arguments.add_backend(
        arguments.add_machine(train),
        "where steps are taken: the processors, or the first CUDA device that is visible",
    )
    train.set_defaults(run=_run)


def _add_network(train):
    network = train.add_argument_group("network and mask")
    network.add_argument(
        "--width", type=arguments.width, metavar="M", help="number of hidden neurons (default 4096)"
    )
    arguments.add_dtype(network)
    arguments.add_mask(network)
    network.add_argument(
        "--seed", type=int, help="of weights, masks, batches and the rows held out (default 0)"
    )


def _add_steps(train):
    steps = train.add_argument_group("gradient descent")
    steps.add_argument(
        "--mode",
        choices=("masked", "clean", "expected", "first-order"),
        help="masked (default): steps see masked inputs; clean: masks are for the records only; expected: "
        "steps along the exact mean over all masks (gaussian and additive ones; cost rows x width^2); "
        "first-order: the same with the first term of the regulariser that masks add (cost rows x width)",
    )
    steps.add_argument(
        "--steps",
        type=arguments.count,
        metavar="N",
        help="steps in all, resumed ones included (default 1000)",
    )
    steps.add_argument(
        "--step-size",
        type=float,
        metavar="ETA",
        help="of the gradient of the loss, a sum over rows (default: half of what is stable, by the "
        "largest eigenvalue of the masked kernel)",
    )
    steps.add_argument(
        "--batch-size",
        type=arguments.count,
        metavar="B",
        help="rows in a step, each epoch in another order (default: all)",
    )


def _add_records(train):
    records = train.add_argument_group("records")
    records.add_argument(
        "--record-every",
        type=arguments.count,
        metavar="N",
        help="steps between records of losses, scores and distances (default: a hundredth of --steps, at "
        "most 100)",
    )
    records.add_argument(
        "--eigenvalues-every",
        type=arguments.count,
        metavar="N",
        help="steps between eigenvalues of the kernel (default: a tenth of --steps, at most 1000; "
        "0 for none, the default above 3000 rows)",
    )
    records.add_argument(
        "--audit-every",
        type=arguments.count,
        metavar="N",
        help="steps between audits of a step against its exact identity (default as for --eigenvalues-every)",
    )
    records.add_argument(
        "--expected-every",
        type=arguments.count,
        metavar="N",
        help="steps between evaluations of the mean loss over all masks, in two parts (default 0 for none; "
        "cost rows x width^2)",
    )


def _run(options):
    try:
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        from ..study.folder import OutputError
        from ..study.settings import DEFAULTS, TrainingError
        from ..study.training import go_on, start
    except ImportError as error:
        raise missing_library("train", error) from error
    from .. import datasets

    given = {name: value for name, value in vars(options).items() if name not in NOT_SETTINGS}
    machine = {"backend": options.backend, "threads": options.threads, "memory_limit": options.memory_limit}
    begun = time.perf_counter()
    folder = _folder(options)
    terminated = interrupt_on_terminate()
    try:
        with progress_display(options.quiet) as progress, warnings_as_lines():
            warnings.filterwarnings("ignore", "training diverged")  # which is told in the end
            what = {
                "command": options.command,
                "progress": progress,
                "checkpoint": options.checkpoint,
                **machine,
            }
            # BLAS only finds eigenvalues here; more threads of it would fight for the processors.
            with threadpool_limits(1):
                if options.resume is not None:
                    watched = go_on(folder, given, **what)
                else:
                    source, target = (given.get(name, DEFAULTS[name]) for name in ("data", "target"))
                    dataset = datasets.load(source, target=target)
                    watched = start(dataset, folder, given, replace_earlier=options.force, **what)
    except (datasets.DataError, OutputError, TrainingError) as error:
        raise InputError(error) from error
    except KeyboardInterrupt:
        raise EndedEarly("interrupted; nothing was written", terminated() or INTERRUPTED) from None
    print(_as_text(watched))
    print(f"\n{time.perf_counter() - begun:.0f} s; page, figure and run: {folder}/index.html")
    if watched.status == "interrupted":
        raise EndedEarly(
            f"interrupted after {watched.run.steps_done:,} of {watched.settings.steps:,} steps; the run is "
            f"kept, go on with: fastntk train --resume {shlex.quote(str(folder))}",
            terminated() or INTERRUPTED,
        )
    if watched.status == "diverged":
        raise EndedEarly(
            f"training diverged after {watched.run.steps_done:,} steps with step size "
            f"{watched.run.step_size:.3g}; the records are kept. Give a smaller --step-size, or none for one "
            "that is stable.",
            DIVERGED,
        )


def _folder(options):
    """Where the run is, or is to be."""
    if options.resume and options.output not in (FOLDER, options.resume):
        raise InputError(
            f"--resume {options.resume} goes on in that folder: leave --output {options.output} out."
        )
    return options.resume or options.output


def _as_text(watched):
    """What is printed in the end."""
    from ..study import scores, table
    from ..study.mask_options import mask_text
    from ..study.settings import neurons_text

    task, settings, run = watched.task, watched.settings, watched.run
    kind = f"{task.classes} classes" if task.classes else "one quantity"
    split = f"{len(task.X):,} rows to train on, {len(task.held_out_X):,} held out"
    step_size = table.number(run.step_size, 3)
    lines = [
        f"{settings.data}: {split}, {task.X.shape[1]:,} features, {kind}",
        f"{neurons_text(settings)}, {mask_text(settings.mask, settings.strength)}, seed {settings.seed}",
        f"{run.steps_done:,} steps of size {step_size}",
    ]
    if watched.scores:
        masked = settings.mask != "none"
        lines += ["", table.aligned(scores.headings(task, masked), scores.rows(watched.scores, task, masked))]
    return "\n".join(lines)
