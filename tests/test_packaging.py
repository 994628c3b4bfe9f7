"""What is installed: every module of the tree, imported from a wheel, and an import without side effects."""

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from .optional_modules import LIBRARIES

ROOT = Path(__file__).resolve().parent.parent
PACKAGE_FOLDERS = {"fastntk": ROOT / "fastntk", "fastntk.kernels": ROOT / "kernels"}


def source_modules():
    """The dotted name of every module of the source tree."""
    for package, folder in PACKAGE_FOLDERS.items():
        for file in sorted(folder.rglob("*.py")):
            parts = file.relative_to(folder).with_suffix("").parts
            yield ".".join((package, *parts)).removesuffix(".__init__")


def run_python(code, *arguments, cwd):
    """Standard output of ``code``, run where the source tree cannot be imported by accident."""
    command = [sys.executable, "-P", "-c", code, *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_wheel_imports_every_module(installed_wheel, tmp_path):
    code = """
import importlib, json, pathlib, sys
target, *names = sys.argv[1:]
sys.path.insert(0, target)
for name in names:
    file = importlib.import_module(name).__file__
    assert pathlib.Path(target) in pathlib.Path(file).parents, f"{name} came from {file}"
"""
    # What is for a library that is not here cannot be imported.
    there = [name for name in source_modules() if importlib.util.find_spec(LIBRARIES.get(name, "ast"))]
    run_python(code, installed_wheel, *there, cwd=tmp_path)


def test_wheel_holds_one_top_level_package(installed_wheel):
    folders = {path.name for path in installed_wheel.iterdir() if path.suffix != ".dist-info"}
    assert folders - {"bin"} == {"fastntk"}


def test_wheel_holds_every_data_file(installed_wheel):
    for package, folder in PACKAGE_FOLDERS.items():
        installed = installed_wheel.joinpath(*package.split("."))
        for file in folder.rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                assert (installed / file.relative_to(folder)).is_file(), file.relative_to(ROOT)


def test_import_has_no_side_effects(tmp_path):
    code = """
import json, sys, threading
before = set(sys.modules)
import fastntk
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps([sorted(loaded - sys.stdlib_module_names), threading.active_count()]))
"""
    loaded, threads = json.loads(run_python(code, cwd=tmp_path))
    # An editable install adds its finder; NumPy, Numba and the rest wait for the first use.
    assert [name for name in loaded if not name.startswith("__editable__")] == ["fastntk"]
    assert threads == 1
    assert list(tmp_path.iterdir()) == []


def test_public_names_resolve(tmp_path):
    code = """
import fastntk
assert fastntk.__all__
assert set(fastntk.__all__) <= set(dir(fastntk))
for name in fastntk.__all__:
    assert getattr(fastntk, name) is not None
try:
    fastntk.no_such_name
except AttributeError as error:
    print(error)
"""
    assert "no_such_name" in run_python(code, cwd=tmp_path)


KERNELS = PACKAGE_FOLDERS["fastntk.kernels"]


@pytest.mark.parametrize("file", sorted(KERNELS.rglob("*.py")), ids=lambda file: file.stem)
def test_kernels_import_nothing_above_them(file):
    depth = len(file.relative_to(KERNELS).parts)
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level <= depth, f"line {node.lineno} imports from above the kernels"
            assert node.level or not (node.module or "").startswith("fastntk"), f"line {node.lineno}"
        elif isinstance(node, ast.Import):
            assert not any(name.name.startswith("fastntk") for name in node.names), f"line {node.lineno}"
