"""Pages from the templates in pages/: self-contained, nothing loaded from elsewhere, no scripts."""

import base64
from functools import cache

import jinja2
from latex2mathml.converter import convert
from markupsafe import Markup

PIXELS_PER_POINT = 1.5  # of the page: sharp on dense screens


def render(template, *, figures=None, **values):
    """The page, or the piece of a page, that a template in pages/ makes.

    Parameters
    ----------
    template : str
        The name of the file.
    figures : {name: path of a PNG file}, optional
        What the macro ``image`` may show.
    values
        What the template names.

    Returns
    -------
    markupsafe.Markup
        Text that other templates take as it is.
    """
    images = {name: _inlined(path) for name, path in (figures or {}).items()}
    return Markup(environment().get_template(template).render(images=images, **values))


@cache
def environment():
    """The Jinja2 environment of the pages; its filters ``display`` and ``inline`` are for LaTeX."""
    pages = jinja2.Environment(
        loader=jinja2.PackageLoader("fastntk.study", "pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # as MathML, which every current browser shows: nothing has to be loaded
    pages.filters["display"] = lambda formula: Markup(convert(formula.strip(), display="block"))
    pages.filters["inline"] = lambda formula: Markup(convert(formula.strip()))
    return pages


def _inlined(path):
    """A PNG as text, and how wide to show it."""
    content = path.read_bytes()
    pixels = int.from_bytes(content[16:20], "big")  # the header's width
    return {"base64": base64.b64encode(content).decode("ascii"), "width": round(pixels / PIXELS_PER_POINT)}
