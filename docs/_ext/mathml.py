"""Formulas as MathML, made when the site is built: no script and no font is fetched by a reader."""

import re

from docutils import nodes
from latex2mathml import converter

# The bars of |x| are set as relations, with space around them, unless they are told otherwise.
BAR = re.compile(r"<mo[^>]*>&#x0007C;</mo>")
TIGHT_BAR = '<mo stretchy="false" lspace="0" rspace="0">&#x0007C;</mo>'


def setup(app):
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _inline(writer, node):
    writer.body.append(_mathml(node, "inline"))
    raise nodes.SkipNode


def _block(writer, node):
    writer.body.append(writer.starttag(node, "div", CLASS="math"))
    writer.body.append(_mathml(node, "block"))
    writer.body.append("</div>\n")
    raise nodes.SkipNode


def _mathml(node, display):
    return BAR.sub(TIGHT_BAR, converter.convert(node.astext(), display=display))
