"""The code in pages of the documentation."""

import re

PIECE = re.compile(
    r"^<!-- before:\s(?P<before>.*?)\s-->$|^```(?P<kind>[^\n`]*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def pieces(text):
    """(kind, code) of the blocks of a page in order; of kind "before" what a comment has in it."""
    for piece in PIECE.finditer(text):
        if piece["before"] is not None:
            yield "before", piece["before"]
        else:
            yield piece["kind"].strip(), piece["code"]


def python_blocks(text):
    return [code for kind, code in pieces(text) if kind == "python"]


def sections(text):
    """What is under each heading of the second level, by its title."""
    return dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE))
