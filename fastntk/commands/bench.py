"""``fastntk bench``: this package and its peers, on the machine at hand."""

import argparse
import shlex
import time
from pathlib import Path

from . import arguments
from .terminal import (
    INTERRUPTED,
    EndedEarly,
    InputError,
    interrupt_on_terminate,
    missing_library,
    progress_display,
)

FOLDER = "fastntk-bench"
PEERS = ("numpy", "numkong", "torch", "jax", "neural-tangents")
MEMORY_SHARE = 0.5  # of what is available: what a method may take


def add_to(commands):
    """Describe the command to argparse."""
    bench = commands.add_parser(
        "bench",
        argument_default=argparse.SUPPRESS,  # so that the options that were given can be told from the rest
        help="time and memory beside NumPy, NumKong, PyTorch and JAX, on this machine",
        description="Compute the same kernels with this package and with the peers that are installed, check "
        "that they agree, and time them in turn: against width, rows, features and threads, with peaks of "
        "memory; and single kernels against the peaks of the machine. Print a table, and write a folder "
        "with a page (index.html), figures (PNG), tables (.csv) and all numbers (bench.json). Leave the "
        "machine alone meanwhile. Ctrl-C keeps what is measured.",
        epilog="exit status: 0 done, 1 results that do not agree, or an unexpected failure, 2 wrong command "
        "or input, 130 interrupted (what is measured is kept and the rest can be taken with --resume)",
    )
    bench.add_argument("--quick", action="store_true", help="small sizes: a minute or two instead of many")
    bench.add_argument(
        "--peers",
        nargs="+",
        choices=PEERS,
        metavar="PEER",
        help=f"some of {', '.join(PEERS)} (default: all that are installed)",
    )
    bench.add_argument("--seed", type=arguments.seed, help="of rows and weights (default 0)")
    results = arguments.add_results(bench, FOLDER)
    arguments.add_resume(
        results,
        "measure what is missing in DIR (default: that of --output), with its own settings",
    )
    arguments.add_machine(bench)
    bench.set_defaults(run=_run)


def _run(options):
    try:
        from ..benchmarks.report import write_report
        from ..benchmarks.sizes import Cell
        from ..benchmarks.tables import HEADINGS, problem_text, rows
        from ..study.folder import OutputError
        from ..study.table import aligned
    except ImportError as error:
        raise missing_library("bench", error) from error

    terminated = interrupt_on_terminate()
    started = time.perf_counter()
    try:
        folder = options.output
        if options.resume is not None:
            folder = options.resume or options.output
            found, ready = _earlier(options, folder)
        else:
            found, ready = _new(options)
        with progress_display(options.quiet) as progress:
            write_report(
                found,
                ready,
                folder,
                replace=options.force or options.resume is not None,
                progress=progress,
                command=options.command,
            )
    except OutputError as error:
        raise InputError(error) from error
    except KeyboardInterrupt:
        raise EndedEarly("interrupted; nothing was written", terminated() or INTERRUPTED) from None

    measured = dict(found.sweep("width")).get(found.middle.width)
    if measured:
        print(problem_text(Cell("kernel", found.middle)) + "\n")
        print(aligned(HEADINGS, rows(measured)) + "\n")
    for peer, reason in found.missing.items():
        print(f"{peer} {reason}")
    print(f"\n{time.perf_counter() - started:.0f} s; page, figures and numbers: {folder}/index.html")
    if found.unfinished:
        raise EndedEarly(
            f"interrupted; {found.unfinished} measurements missing, the rest is kept, go on with: fastntk "
            f"bench --resume {shlex.quote(str(folder))}",
            terminated() or INTERRUPTED,
        )
    if found.disagreeing:
        raise EndedEarly("not all results agree; the page says which", 1)


def _new(options):
    """(Results without measurements, methods) of what was asked for."""
    from ..benchmarks.hardware import processor
    from ..benchmarks.methods import chosen_methods
    from ..benchmarks.results import Results
    from ..benchmarks.sizes import SIZES, cells
    from ..engine.plan import available_memory
    from ..engine.threads import available_cpus

    given = vars(options)
    threads = available_cpus() if options.threads is None else options.threads
    if not 1 <= threads <= available_cpus():
        raise InputError(
            f"--threads is {threads}; from 1 to {available_cpus()}, the processors that this process may use."
        )
    limit = options.memory_limit or round(MEMORY_SHARE * available_memory())
    ready, missing = chosen_methods(given.get("peers", PEERS))
    settings = {
        "size": "quick" if given.get("quick") else "default",
        "threads": threads,
        "memory_limit": limit,
        "seed": given.get("seed", 0),
        "methods": [method.name for method in ready],
        "processor": processor(),
    }
    return Results(settings, missing, cells(SIZES[settings["size"]], threads, settings["seed"])), ready


def _earlier(options, folder):
    """(Results, methods) of a folder, to go on with."""
    from ..benchmarks.hardware import processor
    from ..benchmarks.methods import METHODS, why_missing
    from ..benchmarks.results import load

    given = [name for name in ("quick", "peers", "seed") if name in vars(options)]
    given += [name for name in ("threads", "memory_limit") if getattr(options, name) is not None]
    if given:
        shown = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise InputError(f"the benchmark in {folder} goes on with its own settings: leave {shown} out.")
    found, _ = load(Path(folder))
    if not found.unfinished:
        raise InputError(f"the benchmark in {folder} is complete.")
    if found.settings["processor"] != processor():
        raise InputError(
            f"the benchmark in {folder} is of another machine ({found.settings['processor']}): start again, "
            "with --force."
        )
    ready = [METHODS[name] for name in found.settings["methods"]]
    for peer in {method.peer for method in ready if method.peer in PEERS}:
        if reason := why_missing(peer):
            raise InputError(f"{peer}, of the benchmark in {folder}, {reason}.")
    return found, ready
