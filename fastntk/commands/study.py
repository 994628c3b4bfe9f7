"""``fastntk study``: the theory beside the measurement, part by part."""

import argparse
import shlex
import time

from . import arguments
from .terminal import (
    INTERRUPTED,
    EndedEarly,
    InputError,
    interrupt_on_terminate,
    missing_library,
    progress_display,
)

FOLDER = "fastntk-study"
PARTS = (
    "smoothing",
    "training",
    "regime",
    "floor",
    "width",
    "movement",
    "certificate",
    "data",
    "privacy",
    "federated",
)
DEFAULTS = {
    "parts": list(PARTS),
    "full": False,
    "data": None,
    "target": None,
    "preprocess": "unit",
    "widths": None,
    "kappas": None,
    "seed": 0,
    "save_kernels": "widest",
}
# The most rows for which a second BLAS thread saves nothing worth having; where the processors are busy it
# makes eigenvalues take ten times as long.
ROWS_FOR_ONE_THREAD = 4000


def add_to(commands):
    """Describe the command to argparse."""
    study = commands.add_parser(
        "study",
        argument_default=argparse.SUPPRESS,  # so that the options that were given can be told from the rest
        help="what theory says and what training does under masks, side by side",
        description="Compute the paper's study, or some of its parts: smoothing (the ReLU under a mask), "
        "training (losses over the steps), regime (the kernel regime), floor (what is left of the loss), "
        "width (the kernel from finite to infinite width), movement (of the weights), certificate (where a "
        "proof applies), data (real data sets), privacy (membership inference) and federated (clients with "
        "faded features). Print the findings, and write a folder with a page (index.html), figures (PNG), "
        "tables (.csv) and numbers (.npz). Ctrl-C keeps the parts that are done.",
        epilog="exit status: 0 done, 1 unexpected failure, 2 wrong command or input, 130 interrupted "
        "(finished parts are kept and the rest can be computed with --resume)",
    )
    study.add_argument(
        "parts", nargs="*", metavar="PART", help=f"one or more of {', '.join(PARTS)} (default: all)"
    )
    study.add_argument(
        "--full", action="store_true", help="the sizes of the paper: about fifteen minutes instead of two"
    )
    study.add_argument("--seed", type=arguments.seed, help="of weights, masks and synthetic data (default 0)")
    arguments.add_data(study, "what to learn, by which pictures are sorted too")
    kernels = study.add_argument_group("kernels of the part width")
    kernels.add_argument(
        "--widths",
        nargs="+",
        type=arguments.width,
        metavar="M",
        help="numbers of hidden neurons (default 1000 10000 100000, and 1000000 with --full); 1e6 will do",
    )
    kernels.add_argument(
        "--kappas",
        nargs="+",
        type=float,
        metavar="KAPPA",
        help="strengths of the Gaussian mask (default 0 0.1 0.3 0.6)",
    )
    kernels.add_argument(
        "--save-kernels",
        choices=("none", "widest", "all"),
        help="which kernels to keep, 8 n^2 bytes each; widest (default): one for each mask strength",
    )
    results = arguments.add_results(study, FOLDER)
    arguments.add_resume(
        results,
        "compute what is missing of the study in DIR (default: that of --output), with its own settings",
    )
    arguments.add_machine(study)
    study.set_defaults(run=_run)


def _run(options):
    try:
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        from ..study.folder import OutputError
        from ..study.parts.part import Request
        from ..study.report import StudyError, load_report, write_report
    except ImportError as error:
        raise missing_library("study", error) from error
    from .. import datasets

    terminated = interrupt_on_terminate()
    started = time.perf_counter()
    given = {name: value for name, value in vars(options).items() if name in DEFAULTS}
    if not given.get("parts"):
        given.pop("parts", None)
    _check_parts(given.get("parts", []))
    try:
        earlier, folder = None, options.output
        if options.resume is not None:
            folder = options.resume or options.output
            earlier = load_report(folder)
            _require_nothing_else(given, folder)
            given = {name: earlier.settings[name] for name in DEFAULTS}
            if not earlier.missing:
                raise InputError(f"the study in {folder} is complete.")
        settings = DEFAULTS | given
        dataset = None
        if settings["data"] is not None:
            dataset = datasets.load(settings["data"], target=settings["target"])
        elif settings["target"] is not None:
            raise InputError("--target belongs to a file: give it as --data.")
        settings["data_sha256"] = dataset and _fingerprint(dataset)
        if earlier is not None and earlier.settings.get("data_sha256") != settings["data_sha256"]:
            raise InputError(
                f"{settings['data']} is not what it was when the study in {folder} began: start again, with "
                "--force."
            )
        request = Request(
            full=settings["full"],
            seed=settings["seed"],
            threads=options.threads,
            memory_limit=options.memory_limit,
            data=dataset,
            preprocessing=settings["preprocess"],
            widths=settings["widths"],
            kappas=settings["kappas"],
            save_kernels=settings["save_kernels"],
        )
        rows = len(dataset.features) if dataset else 0
        with (
            threadpool_limits(1 if rows <= ROWS_FOR_ONE_THREAD else options.threads),
            progress_display(options.quiet) as progress,
        ):
            report = write_report(
                [name for name in PARTS if name in settings["parts"]],
                request,
                folder,
                settings=settings,
                earlier=earlier,
                replace=options.force,
                progress=progress,
                command=options.command,
            )
    except (datasets.DataError, OutputError, StudyError) as error:
        raise InputError(error) from error
    except KeyboardInterrupt:
        raise EndedEarly("interrupted; nothing was written", terminated() or INTERRUPTED) from None
    print(_as_text(report))
    print(f"\n{time.perf_counter() - started:.0f} s; page, figures and numbers: {folder}/index.html")
    if report.missing:
        raise EndedEarly(
            f"interrupted; {', '.join(report.missing)} missing, the rest is kept, go on with: fastntk study "
            f"--resume {shlex.quote(str(folder))}",
            terminated() or INTERRUPTED,
        )


def _check_parts(names):
    for name in names:
        if name not in PARTS:
            raise InputError(f"there is no part {name!r}; the parts are {', '.join(PARTS)}.")


def _require_nothing_else(given, folder):
    """Refuse options beside --resume that say what to compute."""
    if given:
        shown = ", ".join("PART" if name == "parts" else f"--{name.replace('_', '-')}" for name in given)
        raise InputError(f"the study in {folder} goes on with its own settings: leave {shown} out.")


def _fingerprint(dataset):
    from ..engine.digests import digest

    arrays = dataset.features, dataset.target
    return digest(*(array for array in arrays if array is not None))


def _as_text(report):
    """Findings of all parts, and the table where there is one part."""
    from ..study.parts.registry import PARTS as REGISTRY
    from ..study.table import aligned

    lines = []
    for name in report.settings["parts"]:
        if name not in report.finished:
            continue
        part, study = REGISTRY[name], report.finished[name]
        lines += ["", f"{part.title} ({name})"]
        lines += [f"  {value}  {meaning}" for value, meaning in part.findings(study)]
        if len(report.settings["parts"]) == 1:
            headings, groups = part.table(study)
            lines += ["", aligned(headings, *groups)]
    return "\n".join(lines[1:])
