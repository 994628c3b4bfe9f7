"""Every example in a docstring runs and prints what it says."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import fastntk.kernels

from .optional_modules import LIBRARIES

PACKAGES = {"fastntk.": fastntk.__path__, "fastntk.kernels.": fastntk.kernels.__path__}  # kept in two folders
MODULES = {
    module.name
    for prefix, path in PACKAGES.items()
    for module in pkgutil.walk_packages(path, prefix)
    if not module.name.endswith("__main__")
}
WITHOUT_EXAMPLE = {"ActivationPattern"}  # shown by activation_pattern


@pytest.mark.parametrize("name", ["fastntk", *sorted(MODULES)])
def test_examples(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    pytest.importorskip(LIBRARIES.get(name, "fastntk"))
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [name for name in fastntk.__all__ if not name.startswith("_")])
def test_everything_public_has_a_docstring_with_an_example(name):
    public = getattr(fastntk, name)
    assert inspect.getdoc(public)
    assert name in WITHOUT_EXAMPLE or ">>>" in public.__doc__


def test_arguments_are_described():
    """Each argument of a public function stands in its docstring, or in the one it refers to."""
    for name in fastntk.__all__:
        function = getattr(fastntk, name)
        if not inspect.isfunction(function):
            continue
        text = function.__doc__
        for other in ("ntk", "ntk_limit", "activation_pattern"):
            text += getattr(fastntk, other).__doc__ if other in function.__doc__ and other != name else ""
        for argument in inspect.signature(function).parameters:
            assert argument in text, f"{argument} of {name}"
