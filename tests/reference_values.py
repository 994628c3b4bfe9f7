"""The reference values of tests/data/reference.json: mpmath at 32 digits, not fp32 numbers.

``bivariate`` and ``smoothed_relu_unit`` are tables; ``cases`` are small networks, inputs and masks with
every quantity the formulas give for them.
"""

import functools
import json
from pathlib import Path

import numpy as np

FILE = Path(__file__).parent / "data" / "reference.json"


@functools.cache
def load():
    """The whole file as a dict; do not write to it."""
    return json.loads(FILE.read_text())


def cases(*keys):
    """The cases that have all these fields and not null, their lists as float64 arrays."""
    chosen = [case for case in load()["cases"] if all(case.get(key) is not None for key in keys)]
    assert chosen, f"no reference case has {keys}"
    return [
        {key: np.array(value, float) if isinstance(value, list) else value for key, value in case.items()}
        for case in chosen
    ]
