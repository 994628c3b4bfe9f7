"""The documentation: its Python runs and prints what it says, its links lead on, its reference is whole.

CONTRIBUTING.md describes the marks: ``python no-run``, ``<!-- before: ... -->``, and the ``text`` block that
shows what the block before it prints.
"""

import contextlib
import doctest
import io
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

import fastntk

from .pages import pieces, python_blocks

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"]
TESTED_ELSEWHERE = ["arrays.md", "migration.md", "scikit-learn.md"]  # each library may be missing
WIDE = re.compile(r"(?<=width=)10\*\*(?:[6-9]|\d\d)\b")  # takes long: the same code on a narrow network
PRINTED = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def is_to_run(page):
    return page.name not in TESTED_ELSEWHERE and python_blocks(page.read_text(encoding="utf-8"))


def named(page):
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", list(filter(is_to_run, PAGES)), ids=named)
def test_python_of_a_page_runs_and_prints_what_it_says(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    printed = None
    for kind, code in pieces(page.read_text(encoding="utf-8")):
        if kind == "text" and printed is not None:
            assert doctest.OutputChecker().check_output(code, printed, PRINTED), f"printed:\n{printed}"
        printed = None
        if kind in ("python", "before"):
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(compile(WIDE.sub("200", code), f"a block of {page.name}: {code}", "exec"), names)
            printed = output.getvalue() if kind == "python" and not WIDE.search(code) else None


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_marks_of_python_blocks_are_known(page):
    kinds = {kind for kind, _ in pieces(page.read_text(encoding="utf-8")) if kind.startswith("py")}
    assert kinds <= {"python", "python no-run"}


@pytest.mark.parametrize("page", TEXTS, ids=named)
def test_links_lead_to_files(page):
    without_code = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", without_code):
        assert target.startswith("https://") or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", TEXTS, ids=named)
def test_formulas_mean_nothing_to_markdown(page):
    """Else it would take their backslashes, or read their underscores as emphasis, before TeX sees them."""
    text = page.read_text(encoding="utf-8")
    blocks = MarkdownIt("commonmark").enable("table").parse(text)
    left = "\n".join(
        "".join("\n" if piece.type == "softbreak" else piece.content for piece in block.children)
        for block in blocks
        if block.type == "inline"
    )
    prose = re.sub(r"^ *```.*?^ *```$|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)
    for formula in re.findall(r"\$[^$]+\$", prose):
        assert formula in left
    assert "$$" not in prose, "formulas of their own are ```math blocks"


def test_everything_public_is_in_the_reference_once():
    pages = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "api").glob("*.md"))
    found = Counter(re.findall(r"^\.\. auto\w+:: fastntk\.(\w+)$", pages, flags=re.MULTILINE))
    assert found == Counter(name for name in fastntk.__all__ if name != "__version__")


def test_tables_of_the_readme_are_those_of_the_results():
    command = [sys.executable, "-m", "bench.table", "--check"]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0


@pytest.mark.soak
@pytest.mark.parametrize(
    "script", sorted((ROOT / "examples" / "gallery").glob("*.py")), ids=lambda file: file.stem
)
def test_scripts_of_the_gallery(script, tmp_path):
    """As the site runs them, on a narrow network."""
    command = [sys.executable, script, tmp_path / "picture.png", "2000"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, env={"MPLBACKEND": "agg"})
    assert run.returncode == 0, run.stderr
    assert run.stdout
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
