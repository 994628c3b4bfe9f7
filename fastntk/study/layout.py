"""What the pages have in common (Jinja2): self-contained, nothing loaded from elsewhere, no scripts."""

import base64

import jinja2

PIXELS_PER_POINT = 1.5  # of the page: sharp on dense screens

STYLE = """
:root { color-scheme: light; }
body { margin: 0; background: #f4f5f7; color: #22262b;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 40px 28px 64px; background: #fff; box-sizing: border-box; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 6px; }
h2 { font-size: 20px; margin: 44px 0 10px; padding-top: 18px; border-top: 1px solid #e3e6ea; }
p, li, figcaption { max-width: 46em; }
.subtitle { color: #59626c; margin: 0 0 26px; }
.findings { display: grid; grid-template-columns: repeat(auto-fill, minmax(260px, 1fr)); gap: 14px; margin: 0; }
.findings div { background: #f4f5f7; border-radius: 8px; padding: 14px 16px; }
.findings dt { font-size: 21px; font-weight: 650; font-variant-numeric: tabular-nums; }
.findings dd { margin: 4px 0 0; color: #59626c; font-size: 14px; line-height: 1.4; }
figure { margin: 18px 0 34px; }
figure img { width: 100%; height: auto; display: block; }
figcaption { color: #3c444d; font-size: 15px; margin-top: 10px; }
math { font-size: 1.08em; }
.formula { margin: 14px 0; padding: 2px 0 6px; overflow: auto hidden; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 4px 12px; white-space: nowrap; }
th { font-weight: 600; border-bottom: 1px solid #aeb6bf; vertical-align: bottom; }
tbody { border-bottom: 1px solid #e3e6ea; }
tbody th { text-align: left; font-weight: 500; border: 0; }
tr.limit td { color: #59626c; font-style: italic; }
.list tbody { border: 0; }
.list th { text-align: left; border: 0; font-weight: 500; color: #59626c; padding-left: 0; vertical-align: top; }
.list td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(380px, 1fr)); gap: 8px 40px; }
.pair { align-items: start; }
.panels { margin: 0; display: grid; grid-template-columns: 190px 1fr; gap: 10px 24px; font-size: 15px; }
.panels dt { font-weight: 600; }
.panels dd { margin: 0; max-width: 46em; color: #3c444d; }
.contents { padding-left: 1.4em; }
.contents > li { margin: 14px 0; max-width: none; }
.contents .findings { margin: 6px 0 0; }
.contents a { color: inherit; font-weight: 600; text-decoration-color: #aeb6bf; }
details { margin: 10px 0 0; }
summary { cursor: pointer; color: #59626c; }
.notice { background: #fdf0e3; border-radius: 8px; padding: 12px 16px; }
@media (max-width: 640px) { .panels { grid-template-columns: 1fr; gap: 4px; } .panels dd { margin-bottom: 10px; } }
pre { background: #f4f5f7; border-radius: 8px; padding: 14px 16px; overflow-x: auto; font-size: 14px; }
code { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: 0.92em; }
"""

FRAME = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>fastntk {% block title %}{% endblock %}</title>
<style>{{ style|safe }}</style>
</head>
<body>
<main>
{% block content %}{% endblock %}
</main>
</body>
</html>
"""

MACROS = """{% macro image(name, text) %}
<img alt="{{ text }}" style="max-width: {{ images[name].width }}px"
 src="data:image/png;base64,{{ images[name].base64 }}">
{% endmacro %}
{% macro facts(pairs) %}
<table class="list">
{% for name, value in pairs.items() if value is not none %}
<tr><th scope="row">{{ name|replace("_", " ") }}</th>
<td>{{ value if value is string or value is number else value|join(", ") }}</td></tr>
{% endfor %}
</table>
{% endmacro %}
"""


def render(template, **values):
    """A page from a template that extends "frame" and imports "macros".

    Parameters
    ----------
    template : str
    values
        What the template names; ``figures``, a dict of paths of PNG files by name, is for ``image``.

    Returns
    -------
    str
    """
    loader = jinja2.DictLoader({"frame": FRAME, "macros": MACROS, "page": template})
    strict = {"autoescape": True, "undefined": jinja2.StrictUndefined}
    environment = jinja2.Environment(loader=loader, trim_blocks=True, lstrip_blocks=True, **strict)
    images = {name: _inlined(path) for name, path in values.pop("figures").items()}
    return environment.get_template("page").render(style=STYLE, images=images, **values)


def _inlined(path):
    """A PNG as text, and how wide to show it."""
    content = path.read_bytes()
    pixels = int.from_bytes(content[16:20], "big")  # the header's width
    return {"base64": base64.b64encode(content).decode("ascii"), "width": round(pixels / PIXELS_PER_POINT)}
