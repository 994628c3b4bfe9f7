"""train(backend="cuda"): every step keeps the bound of the processors', and runs go from one to the other."""

import weakref

import numpy as np
import pytest

import fastntk as fn
from fastntk.batches import Batches
from fastntk.engine import device_steps, devices
from fastntk.engine.steps import OutOfRange
from fastntk.kernels.cuda import device as cuda_device
from fastntk.kernels.cuda import forward

from ..formulas import rounded
from ..samples import some
from ..simulation import exact_step
from ..train_command import draw_nothing, history
from ..train_command import train as train_command
from ..training.problems import MASK, assert_same, columns, network, rows, targets, train, weights

NETWORKS = {
    "given": network(300, 5),
    "given, three outputs": network(140, 5, outputs=3),
    "virtual": fn.Network(300, 5, seed=2),
    "virtual, scaled, two outputs": fn.Network(140, 5, outputs=2, seed=2, scale=0.3),
    "bfloat16": fn.Network(140, 5, seed=2, dtype="bfloat16"),
}


@pytest.fixture(autouse=True)
def the_device(one_device, monkeypatch):
    """What calls find."""
    monkeypatch.setattr(devices, "all_devices", lambda: [one_device])
    return one_device


@pytest.fixture(params=[128, None], ids=["small chunks", "one chunk"])
def chunk(request, monkeypatch):
    """Neurons of a chunk, which must not matter."""
    if request.param:
        monkeypatch.setattr(device_steps, "DEVICE_CHUNK", request.param)


def run_on(backend, net, **options):
    return train(network=net, y=targets(outputs=net.outputs), step_size=0.1, backend=backend, **options)


OPTIONS = {
    "full batch": {},
    "batches": {"batch_size": 4},  # of 14 rows: the last has two
    "clean": {"mode": "clean"},
    "additive": {"mask": fn.AdditiveMask([0.1, 0.0, 0.3, 0.2, 1.0])},
    "Bernoulli": {"mask": fn.BernoulliMask(0.6), "row_ids": np.arange(14) * 10**10},
}


CASES = [(name, options) for name in NETWORKS for options in OPTIONS]
QUICK = list(zip(NETWORKS, OPTIONS, strict=True))


@pytest.mark.parametrize("case", some(CASES, *QUICK), ids=": ".join)
def test_a_step(case):
    """From where a run on a device is, both backends go where the definition goes, within fp32's bound."""
    net, options, step = NETWORKS[case[0]], OPTIONS[case[1]], 3
    X, y, a = rows(), columns(targets(outputs=net.outputs)), columns(net.output_weights())
    before = run_on("cuda", net, steps=step, **options)
    mask = None if options.get("mode") == "clean" else options.get("mask", MASK)
    batches = Batches(X, mask, options.get("row_ids", np.arange(14)), options.get("batch_size"), 5)
    inputs, targets_of_step = batches.masked(step), y[batches.rows(step)]
    expected = exact_step(rounded(inputs), targets_of_step, weights(before), rounded(a), 0.1)
    for backend in ("cuda", "cpu"):
        after = weights(run_on(backend, net, steps=step + 1, resume=before, **options))
        assert (np.abs(after - expected.values) <= expected.bound).all(), backend


RECORDS = {"record_every": 2, "eigenvalues_every": 3, "audit_every": 2}


@pytest.mark.parametrize("options", some(list(OPTIONS), "batches", "additive"))
def test_whole_runs(options):
    """The same bits every time, close to those of the processors, and all that is recorded."""
    options = OPTIONS[options]
    net = NETWORKS["virtual, scaled, two outputs"]
    run, expected = (run_on(backend, net, **RECORDS, **options) for backend in ("cuda", "cpu"))
    assert_same(run, run_on("cuda", net, **RECORDS, **options))
    np.testing.assert_allclose(weights(run), weights(expected), atol=1e-5)
    for name in ("clean_loss", "masked_loss", "distance", "max_distance", "masked_eigenvalue"):
        np.testing.assert_allclose(getattr(run, name), getattr(expected, name), rtol=1e-4, err_msg=name)
    np.testing.assert_allclose(run.flipped, expected.flipped, atol=2 / (14 * 140))
    assert run.flipped[-1] > 0
    assert (run.audit_error < 1e-4).all()


def test_chunks_do_not_matter(monkeypatch):
    net = NETWORKS["virtual"]
    whole = run_on("cuda", net, **RECORDS)
    monkeypatch.setattr(device_steps, "DEVICE_CHUNK", 128)
    monkeypatch.setattr(device_steps, "PARTIAL_BYTES", 1)
    assert_same(run_on("cuda", net, **RECORDS), whole)


def test_labels_and_the_expected_loss():
    labels = np.arange(14) % 3
    options = {"y": labels, "outputs": 3, "record_every": 2, "expected_every": 4}
    run, expected = (train(backend=backend, **options) for backend in ("cuda", "cpu"))
    np.testing.assert_array_equal(run.accuracy, expected.accuracy)
    np.testing.assert_allclose(run.expected_loss, expected.expected_loss, rtol=1e-5)


def test_the_step_size_of_the_rule_is_that_of_the_processors():
    assert train(step_size=None, backend="cuda").step_size == train(step_size=None).step_size


# -------------------------------------------------------------------------------- resumed, interrupted
@pytest.mark.parametrize("batch_size", [None, 4])
def test_resume(tmp_path, batch_size):
    options = {**RECORDS, "batch_size": batch_size}
    net = NETWORKS["given, three outputs"]
    whole, half = run_on("cuda", net, **options), run_on("cuda", net, steps=3, **options)
    half.save(tmp_path / "half.npz")
    assert_same(run_on("cuda", net, resume=half, **options), whole)
    assert_same(run_on("cuda", net, resume=tmp_path / "half.npz", **options), whole)


def test_the_processors_go_on_where_a_device_stopped_and_the_other_way_round():
    net = NETWORKS["virtual"]
    for first, then in (("cuda", "cpu"), ("cpu", "cuda")):
        half = run_on(first, net, steps=3)
        there, back = (run_on(backend, net, steps=7, resume=half) for backend in (then, first))
        np.testing.assert_allclose(weights(there), weights(back), atol=1e-6)
        np.testing.assert_array_equal(there.recorded_steps, back.recorded_steps)
        assert_same(back, run_on(first, net))


def interrupt(done, total):
    if done >= 3:
        raise KeyboardInterrupt


def test_interrupted(chunk, tmp_path):
    """Between two steps, with a checkpoint that the other backend takes."""
    net, kept = NETWORKS["virtual"], tmp_path / "kept"
    with pytest.raises(fn.TrainingInterrupted) as caught:
        run_on("cuda", net, steps=500, progress=interrupt, checkpoint=kept)
    run = caught.value.run
    assert 3 <= run.steps_done < 500
    np.testing.assert_array_equal(weights(run), weights(run_on("cuda", net, steps=run.steps_done)))
    with pytest.raises(fn.TrainingInterrupted) as caught:
        run_on("cpu", net, steps=500, progress=interrupt, checkpoint=kept)
    assert caught.value.run.steps_done > run.steps_done


def started(device, net):
    host = np.empty((net.width, 5), np.float32)
    steps = device_steps.DeviceSteps(device, net._neurons, host, 14, 14)
    steps.fill()
    return steps, steps.pack(rows())


def test_a_pass_in_a_hurry_still_updates_every_neuron(chunk, the_device):
    steps, batch = started(the_device, NETWORKS["virtual"])
    gradient = steps.gradient(batch, steps.advance(batch=batch), 0.1)
    steps.advance(gradient, batch)
    expected = steps.host_weights().copy()

    steps.fill()
    steps.advance(batch=batch)
    steps.hurry.set()
    assert steps.advance(gradient, batch) is None
    np.testing.assert_array_equal(steps.host_weights(), expected)


def test_a_weight_out_of_range_is_reported_after_the_whole_pass(chunk, the_device):
    W = NETWORKS["given"].weights().astype(np.float32)
    steps, batch = started(the_device, NETWORKS["given"])
    gradient = steps.gradient(batch, steps.advance(batch=batch), 0.1)
    W[200] = 1e20
    steps._chunks = [
        chunk._replace(weights=the_device.upload(W[chunk.first : chunk.stop])) for chunk in steps._chunks
    ]
    with pytest.raises(OutOfRange):
        steps.advance(gradient, batch)
    moved = (steps.host_weights() != W).any(axis=1)
    assert moved[np.arange(300) != 200].mean() > 0.99


def test_the_weights_go_where_they_are_asked_for():
    out = np.zeros((300, 5), np.float32)
    run = run_on("cuda", NETWORKS["virtual"], out=out)
    np.testing.assert_array_equal(out, weights(run))


def test_the_command(tmp_path, monkeypatch, capsys):
    draw_nothing(monkeypatch)
    iris = ["--data", "iris", "--width", "140", "--steps", "4", "--record-every", "2", "--quiet"]
    histories = []
    for backend in ("cpu", "cuda"):
        folder = tmp_path / backend
        status, _, err = train_command(capsys, *iris, "--backend", backend, "--output", str(folder))
        assert status == 0, err
        histories.append(history(folder))
    for name in ("clean_loss", "distance"):
        np.testing.assert_allclose(histories[1][name], histories[0][name], rtol=1e-4)


def test_the_command_without_a_device(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(devices, "all_devices", list)
    monkeypatch.setattr(cuda_device, "why_unavailable", lambda: "no NVIDIA GPU is visible")
    options = ["--data", "iris", "--backend", "cuda", "--output", str(tmp_path / "out")]
    status, _, err = train_command(capsys, *options)
    assert status == 2
    assert "backend is 'cuda', but no NVIDIA GPU is visible" in err
    assert list(tmp_path.iterdir()) == []


# ----------------------------------------------------------------------------------- what cannot be
def test_a_masked_value_outside_float32(the_device):
    steps, _ = started(the_device, NETWORKS["virtual"])
    batches = Batches(
        np.full((14, 5), 1e37, np.float32), fn.GaussianMask(1e3), np.arange(14, dtype=np.uint64), None, 5
    )
    with pytest.raises(ValueError, match=r"in float32 after GaussianMask \(seed 5, draw 3\)"):
        steps.pack_step(batches, 3)


@pytest.mark.filterwarnings("ignore:step_size=")
def test_divergence():
    for step_size in (50.0, 1e25):
        with pytest.warns(fn.TrainingWarning, match="training diverged"):
            run = train(backend="cuda", step_size=step_size, steps=100)
        assert run.status == "diverged"


def test_weights_too_large_to_train():
    W = np.ones((4, 5))
    W[2, 3] = 1e20
    with pytest.raises(ValueError, match="too large to train"):
        train(backend="cuda", network=fn.Network.from_arrays(W, np.ones(4)))


@pytest.mark.parametrize("mode", ["expected", "first-order"])
def test_modes_of_the_processors(mode):
    with pytest.raises(ValueError, match=f"backend is 'cuda' with mode='{mode}'; .* backend='cpu'"):
        train(mode=mode, backend="cuda")


def test_arrays_on_a_device_choose_it(monkeypatch):
    monkeypatch.setattr(devices.arrays, "on_cuda", lambda value: True)
    made = []
    monkeypatch.setattr(device_steps.DeviceSteps, "fill", lambda *_: made.append(1) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train()
    assert made
    train(mode="first-order")
    train(backend="cpu")


def test_more_than_the_device_holds(the_device, monkeypatch):
    class Tiny:
        name, memory_bytes = "a small GPU", 1_000_000

    monkeypatch.setattr(devices, "all_devices", lambda: [Tiny()])
    message = r"300 neurons of 5 features on 14 rows needs about .* weights 6 KB, but a small GPU has 1 MB"
    with pytest.raises(MemoryError, match=message):
        run_on("cuda", NETWORKS["virtual"])


class Counted:
    """A device that counts the bytes that are in use, and has no room for more than ``most``."""

    def __init__(self, device, most=1 << 40):
        self._device, self._arrays, self.most, self.peak = device, [], most, 0

    def __getattr__(self, name):
        return getattr(self._device, name)

    def used(self):
        return sum(array.nbytes for known in self._arrays if (array := known()) is not None)

    def _counted(self, array):
        self._arrays.append(weakref.ref(array))
        used = self.used()
        if used > self.most:
            raise MemoryError(f"no room for {array.nbytes} bytes")
        self.peak = max(self.peak, used)
        return array

    def free_memory(self):
        self._arrays = [known for known in self._arrays if known() is not None]

    def empty(self, shape, dtype):
        return self._counted(self._device.empty(shape, dtype))

    def zeros(self, shape, dtype):
        return self._counted(self._device.zeros(shape, dtype))

    def upload(self, array):
        return self._counted(self._device.upload(array))


@pytest.mark.parametrize("q", [1, 3])
def test_the_estimate_covers_what_is_allocated(the_device, monkeypatch, q):
    counted = Counted(the_device)
    monkeypatch.setattr(devices, "all_devices", lambda: [counted])
    net = fn.Network(1000, 5, outputs=q)
    run_on("cuda", net, steps=3, record_every=1)
    assert not counted.used()  # when the memory was given back
    estimate = device_steps.nbytes_device(net._neurons, 14, 14)
    assert counted.peak <= estimate <= counted.peak + forward.PANEL_BYTES * 1.1


def test_a_full_device(the_device):
    with pytest.raises(MemoryError, match=r"no room for .* Use a smaller network, .*backend='cpu'"):
        started(Counted(the_device, 10_000), NETWORKS["virtual"])
