"""The text of the page of a width study (Jinja2)."""

TEMPLATE = """{% extends "frame" %}
{% from "macros" import image, facts with context %}
{% block title %}width study: {{ settings.data }}{% endblock %}
{% block content %}
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
{% endblock %}
"""
