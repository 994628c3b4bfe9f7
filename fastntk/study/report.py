"""The whole of `fastntk study`: from a data set to a folder with arrays, figures and a page."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from .. import plots, plots_style
from ..datasets import preprocess
from . import page
from .folder import MARK, new_folder
from .pictures import Pictures
from .provenance import fingerprint, provenance
from .width import width_study

SMALL_FILES = 20_000_000  # bytes: everything in the folder but the kernels, generously


class StudyError(ValueError):
    """The data or the settings do not allow the study; the message says how."""


def write_report(
    dataset,
    output,
    *,
    widths,
    kappas,
    preprocessing="unit",
    seed=0,
    threads=None,
    memory_limit=None,
    save_kernels="widest",
    replace=False,
    progress=None,
    command="",
):
    """Run the width study of a data set and write a folder with all that came of it.

    ==================  =========================================================================
    index.html          the page, self-contained
    summary.npz         the fields of :class:`WidthStudy`
    data.npz            the rows as the networks saw them before the masks, and the target
    kernels/*.npz       the kernels, float64, one file each (see `save_kernels`)
    figures/*.png
    study.json          settings and provenance
    ==================  =========================================================================

    Parameters
    ----------
    dataset : Dataset
    output : str or path
        The folder to make.
    widths, kappas, seed, threads, memory_limit, progress
        As for :func:`width_study`.
    preprocessing : {"unit", "standardize", "none"}
        As for :func:`fastntk.datasets.preprocess`.
    save_kernels : {"none", "widest", "all"}
        Which kernels to keep: 8 n^2 bytes each.
    replace : bool
        Take the place of an earlier results folder.
    command : str
        What the user typed, for the page.

    Returns
    -------
    WidthStudy

    Raises
    ------
    OutputError
        Before anything is computed, where the folder cannot be made.
    StudyError
        Where :func:`width_study` refuses its arguments; no folder is left.
    """
    X = preprocess(dataset.features, preprocessing)
    kept = {"none": 0, "widest": len(set(kappas)), "all": len(set(kappas)) * len(set(widths))}[save_kernels]
    needed = SMALL_FILES + kept * 8 * len(X) ** 2
    smaller = ", or --save-kernels none"
    with new_folder(output, replace=replace, needed_bytes=needed, or_smaller=smaller) as folder:
        pictures = Pictures(dataset, max(widths))

        def each_kernel(kappa, width, kernel, limit):
            pictures.add(kappa, width, kernel, limit)
            if save_kernels == "all" or (save_kernels == "widest" and width == max(widths)):
                _save_kernel(folder, kappa, width, kernel)

        try:
            study = width_study(
                X,
                widths=widths,
                kappas=kappas,
                seed=seed,
                threads=threads,
                memory_limit=memory_limit,
                progress=progress,
                each_kernel=each_kernel,
            )
        except (TypeError, ValueError, MemoryError) as error:
            raise StudyError(str(error)) from error
        settings = {
            "data": dataset.name,
            "rows": study.rows,
            "features": study.features,
            "target": dataset.target_name,
            "preprocessing": preprocessing,
            "widths": study.widths.tolist(),
            "kappas": study.kappas.tolist(),
            "seed": seed,
            "data_sha256": fingerprint(X),
            "command": command,
        }
        _save_arrays(folder, study, X, dataset)
        figures = _save_figures(folder, study, pictures)
        record = {"settings": settings, "provenance": provenance()}
        (folder / MARK).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        text = page.render(study, figures, settings, record["provenance"], save_kernels)
        (folder / "index.html").write_text(text, encoding="utf-8")
    return study


def _save_kernel(folder, kappa, width, kernel):
    (folder / "kernels").mkdir(exist_ok=True)
    np.savez(
        folder / "kernels" / f"kappa_{kappa:g}_width_{width}.npz", kernel=kernel, kappa=kappa, width=width
    )


def _save_arrays(folder, study, X, dataset):
    np.savez(folder / "summary.npz", **asdict(study))
    data = {"X": X.astype(np.float32)}
    if dataset.target is not None:
        data["target"] = dataset.target
    if dataset.class_names is not None:
        data["class_names"] = np.array(dataset.class_names)
    np.savez(folder / "data.npz", **data)


def _save_figures(folder, study, pictures) -> dict[str, Path]:
    (folder / "figures").mkdir()
    figures = {
        "distance": plots.distance_figure(study),
        "eigenvalues": plots.eigenvalue_figure(study),
        "kernels": plots.kernel_figure(pictures),
        "ridge": plots.ridge_figure(study),
    }
    paths = {name: folder / "figures" / f"{name}.png" for name in figures}
    for name, figure in figures.items():
        plots_style.save(figure, paths[name])
    return paths
