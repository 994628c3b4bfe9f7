"""The whole of `fastntk study`: parts computed one after the other, in a folder that can go on."""

import csv
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..figures import style
from . import numbers, page
from .folder import MARK, new_folder, read_again
from .parts.registry import PARTS
from .provenance import provenance

SMALL_FILES = 40_000_000  # bytes: everything in the folder but the kernels, generously
FILES = ("rows.npz", "kernels")  # what parts write beside their numbers


class StudyError(ValueError):
    """The data or the settings do not allow the study; the message says how."""


@dataclass
class Report:
    """What a study has come to.

    Attributes
    ----------
    settings : dict
        What was asked for; "parts" names the parts in order.
    finished : dict
        The numbers of the parts that are done, by name.
    """

    settings: dict
    finished: dict

    @property
    def missing(self):
        """Names of the parts that are not done."""
        return [name for name in self.settings["parts"] if name not in self.finished]


def write_report(names, request, output, *, settings, earlier=None, replace=False, progress=None, command=""):
    """Compute parts of the study and write a folder with all that came of it.

    ==================  =========================================================================
    index.html          the page, self-contained
    NAME.npz            the numbers of each part (``numbers.load``)
    tables/NAME.csv     the table of each part
    figures/*.png
    rows.npz            the rows behind the kernels of "width", before the masks, and the target
    kernels/*.npz       kernels, float64, one file each (--save-kernels)
    study.json          settings and provenance
    ==================  =========================================================================

    Parameters
    ----------
    names : sequence of str
        Which of ``PARTS``.
    request : Request
    output : str or path
        The folder to make.
    settings : dict
        What the page and study.json say was asked for.
    earlier : Report, optional
        What stands in ``output`` already: its finished parts are kept.
    replace : bool
        Take the place of an earlier results folder.
    progress : callable, optional
        ``progress(fraction, stage)``.
    command : str
        What the user typed, for the page.

    Returns
    -------
    Report
        With parts missing after Ctrl-C.

    Raises
    ------
    OutputError
        Before anything is computed, where the folder cannot be made.
    StudyError
        Where a part refuses the data or the settings.
    KeyboardInterrupt
        Before any part was done.

    Whatever is raised, parts that were done before are in the folder; without any, no folder is left.
    """
    report = Report({**settings, "parts": list(names)}, dict(earlier.finished) if earlier else {})
    rows = len(request.data.features) if request.data else 2000
    kept = {"none": 0, "widest": 4, "all": 16}[request.save_kernels] if "width" in names else 0
    with new_folder(
        output,
        replace=replace or earlier is not None,
        needed_bytes=SMALL_FILES + kept * 8 * rows**2,
        or_smaller=", or --save-kernels none",
    ) as folder:
        for subfolder in ("figures", "tables"):
            (folder / subfolder).mkdir()
        for name, study in report.finished.items():
            _keep(name, Path(output), folder)
            _show(PARTS[name], study, folder)
        failure = None
        try:
            for part, share in _shares(report.missing, request.full, progress):
                _one_part(part, request, folder, report, share)
        except (Exception, KeyboardInterrupt) as error:
            if len(report.finished) == (len(earlier.finished) if earlier else 0):
                raise
            failure = error  # what is done may have taken long: it is kept
        _finish(report, folder, command)
    if isinstance(failure, StudyError):
        raise StudyError(f"{failure} Finished parts are kept in {output}.") from failure
    if failure is not None and not isinstance(failure, KeyboardInterrupt):
        raise failure
    return report


def _shares(names, full, progress):
    """(part, its own progress callback) for each name, by what the parts take."""
    seconds = [PARTS[name].seconds[full] for name in names]
    before = 0.0
    for name, own in zip(names, seconds, strict=True):
        part, start, size = PARTS[name], before / sum(seconds), own / sum(seconds)
        before += own

        def share(fraction, stage, name=name, start=start, size=size):
            progress(start + size * fraction, f"{name}: {stage}")

        yield part, share if progress is not None else None


def _one_part(part, request, folder, report, progress):
    """Compute a part and write its files."""
    scratch = folder / f".{part.name}"
    scratch.mkdir()
    try:
        study = part.compute(request, progress, scratch)
        for path in scratch.iterdir():
            path.rename(folder / path.name)
    except (TypeError, ValueError, MemoryError) as error:
        raise StudyError(str(error)) from error
    finally:
        shutil.rmtree(scratch)
    _show(part, study, folder)
    numbers.save(study, folder / f"{part.name}.npz")  # last: a part with numbers is whole
    report.finished[part.name] = study


def _show(part, study, folder):
    """Write the figures and the table that the numbers of a part make."""
    for name, figure in part.figures(study).items():
        style.save(figure, folder / "figures" / f"{name}.png")
    headings, groups = part.table(study)
    with (folder / "tables" / f"{part.name}.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([headings, *(row for group in groups for row in group)])


def _keep(name, earlier, folder):
    """Copy the numbers of a finished part, and what it wrote beside them, from an earlier folder."""
    shutil.copy(earlier / f"{name}.npz", folder)
    for file in FILES if name == "width" else ():
        if (earlier / file).is_dir():
            shutil.copytree(earlier / file, folder / file)
        elif (earlier / file).exists():
            shutil.copy(earlier / file, folder)


def _finish(report, folder, command):
    """Write the page and the record."""
    record = {
        "settings": report.settings,
        "finished": list(report.finished),
        "command": command,
        "provenance": provenance(),
    }
    text = page.render(report, sorted((folder / "figures").glob("*.png")), record)
    (folder / "index.html").write_text(text, encoding="utf-8")
    (folder / MARK).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def load_report(folder):
    """What :func:`write_report` left in a folder.

    Raises
    ------
    OutputError
        There is no study in the folder, or it is damaged.
    """
    folder = Path(folder)
    with read_again(folder, MARK, "study") as record:
        finished = {
            name: numbers.load(PARTS[name].numbers, folder / f"{name}.npz") for name in record["finished"]
        }
        return Report(record["settings"], finished)
