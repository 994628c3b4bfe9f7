"""Figures of the part width: the kernels of growing width (``kernel`` draws them)."""

from . import kernel


def figures(part):
    """{name: Figure} of a WidthPart."""
    return {
        "width-distance": kernel.distance_figure(part.kernel),
        "width-eigenvalues": kernel.eigenvalue_figure(part.kernel),
        "width-kernels": kernel.kernel_figure(part.pictures),
        "width-ridge": kernel.ridge_figure(part.kernel),
    }
