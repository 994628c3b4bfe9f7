"""Write the table of the README, between its markers, from bench/results/*.json."""

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


def _number(value):
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def _target(figure):
    if figure["at_least"] is not None:
        return f"at least {_number(figure['at_least'])}"
    if figure["at_most"] is not None:
        return f"at most {_number(figure['at_most'])}"
    return ""


def table(result):
    """One machine's result as Markdown."""
    packages = ", ".join(f"{name} {version}" for name, version in result["packages"].items() if version)
    lines = [
        f"{result['hardware']}, two cores; {packages}; {result['date']}.",
        "",
        "| case | against | measured | target | what limits it |",
        "|---|---|---|---|---|",
    ]
    for figure in result["figures"].values():
        measured = f"{_number(figure['value'])} {figure['unit']}"
        cells = (figure["case"], figure["against"], measured, _target(figure), figure["limit"])
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def with_tables(readme, tables):
    """The text of the README with everything between the markers replaced."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"README.md has no {BEGIN} ... {END}")
    return before + begin + "\n" + "\n\n".join(tables) + "\n" + end + after


def main():
    parser = argparse.ArgumentParser(prog="python -m bench.table", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if the README is out of date"
    )
    arguments = parser.parse_args()
    readme = ROOT / "README.md"
    results = ROOT / "bench" / "results"
    others = {*results.glob("cost-model-*"), *results.glob("gpu-*")}
    files = sorted(set(results.glob("*.json")) - others)
    old = readme.read_text(encoding="utf-8")
    new = with_tables(old, [table(json.loads(file.read_text(encoding="utf-8"))) for file in files])
    if arguments.check:
        return int(new != old)
    readme.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
