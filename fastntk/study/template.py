"""The text of the page (Jinja2)."""

STYLE = """
:root { color-scheme: light; }
body { margin: 0; background: #f4f5f7; color: #22262b;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 40px 28px 64px; background: #fff; box-sizing: border-box; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 6px; }
h2 { font-size: 20px; margin: 44px 0 10px; padding-top: 18px; border-top: 1px solid #e3e6ea; }
p, li, figcaption { max-width: 46em; }
.subtitle { color: #59626c; margin: 0 0 26px; }
.findings { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 14px; margin: 0; }
.findings div { background: #f4f5f7; border-radius: 8px; padding: 14px 16px; }
.findings dt { font-size: 21px; font-weight: 650; font-variant-numeric: tabular-nums; }
.findings dd { margin: 4px 0 0; color: #59626c; font-size: 14px; line-height: 1.4; }
figure { margin: 18px 0 34px; }
figure img { width: 100%; height: auto; display: block; }
figcaption { color: #3c444d; font-size: 15px; margin-top: 10px; }
math { font-size: 1.08em; }
.formula { margin: 14px 0; overflow-x: auto; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 4px 12px; white-space: nowrap; }
th { font-weight: 600; border-bottom: 1px solid #aeb6bf; vertical-align: bottom; }
tbody { border-bottom: 1px solid #e3e6ea; }
tr.limit td { color: #59626c; font-style: italic; }
.list tbody { border: 0; }
.list th { text-align: left; border: 0; font-weight: 500; color: #59626c; padding-left: 0; vertical-align: top; }
.list td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(380px, 1fr)); gap: 8px 40px; }
.pair { align-items: start; }
pre { background: #f4f5f7; border-radius: 8px; padding: 14px 16px; overflow-x: auto; font-size: 14px; }
code { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: 0.92em; }
"""

TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>fastntk width study: {{ settings.data }}</title>
<style>{{ style|safe }}</style>
</head>
<body>
<main>
{% macro image(name, text) %}
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
{% set several = study.kappas|length > 1 %}
{% set widest = "{:,}".format(study.widths[-1]) %}
<h1>The masked tangent kernel of {{ settings.data }}, from finite to infinite width</h1>
<p class="subtitle">{{ "{:,}".format(study.rows) }} rows, {{ "{:,}".format(study.features) }} features,
{{ rows_as }}. Hidden-layer kernels of two-layer ReLU networks, one draw of the masks,
seed {{ study.seed }}.</p>
<dl class="findings">
{% for value, meaning in summary %}
<div><dt>{{ value }}</dt><dd>{{ meaning }}</dd></div>
{% endfor %}
</dl>

<h2>What was computed</h2>
<p>A network of <em>m</em> hidden neurons with Gaussian weights <em>w</em><sub><em>r</em></sub> sees inputs that
are multiplied, entry by entry, by random numbers around one: {{ formulas.MASKED|safe }}, with <em>c</em> normal
of mean 1 and standard deviation &kappa;. Its neural tangent kernel (hidden layer) is computed exactly: every
activation is the sign of an exact real number, and every count an exact integer.</p>
<div class="formula">{{ formulas.KERNEL|safe }}</div>
<p>With more and more neurons it tends to the arc-cosine kernel at the same masked inputs,</p>
<div class="formula">{{ formulas.LIMIT|safe }}</div>
<p>and how far a finite network is from it, in mean square over random weights, is known exactly:</p>
<div class="formula">{{ formulas.PREDICTION|safe }}</div>
<p>So the distance falls as <em>m</em><sup>&minus;1/2</sup>: a hundred times the neurons, a tenth of the
distance.</p>

<h2>Figures</h2>
<figure>
{{ image("distance", "Relative distance to the limit against width; measured over predicted distance") }}
<figcaption><b>Distance to the infinite-width kernel.</b> Left: Frobenius distance, relative to the norm of the
limit (points are set slightly apart so that all can be seen). Lines are the exact prediction, a mean over random
networks; one network misses it by some amount, and the shading shows where 95&nbsp;% of them are (an estimate,
good from some hundreds of neurons on). Right: measured over predicted distance. <em>Look for:</em> points that follow the lines and lie within the
shading{% if several %}. All &kappa; at one width share their neurons, so these points move
together{% endif %}.</figcaption>
</figure>
<figure>
{{ image("eigenvalues", "Smallest and largest eigenvalue of the kernel against width") }}
<figcaption><b>Extreme eigenvalues.</b> Points: the kernel of each width. Dashed: the limit at the same masked
inputs. The smallest eigenvalue sets how slowly gradient descent fits the hardest direction, the largest how big
its step may be. <em>Look for:</em> the width at which the points reach the dashed
line{% if several %}, and how the mask moves the smallest eigenvalue{% endif %}.</figcaption>
</figure>
<figure>
{{ image("kernels", "Heat maps of the kernels and of their differences from the limit") }}
<figcaption><b>The kernels at width {{ widest }}</b>, {% if several %}columns by &kappa;, {% endif %}
{% if settings.target %}rows and columns sorted by {{ settings.target }}{% else %}rows in the order of the
data{% endif %}. Top: the kernel. Bottom: kernel minus limit, on its own scale. A pixel is the mean over a block of
entries. <em>Look for:</em> blocks of similar rows{% if several %} that fade as &kappa; grows while the diagonal
stays{% endif %}; below, differences that are small beside the kernel.</figcaption>
</figure>
<figure>
{{ image("ridge", "Mean entry on and off the diagonal against kappa; all eigenvalues") }}
<figcaption><b>What the mask adds.</b> Left: a row shares its mask with itself alone, so the mask raises the
diagonal by the factor 1&nbsp;+&nbsp;&kappa;&sup2; and leaves the mean of the rest nearly where it was: a ridge.
Right: all eigenvalues, the largest first. <em>Look for:</em> diagonal points on the line{% if several %}, and a
tail of small eigenvalues that rises with &kappa; while the largest hardly move{% endif %}.</figcaption>
</figure>

<h2>Numbers</h2>
<div class="wide"><table>
<thead><tr>{% for heading in headings %}<th scope="col">{{ heading }}</th>{% endfor %}</tr></thead>
{% for group in groups %}
<tbody>
{% for row in group %}
<tr{% if loop.last %} class="limit"{% endif %}>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
{% endfor %}
</table></div>
<p><em>distance</em>: Frobenius norm of kernel minus limit. <em>predicted</em>: the square root of its exact mean
square. <em>ratio</em>: distance over predicted; <em>95&nbsp;% range</em>: where it is for 95&nbsp;% of random
networks (an estimate). <em>relative</em>: distance over the norm of the limit. <em>seconds</em>: wall time of the
kernel; the first of all includes loading or compiling the code. Eigenvalues are those of the kernel as it is, not
divided by the number of rows; what is below {{ noise }} is rounding.</p>

<h2>The files beside this page</h2>
<p><code>summary.npz</code> has all numbers of the table and the spectra, <code>data.npz</code> the rows as they
went in, <code>figures/</code> the images, <code>study.json</code> the settings. {{ kept_kernels|safe }}
The last kernel comes back with the same bits, and its limit to rounding, with</p>
<pre><code>import numpy as np, fastntk as fn

X = np.load("data.npz")["X"]
mask = fn.GaussianMask({{ study.kappas[-1] }})
net = fn.Network(width={{ study.widths[-1] }}, dim={{ study.features }}, seed={{ study.seed }})
K = fn.ntk(X, network=net, mask=mask, seed={{ study.seed }})
K_limit = fn.ntk_limit(X, mask=mask, draws=1, seed={{ study.seed }})</code></pre>

<h2>Where this comes from</h2>
<div class="pair">
{{ facts(settings) }}
{{ facts(provenance) }}
</div>
<p>The setting is that of arXiv 2602.17423; the limit is the arc-cosine kernel of Cho and Saul (2009).</p>
</main>
</body>
</html>
"""
