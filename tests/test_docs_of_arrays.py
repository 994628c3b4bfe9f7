"""The code in docs/arrays.md runs, section by section."""

import ast
import re
from pathlib import Path

import pytest

from .pages import python_blocks, sections

PAGE = (Path(__file__).parent.parent / "docs" / "arrays.md").read_text(encoding="utf-8")
BLOCKS = {
    f"{title} {number}": code
    for title, text in sections(PAGE).items()
    for number, code in enumerate(python_blocks(text))
}


def libraries(code):
    """The packages that code imports."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)


@pytest.mark.parametrize("code", BLOCKS.values(), ids=BLOCKS)
def test_code_of_the_page_runs(code, tmp_path, monkeypatch, capsys):
    there = {library: pytest.importorskip(library) for library in libraries(code)}
    monkeypatch.chdir(tmp_path)
    try:
        exec(compile(code, "docs/arrays.md", "exec"), {})
    finally:
        if "jax" in there:  # a setting of the process
            there["jax"].config.update("jax_enable_x64", False)
    for shown in re.findall(r"print\(.*\) +# (.*)", code):
        assert shown in capsys.readouterr().out


def test_all_blocks_are_found():
    assert len(BLOCKS) == PAGE.count("```python")
