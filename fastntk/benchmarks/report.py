"""All of ``fastntk bench``: measured, and written into a folder that can go on."""

import csv

from ..engine.plan import describe_bytes
from ..figures import benchmarks as figures
from ..figures import style
from ..study import layout
from ..study.folder import new_folder
from ..study.provenance import provenance
from . import hardware, tables
from .measure import measure
from .methods import METHODS, PEERS
from .results import MARK, save
from .sizes import Cell

SMALL_FILES = 5_000_000  # bytes, generously


def write_report(results, methods, output, *, replace=False, progress=None, command=""):
    """Measure what is missing of ``results`` and write a folder with all that came of it.

    ==============  ======================================================================
    index.html      the page, self-contained
    figures/*.png
    methods.csv     best times and peaks of memory
    kernels.csv     single kernels beside the peaks of the machine
    bench.json      all numbers, settings, hardware, versions (``results.load``)
    ==============  ======================================================================

    Parameters
    ----------
    results : Results
        Changed in place.
    methods : sequence of Method
        Those that can run.
    output : str or path
        The folder to make.
    replace : bool
        Take the place of an earlier results folder.
    progress : callable, optional
        ``progress(fraction, stage)``.
    command : str
        What the user typed, for the page.

    Raises
    ------
    OutputError
        Before anything is measured, where the folder cannot be made.
    KeyboardInterrupt
        Before any problem was done.

    Whatever is raised, problems that were done before are in the folder; without any, no folder is left.
    """
    before = results.unfinished
    with new_folder(output, replace=replace, needed_bytes=SMALL_FILES, mark=MARK) as folder:
        failure = None
        try:
            measure(results, methods, progress)
        except (Exception, KeyboardInterrupt) as error:
            if results.unfinished == before:
                raise
            failure = error  # what is done may have taken long: it is kept
        _write(results, folder, command)
    if failure is not None and not isinstance(failure, KeyboardInterrupt):
        raise failure


def _write(results, folder, command):
    (folder / "figures").mkdir()
    for name, figure in figures.figures(results, _shown(results)).items():
        style.save(figure, folder / "figures" / f"{name}.png")
    _write_tables(results, folder)
    machine, origin = hardware.describe(*PEERS), provenance()
    text = _page(results, sorted((folder / "figures").glob("*.png")), machine, origin, command)
    (folder / "index.html").write_text(text, encoding="utf-8")
    save(results, folder / MARK, command=command, provenance=origin, **machine)


def _shown(results):
    """Labels and estimates of the methods, for the figures, which know no methods."""
    return {name: (METHODS[name].label, METHODS[name].nbytes) for name in results.settings["methods"]}


def _write_tables(results, folder):
    _csv(folder / "methods.csv", [tables.METHOD_COLUMNS, *tables.method_numbers(results)])
    if results.roofline is not None:
        _csv(folder / "kernels.csv", [tables.KERNEL_COLUMNS, *tables.kernel_numbers(results.roofline)])


def _csv(path, lines):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)


def _page(results, images, machine, origin, command):
    versions = {name: text for name, text in machine["packages"].items() if text and name not in origin}
    return layout.render(
        "bench.html",
        figures={path.stem: path for path in images},
        results=results,
        middle=results.middle,
        findings=tables.findings(results),
        headings=tables.HEADINGS,
        middle_rows=tables.rows(results.measured.get(Cell("kernel", results.middle), {})),
        problems=[(tables.problem_text(cell), tables.rows(one)) for cell, one in results.measured.items()],
        left_out=tables.left_out(results),
        reach=tables.reach_rows(results),
        kernels=tables.kernel_rows(results.roofline) if results.roofline else [],
        facts_of_run={
            **results.settings,
            "memory_limit": describe_bytes(results.settings["memory_limit"]),
            "processor": machine["hardware"],
            "command": command,
        },
        provenance={**origin, **versions},
    )
