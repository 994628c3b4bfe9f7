"""The text of the page of a training run (Jinja2)."""

TEMPLATE = """{% extends "frame" %}
{% from "macros" import image, facts with context %}
{% block title %}training: {{ settings.data }}{% endblock %}
{% block content %}
<h1>Training a wide network on {{ settings.data }}</h1>
<p class="subtitle">{{ "{:,}".format(rows) }} rows to train on, {{ "{:,}".format(held_out_rows) }} held out,
{{ "{:,}".format(features) }} features ({{ rows_as }});
{% if classes %}{{ classes }} classes{% else %}one quantity{% endif %}.
{{ "{:,}".format(settings.width) }} hidden neurons, {{ mask_text }}, {{ "{:,}".format(results.steps_done) }} steps,
seed {{ settings.seed }}.</p>
{% if results.status == "interrupted" %}
<p class="notice">This run was stopped after {{ "{:,}".format(results.steps_done) }} of
{{ "{:,}".format(settings.steps) }} steps. <code>fastntk train --resume</code> with this folder takes it
to its end, with the same bits as if it had never stopped.</p>
{% elif results.status == "diverged" %}
<p class="notice">This run diverged after {{ "{:,}".format(results.steps_done) }} steps: the step size
{{ step_size }} is too large. The records up to there are below.</p>
{% endif %}
<dl class="findings">
{% for value, meaning in summary %}
<div><dt>{{ value }}</dt><dd>{{ meaning }}</dd></div>
{% endfor %}
</dl>

<h2>What was computed</h2>
<p>A two-layer ReLU network of <em>m</em>&nbsp;= {{ "{:,}".format(settings.width) }} neurons with random signs as output
weights learns by gradient descent on its hidden weights <em>w</em><sub><em>r</em></sub>.
{% if settings.mask == "none" %}
Its inputs are not masked.
{% elif settings.mode == "masked" %}
Every step sees every row under a fresh mask, {{ mask_formula|safe }}:
{% elif settings.mode in ("expected", "first-order") %}
Every step descends the loss in the mean over all masks, {{ mask_formula|safe }}{% if settings.mode == "first-order" %}, with
the first term of the regulariser that they add{% else %}, by its exact gradient{% endif %}; no mask is drawn:
{% else %}
It is trained on the inputs as they are; masked inputs, {{ mask_formula|safe }}, are for the record only:
{% endif %}</p>
<div class="formula">{{ formula|safe }}</div>
<p>with &eta;&nbsp;= {{ step_size }}{% if settings.step_size is none %}, one over the mean largest eigenvalue of the
masked kernel{{ " of a batch" if settings.batch_size else "" }}{% endif %}. The sum is over
{% if settings.batch_size %}batches of {{ "{:,}".format(settings.batch_size) }} rows, each epoch in another order{% else %}all rows to train on{% endif %}{{ " and over the outputs" if classes else "" }}.
{% if classes %}
There is one output for each class; the answer <em>y</em> is 1 for the row's class and 0 for the others.
{% else %}
The answers <em>y</em> have mean 0 and variance 1 over the rows to train on
(mean {{ "%.6g"|format(mean) }}, standard deviation {{ "%.6g"|format(deviation) }} in the data's units).
{% endif %}</p>

<h2>Results</h2>
{% if score_rows %}
<div class="wide"><table>
<thead><tr>{% for heading in headings %}<th scope="col">{{ heading }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in score_rows %}
<tr><th scope="row">{{ row[0] }}</th>{% for cell in row[1:] %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table></div>
<p><em>loss per row</em>: the mean of &frac12;|<em>f</em>&minus;<em>y</em>|&sup2;.
{% if classes %}
<em>accuracy</em>: the share of rows whose largest output is that of their class.
{% else %}
<em>R&sup2;</em>: the share of the variance about the training mean that is explained.
{% endif %}
{% if settings.mask != "none" %}
<em>masked</em>: mean and standard deviation over {{ draws }} masks that training never saw.
{% endif %}</p>
{% else %}
<p>There are none: {{ "the weights are not finite, or far off." if results.status == "diverged"
else "the run was stopped before they were computed." }}</p>
{% endif %}

<h2>The run</h2>
<figure>
{{ image("training", "Loss, score, movement of the weights, flipped activations and eigenvalues over the steps") }}
</figure>
<dl class="panels">
<dt>Loss</dt>
<dd>A mean over the rows. Dark blue: the rows to train on as they are.
{% if settings.mask != "none" %}
Light blue: the same rows under the mask of the step{% if settings.mode == "masked" %}{% if settings.batch_size %}, those of its batch{% endif %}, which is what the step sees{% endif %}.
{% endif %}
{% if expected_shown %}
Violet: the mean over all masks, and dashed its part that masks add, the regulariser.
{% endif %}
{% if held_out_shown %}
Orange: the rows held out.
{% endif %}
<em>Look for:</em> straight stretches, which on this axis are linear rates{% if settings.mask != "none" %}; the floor that mask and
step size set{% endif %}{% if held_out_shown %}; a gap between rows to train on and rows held out that opens{% endif %}.</dd>
<dt>{{ "Accuracy" if classes else "Variance explained" }}</dt>
<dd>On the inputs as they are; the first steps may lie below the panel. <em>Look for:</em> the step after which more
training does not pay{% if held_out_shown %}, and how far the rows held out stay behind{% endif %}.</dd>
<dt>How far the weights have moved</dt>
<dd>Distance of the neurons' weights from where they started, in units of the norm they started with. The wider the
network, the less it moves, and the closer training is to that of its tangent kernel. <em>Look for:</em> a few per
cent.</dd>
<dt>Activations that have flipped</dt>
<dd>The share of pairs of a neuron and a row to train on whose activation is not what it was at the start. The kernel
is made of these bits. <em>Look for:</em> a small share that levels off: then the kernel of the start describes the
whole run.</dd>
{% if eigenvalues_shown %}
<dt>Step size &times; eigenvalues of the kernel</dt>
<dd>Of the kernel of the network as it is at that step{% if settings.batch_size %}, a mean over the batches{% endif %}. Above 2 a
step overshoots by more than it corrects. The smallest one says how slowly the hardest direction is
learned: its error shrinks by this share in a step. <em>Look for:</em> the largest staying below the dashed
line{% if settings.mask != "none" and settings.mode != "clean" %}, masked as well as clean{% endif %}.</dd>
{% endif %}
{% if audits_shown %}
<dt>Audit of the steps</dt>
<dd>Weights before and after a step and its masks give the change of every output exactly, without any assumption. This
is how far the step was from it, as a share of the change. <em>Look for:</em> the rounding of float32 weights,
and nothing more.</dd>
{% endif %}
</dl>

<h2>The files beside this page</h2>
<p><code>history.csv</code> has all records (losses there are sums over the rows), <code>run.npz</code> the run itself with
the trained weights, <code>data.npz</code> the rows as they went in, <code>training.png</code> the figure,
<code>training.json</code> the settings and results. The run comes back with the same bits, on such a machine, with</p>
<pre><code>import numpy as np, fastntk as fn

data = np.load("data.npz")
net = fn.Network(width={{ settings.width }}, dim={{ features }}, outputs={{ outputs }}, seed={{ settings.seed }})
run = fn.train(data["X"], data["y"], network=net, mask={{ mask_code }}, mode="{{ settings.mode }}",
               step_size={{ results.step_size }}, batch_size={{ settings.batch_size }},
               steps={{ results.steps_done }}, seed={{ settings.seed }}, row_ids=data["ids"])

same = fn.TrainingRun.load("run.npz")      # the run of this page: same.network is the trained network</code></pre>
{% if results.status != "diverged" %}
<p>and goes on, to the same bits as if it had never stopped, with
<code>fastntk train --resume DIR --steps {{ 2 * settings.steps }}</code>, DIR being this folder.</p>
{% endif %}

<h2>Where this comes from</h2>
<div class="pair">
{{ facts(facts_of_run) }}
{{ facts(provenance) }}
</div>
<p>The setting is that of arXiv 2602.17423.</p>
{% endblock %}
"""
