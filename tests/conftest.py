"""What every test shares: settings, and the package as users have it."""

import shutil
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent
BUILD_FILES = ("setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")

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


@pytest.fixture(scope="session")
def installed_wheel(tmp_path_factory):
    """A folder into which the wheel, built from the source distribution, is installed."""
    work = tmp_path_factory.mktemp("wheel")
    # Built from a copy: building in the tree leaves build/ behind, which leaks into later wheels.
    source = work / "source"
    ignore = shutil.ignore_patterns("__pycache__")
    for folder in ("fastntk", "kernels"):
        shutil.copytree(ROOT / folder, source / folder, ignore=ignore)
    for name in BUILD_FILES:
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", work / "dist", source]
    subprocess.run(build, cwd=work, check=True, capture_output=True)
    (wheel,) = (work / "dist").glob("*.whl")
    target = work / "target"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", target, wheel]
    subprocess.run(install, cwd=work, check=True, capture_output=True)
    return target
