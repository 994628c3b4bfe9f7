"""What is installed: every module of the tree, imported from a wheel, and an import without side effects."""

import ast
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastntk

ROOT = Path(__file__).resolve().parent.parent
PACKAGE_FOLDERS = {"fastntk": ROOT / "fastntk", "fastntk.kernels": ROOT / "kernels"}
LIBRARIES = {"fastntk.torch": "torch", "fastntk.jax": "jax"}  # that a module is for
BUILD_FILES = ("setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")


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


@pytest.fixture(scope="module")
def installed_wheel(tmp_path_factory):
    """A folder into which the wheel, built from the source distribution, is installed."""
    work = tmp_path_factory.mktemp("wheel")
    # Built from a copy: building in the tree leaves build/ behind, which leaks into later wheels.
    source = work / "source"
    ignore = shutil.ignore_patterns("__pycache__")
    for folder in PACKAGE_FOLDERS.values():
        shutil.copytree(folder, source / folder.name, ignore=ignore)
    for name in BUILD_FILES:
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", work / "dist", source]
    subprocess.run(build, cwd=work, check=True, capture_output=True)
    (wheel,) = (work / "dist").glob("*.whl")
    target = work / "target"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", target, wheel]
    subprocess.run(install, cwd=work, check=True, capture_output=True)
    return target


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


def test_type_checkers_see_the_public_names(installed_wheel, tmp_path):
    """As a user's checker does: the wheel says that it is typed, and its stub knows every signature."""
    assert (installed_wheel / "fastntk" / "py.typed").is_file()
    right = [
        "fn.Network(10, dim=3)",
        "fn.ntk([[1.0]], network=fn.Network(10, dim=1), seed=1)",
        "fn.__version__",
    ]
    wrong = ["fn.ntk([[1.0]], netwrk=1)", "fn.no_such_name"]
    user = tmp_path / "user.py"
    user.write_text("\n".join(["import fastntk as fn", *right, *wrong]) + "\n")
    environment = {"MYPYPATH": str(installed_wheel), "PATH": ""}
    command = [
        sys.executable,
        "-P",
        "-m",
        "mypy",
        "--ignore-missing-imports",
        "--follow-imports=silent",
        user,
    ]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    lines = {line.split(":")[1] for line in done.stdout.splitlines() if ": error:" in line}
    assert lines == {str(2 + len(right) + i) for i in range(len(wrong))}, done.stdout + done.stderr


def test_stub_has_the_names_of_the_package():
    stub = ast.parse((ROOT / "fastntk" / "__init__.pyi").read_text())
    found = {
        name.asname: node.module
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    assert found == fastntk._HOME
