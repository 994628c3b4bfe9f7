"""Makes neural_tangents.json: what neural-tangents computes, for tests/theory/test_predict.py.

In an environment of its own, as neural-tangents 0.6.5 needs an older JAX (its versions are in the file):

    python -m pip install neural-tangents==0.6.5 jax==0.4.30 jaxlib==0.4.30 "numpy<2.3"
    python tests/data/neural_tangents_reference.py
"""

import json
from importlib.metadata import version
from pathlib import Path

import jax
import neural_tangents as nt
import numpy as np
from neural_tangents import stax

jax.config.update("jax_enable_x64", True)

TIMES = [0.0, 1e-9, 0.3, 7.0, 250.0, 1e6]
N, TESTED, DIM, OUTPUTS, WIDTH = 6, 4, 3, 2, 8
W_STD, W_STD_OUT = 1.5, 0.7
REGULARISERS = [(0.0, False), (0.05, False), (0.3, True)]


def infinite_network(outputs):
    """(init, apply, kernel) of Dense, Relu, Dense in the NTK parameterisation, without biases."""
    first, last = (stax.Dense(n, W_std=s, b_std=0.0) for n, s in ((WIDTH, W_STD), (outputs, W_STD_OUT)))
    return stax.serial(first, stax.Relu(), last)


def prediction(K, across, y, fx_train_0, fx_test_0, settings):
    predict = nt.predict.gradient_descent_mse(K, y, **settings)
    times = np.array(TIMES)
    train, test = predict(times, fx_train_0, fx_test_0, across)
    train_end, test_end = predict(None, fx_train_0, fx_test_0, across)
    from_zero = predict(times, 0.0, 0.0, across)[1]
    only_test = predict(times[3], None, fx_test_0, across)
    return {
        "settings": settings,
        "train": train,
        "test": test,
        "train_end": train_end,
        "test_end": test_end,
        "test_from_zero": from_zero,
        "only_test": only_test,
    }


def ensemble(kernel_fn, x_train, y, x_test, settings):
    predict = nt.predict.gradient_descent_mse_ensemble(kernel_fn, x_train, y, **settings)
    found = {"settings": settings}
    for name, t in (("times", np.array(TIMES)), ("end", None)):
        for place, x in (("test", x_test), ("train", None)):
            both = predict(t, x, get=("nngp", "ntk"), compute_cov=True)
            for get in ("nngp", "ntk"):
                gaussian = getattr(both, get)
                found[f"{get}_{place}_{name}"] = {"mean": gaussian.mean, "covariance": gaussian.covariance}
    return found


def main():
    rng = np.random.default_rng(20)
    x_train = np.float32(rng.standard_normal((N, DIM))).astype(float)  # fastntk rounds inputs to float32
    x_test = np.float32(rng.standard_normal((TESTED, DIM))).astype(float)
    y, fx_train_0 = rng.standard_normal((2, N, OUTPUTS))
    fx_test_0 = rng.standard_normal((TESTED, OUTPUTS))

    init, apply, kernel_fn = infinite_network(OUTPUTS)
    kernels = {
        f"{get}_{name}": kernel_fn(a, b, get)
        for get in ("ntk", "nngp")
        for name, (a, b) in {
            "train": (x_train, None),
            "across": (x_test, x_train),
            "test": (x_test, None),
        }.items()
    }

    _, params = init(jax.random.PRNGKey(1), x_train.shape)
    params = jax.tree_util.tree_map(lambda p: np.float32(p).astype(float), params)
    empirical = nt.empirical_ntk_fn(apply)  # trace_axes=(-1,)
    blocks = nt.empirical_ntk_fn(apply, trace_axes=())
    (W, *_), _, (A, *_) = params

    found = {
        "versions": {name: version(name) for name in ("neural-tangents", "jax", "jaxlib", "numpy", "scipy")},
        "W_std": [W_STD, W_STD_OUT],
        "times": TIMES,
        "x_train": x_train,
        "x_test": x_test,
        "y_train": y,
        "fx_train_0": fx_train_0,
        "fx_test_0": fx_test_0,
        "kernels": kernels,
        "finite": {
            "W": W,
            "A": A,  # (d, m) and (m, q), standard normal
            "outputs": apply(params, x_test),
            "ntk": empirical(x_test, x_train, params),
            "ntk_blocks": blocks(x_test, x_train, params),
            "nngp": nt.empirical_nngp_fn(apply)(x_test, x_train, params),
        },
        "predictions": [],
        "ensembles": [],
    }
    for learning_rate, (diag_reg, absolute) in zip((1.0, 0.4, 3.0), REGULARISERS, strict=True):
        settings = {"learning_rate": learning_rate, "diag_reg": diag_reg, "diag_reg_absolute_scale": absolute}
        found["predictions"].append(
            prediction(kernels["ntk_train"], kernels["ntk_across"], y, fx_train_0, fx_test_0, settings)
        )
        found["ensembles"].append(ensemble(kernel_fn, x_train, y, x_test, settings))
    lines = [f"{json.dumps(key)}: {json.dumps(found[key], default=as_list)}" for key in found]
    Path(__file__).with_name("neural_tangents.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def as_list(array):
    return np.asarray(array).tolist()


if __name__ == "__main__":
    main()
