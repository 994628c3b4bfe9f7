"""Part 4a: from finite to infinite width: the masked kernel of a data set."""

from dataclasses import dataclass, field

import numpy as np

from ... import datasets
from ...datasets import preprocess
from ...figures import width as figures
from .. import table
from ..pictures import KernelPictures, Pictures
from ..provenance import fingerprint
from ..table import number, percent
from ..width import WidthStudy, width_study
from .part import Part

SIZES: dict[bool, dict] = {
    False: {"widths": (1000, 10_000, 100_000), "kappas": (0.0, 0.1, 0.3, 0.6)},
    True: {"widths": (1000, 10_000, 100_000, 1_000_000), "kappas": (0.0, 0.1, 0.3, 0.6)},
}
DATA = "digits"  # unless the user gives a data set


@dataclass(frozen=True)
class WidthPart:
    """The numbers of part 4a.

    Attributes
    ----------
    data, preprocessing, target : text
        The data set, how its rows were scaled, and what the pictures are sorted by, or "".
    kept : text
        Which kernels are beside the numbers: "none", "widest" or "all".
    data_sha256 : text
        Of the scaled rows.
    kernel : WidthStudy
    pictures : KernelPictures
    """

    data: str
    preprocessing: str
    target: str
    kept: str
    data_sha256: str
    kernel: WidthStudy
    pictures: KernelPictures = field(repr=False)


def _compute(request, progress, folder):
    sizes = SIZES[request.full]
    widths = sizes["widths"] if request.widths is None else request.widths
    kappas = sizes["kappas"] if request.kappas is None else request.kappas
    dataset = request.data or datasets.load(DATA)
    X = preprocess(dataset.features, request.preprocessing)
    pictures = Pictures(dataset, max(widths, default=0))

    def each_kernel(kappa, width, kernel, limit):
        pictures.add(kappa, width, kernel, limit)
        if request.save_kernels == "all" or (request.save_kernels == "widest" and width == max(widths)):
            _save_kernel(folder, kappa, width, kernel)

    kernel = width_study(
        X,
        widths=widths,
        kappas=kappas,
        seed=request.seed,
        progress=progress,
        each_kernel=each_kernel,
        **request.machine,
    )
    _save_data(folder, X, dataset)
    return WidthPart(
        data=dataset.name,
        preprocessing=request.preprocessing,
        target=dataset.target_name or "",
        kept=request.save_kernels,
        data_sha256=fingerprint(X),
        kernel=kernel,
        pictures=pictures.finished(),
    )


def _save_kernel(folder, kappa, width, kernel):
    (folder / "kernels").mkdir(exist_ok=True)
    np.savez(
        folder / "kernels" / f"kappa_{kappa:g}_width_{width}.npz", kernel=kernel, kappa=kappa, width=width
    )


def _save_data(folder, X, dataset):
    data = {"X": X.astype(np.float32)}
    if dataset.target is not None:
        data["target"] = dataset.target
    if dataset.class_names is not None:
        data["class_names"] = np.array(dataset.class_names)
    np.savez(folder / "data.npz", **data)


def _findings(part):
    kernel = part.kernel
    low, high = kernel.typical[:, :1], kernel.typical[:, 1:]
    inside = int(np.count_nonzero((kernel.ratio >= low) & (kernel.ratio <= high)))
    relative = percent(kernel.relative_distance[:, -1].max())
    found = [
        (
            f"{inside} of {kernel.ratio.size}",
            "distances to infinite width are where 95 % of random networks are",
        ),
        (relative, f"relative distance at width {kernel.widths[-1]:,}, at most"),
    ]
    if len(kernel.kappas) > 1:
        first, last = (number(kernel.smallest[k, -1], 3) for k in (0, -1))
        kappas = f"from \N{GREEK SMALL LETTER KAPPA} = {kernel.kappas[0]:g} to {kernel.kappas[-1]:g}"
        found.append((f"{first} \N{RIGHTWARDS ARROW} {last}", f"smallest eigenvalue at that width, {kappas}"))
    return found


def _table(part):
    return table.HEADINGS, table.groups(part.kernel)


TEXT = """
<p>With more and more neurons the tangent kernel of a random network,</p>
<div class="formula">{{ formulas.KERNEL|safe }}</div>
<p>tends to the arc-cosine kernel at the same masked inputs, and how far a finite network is from it, in
mean square over
random weights, is known exactly:</p>
<div class="formula">{{ formulas.LIMIT|safe }}</div>
<div class="formula">{{ formulas.PREDICTION|safe }}</div>
<p>The kernels here are those of {{ study.data }}, {{ "{:,}".format(study.kernel.rows) }} rows of
{{ "{:,}".format(study.kernel.features) }} features ({{ rows_as[study.preprocessing] }}), one draw of the
masks. Every activation is
the sign of an exact real number, and every count an exact integer.</p>
{% set several = study.kernel.kappas|length > 1 %}
<figure>
{{ image("width-distance", "Distance to the limit against width, and over its prediction") }}
<figcaption><b>Distance to the infinite-width kernel.</b> Left: Frobenius distance, relative to the norm
of the limit (points
are set slightly apart so that all can be seen). Lines are the exact prediction, a mean over random
networks; the shading
shows where 95&nbsp;% of them are (an estimate). Right: measured over predicted distance. <em>Look
for:</em> points that
follow the lines and lie within the shading{% if several %}. All &kappa; at one width share their neurons,
so these points
move together{% endif %}.</figcaption>
</figure>
<figure>
{{ image("width-eigenvalues", "Smallest and largest eigenvalue of the kernel against width") }}
<figcaption><b>Extreme eigenvalues.</b> Points: the kernel of each width. Dashed: the limit at the same
masked inputs. The
smallest sets how slowly gradient descent fits the hardest direction, the largest how big its step may be.
<em>Look for:</em>
the width at which the points reach the dashed line{% if several %}, and how the mask moves the smallest
eigenvalue{% endif %}.</figcaption>
</figure>
<figure>
{{ image("width-kernels", "Heat maps of the kernels and of their differences from the limit") }}
<figcaption><b>The kernels at width {{ "{:,}".format(study.kernel.widths[-1]) }}</b>{% if study.target %},
rows and columns sorted by
{{ study.target }}{% endif %}. Top: the kernel. Bottom: kernel minus limit, on its own scale. A pixel is
the mean over a block of
entries. <em>Look for:</em> blocks of similar rows{% if several %} that fade as &kappa; grows while the
diagonal
stays{% endif %}; below, differences that are small beside the kernel.</figcaption>
</figure>
<figure>
{{ image("width-ridge", "Mean entry on and off the diagonal against kappa; all eigenvalues") }}
<figcaption><b>What the mask adds.</b> Left: a row shares its mask with itself alone, so the mask raises
the diagonal by the
factor 1&nbsp;+&nbsp;&kappa;&sup2; and leaves the mean of the rest nearly where it was: a ridge. Right:
all eigenvalues, the
largest first. <em>Look for:</em> diagonal points on the line{% if several %}, and a tail of small
eigenvalues that rises with
&kappa;{% endif %}. <em>Where it misleads:</em> the ridge does not make training faster. What contracts
the error is the kernel
between independently masked rows, which has no ridge and whose small eigenvalues fall as &kappa;
grows.</figcaption>
</figure>
<p><em>distance</em>: Frobenius norm of kernel minus limit. <em>predicted</em>: the square root of its
exact mean square.
<em>ratio</em>: distance over predicted; <em>95&nbsp;% range</em>: where it is for 95&nbsp;% of random
networks (an estimate).
<em>relative</em>: distance over the norm of the limit. <em>seconds</em>: wall time of the kernel; the
first includes loading
or compiling the code. Eigenvalues are those of the kernel as it is, not divided by the number of rows.
{{ kept_kernels[study.kept]|safe }} The last kernel comes back with the same bits, and its limit to
rounding, with</p>
<pre><code>import numpy as np, fastntk as fn

X = np.load("data.npz")["X"]
mask = fn.GaussianMask({{ study.kernel.kappas[-1] }})
net = fn.Network(width={{ study.kernel.widths[-1] }}, dim={{ study.kernel.features }},
seed={{ study.kernel.seed }})
K = fn.ntk(X, network=net, mask=mask, seed={{ study.kernel.seed }})
K_limit = fn.ntk_limit(X, mask=mask, draws=1, seed={{ study.kernel.seed }})</code></pre>
"""

PART = Part(
    name="width",
    title="The kernel, from finite to infinite width",
    numbers=WidthPart,
    compute=_compute,
    figures=figures.figures,
    findings=_findings,
    table=_table,
    text=TEXT,
    seconds=(14, 40),
)
