"""What a network is: virtual weights made from a seed, or arrays of given weights."""

import numpy as np

from . import validation
from .annotations import Array, Count, Floats, Numbers, Real, WeightType
from .engine.environment import in_ieee_arithmetic
from .engine.neurons import Neurons, read_only
from .kernels.reference import round_to_bfloat16

MAX_WIDTH = 2**31 - 1  # coactivation counts are int32
MAX_DIM = 2**20
MAX_OUTPUTS = 2**16
DTYPES = ("float32", "bfloat16")  # of hidden weights
SMALLEST_SCALE = SMALLEST_OUTPUT_WEIGHT = 1e-60  # squares, and sums of the largest ones, stay in range


class Network:
    """A two-layer ReLU network f_c(x) = width^{-1/2} sum_r a_rc relu(w_r . x), c = 0 .. outputs - 1.

    ``Network(width, dim)`` has *virtual* weights: w_r = scale * z_r with z_r standard normal and a_rc a
    random sign, each a function of (seed, r, feature or output) alone.  They are made where they are
    needed and never stored, so a network of 10^9 neurons costs no memory, and a network of the same seed
    that is wider or has more outputs begins with the neurons and outputs of the smaller one.
    :meth:`from_arrays` takes weights of your own.

    Parameters
    ----------
    width : int
        Number of hidden neurons m, from 1 to 2^31 - 1.
    dim : int
        Number of input features d, from 1 to 2^20.
    outputs : int
        Number of outputs q, from 1 to 2^16.
    seed : int
        Seed of the weights, from 0 to 2^64 - 1.
    scale : float
        Standard deviation of the weights, from 1e-60 to 1e60.  Patterns and the hidden-layer kernel do
        not depend on it; outputs are proportional to it and the output-layer kernel to its square.
    dtype : "float32" or "bfloat16"
        What the z_r are rounded to: "bfloat16" keeps 8 significant bits, to nearest, ties to even.  It is
        another network, as exact as the first (its bits are the signs of exact numbers, and the same on
        every machine); where there is AMX its patterns take three quarters of the time.  Training starts
        from the rounded weights, and moves them in float32.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it was and what it may be.

    Notes
    -----
    Source: the network of arXiv 2602.17423.  Reproducible: the weights are the same 32 bits on every
    machine, by the wire format described in ``fastntk.kernels.reference``.

    Examples
    --------
    >>> import fastntk as fn
    >>> fn.Network(width=10**9, dim=64, seed=0)
    Network(width=1000000000, dim=64, seed=0, scale=1.0)
    >>> fn.Network(width=1000, dim=64, outputs=10).output_weights(stop=5).shape
    (5, 10)
    """

    def __init__(
        self,
        width: Count,
        dim: Count,
        *,
        outputs: Count = 1,
        seed: Count = 0,
        scale: Real = 1.0,
        dtype: WeightType = "float32",
    ) -> None:
        self._neurons = Neurons(
            validation.as_count(width, "width", high=MAX_WIDTH),
            validation.as_count(dim, "dim", high=MAX_DIM),
            validation.as_seed(seed),
            validation.as_positive(scale, "scale", low=SMALLEST_SCALE, high=1 / SMALLEST_SCALE),
            outputs=validation.as_count(outputs, "outputs", high=MAX_OUTPUTS),
            dtype=validation.as_choice(dtype, "dtype", DTYPES),
        )

    @classmethod
    @in_ieee_arithmetic
    def from_arrays(
        cls, W: Numbers | Array, a: Numbers | Array, *, dtype: WeightType = "float32"
    ) -> "Network":
        """A network with given weights.

        Parameters
        ----------
        W : array_like (m, d)
            Hidden weights, rounded to float32 (no copy where they are float32 and C-contiguous already:
            do not change them while the network is in use).
        a : array_like (m,) or (m, q)
            Output weights, kept in float64; the largest magnitude 0 or from 1e-60 to 1e60.  A column for
            each output; (m, 1) is one output like (m,).
        dtype : "float32" or "bfloat16"
            "bfloat16" rounds W further, to nearest, ties to even, and takes another 4 m d bytes; numbers that
            are bfloat16 already, of any array type, stay what they are.

        Examples
        --------
        >>> import fastntk as fn
        >>> fn.Network.from_arrays([[1.0, 0.0], [0.0, 1.0]], [1.0, -1.0])
        Network.from_arrays(W=<2 x 2>, a=<2>)
        >>> fn.Network.from_arrays([[1.0, 0.0], [0.0, 1.0]], [[1.0, -1.0, 0.5], [0.0, 1.0, 2.0]])
        Network.from_arrays(W=<2 x 2>, a=<2 x 3>)
        """
        weights = validation.as_matrix(W, "W")
        output_weights = _as_output_weights(a, "a", len(weights))
        width, dim = weights.shape
        network = cls(width, dim, dtype=dtype)
        if dtype == "bfloat16":
            weights = _rounded_to_bfloat16(weights, "W")
        arrays = read_only(weights), read_only(output_weights)
        network._neurons = Neurons(width, dim, 0, 1.0, *arrays, dtype=dtype)
        return network

    def __repr__(self):
        dtype = "" if self.dtype == "float32" else f", dtype={self.dtype!r}"
        if self.is_virtual:
            outputs = f"outputs={self.outputs}, " if self.outputs > 1 else ""
            weights = f"{outputs}seed={self.seed}, scale={self.scale}{dtype}"
            return f"Network(width={self.width}, dim={self.dim}, {weights})"
        outputs = f" x {self.outputs}" if self.outputs > 1 else ""
        return f"Network.from_arrays(W=<{self.width} x {self.dim}>, a=<{self.width}{outputs}>{dtype})"

    @property
    def is_virtual(self) -> bool:
        """Whether the weights are made from the seed rather than given."""
        return self._neurons.given_weights is None

    @property
    def width(self) -> int:
        """Number of hidden neurons m."""
        return self._neurons.width

    @property
    def dim(self) -> int:
        """Number of input features d."""
        return self._neurons.dim

    @property
    def outputs(self) -> int:
        """Number of outputs q."""
        return self._neurons.outputs

    @property
    def seed(self) -> int:
        """Seed of the virtual weights."""
        return self._neurons.seed

    @property
    def scale(self) -> float:
        """Standard deviation of the virtual weights."""
        return self._neurons.scale

    @property
    def dtype(self) -> WeightType:
        """What the hidden weights (before the scale) are rounded to: "float32" or "bfloat16"."""
        return self._neurons.dtype

    @in_ieee_arithmetic
    def weights(self, start: Count = 0, stop: Count | None = None) -> Floats:
        """Hidden weights of the neurons start .. stop - 1, (stop - start, dim) float64."""
        first, count = self._neuron_range(start, stop)
        return self.scale * self._neurons.rows(first, count).astype(np.float64)

    def output_weights(self, start: Count = 0, stop: Count | None = None) -> Floats:
        """Output weights of the neurons start .. stop - 1, float64.

        (stop - start,) for one output, (stop - start, q) for several.
        """
        first, count = self._neuron_range(start, stop)
        weights = self._neurons.output_weights(first, count)
        return weights if self.outputs > 1 else weights[:, 0]

    def _neuron_range(self, start, stop):
        """The first neuron and how many there are."""
        start = validation.as_count(start, "start", low=0, high=self.width - 1)
        stop = (
            self.width if stop is None else validation.as_count(stop, "stop", low=start + 1, high=self.width)
        )
        return start, stop - start


def _rounded_to_bfloat16(weights, name):
    """Float32 weights rounded to bfloat16, in float32."""
    rounded = round_to_bfloat16(weights)
    if not np.isfinite(rounded).all():
        raise ValueError(
            f"{name} holds magnitudes up to {np.abs(weights).max():.7g}, which dtype='bfloat16' rounds to "
            f"infinity; the largest bfloat16 is 3.39e38. Scale {name} down, or take dtype='float32'."
        )
    return rounded


def as_network(network, X=None):
    """``network`` itself where it is a Network (and takes the features of X)."""
    if not isinstance(network, Network):
        raise TypeError(
            f"network is {_named(network)}; it must be a Network: fastntk.Network(width, dim) for virtual "
            f"weights, fastntk.Network.from_arrays(W, a) for given ones."
        )
    if X is not None and X.shape[1] != network.dim:
        raise ValueError(f"X has {X.shape[1]} features but the network has dim={network.dim}.")
    return network


def _named(value):
    """A wrong argument in a few words."""
    return f"a {type(value).__name__} of {len(value)}" if isinstance(value, (tuple, list)) else repr(value)


def as_neurons(network, X):
    """The neurons of a Network, or of a pair (W, a) of arrays, whose numbers stay float64.

    Closed forms are float64 formulas; they take the pair besides the network, whose weights are float32.
    """
    if not isinstance(network, (tuple, list)):
        return as_network(network, X)._neurons
    if len(network) != 2:
        raise TypeError(
            f"network is a {type(network).__name__} of {len(network)}; it must be a Network, or (W, a)."
        )
    weights = validation.as_inputs(network[0], "network[0]", np.float64, columns=X.shape[1])
    output_weights = _as_output_weights(network[1], "network[1]", len(weights))
    width, dim = weights.shape
    return Neurons(width, dim, 0, 1.0, read_only(weights), read_only(output_weights))


def _as_output_weights(a, name, width):
    """Output weights (width, q) float64, of usable magnitudes."""
    weights = validation.as_columns(a, name, length=width, high=MAX_OUTPUTS)
    largest = float(np.abs(weights).max())
    if largest and not SMALLEST_OUTPUT_WEIGHT <= largest <= 1 / SMALLEST_OUTPUT_WEIGHT:
        raise ValueError(
            f"{name} holds magnitudes up to {largest:g}; the largest must be 0 or from "
            f"{SMALLEST_OUTPUT_WEIGHT:g} to {1 / SMALLEST_OUTPUT_WEIGHT:g}."
        )
    return weights
