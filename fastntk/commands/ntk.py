"""``fastntk ntk``: the kernel matrix of a data set in a file, stopped and resumed, or on a cluster."""

import argparse
import time

from . import arguments
from .cluster import ClusterError, connected
from .terminal import (
    INTERRUPTED,
    EndedEarly,
    InputError,
    interrupt_on_terminate,
    missing_library,
    progress_display,
    warnings_as_lines,
)

FILE = "fastntk-ntk.npy"
WIDTH = 1_000_000
FAILED = 1  # exit status
DESCRIPTION = """\
Compute the kernel matrix of a data set into a .npy file (float64, rows and
columns in the order of the data), and draw it beside that as .png. Neither the
width nor the size of the matrix is limited by the memory: what does not fit is
computed tile by tile."""
EPILOG = """\
examples:
  fastntk ntk
      the digits and a million neurons: seconds
  fastntk ntk --data rows.csv --target y --mask none --layers both
      a file of your own, inputs as they are, both layers
  fastntk ntk --width 1e9 --draws 4 --output K.npy --checkpoint K.checkpoint
      hours; stop it as you like, and go on with the same command
  fastntk ntk --width 1e9 --scheduler tcp://10.0.0.1:8786
      on the workers of a Dask cluster, which have the same fastntk
  python -c 'import numpy; print(numpy.load("fastntk-ntk.npy", mmap_mode="r"))'
      what to do with the file

exit status: 0 done, 1 unexpected failure, 2 wrong command or input, 130
interrupted (with --checkpoint the same command goes on)"""


def add_to(commands):
    """Describe the command to argparse."""
    ntk = commands.add_parser(
        "ntk",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="the kernel matrix of a data set, of any width, in a file",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    arguments.add_data(ntk, "what the picture is sorted by, and no feature")
    _add_kernel(ntk)
    results = arguments.add_results(
        ntk, FILE, metavar="FILE", makes="the .npy file to make", replaces="an earlier kernel of as many rows"
    )
    results.add_argument(
        "--checkpoint",
        metavar="DIR",
        help="keep in this folder what has been added up, from half a minute on, at 2 %% of the time; after "
        "Ctrl-C, a kill or a power failure the same command goes on from it, to the same bits",
    )
    machine = arguments.add_machine(ntk)
    arguments.add_backend(
        machine, "where neurons are added up: the processors, or all CUDA devices that are visible"
    )
    machine.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="compute on the workers of this Dask scheduler, such as tcp://10.0.0.1:8786; --threads is then "
        'of each of their tasks (default 1). Needs "fastntk[dask]"',
    )
    ntk.set_defaults(run=_run, data="digits", preprocess="unit", mask="gaussian")


def _add_kernel(ntk):
    kernel = ntk.add_argument_group("kernel")
    kernel.add_argument(
        "--width",
        type=arguments.width,
        default=WIDTH,
        metavar="M",
        help="number of hidden neurons (default 1000000); 1e9 will do",
    )
    arguments.add_dtype(kernel, "float32")
    arguments.add_mask(kernel)
    kernel.add_argument(
        "--draws",
        type=arguments.count,
        default=1,
        metavar="N",
        help="masks to take the mean over (default 1)",
    )
    kernel.add_argument(
        "--layers",
        choices=("hidden", "output", "both"),
        default="hidden",
        help="whose weights' gradients (default hidden); output and both take several times as long",
    )
    kernel.add_argument("--seed", type=arguments.seed, default=0, help="of the weights (default 0)")
    kernel.add_argument(
        "--mask-seed", type=arguments.seed, metavar="SEED", help="of the masks (default: that of --seed)"
    )


def _run(options):
    try:
        from ..study import kernel_file
        from ..study.folder import OutputError
        from ..study.mask_options import STRENGTHS, MaskOptionError, strength_of
    except ImportError as error:
        raise missing_library("ntk", error) from error
    from .. import datasets

    begun = time.perf_counter()
    terminated = interrupt_on_terminate()
    given = {name: value for name, value in vars(options).items() if name in STRENGTHS and value is not None}
    kernel = None
    try:
        settings = kernel_file.KernelSettings(
            preprocess=options.preprocess,
            width=options.width,
            dtype=options.dtype,
            mask=options.mask,
            strength=strength_of(options.mask, given),
            draws=options.draws,
            layers=options.layers,
            seed=options.seed,
            mask_seed=options.seed if options.mask_seed is None else options.mask_seed,
        )
        kernel_file.require_free(options.output, replace=options.force, checkpoint=options.checkpoint)
        dataset = datasets.load(options.data, target=options.target)
        with progress_display(options.quiet) as progress, warnings_as_lines():
            with connected(options.scheduler) as client:
                kernel = kernel_file.write_kernel(
                    dataset,
                    options.output,
                    settings,
                    progress=progress,
                    checkpoint=options.checkpoint,
                    executor=client,
                    backend=options.backend,
                    threads=options.threads,
                    memory_limit=options.memory_limit,
                )
            eigenvalues = kernel_file.draw(dataset, kernel, settings)
    except (datasets.DataError, OutputError, MaskOptionError, kernel_file.KernelError) as error:
        raise InputError(error) from error
    except KeyboardInterrupt:
        kept = _kept(options, kernel)
        raise EndedEarly(f"interrupted; {kept}", terminated() or INTERRUPTED) from None
    except (OSError, ClusterError) as error:  # such as a disk that has filled up
        failure = str(error).removesuffix(".")
        raise EndedEarly(f"{failure}; {_kept(options, kernel)}", FAILED) from error
    print(_as_text(options, settings, dataset, kernel, eigenvalues))
    files = f"{options.output}, {kernel_file.picture_path(options.output)}"
    print(f"\n{time.perf_counter() - begun:.0f} s; kernel and picture: {files}")


def _kept(options, kernel):
    """What there is after an early end, and how to go on."""
    from ..study.kernel_file import has_saved

    if kernel is not None:
        return f"the kernel is whole, in {options.output}; its picture was not drawn"
    if options.checkpoint is None:
        return "nothing was written"
    if has_saved(options.checkpoint):
        return f"{options.checkpoint} has what was saved, go on with the same command: {options.command}"
    return f"nothing was saved yet (the first time is after half a minute), start again: {options.command}"


def _as_text(options, settings, dataset, kernel, eigenvalues):
    """What is printed in the end."""
    from ..engine.plan import describe_bytes
    from ..spectrum import rounding
    from ..study.kernel_file import described, short

    n, d = dataset.features.shape
    seeds = f"seed {settings.seed}" + f", mask seed {settings.mask_seed}" * (
        settings.mask_seed != settings.seed
    )
    lines = [
        f"{options.data}: {n:,} rows, {d:,} features",
        f"{described(settings)}, {seeds}",
        f"{n:,} x {n:,} float64, {describe_bytes(8 * n * n)}",
    ]
    if eigenvalues is not None:
        noise = rounding(n, eigenvalues[-1])
        smallest = f"{eigenvalues[0]:.3g}" if eigenvalues[0] > noise else "0 (to rounding)"
        lines.append(f"eigenvalues from {smallest} to {eigenvalues[-1]:.3g}")
    if kernel.computed < kernel.total:
        there = kernel.total - kernel.computed
        lines.append(f"{short(there)} of {short(kernel.total)} neurons were in {options.checkpoint}")
    if kernel.computed:
        lines.append(f"{short(kernel.rate)} neurons/s in {kernel.seconds:.3g} s")
    return "\n".join(lines)
