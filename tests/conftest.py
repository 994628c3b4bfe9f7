"""Settings that every test shares."""

import hypothesis
import pytest

# The first example of a shape may compile a kernel: no deadline.  Derandomised: a failure comes back.
hypothesis.settings.register_profile(
    "fastntk",
    deadline=None,
    derandomize=True,
    max_examples=50,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("fastntk")


def pytest_collection_modifyitems(items):
    """Soak tests take as long as they take."""
    for item in items:
        if item.get_closest_marker("soak"):
            item.add_marker(pytest.mark.timeout(0))
