"""What a distributed sweep asks of workers elsewhere, whatever they are."""

from abc import ABC, abstractmethod

from .. import _version

VERSION = "fastntk:__version__"  # for pkgutil.resolve_name, which workers without the package have too


class Lost(Exception):
    """A task whose worker or data has gone; the same task can be done again."""


class Cancelled(Lost):
    """A task that others have ended, with a restart of all workers perhaps: no fault of its own."""


class Unknown(Exception):
    """A worker that has not seen the problem yet; the next submission carries it."""


class NoWorkers(Exception):
    """There is nobody to submit to now; later there may be."""


class Broken(Exception):
    """Workers that take no more tasks, or do not answer."""


class Workers(ABC):
    """Where tasks go.  ``submit`` gives a handle, ``result`` its value."""

    threads: int  # of a task
    merges = False  # whether sums are merged where they are

    @property
    @abstractmethod
    def count(self):
        """How many tasks run at once; 0 where there is no worker now but may be later."""

    @abstractmethod
    def start(self, problem):
        """Make a problem known; called before its tasks, perhaps again."""

    @abstractmethod
    def submit(self, part, inputs, first, count, avoid=()):
        """Begin a range, if possible not where the handles ``avoid`` are; raises NoWorkers, Broken."""

    @abstractmethod
    def wait(self, handles, seconds):
        """Those of the handles that have an end, as soon as there is one."""

    @abstractmethod
    def result(self, handle):
        """What became of a handle that has an end; raises Lost, Unknown, or what the task raised."""

    def merge(self, left, right):
        """Begin the sum of two finished handles."""
        raise NotImplementedError

    def fetch(self, value):
        """Bring what ``result`` gave here; raises Lost."""
        return value

    def drop(self, handle):
        """A handle whose result is not wanted any more."""
        handle.cancel()

    def close(self):  # noqa: B027
        """The end of the call, successful or not: let go of everything."""


def require_version(ask):
    """Raise unless ``ask()``, ``fastntk.__version__`` on a worker, is the version here."""
    try:
        theirs = ask()
    except ImportError as error:
        raise ImportError(
            f"the workers of executor cannot import fastntk ({error}). Install it in their environment, the "
            f"same version as here ({_version.__version__})."
        ) from error
    if theirs != _version.__version__:
        raise RuntimeError(
            f"the workers of executor have fastntk {theirs}, here is {_version.__version__}. Install one "
            f"version everywhere."
        )
