"""Pictures drawn by scripts when the site is built.

``{picture} bench/picture.py`` is the picture that the script draws, and ``{example} NAME`` that of
``examples/gallery/NAME.py`` with what it says of itself, what it prints, and the script.  A picture is drawn
again when its script or the package is newer.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

import fastntk

DOCS = Path(__file__).resolve().parent.parent
ROOT = DOCS.parent
PICTURES = DOCS / "_pictures"
PACKAGE = Path(fastntk.__file__).parent


class Picture(SphinxDirective):
    """What a script of the repository draws."""

    required_arguments = 1

    def run(self):
        image, _ = self.drawn(ROOT / self.arguments[0])
        return [image]

    def drawn(self, script):
        """The picture of a script, as a node, and what the script printed."""
        self.env.note_dependency(str(script))
        picture, printed = PICTURES / f"{script.stem}.png", PICTURES / f"{script.stem}.txt"
        newest = max(file.stat().st_mtime for file in (script, *PACKAGE.rglob("*.py")))
        if not printed.exists() or printed.stat().st_mtime < newest:
            logging.getLogger(__name__).info("drawing %s", picture.name)
            PICTURES.mkdir(exist_ok=True)
            plain = os.environ | {"MPLBACKEND": "agg"}
            command = [sys.executable, script, picture]
            run = subprocess.run(command, capture_output=True, text=True, check=False, env=plain)
            if run.returncode:
                raise self.error(f"{script} failed:\n{run.stderr}")
            printed.write_text(run.stdout, encoding="utf-8")
        name = picture.relative_to(DOCS)
        return nodes.image(uri=f"/{name}", alt=_about(script)[0]), printed.read_text(encoding="utf-8")


class Example(Picture):
    """A picture, what there is to see, what its script prints, and the script."""

    def run(self):
        (name,) = self.arguments
        script = ROOT / "examples" / "gallery" / f"{name}.py"
        image, printed = self.drawn(script)
        source = script.read_text(encoding="utf-8")
        first, *_, last = _about(script)  # between them is the command
        summary = f"<details><summary>The script, <code>examples/gallery/{name}.py</code></summary>"
        return [
            nodes.paragraph("", first),
            image,
            *self.parse_text_to_nodes(last),
            nodes.literal_block(printed, printed, language="none"),
            nodes.raw("", summary, format="html"),
            nodes.literal_block(source, source, language="python"),
            nodes.raw("", "</details>", format="html"),
        ]


def _about(script):
    """The paragraphs of a script's docstring."""
    return ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))).split("\n\n")


def setup(app):
    """Called by Sphinx."""
    app.add_directive("picture", Picture)
    app.add_directive("example", Example)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
