"""Types of the public names: a checker finds what a user may write, and the stub says what the code does."""

import ast
import inspect
import shutil
import subprocess
import sys
from pathlib import Path

import fastntk

ROOT = Path(__file__).resolve().parent.parent
STUB = ast.parse((ROOT / "fastntk" / "__init__.pyi").read_text(encoding="utf-8"))
FUNCTIONS = [node for node in STUB.body if isinstance(node, ast.FunctionDef)]
USE = ROOT / "tests" / "typed" / "use.py"


def test_stub_has_the_names_of_the_package():
    imported = {
        name.asname: node.module
        for node in STUB.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
        if name.asname  # those without are for the stub itself
    }
    functions = {node.name for node in FUNCTIONS}
    assert imported.items() <= fastntk._HOME.items()
    assert imported.keys() | functions == fastntk._HOME.keys()
    assert not imported.keys() & functions


def test_signatures_of_the_stub_are_those_of_the_code():
    for node in FUNCTIONS:
        mine = list(inspect.signature(getattr(fastntk, node.name)).parameters.values())
        given = node.args
        positional = [*given.posonlyargs, *given.args]
        defaults = [None] * (len(positional) - len(given.defaults)) + given.defaults + given.kw_defaults
        kinds = [inspect.Parameter.POSITIONAL_OR_KEYWORD] * len(positional)
        kinds += [inspect.Parameter.KEYWORD_ONLY] * len(given.kwonlyargs)
        names = [argument.arg for argument in (*positional, *given.kwonlyargs)]
        assert names == [parameter.name for parameter in mine], node.name
        assert kinds == [parameter.kind for parameter in mine], node.name
        for default, parameter in zip(defaults, mine, strict=True):
            if default is not None:
                assert ast.literal_eval(default) == parameter.default, (node.name, parameter.name)
            elif parameter.default is not parameter.empty:  # required in some overloads, by their results
                assert parameter.name in ("layers", "out"), (node.name, parameter.name)


def test_every_argument_and_result_has_a_type():
    for node in ast.walk(STUB):
        if isinstance(node, ast.FunctionDef):
            assert node.returns is not None, node.name
            arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            assert all(a.annotation is not None or a.arg == "self" for a in arguments), node.name


def test_a_checker_knows_types_and_finds_errors(installed_wheel, tmp_path):
    """As a user's does, with an installed package and nothing of the source tree."""
    assert (installed_wheel / "fastntk" / "py.typed").is_file()
    shutil.copy(USE, tmp_path)
    command = [sys.executable, "-P", "-m", "mypy", "--ignore-missing-imports", "--follow-imports=silent"]
    done = subprocess.run(
        [*command, "--config-file=", "use.py"],
        cwd=tmp_path,
        env={"MYPYPATH": str(installed_wheel), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    found = {int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line}
    lines = enumerate(USE.read_text(encoding="utf-8").splitlines(), 1)
    wanted = {number for number, line in lines if "  # error" in line}
    assert found == wanted, done.stdout + done.stderr
