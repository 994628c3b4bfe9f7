"""Docstrings made reStructuredText.

They are written to be read as they stand: |x| is a norm and an indented paragraph is a formula.  To Sphinx
the one would be a substitution and the other a quotation, so bars are escaped and formulas made literal
blocks.  Classes of results, which no user makes, are shown without a signature.
"""

import dataclasses
import re

# Sections whose text is a list of names with indented descriptions.
LISTS = {"Parameters", "Returns", "Yields", "Raises", "Warns", "Attributes"}
EXAMPLES = "Examples"
MATHEMATICS = "docs/mathematics.md"


def as_restructured_text(lines):
    """The lines of a docstring, ready for numpydoc."""
    made = []
    section, base, literal, blank = "", 0, False, True
    for number, line in enumerate(lines):
        underlined = number + 1 < len(lines) and re.fullmatch(r"-{3,}", lines[number + 1])
        if underlined:
            section, base, literal = line.strip(), 4 if line.strip() in LISTS else 0, False
        if not line.strip():
            made.append(line)
            blank = True
            continue
        indent = len(line) - len(line.lstrip())
        if literal and indent <= base:
            literal = False
        elif not literal and blank and indent > base and section != EXAMPLES:
            made += [" " * base + "::", ""]
            literal = True
        made.append(line if literal or section == EXAMPLES else _escaped(line))
        blank = False
    return made


def _escaped(line):
    """Bars outside of ``literals`` escaped, where they are not already, and the mathematics linked to."""
    parts = re.split(r"(``.*?``)", line.replace(MATHEMATICS, f":doc:`{MATHEMATICS} </mathematics>`"))
    return "".join(part if part.startswith("``") else re.sub(r"(?<!\\)\|", r"\\|", part) for part in parts)


def _process(app, what, name, found, options, lines):
    lines[:] = as_restructured_text(lines)


def _without_signature(app, what, name, found, options, signature, annotation):
    made_here = dataclasses.is_dataclass(found) or hasattr(found, "_fields")  # with fields for parameters
    if what == "class" and made_here and "Parameters" not in found.__doc__:
        return "", None
    return None


def setup(app):
    """Called by Sphinx."""
    app.connect("autodoc-process-signature", _without_signature)
    app.connect("autodoc-process-docstring", _process, priority=100)  # before numpydoc
    return {"parallel_read_safe": True, "parallel_write_safe": True}
