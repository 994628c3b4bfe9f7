"""What the default suite takes of a list of cases."""

import pytest


def some(names, *quick):
    """Parameters of a test: these are in the default suite, the others of ``names`` in the long one."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.soak) for name in names]
