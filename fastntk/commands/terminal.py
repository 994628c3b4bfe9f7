"""What the user sees of a running command: messages, progress, and how signals end it."""

import shutil
import signal
import sys
import threading
import time
import warnings
from contextlib import contextmanager

from ..datafiles import INSTALL_HINT

DISTRIBUTIONS = {"sklearn": "scikit-learn"}  # where a library's name is not what pip installs
INTERRUPTED = 130  # the exit status after Ctrl-C
SECONDS_BETWEEN_LINES = 2.0  # of progress, where there is no terminal to draw a bar on


class InputError(Exception):
    """The user's command or data are wrong; the message says how."""


class EndedEarly(Exception):
    """A command that kept its results but did not come to its end; `status` is the exit status."""

    def __init__(self, message, status):
        super().__init__(message)
        self.status = status


def missing_library(command, error):
    """The ImportError that tells how to install what a command lacks."""
    name = (error.name or "").partition(".")[0]
    if name == "fastntk":
        return error
    return ImportError(f"fastntk {command} needs {DISTRIBUTIONS.get(name, name)}: {INSTALL_HINT}")


def complain(message):
    """One line on standard error."""
    print(f"fastntk: {' '.join(str(message).split())}", file=sys.stderr)


@contextmanager
def progress_display(quiet):
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


@contextmanager
def warnings_as_lines():
    """Show warnings as one line each, beside a progress bar too."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, *_: _beside_bar(f"warning: {message}")
        yield


def _beside_bar(message):
    if sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm.external_write_mode(file=sys.stderr):
            complain(message)
    else:
        complain(message)


@contextmanager
def handlers_kept():
    """Leave the caller's handler of a polite kill as it was: it may be a notebook, or fork later."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def interrupt_on_terminate():
    """Let a polite kill keep what there is, as Ctrl-C does.

    Returns
    -------
    callable
        The exit status of the signal that came; None where there was none.
    """
    came = []

    def interrupt(number, frame):
        came.append(128 + number)
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, interrupt)
    return lambda: came[0] if came else None
