"""The numbers of a width study as rows of text, for the terminal and for the page."""

import math

HEADINGS = (
    "kappa",
    "width",
    "distance",
    "predicted",
    "ratio",
    "95 % range",
    "relative",
    "smallest eig",
    "largest eig",
    "seconds",
)


def rows(study):
    """One tuple of texts, as `HEADINGS` names them, per kernel; the limit closes each mask strength."""
    table = []
    for k, kappa in enumerate(study.kappas):
        for w, width in enumerate(study.widths):
            table.append(
                (
                    f"{kappa:g}",
                    f"{width:,}",
                    number(study.distance[k, w]),
                    number(study.predicted[k, w]),
                    f"{study.ratio[k, w]:.2f}",
                    "{:.2f}-{:.2f}".format(*study.typical[k]),
                    percent(study.relative_distance[k, w]),
                    number(study.smallest[k, w]),
                    number(study.largest[k, w]),
                    f"{study.seconds[k, w]:.2f}",
                )
            )
        ends = number(study.limit_smallest[k]), number(study.limit_largest[k])
        table.append((f"{kappa:g}", "infinite", "", "", "", "", "", *ends, ""))
    return table


def as_text(study):
    """The table for a terminal: columns aligned to the right, a blank line between mask strengths."""
    return aligned(HEADINGS, *groups(study))


def groups(study):
    """The rows of each mask strength, a list of lists."""
    found: list[list[tuple]] = []
    for row in rows(study):
        if not found or found[-1][0][0] != row[0]:
            found.append([])
        found[-1].append(row)
    return found


def aligned(headings, *groups):
    """Groups of rows of texts under their headings, aligned to the right, a blank line between groups."""
    body = [row for group in groups for row in group]
    columns = [max(map(len, column)) for column in zip(headings, *body, strict=True)]

    def line(cells):
        return "  ".join(cell.rjust(width) for cell, width in zip(cells, columns, strict=True)).rstrip()

    lines = [line(headings), "  ".join("-" * width for width in columns)]
    for place, group in enumerate(groups):
        lines += [""] * (place > 0) + [line(cells) for cells in group]
    return "\n".join(lines)


def number(value, digits=4):
    """So many significant digits, without an exponent where that stays short."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if 1e-3 <= abs(value) < 1e6:
        decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
        return f"{value:,.{decimals}f}"
    return f"{value:.{digits - 1}e}"


def percent(share):
    """A share with three significant digits in per cent."""
    return f"{number(100 * share, 3)} %"
