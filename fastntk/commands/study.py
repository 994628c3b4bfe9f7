"""``fastntk study``: how the masked kernel of a data set approaches infinite width."""

import time

from . import arguments
from .terminal import InputError, end_on_terminate, missing_library, progress_display

WIDTHS = (1_000, 10_000, 100_000, 1_000_000)
KAPPAS = (0.0, 0.1, 0.3, 0.6)
# Up to here a second BLAS thread saves nothing worth having, and where the processors are busy it makes
# the eigenvalues take ten times as long.
ROWS_FOR_ONE_THREAD = 4000


def add_to(commands):
    """Describe the command to argparse."""
    study = commands.add_parser(
        "study",
        help="how the masked kernel of a data set approaches infinite width",
        description="Compute the masked tangent kernel of a data set for several widths and mask strengths, "
        "compare it and its eigenvalues with the infinite-width kernel, print a table, and write a folder "
        "with a page (index.html), figures (PNG) and arrays (.npz).",
        epilog="exit status: 0 done, 1 unexpected failure, 2 wrong command or input, 130 interrupted",
    )
    arguments.add_data(study, "the label in the file, by which the pictures are sorted")
    networks = study.add_argument_group("networks")
    networks.add_argument(
        "--widths",
        nargs="+",
        type=arguments.width,
        default=WIDTHS,
        metavar="M",
        help="numbers of hidden neurons (default 1000 10000 100000 1000000); 1e6 is understood",
    )
    networks.add_argument(
        "--kappas",
        nargs="+",
        type=float,
        default=KAPPAS,
        metavar="KAPPA",
        help="strengths of the Gaussian mask (default 0 0.1 0.3 0.6)",
    )
    networks.add_argument("--seed", type=int, default=0, help="of the weights and of the masks (default 0)")
    results = arguments.add_results(study, "fastntk-study")
    results.add_argument(
        "--save-kernels",
        choices=("none", "widest", "all"),
        default="widest",
        help="which kernels to keep, 8 n^2 bytes each; widest (default): one for each mask strength",
    )
    arguments.add_machine(study)
    study.set_defaults(run=_run, data="digits", preprocess="unit")


def _run(options):
    try:
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        from ..study.folder import OutputError
        from ..study.report import StudyError, write_report
        from ..study.table import as_text
    except ImportError as error:
        raise missing_library("study", error) from error
    from .. import datasets

    end_on_terminate()
    started = time.perf_counter()
    try:
        dataset = datasets.load(options.data, target=options.target)
        blas_threads = 1 if len(dataset.features) <= ROWS_FOR_ONE_THREAD else options.threads
        with threadpool_limits(blas_threads), progress_display(options.quiet) as progress:
            study = write_report(
                dataset,
                options.output,
                widths=options.widths,
                kappas=options.kappas,
                preprocessing=options.preprocess,
                seed=options.seed,
                threads=options.threads,
                memory_limit=options.memory_limit,
                save_kernels=options.save_kernels,
                replace=options.force,
                progress=progress,
                command=options.command,
            )
    except (datasets.DataError, OutputError, StudyError) as error:
        raise InputError(error) from error
    except KeyboardInterrupt:
        raise KeyboardInterrupt("; nothing was written") from None
    print(f"{dataset.name}: {study.rows:,} rows, {study.features:,} features, seed {study.seed}\n")
    print(as_text(study))
    print(f"\n{time.perf_counter() - started:.0f} s; page, figures and arrays: {options.output}/index.html")
