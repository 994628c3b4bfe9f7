"""Philox4x32-10 and Box-Muller as vector code: the wire format of ``reference.py``, sixteen at a time."""

import math

from .. import reference
from . import simd
from .simd import f32, i32, i64, vector_kernel

LOW_WORD = 0xFFFFFFFF


def _round_keys(emit, seed, lanes):
    """The ten key pairs, each in every 64-bit lane."""
    low, high = seed & LOW_WORD, seed >> 32
    pairs = []
    for step in range(reference.PHILOX_ROUNDS):
        pair = (
            (word + step * weyl) & LOW_WORD
            for word, weyl in zip((low, high), reference.PHILOX_WEYL, strict=True)
        )
        pairs.append(tuple(emit.broadcast(word, lanes) for word in pair))
    return pairs


def _philox(counter, round_keys):
    """Ten rounds on four vectors of 64-bit lanes, of which the low words count."""
    c0, c1, c2, c3 = counter
    for k0, k1 in round_keys:
        product0 = (c0 & LOW_WORD) * reference.PHILOX_MULTIPLIERS[0]
        product1 = (c2 & LOW_WORD) * reference.PHILOX_MULTIPLIERS[1]
        c0, c1, c2, c3 = (product1 >> 32) ^ c1 ^ k0, product1, (product0 >> 32) ^ c3 ^ k1, product0
    return c0, c1, c2, c3


def _box_muller(emit, x0, x1):
    """Two vectors of standard normals; the operations of reference.box_muller one for one."""
    lanes = x0.type.count
    real, whole = f32(lanes), i32(lanes)

    u = emit.fma(x0.unsigned_to_float(real), emit.constant(real, 2.0**-32), emit.constant(real, 2.0**-33))
    u_bits = u.bitcast(whole)
    exponent = (u_bits - 0x3F2AAAAB) & -0x800000
    f = 1.0 - (u_bits - exponent).bitcast(real)
    s = f * f
    c = [emit.constant(real, value) for value in reference.LOG_COEFFICIENTS]
    p01, p23, p45, p67 = (emit.fma(c[j + 1], f, c[j]) for j in (0, 2, 4, 6))
    q = emit.fma(c[8], s, p67)
    for p in (p45, p23, p01):
        q = emit.fma(q, s, p)
    per_exponent = emit.constant(real, -math.log(2) * 2.0**-23)
    radius = emit.sqrt(emit.fma(exponent.signed_to_float(real), per_exponent, emit.fma(q, s, f)))

    t = (x1 << 2).signed_to_float(real) * 2.0**-31
    t2 = t * t
    c = [emit.constant(real, value) for value in reference.SIN_COEFFICIENTS]
    sine = emit.fma(emit.fma(emit.fma(c[3], t2, c[2]), t2, c[1]), t2, c[0]) * t
    c = [emit.constant(real, value) for value in reference.COS_COEFFICIENTS]
    cosine = emit.fma(emit.fma(emit.fma(emit.fma(c[4], t2, c[3]), t2, c[2]), t2, c[1]), t2, c[0])
    cosine = (cosine.bitcast(whole) ^ (x1 & -0x80000000)).bitcast(real)
    swap = (x1 & 0x40000000).differs(0)
    return radius * swap.choose(sine, cosine), radius * swap.choose(cosine, sine)


def _words(even, odd):
    """Four vectors of words, of Philox on the even and on the odd lanes."""
    lanes = 2 * even[0].type.count
    return [((e & LOW_WORD) | (o << 32)).bitcast(i32(lanes)) for e, o in zip(even, odd, strict=True)]


def _normals(emit, x):
    """Four vectors of standard normals, of four vectors of words."""
    return [*_box_muller(emit, x[0], x[1]), *_box_muller(emit, x[2], x[3])]


def _random_quads(emit, lanes, vectors, as_normals, seed, stream_word, ids, quads, store):
    """store(quad, v, four vectors of random values) for every quad of features and vector of ids."""
    half = lanes // 2  # Philox multiplies 32-bit words in 64-bit lanes: even and odd ids apart
    seed, stream_word = emit.integer(seed), emit.integer(stream_word)
    round_keys = _round_keys(emit, seed, half)
    last_word = emit.broadcast(stream_word, half)
    gather_even = simd.ir.Constant(simd.i32(half), list(range(0, lanes, 2)))
    gather_odd = simd.ir.Constant(simd.i32(half), list(range(1, lanes, 2)))
    halves = []
    for v in range(vectors):
        both = emit.load(i64(lanes), ids, 8 * lanes * v)
        for gather in (gather_even, gather_odd):
            picked = simd.Value(emit, emit.builder.shuffle_vector(both.llvm, both.llvm, gather))
            halves.append((picked & LOW_WORD, picked >> 32))

    def one_quad(quad, _):
        block = emit.broadcast(quad, half)
        for v in range(vectors):
            even, odd = (
                _philox((low, high, block, last_word), round_keys) for low, high in halves[2 * v : 2 * v + 2]
            )
            x = _words(even, odd)
            store(quad, v, _normals(emit, x) if as_normals else x)
        return []

    emit.loop(quads, [], one_quad)


def rounded_to_bfloat16(values):
    """The bits of reference.round_to_bfloat16: a bfloat16 in the upper half of each lane."""
    bits = values.bitcast(i32(values.type.count))
    return (bits + 0x7FFF + ((bits >> 16) & 1)) & -0x10000


@vector_kernel
def random_panel(emit, lanes, vectors, as_normals, rounded, seed, stream_word, ids, quads, panel):
    """The random values of ``vectors * lanes`` ids as a panel, feature by feature.

    ``ids`` is the address of that many uint64, ``panel`` of 4 * quads rows of as many fp32 normals
    (``as_normals`` 1; with ``rounded`` 1, rounded to bfloat16) or raw uint32 words (0).
    """
    row_bytes = vectors * lanes * 4

    def store(quad, v, x):
        row = emit.integer(panel) + quad * (4 * row_bytes)
        for feature, value in enumerate(x):
            value = rounded_to_bfloat16(value) if rounded else value
            emit.store(value, row, feature * row_bytes + 4 * lanes * v, align=4)

    _random_quads(emit, lanes, vectors, as_normals, seed, stream_word, ids, quads, store)


def _interleaved(emit, x):
    """The lanes of four vectors in turn, as four vectors."""
    lanes = x[0].type.count

    def zipped(a, b):
        for start in (0, lanes // 2):
            yield emit.shuffle(a, b, [start + lane // 2 + lanes * (lane % 2) for lane in range(lanes)])

    even, odd = zipped(x[0], x[2]), zipped(x[1], x[3])
    return [vector for pair in zip(even, odd, strict=True) for vector in zipped(*pair)]


@vector_kernel
def random_neuron(emit, lanes, rounded, seed, stream_word, neuron, groups, out):
    """The normals of one id, feature after feature: ``groups`` times 4 * lanes fp32 values at ``out``.

    Bit for bit those of ``random_panel``, with quads of features where that has ids.
    """
    half = lanes // 2
    round_keys = _round_keys(emit, emit.integer(seed), half)
    low, high, last_word = (
        emit.broadcast(word, half)
        for word in (emit.integer(neuron) & LOW_WORD, emit.integer(neuron) >> 32, emit.integer(stream_word))
    )

    def one_group(group, _):
        first = emit.broadcast(group * lanes, half)
        quads = (first + emit.lane_constants(i64(half), range(start, lanes, 2)) for start in range(2))
        even, odd = (_philox((low, high, quad, last_word), round_keys) for quad in quads)
        normals = _normals(emit, _words(even, odd))
        for number, values in enumerate(_interleaved(emit, normals)):
            values = rounded_to_bfloat16(values) if rounded else values
            emit.store(values, emit.integer(out) + group * (16 * lanes), 4 * lanes * number, align=4)
        return []

    emit.loop(groups, [], one_group)
