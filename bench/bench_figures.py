"""The targets as assertions: every figure of ``python -m bench``, once."""

import pytest

from .__main__ import FIGURES
from .cores import two_cores


@pytest.mark.parametrize("name", FIGURES)
def bench_figure(name, quick, record_property):
    with two_cores():
        figure = FIGURES[name](quick)
    record_property(figure.case, figure.value)
    assert quick or figure.reached, f"{figure.case}: {figure.value:.3g} {figure.unit}"
