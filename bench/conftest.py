"""Options of ``pytest bench``."""

import pytest


def pytest_addoption(parser):
    parser.addoption("--quick", action="store_true", help="tiny sizes: test the benchmarks themselves")


def pytest_collection_modifyitems(items):
    """A benchmark takes as long as it takes."""
    for item in items:
        item.add_marker(pytest.mark.timeout(0))


@pytest.fixture
def quick(request):
    return request.config.getoption("quick")
