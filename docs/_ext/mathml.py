"""Formulas as MathML, made when the site is built: no script and no font is fetched by a reader."""

import re

from docutils import nodes
from latex2mathml import converter

# The bars of |x| and ||x|| are set as relations, with space around them, unless they are told otherwise.
BAR = re.compile(r'<mo(?![^>]*stretchy="true")[^>]*>(&#x0007C;|&#x02016;)</mo>')
TIGHT_BAR = r'<mo stretchy="false" lspace="0" rspace="0">\1</mo>'
# Browsers know a bold 1 as a character only, and widths in units.
NAMES = {'<mn mathvariant="bold">1</mn>': "<mn>&#x1D7CF;</mn>", '"thinmathspace"': '"0.167em"'}


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
    formula = converter.convert(node.astext(), display=display)
    for name, known in NAMES.items():
        formula = formula.replace(name, known)
    return BAR.sub(TIGHT_BAR, formula)
