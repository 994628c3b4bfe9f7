"""The command line: what is asked for, what is printed, and with which status it ends.

Status 0: done.  1: an unexpected failure.  2: the command or its input is wrong (one line says how).
130: interrupted.
"""

import argparse
import os
import shlex
import shutil
import signal
import sys
import threading
import time
import traceback
from contextlib import contextmanager

from . import _version
from .datafiles import INSTALL_HINT
from .datasets import PREPROCESSINGS

WIDTHS = (1_000, 10_000, 100_000, 1_000_000)
KAPPAS = (0.0, 0.1, 0.3, 0.6)
SECONDS_BETWEEN_LINES = 2.0  # of progress, where there is no terminal to draw a bar on
# Up to here a second BLAS thread saves nothing worth having, and where the processors are busy it makes
# the eigenvalues take ten times as long.
ROWS_FOR_ONE_THREAD = 4000


class InputError(Exception):
    """The user's command or data are wrong; the message says how."""


def main(arguments=None):
    """Run a command and return its exit status.

    Parameters
    ----------
    arguments : list of str, optional
        The words after ``fastntk``; those of the process by default.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        options = _parser().parse_args(arguments)
        options.command = shlex.join(["fastntk", *arguments])
        options.run(options)
        sys.stdout.flush()
    except SystemExit as end:  # argparse: --help, --version or a usage error
        return end.code or 0
    except InputError as error:
        _complain(error)
        return 2
    except KeyboardInterrupt as interrupt:
        _complain(f"interrupted{interrupt}")
        return 130
    except BrokenPipeError:  # the reader of a pipe has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ImportError as error:
        _complain(
            error if INSTALL_HINT in str(error) else f"{error}. Is everything installed? {INSTALL_HINT}"
        )
        return 1
    except OSError as error:  # such as a disk that has filled up
        _complain(f"{error}; nothing was written")
        return 1
    except Exception:
        traceback.print_exc()
        _complain("this is an unexpected failure, please report it")
        return 1
    return 0


def _study(options):
    try:
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        from .study.folder import OutputError
        from .study.report import StudyError, write_report
        from .study.table import as_text
    except ImportError as error:
        raise ImportError(f"fastntk study needs {error.name}: {INSTALL_HINT}") from error
    from . import datasets

    _end_on_terminate()
    started = time.perf_counter()
    try:
        dataset = datasets.load(options.data, target=options.target)
        blas_threads = 1 if len(dataset.features) <= ROWS_FOR_ONE_THREAD else options.threads
        with threadpool_limits(blas_threads), _progress(options.quiet) as progress:
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


def _info(options):
    from .study.provenance import provenance

    try:
        facts = provenance()
    except ValueError as error:  # an instruction set is forced that is unknown or not there
        raise InputError(error) from error
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:{width}}  {value}")


@contextmanager
def _progress(quiet):
    """A callback (fraction, stage): a bar on a terminal, now and then a line elsewhere; None if quiet."""
    if quiet:
        yield None
        return
    if not sys.stderr.isatty():
        yield _line_by_line()
        return
    from tqdm import tqdm

    form = "{desc:<30.30} {percentage:3.0f}% |{bar:20}| {elapsed}, {remaining} left"
    size = shutil.get_terminal_size()  # 80 by 24 where the terminal does not know; tqdm would show nothing
    shape = {"ncols": size.columns - 1, "nrows": size.lines}
    with tqdm(total=1.0, bar_format=form, smoothing=0, leave=False, **shape) as bar:

        def show(fraction, stage):
            bar.set_description_str(stage, refresh=False)
            bar.update(fraction - bar.n)

        yield show


def _line_by_line():
    printed, printed_at = "", -SECONDS_BETWEEN_LINES

    def show(fraction, stage):
        nonlocal printed, printed_at
        now = time.monotonic()
        if stage != printed and now - printed_at >= SECONDS_BETWEEN_LINES:
            printed, printed_at = stage, now
            print(f"{fraction:4.0%}  {stage}", file=sys.stderr, flush=True)

    return show


def _end_on_terminate():
    """Let a polite kill clean up as Ctrl-C does."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def _complain(message):
    print(f"fastntk: {' '.join(str(message).split())}", file=sys.stderr)


# ---------------------------------------------------------------------------------- arguments


def _parser():
    parser = argparse.ArgumentParser(
        prog="fastntk",
        description="Exact neural tangent kernels of very wide two-layer ReLU networks under random masks.",
    )
    parser.add_argument("--version", action="version", version=f"fastntk {_version.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_study(commands)
    info = commands.add_parser("info", help="versions, processor and the instruction set in use")
    info.set_defaults(run=_info)
    return parser


def _add_study(commands):
    study = commands.add_parser(
        "study",
        help="how the masked kernel of a data set approaches infinite width",
        description="Compute the masked tangent kernel of a data set for several widths and mask strengths, "
        "compare it and its eigenvalues with the infinite-width kernel, print a table, and write a folder "
        "with a page (index.html), figures (PNG) and arrays (.npz).",
        epilog="exit status: 0 done, 1 unexpected failure, 2 wrong command or input, 130 interrupted",
    )
    study.set_defaults(run=_study)
    data = study.add_argument_group("data")
    data.add_argument(
        "--data",
        default="digits",
        metavar="NAME|FILE",
        help="digits (default), iris, wine, breast_cancer, diabetes, linnerud, "
        "or a file that ends in .npz, .npy, .csv or .parquet",
    )
    data.add_argument(
        "--target",
        metavar="COLUMN",
        help="the label in the file, by which the pictures are sorted: a column's name or number "
        "(.csv, .parquet), its number (.npy) or a key (.npz)",
    )
    data.add_argument(
        "--preprocess",
        choices=PREPROCESSINGS,
        default="unit",
        help="unit (default): rows of norm 1; standardize: features of mean 0 and variance 1, then unit",
    )
    networks = study.add_argument_group("networks")
    networks.add_argument(
        "--widths",
        nargs="+",
        type=_width,
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
    results = study.add_argument_group("results")
    results.add_argument(
        "--output", default="fastntk-study", metavar="DIR", help="the folder to make (default fastntk-study)"
    )
    results.add_argument("--force", action="store_true", help="replace a folder of earlier results")
    results.add_argument(
        "--save-kernels",
        choices=("none", "widest", "all"),
        default="widest",
        help="which kernels to keep, 8 n^2 bytes each; widest (default): one for each mask strength",
    )
    results.add_argument("--quiet", action="store_true", help="show no progress")
    machine = study.add_argument_group("machine")
    machine.add_argument("--threads", type=int, help="worker threads (default: one for each processor)")
    machine.add_argument(
        "--memory-limit", type=_size, metavar="SIZE", help="such as 4G or 500M (default: what is available)"
    )


def _width(text):
    """A whole number, also written as 1e6 or 1_000_000."""
    number = float(text)
    if number != number // 1:  # NaN, infinity and fractions
        raise ValueError
    return int(text.replace("_", "")) if text.replace("_", "").isdigit() else int(number)


def _size(text):
    """Bytes, from a number with an optional unit K, M, G or T (powers of 1000)."""
    units = {"K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
    text = text.upper().removesuffix("B")
    size = float(text[:-1]) * units[text[-1]] if text[-1:] in units else float(text)
    if not 0 < size < 1e18:
        raise ValueError
    return int(size)


_width.__name__, _size.__name__ = "width", "size"  # what argparse calls them in its errors
