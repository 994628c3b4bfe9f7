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
        distributed.comm.resolve_address(address)  # a client of what is no address would hang at its end
        client = distributed.Client(address, timeout=SECONDS)
    except (OSError, ValueError) as error:  # nobody answers, or no address
        raise InputError(
            f"--scheduler {address}: no Dask scheduler answers there ({error}). Give the address that "
            "`dask scheduler` prints, such as tcp://10.0.0.1:8786."
        ) from error
    with client:
        try:
            yield client
        # No worker, workers of another version or lost again and again, no scheduler any more.
        except (RuntimeError, ImportError, distributed.core.CommClosedError) as error:
            raise ClusterError(f"--scheduler {address}: {error}") from error
