"""From finite to infinite width: the masked kernel of a data set."""

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
    """The numbers of the part.

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
    np.savez(folder / "rows.npz", **data)


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


PART = Part(
    name="width",
    title="The kernel, from finite to infinite width",
    numbers=WidthPart,
    compute=_compute,
    figures=figures.figures,
    findings=_findings,
    table=_table,
    seconds=(18, 40),
)
