"""The constants of the wire format as a C++ header, made from ``reference.py``: there is no second copy.

Floats are written in hexadecimal, so that the compiler reads the same 32 bits.
"""

import math

import numpy as np

from .. import reference


def header():
    """The text of wire_format.cuh, which random.cuh includes."""
    log_2 = _hexadecimal(np.float32(-math.log(2) * 2.0**-23))
    return "\n".join(
        [
            "#pragma once",
            f"constexpr int PHILOX_ROUNDS = {reference.PHILOX_ROUNDS};",
            _words("PHILOX_MULTIPLIERS", reference.PHILOX_MULTIPLIERS),
            _words("PHILOX_WEYL", reference.PHILOX_WEYL),
            _floats("LOG_COEFFICIENTS", reference.LOG_COEFFICIENTS),
            _floats("SIN_COEFFICIENTS", reference.SIN_COEFFICIENTS),
            _floats("COS_COEFFICIENTS", reference.COS_COEFFICIENTS),
            f"constexpr float LOG_PER_EXPONENT = {log_2};  // -log 2, of exponents in place in their word",
            f"constexpr unsigned SIGN_WORD = {reference.stream_word(reference.SIGN_STREAM, 0):#x}u;",
            f"constexpr int SIGNS_PER_CALL = {reference.SIGNS_PER_CALL};",
            "",
        ]
    )


def _words(name, values):
    return f"constexpr unsigned {name}[] = {{{', '.join(f'{value:#x}u' for value in values)}}};"


def _floats(name, values):
    return f"constexpr float {name}[] = {{{', '.join(map(_hexadecimal, values))}}};"


def _hexadecimal(value):
    return f"{float(value).hex()}f"
