"""The command line: which command runs, and with which status it ends (commands/ has the commands).

Status 0: done.  1: an unexpected failure.  2: the command or its input is wrong (one line says how).
3: training diverged.  130: interrupted.
"""

import argparse
import os
import shlex
import sys
import traceback

from . import _version
from .commands import bench, info, ntk, study, train
from .commands.terminal import INTERRUPTED, EndedEarly, InputError, complain, handlers_kept
from .datafiles import INSTALL_HINT


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
        with handlers_kept():
            options.run(options)
        sys.stdout.flush()
    except SystemExit as end:  # argparse: --help, --version or a usage error
        return end.code or 0
    except InputError as error:
        complain(error)
        return 2
    except EndedEarly as end:
        complain(end)
        return end.status
    except KeyboardInterrupt as interrupt:
        complain(f"interrupted{interrupt}")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ImportError as error:
        complain(error if INSTALL_HINT in str(error) else f"{error}. Is everything installed? {INSTALL_HINT}")
        return 1
    except OSError as error:  # such as a disk that has filled up
        complain(f"{error}; nothing was written")
        return 1
    except Exception:
        traceback.print_exc()
        complain("this is an unexpected failure, please report it")
        return 1
    return 0


def _parser():
    parser = argparse.ArgumentParser(
        prog="fastntk",
        description="Exact neural tangent kernels of very wide two-layer ReLU networks under random masks, "
        "and training with them.",
    )
    parser.add_argument("--version", action="version", version=f"fastntk {_version.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (study, train, ntk, bench, info):
        command.add_to(commands)
    return parser
