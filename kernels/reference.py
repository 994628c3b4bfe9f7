"""Every kernel in plain NumPy and Python integers: slow, obviously right, the definition.

The compiled backends are tested against the functions of this file, by equality wherever the
package promises equal bits.  Nothing here is called on a fast path.

The wire format
---------------
A random value is a function of where it stands, never of what was drawn before it.  One call of
Philox4x32-10 (Salmon et al. 2011) gives four 32-bit words,

    key      (seed low word, seed high word)
    counter  (id low word, id high word, feature // 4, stream << 28 | draw)

where ``id`` is the neuron for weights and the row id for masks.  The words x0..x3 become the four
standard normals of features 4q .. 4q+3 by Box-Muller, (x0, x1) the first two and (x2, x3) the last
two, using only integer operations and correctly rounded fp32 add, multiply, fma and sqrt.  The
stream layout and the polynomials are pinned by golden values in the tests: a change is a new
version of the format.

The weights of a network of type bfloat16 are these normals, each rounded to bfloat16.

Signs of output weights are bits of the words of their own stream: one call serves 128 neurons of one
output, with the call's number in place of the id and the output's in place of feature // 4.
"""

import math

import numpy as np

# ---------------------------------------------------------------------------------- streams
WEIGHT_STREAM = 0  # the weights of a virtual network, draw 0
SIGN_STREAM = 1  # the signs of its output weights, draw 0
ROW_MASK_STREAM = 2  # masks of the rows of a Gram matrix
COLUMN_MASK_STREAM = 3  # masks of its columns, where they are drawn apart from the rows
BATCH_STREAM = 4  # the order of the rows in an epoch of mini-batches, draw = epoch
HOLD_OUT_STREAM = 5  # which rows of a data set are held out for testing, draw 0

DRAW_LIMIT = 1 << 28  # draws are numbered below this
SIGNS_PER_CALL = 128  # one Philox call gives the output signs of 128 neurons

PHILOX_ROUNDS = 10
PHILOX_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
PHILOX_WEYL = (0x9E3779B9, 0xBB67AE85)

# Box-Muller in fp32: sqrt(-2 log u) = sqrt(2) sqrt(-log u), and the factor sqrt(2) is inside the
# sine and cosine polynomials.  Minimax fits; the absolute error of a normal is below 7e-7.
LOG_COEFFICIENTS = tuple(
    np.float32(c)
    for c in (
        0.5,
        0.3333321511745453,
        0.24999800324440002,
        0.2001044601202011,
        0.1668037623167038,
        0.14005306363105774,
        0.12185713648796082,
        0.13986897468566895,
        0.1288565695285797,
    )
)
SIN_COEFFICIENTS = tuple(
    np.float32(c)
    for c in (1.1107207536697388, -0.11419163644313812, 0.0035222675651311874, -5.1402013923507184e-05)
)
COS_COEFFICIENTS = tuple(
    np.float32(c)
    for c in (
        1.4142135381698608,
        -0.4361782968044281,
        0.02241799794137478,
        -0.00045566196786239743,
        2.4058117560343817e-06,
    )
)
LARGEST_NORMAL = 6.8  # |z| <= sqrt(2 log 2^33) = 6.764, plus the error of the polynomials


def stream_word(stream: int, draw: int) -> int:
    """The fourth counter word."""
    return stream << 28 | draw


# ------------------------------------------------------------------------- random functions
def philox(counter, key):
    """Philox4x32-10: four uint32 arrays from four counter words and two key words (broadcast)."""
    mask = np.uint64(0xFFFFFFFF)
    shift = np.uint64(32)
    c0, c1, c2, c3 = (np.asarray(word, np.uint64) for word in counter)
    k0, k1 = (int(word) for word in key)
    for _ in range(PHILOX_ROUNDS):
        product0 = c0 * np.uint64(PHILOX_MULTIPLIERS[0])
        product1 = c2 * np.uint64(PHILOX_MULTIPLIERS[1])
        c0, c1, c2, c3 = (
            (product1 >> shift) ^ c1 ^ np.uint64(k0),
            product1 & mask,
            (product0 >> shift) ^ c3 ^ np.uint64(k1),
            product0 & mask,
        )
        k0 = (k0 + PHILOX_WEYL[0]) & 0xFFFFFFFF
        k1 = (k1 + PHILOX_WEYL[1]) & 0xFFFFFFFF
    return tuple(np.asarray(word).astype(np.uint32) for word in np.broadcast_arrays(c0, c1, c2, c3))


def words(seed, ids, dim, stream, draw=0):
    """The (len(ids), dim) uint32 words behind the normals: feature k is word k % 4 of block k // 4."""
    ids = np.asarray(ids, np.uint64)[:, None]
    blocks = np.arange(-(-dim // 4), dtype=np.uint64)[None, :]
    counter = (ids & np.uint64(0xFFFFFFFF), ids >> np.uint64(32), blocks, stream_word(stream, draw))
    out = np.stack(philox(counter, (seed & 0xFFFFFFFF, seed >> 32)), axis=2)
    return np.ascontiguousarray(out.reshape(len(ids), -1)[:, :dim])


def fma32(a, b, c):
    """fp32 fused multiply-add, rounded once.

    The product of two fp32 values is exact in float64.  Adding the third rounds to float64; rounding
    that to odd (the inexact results get a 1 as their last bit) makes the second rounding, to fp32,
    the only one that counts.
    """
    product = np.asarray(a, np.float64) * np.asarray(b, np.float64)
    c = np.asarray(c, np.float64)
    total = np.asarray(product + c)
    back = total - product
    error = (product - (total - back)) + (c - back)
    bits = total.view(np.int64)
    inexact_even = (error != 0) & (bits & 1 == 0)
    outward = (error > 0) == (total > 0)  # towards larger magnitude
    bits = np.where(inexact_even, np.where(outward, bits + 1, bits - 1), bits)
    return bits.view(np.float64).astype(np.float32)


def box_muller(x0, x1):
    """Two standard normals (fp32) from two uint32 words."""
    f32, i32 = np.float32, np.int32
    x0, x1 = np.asarray(x0, np.uint32), np.asarray(x1, np.uint32)

    # radius: -log u with u in (0, 1], split as u = 2^e m with m in [2/3, 4/3)
    u = fma32(x0.astype(f32), f32(2.0**-32), f32(2.0**-33))
    u_bits = u.view(i32)
    exponent = (u_bits - i32(0x3F2AAAAB)) & i32(-0x800000)  # e * 2^23
    f = f32(1) - (u_bits - exponent).view(f32)
    s = f * f
    c = LOG_COEFFICIENTS
    p01, p23, p45, p67 = (fma32(c[j + 1], f, c[j]) for j in (0, 2, 4, 6))
    q = fma32(c[8], s, p67)
    for p in (p45, p23, p01):
        q = fma32(q, s, p)
    log = fma32(exponent.astype(f32), f32(-math.log(2) * 2.0**-23), fma32(q, s, f))
    radius = np.sqrt(log)

    # angle: the low 30 bits of x1 are a place in [-1, 1) quarter turns / 2, the top two a quadrant
    t = (x1 << np.uint32(2)).view(i32).astype(f32) * f32(2.0**-31)
    t2 = t * t
    c = SIN_COEFFICIENTS
    sine = fma32(fma32(fma32(c[3], t2, c[2]), t2, c[1]), t2, c[0]) * t
    c = COS_COEFFICIENTS
    cosine = fma32(fma32(fma32(fma32(c[4], t2, c[3]), t2, c[2]), t2, c[1]), t2, c[0])
    cosine = (cosine.view(np.uint32) ^ (x1 & np.uint32(0x80000000))).view(f32)
    swap = x1 & np.uint32(0x40000000) != 0
    return radius * np.where(swap, sine, cosine), radius * np.where(swap, cosine, sine)


def normals(seed, ids, dim, stream, draw=0):
    """The (len(ids), dim) fp32 standard normals of the wire format."""
    quads = words(seed, ids, -(-dim // 4) * 4, stream, draw).reshape(len(ids), -1, 4)
    z = np.stack(box_muller(quads[..., 0], quads[..., 1]) + box_muller(quads[..., 2], quads[..., 3]), axis=2)
    return np.ascontiguousarray(z.reshape(len(ids), -1)[:, :dim])


def round_to_bfloat16(values):
    """float32 values rounded to bfloat16 (8 significant bits), to nearest, ties to even; as float32.

    A bfloat16 is the upper half of a float32, so the rounding is integer arithmetic on the bits: the carry
    of a half, and of a tie with an odd last place, runs into the exponent where it must.  Above
    3.3895314e38 the result is infinite, as it is above the largest float32.  Denormals are like others.
    """
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    odd = bits >> np.uint32(16) & np.uint32(1)
    return ((bits + np.uint32(0x7FFF) + odd) & np.uint32(0xFFFF0000)).view(np.float32)


def output_signs(seed, ids, output=0):
    """Output weights +1 / -1 (float64) of the neurons ``ids`` of a virtual network.

    (len(ids),) for one output, (len(ids), len(output)) for an array of them.  Neuron r reads bit r % 32
    of word (r % 128) // 32 of the Philox call with id r // 128 and block ``output``; a set bit is -1.
    """
    ids, output = np.asarray(ids, np.uint64), np.asarray(output, np.uint64)
    calls, place = np.unique(ids // np.uint64(SIGNS_PER_CALL), return_inverse=True)
    ids, calls = (array.reshape(-1, *[1] * output.ndim) for array in (ids, calls))
    counter = (calls & np.uint64(0xFFFFFFFF), calls >> np.uint64(32), output, stream_word(SIGN_STREAM, 0))
    drawn = np.stack(philox(counter, (seed & 0xFFFFFFFF, seed >> 32)), axis=1)
    word = drawn[place, (ids % np.uint64(SIGNS_PER_CALL) // np.uint64(32)).astype(np.intp).ravel()]
    bit = word >> (ids % np.uint64(32)).astype(np.uint32) & np.uint32(1)
    return 1.0 - 2.0 * bit


def shuffled(seed, ids, stream, draw=0):
    """The rows ``ids`` in random order: indices into ``ids``.

    Rows are sorted by the first two words of their block, the second one high; equal ones by id.
    """
    ids = np.asarray(ids, np.uint64)
    low, high = words(seed, ids, 2, stream, draw).T.astype(np.uint64)
    return np.lexsort((ids, high << np.uint64(32) | low))


# ---------------------------------------------------------------------- sums over the neurons
def pattern(X, W):
    """b[i, r] = 1 where the exact real number w_r . x_i is positive.  (n, m) bool.

    The products of fp32 values are exact in float64 and math.fsum rounds their sum once, so its sign
    is the sign of the exact sum.
    """
    X, W = np.asarray(X, np.float32).astype(float), np.asarray(W, np.float32).astype(float)
    return np.array([[math.fsum(x * w) > 0 for w in W] for x in X], bool).reshape(len(X), len(W))


def coactivation(P, Q):
    """counts[i, j] = the number of neurons active on row i of P and on row j of Q."""
    return np.asarray(P, np.int64) @ np.asarray(Q, np.int64).T


def weighted_coactivation(P, Q, weights):
    """sum_r weights[r] P[i, r] Q[j, r], each sum rounded once."""
    return np.array([[math.fsum(weights[p & q]) for q in Q] for p in P])


def preactivation(X, W):
    """h[i, r] = w_r . x_i in float64, each rounded once."""
    X, W = np.asarray(X, float), np.asarray(W, float)
    return np.array([[math.fsum(x * w) for w in W] for x in X]).reshape(len(X), len(W))


def relu_gram(H, G):
    """sum_r relu(H[i, r]) relu(G[j, r]) for preactivations H (n, m) and G (p, m)."""
    H, G = np.maximum(H, 0.0), np.maximum(G, 0.0)
    return np.array([[math.fsum(h * g) for g in G] for h in H])


def outputs(H, a):
    """sum_r a[r, c] relu(H[i, r]), (n, q) for output weights (m, q)."""
    return np.array([[math.fsum(column * np.maximum(h, 0.0)) for column in a.T] for h in H])


def ordered_product(A, B, C):
    """C[i, j] continued by a chain of float64 fma over the rows k of A and B, in order.

    Python integers give the exact sum of each step; float() rounds it once.
    """
    from fractions import Fraction

    out = np.array(C, float)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            total = out[i, j]
            for k in range(len(A)):
                total = float(Fraction(total) + Fraction(float(A[k, i])) * Fraction(float(B[k, j])))
            out[i, j] = total
    return out


def slices(H, factors):
    """q[i, r] = round(factors[i] max(H[i, r], 0)), halves to even, in six bytes; (n, m, 6) integers.

    q = sum_p a_p 2^(8 (6 - p)), p = 1 .. 6, with a_p from -128 to 127 but for a_1, which is positive.
    """
    from fractions import Fraction

    out = np.empty((*H.shape, 6), int)
    for i, r in np.ndindex(H.shape):
        rest = round(Fraction(float(factors[i])) * Fraction(max(float(H[i, r]), 0.0)))
        for p in range(5, 0, -1):
            digit = (rest + 128) % 256 - 128
            out[i, r, p] = digit
            rest = (rest - digit) // 256
        out[i, r, 0] = rest
    return out


def sliced_gram(A, B):
    """sum_r of the a_p b_q 2^(8 (7 - p - q)) with p + q at most 7, from slices (n, m, 6), rounded once."""
    return np.array([[float(sum(map(_sliced_product, a, b))) for b in B] for a in A])


def _sliced_product(a, b):
    """One neuron of sliced_gram, an integer; p and q are counted from 0 here."""
    return sum(int(a[p]) * int(b[q]) * 256 ** (5 - p - q) for p in range(6) for q in range(6 - p))


# ---------------------------------------------------------------------------- gradient products
def words_of_samples(P):
    """words[p, r] = the bits P[64p + j, r], j = 0 .. 63 from the lowest, as uint64; rows beyond are 0."""
    P = np.asarray(P, bool)
    padded = np.zeros((-len(P) % 64 + len(P), P.shape[1]), bool)
    padded[: len(P)] = P
    packed = np.packbits(padded.reshape(-1, 64, P.shape[1]), axis=1, bitorder="little")
    return np.ascontiguousarray(packed.transpose(0, 2, 1)).view("<u8")[:, :, 0].astype(np.uint64)


def hidden_gradient(P, a, u, X):
    """G[r, k] = sum_ic P[i, r] a[r, c] u[i, c] X[i, k], (m, d), each sum rounded once."""
    X = np.asarray(X, float)
    return np.array(
        [
            [math.fsum((own * u[active] * column[active, None]).ravel()) for column in X.T]
            for own, active in zip(a, np.asarray(P, bool).T, strict=True)
        ]
    )


def output_gradient(H, u):
    """g[r, c] = sum_i u[i, c] relu(H[i, r]), (m, q)."""
    return np.array([[math.fsum(column * np.maximum(h, 0.0)) for column in u.T] for h in H.T])


def hidden_tangent(P, a, V, X):
    """f[i, c] = sum_r P[i, r] a[r, c] (V[r] . X[i]), (n, q); the output layer's is ``outputs``."""
    V = np.asarray(V, float)
    return np.array(
        [
            [math.fsum((column[active, None] * V[active] * x).ravel()) for column in a.T]
            for x, active in zip(np.asarray(X, float), np.asarray(P, bool), strict=True)
        ]
    )


def hidden_product(P, Q, squares, X, Y, v):
    """sum_rj squares[r] P[i, r] Q[j, r] (X[i] . Y[j]) v[j], (n,), each sum rounded once: m K v."""
    X, Y = np.asarray(X, float), np.asarray(Y, float)
    both = np.asarray(P, bool)[:, None] & np.asarray(Q, bool)  # (n, p, m)
    weights = (both * squares)[..., None] * (X[:, None] * Y * v[:, None])[:, :, None]
    return np.array([math.fsum(terms.ravel()) for terms in weights])


def training_step(W, a, X, y, step_size):
    """(f (n, q), W after) of a step of gradient descent on 1/2 sum_ic (f_ic - y_ic)^2, in float64."""
    f = outputs(preactivation(X, W), a) / math.sqrt(len(W))
    gradient = hidden_gradient(pattern(X, W), a, f - y, X) / math.sqrt(len(W))
    return f, W - step_size * gradient


def flipped(X, W, start):
    """The number of activation bits on X that differ between the weights W and ``start``."""
    return int((pattern(X, W) != pattern(X, start)).sum())


# ---------------------------------------------------------------- neurons under a Gaussian mask
def hermite_coefficients(t, terms):
    """(3, terms) normalised Hermite coefficients k = 1 .. terms of relu(u), 1{u > 0} and delta(u), u = t + g.

    By parts, E F(t + g) He_k(g) = (d/dt)^k E F(t + g).  The three means have the derivatives Phi, phi and
    -t phi, and the j-th derivative of phi is (-1)^j He_j phi.  He_j is exact; He_j^2 / k! stays in range for
    |t| <= 37.
    """
    from fractions import Fraction

    t, hermite = Fraction(float(t)), [Fraction(1), Fraction(float(t))]
    for j in range(1, terms):
        hermite.append(t * hermite[j] - j * hermite[j - 1])
    density = math.exp(-0.5 * float(t) ** 2) / math.sqrt(2 * math.pi)

    def coefficient(j, k):
        """The j-th derivative of phi over sqrt(k!)."""
        size = density * math.sqrt(hermite[j] ** 2 / math.factorial(k))
        return size if (hermite[j] > 0) == (j % 2 == 0) else -size

    relu = [0.5 * math.erfc(-float(t) / math.sqrt(2))] + [coefficient(k - 2, k) for k in range(2, terms + 1)]
    active, delta = ([coefficient(k - lag, k) for k in range(1, terms + 1)] for lag in (1, 0))
    return np.array([relu, active, delta])


def mehler_series(F, G, rho):
    """Cov(F(u), G(v)) = sum_k rho^k F_k G_k, k = 1, 2, ..., for u and v of correlation rho."""
    return math.fsum(rho**k * f * g for k, (f, g) in enumerate(zip(F, G, strict=True), start=1))


def mean_features(X, V, W, active, density):
    """E x~_i 1{h_ri > 0} = x_i P_ri + v_i * w_r D_ri, (n, m, d), for P and D (n, m)."""
    return np.array(
        [
            [x * p + v * w * slope for w, p, slope in zip(W, P, D, strict=True)]
            for x, v, P, D in zip(X, V, active, density, strict=True)
        ]
    )


def pair_variance(a, covariance):
    """sum_{q != r} a_qc a_rc covariance[q, r], (outputs,)."""
    return np.array([_sum_over_pairs(np.outer(column, column) * covariance) for column in a.T])


def pair_gradient(a, W, V, s, relu_active, relu_density, both_active):
    """(by_relu (m,), by_density (m,), by_weights (m, d)) of a sample with variances V (d,).

    The sums over the neurons q, for each r, with B = a_q . a_r, of B s_q Cov(relu_q, 1_r), of
    B s_q (E relu_q delta_r - E relu_q E delta_r) / s_r, and of v B E(1_q 1_r) w_q.  ``relu_active`` and the
    others are [q, r] for deviations 1; q = r counts in the last sum alone, and s_r = 0 not in the second.
    """
    others = [[q for q in range(len(a)) if q != r] for r in range(len(a))]
    by_relu = [math.fsum(a[q] @ a[r] * s[q] * relu_active[q, r] for q in others[r]) for r in range(len(a))]
    by_density = [
        math.fsum(a[q] @ a[r] * s[q] * relu_density[q, r] / s[r] for q in others[r] if s[r] > 0)
        for r in range(len(a))
    ]
    by_weights = [
        V * sum(a[q] @ a[r] * both_active[q, r] * W[q] for q in range(len(a))) for r in range(len(a))
    ]
    return np.array(by_relu), np.array(by_density), np.array(by_weights)


def _sum_over_pairs(values):
    """sum_{q != r} values[q, r], rounded once."""
    return math.fsum(values[q, r] for q in range(len(values)) for r in range(len(values)) if q != r)
