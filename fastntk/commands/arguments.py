"""Arguments that several commands take."""

import argparse

from ..datasets import BUILT_IN, PREPROCESSINGS
from ..network import DTYPES
from ..validation import as_seed

MASKS = ("gaussian", "additive", "lognormal", "bernoulli", "none")


def add_data(parser, target_help):
    """--data, --target and --preprocess, whose defaults the command sets.  Returns their group."""
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        metavar="NAME|FILE",
        help=f"digits (default), {', '.join(BUILT_IN[1:])}, "
        "or a file that ends in .npz, .npy, .csv or .parquet",
    )
    data.add_argument(
        "--target",
        metavar="COLUMN",
        help=f"{target_help}: a column's name or number (.csv, .parquet), its number (.npy) or a key (.npz)",
    )
    data.add_argument(
        "--preprocess",
        choices=PREPROCESSINGS,
        help="unit (default): rows of norm 1; standardize: features of mean 0 and variance 1, then unit",
    )
    return data


def add_mask(group):
    """--mask and the options of its strength, whose defaults the command sets."""
    group.add_argument(
        "--mask",
        choices=MASKS,
        help="what an input entry x becomes: x c with c normal (gaussian, the default) or lognormal of mean "
        "1, x plus noise (additive), x/keep or 0 (bernoulli), or x (none)",
    )
    group.add_argument(
        "--kappa",
        type=float,
        help="strength of a gaussian or lognormal mask: standard deviation of c, or of log c (default 0.2)",
    )
    group.add_argument(
        "--tau", type=float, help="strength of an additive mask: standard deviation (default 0.02)"
    )
    group.add_argument(
        "--keep", type=float, help="probability that a bernoulli mask keeps an entry (default 0.9)"
    )


def add_dtype(group, default=argparse.SUPPRESS):
    """--dtype."""
    group.add_argument(
        "--dtype",
        choices=DTYPES,
        default=default,
        help="of the initial weights (default float32); bfloat16: rounded to 8 bits, patterns as exact, and "
        "sooner on processors with AMX",
    )


def add_machine(parser):
    """--threads and --memory-limit.  Returns their group."""
    machine = parser.add_argument_group("machine")
    machine.add_argument(
        "--threads",
        type=int,
        default=None,
        metavar="N",
        help="worker threads (default: one for each processor)",
    )
    machine.add_argument(
        "--memory-limit",
        type=size,
        default=None,
        metavar="SIZE",
        help="such as 4G or 500M (default: what is available)",
    )
    return machine


def add_backend(machine, help_):
    """--backend."""
    machine.add_argument("--backend", choices=("cpu", "cuda"), default="cpu", help=f"{help_} (default cpu)")


def add_results(
    parser, name, *, metavar="DIR", makes="the folder to make", replaces="a folder of earlier results"
):
    """--output, --force and --quiet.  Returns their group."""
    results = parser.add_argument_group("results")
    results.add_argument("--output", default=name, metavar=metavar, help=f"{makes} (default {name})")
    results.add_argument("--force", action="store_true", default=False, help=f"replace {replaces}")
    results.add_argument("--quiet", action="store_true", default=False, help="show no progress")
    return results


def add_resume(results, does):
    """--resume, alone or with a folder."""
    results.add_argument("--resume", nargs="?", const="", default=None, metavar="DIR", help=does)


def add_checkpoint(results):
    """--checkpoint."""
    results.add_argument(
        "--checkpoint",
        default=None,
        metavar="DIR",
        help="keep in DIR what there is, from time to time: the same command goes on from it, to the same "
        "bits, whatever stopped the one before (a kill, a power failure)",
    )


def count(text):
    """A whole number, also written as 1e6 or 1_000_000."""
    number = float(text)
    if number != number // 1:  # NaN, infinity and fractions
        raise ValueError
    return int(text.replace("_", "")) if text.replace("_", "").isdigit() else int(number)


def seed(text):
    """What every seed of the package may be."""
    number = int(text)
    try:
        return as_seed(number)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def size(text):
    """Bytes, from a number with an optional unit K, M, G or T (powers of 1000)."""
    units = {"K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
    text = text.upper().removesuffix("B")
    bytes_ = float(text[:-1]) * units[text[-1]] if text[-1:] in units else float(text)
    if not 0 < bytes_ < 1e18:
        raise ValueError
    return int(bytes_)


def width(text):
    """A number of neurons."""
    return count(text)
