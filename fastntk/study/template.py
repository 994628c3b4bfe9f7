"""The text of the page of a study around the sections of its parts (Jinja2)."""

SECTION = """{% from "macros" import image, facts with context %}
"""

TEMPLATE = """{% extends "frame" %}
{% from "macros" import facts with context %}
{% block title %}study{% endblock %}
{% block content %}
<h1>Two-layer ReLU networks under Gaussian input masks</h1>
<p class="subtitle">What theory says and what training does, side by side.
{% if settings.full %}Full sizes.{% else %}Small sizes, for a run of two minutes; <code>fastntk study --full</code>
takes those of the paper.{% endif %} Seed {{ settings.seed }}.</p>
{% if missing %}
<p class="notice">This study was stopped before {{ missing|join(", ") }} {{ "was" if missing|length == 1 else "were" }} done.
<code>fastntk study --resume</code> with this folder computes what is missing and keeps the rest.</p>
{% endif %}
<p>A network <em>f</em>(<em>x</em>)&nbsp;= <em>m</em><sup>&minus;1/2</sup>&nbsp;&sum;<sub><em>r</em></sub>&nbsp;<em>a<sub>r</sub></em>
relu(<em>w<sub>r</sub></em>&middot;<em>x</em>) of <em>m</em> hidden neurons is trained by gradient descent on its hidden weights. At
every step each entry of each input is multiplied by a fresh random number of mean 1 and standard deviation &kappa;: that is
Gaussian dropout, the noise of a sensor or a radio channel, or noise added for privacy. The paper this follows, arXiv 2602.17423,
shows that such training converges at a linear rate to an error region set by the mask.</p>
<ol class="contents">
{% for name, part in parts.items() %}
<li><a href="#{{ name }}">{{ part.title }}</a>
<dl class="findings">
{% for value, meaning in findings[name] %}
<div><dt>{{ value }}</dt><dd>{{ meaning }}</dd></div>
{% endfor %}
</dl></li>
{% endfor %}
</ol>

{% for name, part in parts.items() %}
<h2 id="{{ name }}">{{ loop.index }}. {{ part.title }}</h2>
{{ sections[name]|safe }}
<details><summary>The numbers</summary>
<div class="wide"><table>
<thead><tr>{% for heading in tables[name][0] %}<th scope="col">{{ heading }}</th>{% endfor %}</tr></thead>
{% for group in tables[name][1] %}
<tbody>
{% for row in group %}
<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
{% endfor %}
</table></div>
</details>
{% endfor %}

<h2>The files beside this page</h2>
<p>For each part, <code>NAME.npz</code> has all its numbers and <code>tables/NAME.csv</code> its table; <code>figures/</code> has
the images and <code>study.json</code> the settings.{% if "width" in parts %} <code>data.npz</code> has the rows behind the kernels,
before the masks.{% endif %} Each part is also one function that returns its numbers, such as</p>
<pre><code>from fastntk.study import floor_study

study = floor_study(kappas=[0.05, 0.2, 1.0])
study.floor, study.predicted</code></pre>

<h2>Where this comes from</h2>
<div class="pair">
{{ facts(facts_of_study) }}
{{ facts(provenance) }}
</div>
<p>The setting is that of arXiv 2602.17423; formulas and proofs are in the package's docs/mathematics.md.</p>
{% endblock %}
"""
