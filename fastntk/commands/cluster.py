"""Workers elsewhere, for commands that can use them."""

from contextlib import contextmanager

from .terminal import InputError

INSTALL_HINT = 'python -m pip install "fastntk[study,dask]"'
SECONDS = 10  # for the scheduler to answer


class ClusterError(Exception):
    """The workers failed; the message says how."""


@contextmanager
def connected(address):
    """A client of the Dask scheduler at an address; None without one."""
    if address is None:
        yield None
        return
    try:
        import distributed
    except ImportError as error:
        raise InputError(f"--scheduler needs Dask: {INSTALL_HINT}") from error
    try:
        client = distributed.Client(address, timeout=SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:  # nobody answers, or no address
        raise InputError(
            f"--scheduler {address}: no Dask scheduler answers there ({error}). Give the address that "
            "`dask scheduler` prints, such as tcp://10.0.0.1:8786."
        ) from error
    with client:
        try:
            yield client
        except (RuntimeError, ImportError) as error:  # no worker, other versions, or lost again and again
            raise ClusterError(error) from error
