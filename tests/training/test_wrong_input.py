"""What training refuses, before anything is computed: argument, value and what is allowed."""

import numpy as np
import pytest

import fastntk as fn

from ..test_bad_input import refused
from .problems import network, rows, targets, train

X, Y = rows(), targets()
NAN, INF = Y.copy(), Y.copy()
NAN[3], INF[5] = np.nan, -np.inf
LABELS = np.arange(14) % 3
READ_ONLY = np.zeros((37, 5), np.float32)
READ_ONLY.flags.writeable = False

ONE_OUTPUT = {
    "y too short": ({"y": Y[1:]}, ValueError, "y has; 13; 14"),
    "y too long": ({"y": np.append(Y, 1)}, ValueError, "y has; 15; 14"),
    "y of two columns": ({"y": np.stack([Y, Y], 1)}, ValueError, "y has shape (14, 2); 14"),
    "y of three dimensions": ({"y": Y[:, None, None]}, ValueError, "y has shape (14, 1, 1)"),
    "y a row": ({"y": Y[np.newaxis]}, ValueError, "y has shape (1, 14)"),
    "y a number": ({"y": 1.0}, ValueError, "y has shape ()"),
    "y NaN": ({"y": NAN}, ValueError, "y; not finite; y[3] is nan"),
    "y infinite": ({"y": INF}, ValueError, "y; not finite; y[5] is -inf"),
    "y complex": ({"y": Y + 0j}, TypeError, "y has dtype complex128; real"),
    "y of strings": ({"y": np.array(["a"] * 14)}, TypeError, "y has dtype <U1; real"),
    "y of objects": ({"y": Y.astype(object)}, TypeError, "y has dtype object; real"),
    "y a masked array": ({"y": np.ma.array(Y, mask=Y > 0)}, TypeError, "y is a masked array"),
    "y ragged": ({"y": [[1.0], [1.0, 2.0]]}, ValueError, "y; inhomogeneous"),
}

THREE_OUTPUTS = {
    "labels negative": ({"y": LABELS - 1}, ValueError, "y; -1; 0; 2"),
    "labels too large": ({"y": LABELS + 1}, ValueError, "y; 3; 0; 2"),
    "labels fractional": ({"y": LABELS + 0.5}, (TypeError, ValueError), "y; label"),
    "labels too few": ({"y": LABELS[1:]}, ValueError, "y has; 13; 14"),
    "labels of strings": ({"y": LABELS.astype(str)}, TypeError, "y has dtype; "),
    "targets of two outputs": ({"y": np.zeros((14, 2))}, ValueError, "y has shape (14, 2); (14, 3)"),
    "targets too few": ({"y": np.zeros((13, 3))}, ValueError, "y has shape (13, 3); (14, 3)"),
    "targets turned": ({"y": np.zeros((3, 14))}, ValueError, "y has shape (3, 14); (14, 3)"),
    "targets NaN": ({"y": np.full((14, 3), np.nan)}, ValueError, "y; not finite; y[0, 0] is nan"),
}

OPTIONS = {
    "X of one dimension": ({"X": X[0]}, ValueError, "X has shape (5,); two dimensions"),
    "X NaN": ({"X": X * np.nan}, ValueError, "X; not finite; X[0, 0] is nan"),
    "X of other features": ({"X": X[:, :4], "network": network()}, ValueError, "X has 4 features; dim=5"),
    "network missing": ({"network": None}, TypeError, "network is None; Network"),
    "mask a number": ({"mask": 0.3}, TypeError, "mask is 0.3; GaussianMask"),
    "mask a pair": ({"mask": (None, None)}, TypeError, "mask is (None, None); None or a mask"),
    "mask for other features": (
        {"mask": fn.GaussianMask([0.1] * 4)},
        ValueError,
        "kappa; 4 features; X has 5",
    ),
    "mode unknown": ({"mode": "dirty"}, ValueError, "mode is 'dirty'; 'masked', 'clean'"),
    "mode none": ({"mode": None}, ValueError, "mode is None; 'masked', 'clean'"),
    "step_size zero": ({"step_size": 0}, ValueError, "step_size is 0"),
    "step_size negative": ({"step_size": -0.1}, ValueError, "step_size is -0.1"),
    "step_size NaN": ({"step_size": np.nan}, ValueError, "step_size is nan"),
    "step_size infinite": ({"step_size": np.inf}, ValueError, "step_size is inf"),
    "step_size a word": ({"step_size": "auto"}, TypeError, "step_size is 'auto'"),
    "step_size a bool": ({"step_size": True}, TypeError, "step_size is True"),
    "steps negative": ({"steps": -1}, ValueError, "steps is -1; from"),
    "steps a fraction": ({"steps": 1.5}, TypeError, "steps is 1.5; integer"),
    "steps more than draws": ({"steps": 2**28 + 1}, ValueError, "steps is 268435457; "),
    "batch_size zero": ({"batch_size": 0}, ValueError, "batch_size is 0; from 1 to 14"),
    "batch_size above the rows": ({"batch_size": 15}, ValueError, "batch_size is 15; from 1 to 14"),
    "batch_size a fraction": ({"batch_size": 0.5}, TypeError, "batch_size is 0.5; integer"),
    "seed negative": ({"seed": -1}, ValueError, "seed is -1; from 0"),
    "record_every zero": ({"record_every": 0}, ValueError, "record_every is 0; at least 1"),
    "record_every none": ({"record_every": None}, TypeError, "record_every is None; integer"),
    "eigenvalues_every zero": ({"eigenvalues_every": 0}, ValueError, "eigenvalues_every is 0; at least 1"),
    "audit_every a word": ({"audit_every": "often"}, TypeError, "audit_every is 'often'; integer"),
    "row_ids too few": ({"row_ids": [1, 2]}, ValueError, "row_ids has shape (2,); 14 rows"),
    "row_ids negative": ({"row_ids": np.arange(14) - 5}, ValueError, "row_ids holds -5; negative"),
    "threads none": ({"threads": 0}, ValueError, "threads is 0; from 1 to 256"),
    "memory_limit a word": ({"memory_limit": "1 GB"}, TypeError, "memory_limit is '1 GB'; integer"),
    "memory_limit small": ({"memory_limit": 1000}, MemoryError, "; memory_limit is 1 KB"),
    "progress not callable": ({"progress": 3}, TypeError, "progress is 3; function progress(done, total)"),
    "out a list": ({"out": [[0.0] * 5] * 37}, (TypeError, ValueError), "out is list; float32 array"),
    "out of other shape": (
        {"out": np.zeros((5, 37), np.float32)},
        ValueError,
        "out; (5, 37); (37, 5)",
    ),
    "out of float64": ({"out": np.zeros((37, 5))}, (TypeError, ValueError), "out; float64; float32"),
    "out in columns": ({"out": np.zeros((37, 5), np.float32, order="F")}, ValueError, "out; contiguous"),
    "out read-only": ({"out": READ_ONLY}, ValueError, "out; writ"),
    "an unknown argument": ({"learning_rate": 3}, TypeError, "; learning_rate"),
}


def cases(table):
    return [pytest.param(*case, id=name) for name, case in table.items()]


def assert_refused(call, exception, parts):
    if isinstance(exception, tuple):
        with pytest.raises(exception) as caught:
            call()
        exception = caught.type
    refused(call, exception, parts)


@pytest.mark.parametrize(("changes", "exception", "parts"), cases(ONE_OUTPUT) + cases(OPTIONS))
def test_one_output(changes, exception, parts):
    options = {"network": network(), **changes}
    assert_refused(lambda: train(**options), exception, parts)


@pytest.mark.parametrize(("changes", "exception", "parts"), cases(THREE_OUTPUTS) + cases(OPTIONS))
def test_three_outputs(changes, exception, parts):
    options = {"network": network(outputs=3), "y": LABELS, **changes}
    assert_refused(lambda: train(**options), exception, parts)


def test_labels_need_more_outputs_than_one():
    """With one output whole numbers are targets like others."""
    np.testing.assert_array_equal(train(y=LABELS).clean_loss, train(y=LABELS.astype(float)).clean_loss)
    assert train(y=LABELS).accuracy is None


def test_out_that_is_the_network_itself():
    """Training in place would leave nothing to measure distances from: right, or refused."""
    W = network().weights().astype(np.float32)
    net = fn.Network.from_arrays(W, network().output_weights())
    expected = train(record_every=1)
    try:
        run = train(network=net, out=W, record_every=1)
    except ValueError:
        np.testing.assert_array_equal(W, network().weights())
        return
    np.testing.assert_array_equal(run.distance, expected.distance)
    np.testing.assert_array_equal(W, expected.network.weights())


def test_a_refused_call_leaves_out_alone():
    out = np.full((37, 5), 7, np.float32)
    with pytest.raises(ValueError, match="mode"):
        train(out=out, mode="dirty")
    with pytest.raises(MemoryError):
        train(out=out, memory_limit=1000)
    assert (out == 7).all()


def test_a_masked_value_outside_float32():
    """It comes up at some step; the error says which."""
    with pytest.raises(ValueError, match=r"X is not finite.*after LognormalMask"):
        train(1e37 * X / np.abs(X).max(), mask=fn.LognormalMask(4.0), step_size=1e-76)
