"""Rows and networks that fp32 arithmetic gets wrong, for hypothesis."""

import numpy as np
from hypothesis import strategies as st

LARGEST = float(np.finfo(np.float32).max)
DENORMAL = float(np.finfo(np.float32).smallest_subnormal)


def orthogonal_to(w, rng, ulps=0):
    """A row whose exact inner product with the float32 row ``w`` is 0, or off it by some ulps of one entry.

    Neighbouring features are paired as (w_1, -w_0) times a power of two (exact upwards, where there is
    room); a last odd feature stays 0.
    """
    x = np.zeros_like(w)
    for k in range(0, len(w) - 1, 2):
        room = max(abs(w[k]), abs(w[k + 1])) < 2.0**100
        scale = np.float32(2.0 ** rng.integers(0, 7) if room else 1)
        x[k], x[k + 1] = w[k + 1] * scale, -w[k] * scale
    toward = np.float32(LARGEST if ulps > 0 else -LARGEST)
    k = int(rng.integers(len(w)))
    for _ in range(abs(ulps)):
        x[k] = np.nextafter(x[k], toward)
    return x


def _row(kind, rows, W, rng):
    """One float32 row of the given kind; ``rows`` are those before it."""
    base = rng.standard_normal(W.shape[1])
    other = rows[rng.integers(len(rows))] if rows else base
    neuron = W[rng.integers(len(W))]
    if kind.startswith("orthogonal"):
        return orthogonal_to(neuron, rng, ulps=int(rng.integers(-2, 3)) if kind.endswith("almost") else 0)
    wild = np.ldexp(base, rng.integers(-148, 120, len(base)))
    return {
        "ordinary": lambda: base,
        "zero": lambda: 0 * base,
        "duplicate": lambda: other,
        "opposite": lambda: -other,
        "huge": lambda: 3e37 * base,
        "largest": lambda: LARGEST * np.sign(base),
        "huge beside tiny": lambda: np.where(base > 0, 1e38, 1e-38) * np.sign(base[::-1]),
        "denormal": lambda: DENORMAL * np.rint(3 * base),
        "one feature": lambda: base * (np.arange(len(base)) == rng.integers(len(base))),
        "small weights": lambda: 1e-25 * base,
        "wild": lambda: wild,
        "integers": lambda: rng.integers(-3, 4, len(base)),
    }[kind]()


SIZES = ("huge", "largest", "huge beside tiny", "denormal", "wild")
COMMON = ("ordinary", "zero", "duplicate", "opposite", "one feature", "integers", *SIZES)
ROW_KINDS = (*COMMON, "orthogonal", "orthogonal, almost")
WEIGHT_KINDS = (*COMMON, "small weights")


@st.composite
def problems(draw):
    """(X, W), float32 arrays of ragged shapes."""
    dim = draw(st.one_of(st.integers(1, 10), st.sampled_from([127, 128, 129])))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    neurons = draw(st.lists(st.sampled_from(WEIGHT_KINDS), min_size=1, max_size=6))
    width = draw(st.one_of(st.integers(len(neurons), 12), st.sampled_from([31, 32, 33, 70])))
    kinds = draw(st.lists(st.sampled_from(ROW_KINDS), min_size=1, max_size=8))
    W = rng.standard_normal((width, dim)).astype(np.float32)
    for r, kind in enumerate(neurons):
        W[r] = _row(kind, list(W[:r]), W, rng)
    rows = []
    for kind in kinds:
        rows.append(_row(kind, rows, W, rng).astype(np.float32))
    return np.array(rows), W
