"""Studies: each is one function call that returns its numbers, which tables, figures and pages show.

width.py       how the masked kernel and its spectrum approach infinite width
scatter.py     how far one random network may be from the expected distance
table.py       the numbers of a study as text
pictures.py    kernels reduced to heat maps
folder.py      a results folder that is there as a whole or not at all
provenance.py  versions and hardware
page.py        one self-contained HTML page (template.py: its text, formulas.py)
report.py      all of it for one data set: `fastntk study`
"""

from .width import WidthStudy, width_study

__all__ = ["WidthStudy", "width_study"]
