"""Studies: each is one function call that returns its numbers, which tables, figures and pages show.

width.py       how the masked kernel and its spectrum approach infinite width
scatter.py     how far one random network may be from the expected distance
table.py       the numbers of a study as text
pictures.py    kernels reduced to heat maps
page.py        its page (template.py: the text)
report.py      all of it for one data set: `fastntk study`

task.py        what there is to learn from a data set, and which rows are held out
settings.py    what a training run does, complete and by name
watched.py     a training run that is looked at while it goes on
scores.py      how well a network does, with and without masks
training_page.py    its page (training_template.py: the text)
training_folder.py  what is written, and read again to go on
training.py    all of it for one data set: `fastntk train`

folder.py      a results folder that is there as a whole or not at all
layout.py      what all pages share: self-contained HTML (formulas.py: in MathML)
provenance.py  versions and hardware
"""

from .width import WidthStudy, width_study

__all__ = ["WidthStudy", "width_study"]
