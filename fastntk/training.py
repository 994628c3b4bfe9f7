"""Masked gradient descent: the paper's system."""

import os
import queue
import threading
import warnings
from dataclasses import asdict

import numpy as np

from . import masking, stability, validation
from .audit import nbytes_audit
from .batches import Batches
from .descent import REGULARISERS
from .engine import devices
from .engine.digests import digest, network_digest
from .engine.environment import ieee_arithmetic, in_ieee_arithmetic
from .engine.pairs import PairVariance
from .engine.plan import allowed_memory, checked_options, describe_bytes
from .engine.steps import Steps, nbytes_steps
from .engine.threads import MAX_THREADS, available_cpus
from .explained import MEMORY
from .gram import nbytes_ntk
from .keeping import checkpoint_in
from .kernels import load
from .kernels.reference import DRAW_LIMIT
from .network import as_network
from .smoothing.inputs import variances
from .smoothing.objective import nbytes_objective
from .targets import as_targets
from .trainer import DIVERGED, Every, Trainer
from .training_run import Settings, TrainingRun

MODES = ("masked", "clean", "expected", "first-order")
POLL_SECONDS = 0.2  # how soon an interrupt is seen where signals do not wake a waiting thread


class TrainingWarning(UserWarning):
    """A step size that cannot converge, or a run that has diverged.

    Examples
    --------
    >>> import warnings, fastntk as fn
    >>> net = fn.Network(width=500, dim=1)
    >>> with warnings.catch_warnings(action="always", record=True) as caught:
    ...     run = fn.train([[1.0]], [1.0], network=net, step_size=5.0, steps=1)
    >>> str(caught[0].message)[:69]
    'step_size=5 times the largest eigenvalue of the masked kernel, 0.468,'
    """


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C during training; ``run`` is the run so far, to save or to go on with.

    Examples
    --------
    >>> import fastntk as fn
    >>> def impatient(done, total):
    ...     raise KeyboardInterrupt
    >>> net = fn.Network(width=500, dim=1)
    >>> try:
    ...     run = fn.train([[1.0]], [1.0], network=net, steps=10**6, progress=impatient)
    ... except fn.TrainingInterrupted as interrupt:
    ...     run = interrupt.run
    >>> run.status
    'interrupted'
    """

    def __init__(self, run: TrainingRun) -> None:
        super().__init__(
            f"training was interrupted after {run.steps_done} steps; the run so far is in the .run of this "
            f"exception: save it with run.save(path), go on with train(..., resume=run)"
        )
        self.run = run


@in_ieee_arithmetic
def train(
    X,
    y,
    *,
    network,
    mask=None,
    step_size=None,
    steps=1000,
    batch_size=None,
    mode="masked",
    seed=0,
    record_every=10,
    eigenvalues_every=None,
    audit_every=None,
    expected_every=None,
    row_ids=None,
    out=None,
    resume=None,
    checkpoint=None,
    backend="auto",
    threads=None,
    memory_limit=None,
    progress=None,
):
    """Train the hidden weights of a two-layer ReLU network on inputs masked afresh at every step.

    Gradient descent on the squared loss 1/2 sum_ic (f_c(x~_i) - y_ic)^2, a sum over the rows of the batch:

        W <- W - step_size * sum_ic (f_c(x~_i) - y_ic) grad_W f_c(x~_i),

    where x~ are the inputs under the masks of the step, ``mask.sample(X, seed=seed, draw=step)``.  Output
    weights stay as they are.

    Parameters
    ----------
    X : (n, d) real array
        Inputs, rounded to float32; never written.
    y : (n,), (n, q) or (n,) class labels
        Real targets, one for each output of the network; for several outputs also class labels from 0 to
        q - 1, whose targets are 1 for the class and 0 for the others.
    network : Network
        Where training starts.  Virtual weights are made into an array, float32(scale * z); given ones are
        copied, never written, and may be a memmap.
    mask : mask or None
    step_size : float, optional
        By default 1 / lambda in three digits, lambda the mean largest eigenvalue of the masked kernel: half
        of what is stable.  A given one is checked: a TrainingWarning says by how much it is too large.
    steps : int
        Steps in all, those of a resumed run included.
    batch_size : int, optional
        Rows of a step, in epochs over the data in an order made from (seed, epoch, row ids); all rows by
        default.
    mode : "masked", "clean", "expected" or "first-order"
        "clean" trains on X itself; the mask then only serves to record the masked loss.  "expected" descends
        the mean of the loss over all masks by its exact gradient (``fastntk.smoothing.expected_gradient``),
        "first-order" the same with the first term of the regulariser; both for Gaussian and additive masks.
    seed : int
        Of the masks and of the order of the batches (the network has its own).
    record_every : int
        Steps between entries of the history, each of which costs a forward pass on X.
    eigenvalues_every, audit_every, expected_every : int, optional
        Steps between eigenvalues of the kernel (cost of ``ntk`` and n^3), audits of a step under masks
        (``fastntk.audit``, in float64: some twenty steps, and a copy of the weights), and evaluations of the
        expected loss (:func:`fastntk.expected_loss`, O(n m^2)).
    row_ids : integer array, optional
        Ids that key masks and batches, 0, 1, 2, ... by default.
    out : (m, d) float32 array, optional
        Where the weights are trained, such as a np.memmap; memory by default.  After an error it holds
        unfinished ones.
    resume : TrainingRun or path, optional
        A run to go on with, to the same bits as if it had never stopped.  Network, data, row ids, mask,
        mode, batch size and seed must be the same; its step size is kept.
    checkpoint : path of a folder, optional
        Keep the run there from time to time, and on Ctrl-C; the same call, also with more steps, goes on from
        it, whatever stopped the one before.
    backend : "auto", "cpu" or "cuda"
        As in :func:`fastntk.ntk`, but on one CUDA device, the first, whose memory holds the weights; modes
        "masked" and "clean".
    threads, memory_limit : int, optional
        As in :func:`fastntk.ntk`.
    progress : callable, optional
        progress(done, total) in steps, called from the calling thread.

    Returns
    -------
    TrainingRun
        History, trained network and status.  A run whose loss grows 10^6-fold, or whose weights leave
        float32, ends with status "diverged" and a TrainingWarning; its history is kept.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it was and what it may be; for ``resume`` and ``checkpoint`` what differs.
    MemoryError
        Before anything is allocated, with the estimate and what would help.
    TrainingInterrupted
        On Ctrl-C once training has begun (a KeyboardInterrupt), with the run so far as ``.run``.

    Notes
    -----
    One pass over the weights a step: each chunk of neurons is updated and run forward under the next masks
    while it is in cache.  Cost O(m n d) a step; memory 4 m d bytes for the weights and n m / 8 each for the
    bits of the step and for the initial bits, with no array of n m numbers.  Steps along a mean over masks
    cost what ``expected_gradient`` does, O(n m^2 (d + 3 K)) for the exact one.

    Activation bits are signs of exact real numbers; preactivations and gradients are float32, and outputs
    are summed in float64.  Output weights are used as float32.  The same bits for every number of threads
    and after every resume, on one instruction-set path or on CUDA devices.

    Source: arXiv 2602.17423, whose system this is; docs/mathematics.md, section 7.

    Examples
    --------
    >>> import numpy as np, fastntk as fn
    >>> X = np.eye(4)
    >>> net = fn.Network(width=2000, dim=4, seed=0)
    >>> run = fn.train(X, [1.0, -1.0, 0.0, 2.0], network=net, mask=fn.GaussianMask(0.1), steps=200)
    >>> bool(run.clean_loss[-1] < 0.01 * run.clean_loss[0])
    True
    """
    validation.as_choice(mode, "mode", MODES)
    backend = _checked_backend(backend, mode, X, y)
    X = validation.as_matrix(X, "X")
    network = as_network(network, X)
    if masking.as_mask(mask, "mask") is not None:
        mask._check_features(X.shape[1], "X")
    targets, labels = as_targets(y, len(X), network.outputs)
    total = validation.as_count(steps, "steps", high=DRAW_LIMIT - 1)
    if batch_size is not None:
        batch_size = validation.as_count(batch_size, "batch_size", high=len(X))
    ids = validation.as_ids(row_ids, "row_ids", len(X))
    every = Every(
        validation.as_count(record_every, "record_every"),
        None if eigenvalues_every is None else validation.as_count(eigenvalues_every, "eigenvalues_every"),
        None if audit_every is None else validation.as_count(audit_every, "audit_every"),
        None if expected_every is None else validation.as_count(expected_every, "expected_every"),
    )
    if step_size is not None:
        step_size = validation.as_positive(step_size, "step_size", high=1e30)
    seed = validation.as_seed(seed)
    options = checked_options(threads, memory_limit, progress, backend)
    if out is not None:
        others = {"X": X, "the weights of the network": network._neurons.given_weights}
        validation.as_output(out, "out", (network.width, network.dim), others)

    if mode in REGULARISERS:
        _check_expected(mode, mask, X, audit_every)
    elif every.expected is not None:
        variances(mask, X, "X")

    batches = Batches(X, None if mode == "clean" else mask, ids, batch_size, seed)
    workers = _plan(network, batches.size, len(X), every, mode, out, options)
    row_bytes = 4 * network.dim + (0 if network.is_virtual else 8 * network.outputs)
    settings = Settings(
        X=digest(X),
        y=digest(targets if labels is None else labels),
        row_ids=digest(ids),
        network=network_digest(network._neurons),
        width=network.width,
        dim=network.dim,
        outputs=network.outputs,
        mask=repr(mask),
        mode=mode,
        batch_size=batch_size,
        seed=seed,
    )
    with checkpoint_in(
        checkpoint, {"function": "train", **asdict(settings)}, network.width * row_bytes
    ) as saved:
        earlier = _as_earlier("resume", resume, settings, step_size, total)
        if saved is not None and saved.saved is not None:
            kept = TrainingRun.from_contents(*saved.take())
            earlier = _as_earlier("checkpoint", kept, settings, step_size, total)
        if earlier is not None:
            step_size = earlier.step_size
        else:
            step_size = _checked_step_size(step_size, network, batches, options)
        if out is not None:
            weights = np.asarray(out)
        elif earlier is None or earlier is resume:
            weights = np.empty((network.width, network.dim), np.float32)
        else:  # nobody else has the weights that were read from the file
            weights = earlier.network._neurons.given_weights.base.reshape(network.width, network.dim)
        trainer = Trainer(
            network,
            _steps(network, weights, batches, workers, backend),
            batches,
            mask,
            targets,
            labels,
            step_size=step_size,
            total=total,
            every=every,
            settings=settings,
            threads=workers,
            backend=backend,
            reports=progress is not None,
            borrowed=out is not None,
            checkpoint=saved,
        )
        return _drive(trainer, earlier, options.progress)


def _drive(trainer, earlier, progress):
    """Run the trainer in its own thread, report from this one, and end both in good order."""
    runs, failures = [], []

    def work():
        try:
            with ieee_arithmetic():
                runs.append(trainer.run(earlier))
        except BaseException as error:  # raised again in the calling thread
            failures.append(error)
        finally:
            trainer.reached.put(None)

    thread = threading.Thread(target=work, name="fastntk-training", daemon=True)
    thread.start()
    stopped_by = None
    while True:
        try:
            _report(thread, trainer, progress if stopped_by is None else None)
            break
        except BaseException as error:  # Ctrl-C, or the callback's own
            trainer.steps.hurry.set()
            stopped_by = stopped_by or error
    if failures:
        raise failures[0]
    run = runs[0]
    if isinstance(stopped_by, KeyboardInterrupt):
        raise TrainingInterrupted(run) from None
    if stopped_by is not None:
        raise stopped_by
    if run.status == "diverged":
        warnings.warn(
            f"training diverged: after {run.steps_done} steps the loss has grown more than "
            f"{DIVERGED:.0e}-fold, or a weight has left float32. Use a step size below "
            f"{run.step_size:g}; step_size=None chooses one.",
            TrainingWarning,
            stacklevel=4,
        )
    return run


def _report(thread, trainer, progress):
    """Call progress(done, total) for the steps of the trainer until its thread has ended."""
    while thread.is_alive() or not trainer.reached.empty():
        try:
            done = trainer.reached.get(timeout=POLL_SECONDS)
        except queue.Empty:  # such as where an interrupt lost the last message
            continue
        if done is None:
            thread.join()
        elif progress is not None:
            progress(done, trainer.total)


# ------------------------------------------------------------------------------------ checks


def _checked_step_size(step_size, network, batches, options):
    """The step size to use; warns where it cannot converge."""
    eigenvalue = stability.masked_eigenvalue(network, batches, options)
    if step_size is None:
        return stability.advised_step_size(eigenvalue)
    if step_size * eigenvalue >= stability.LIMIT:
        warnings.warn(
            f"step_size={step_size:g} times the largest eigenvalue of the masked kernel, {eigenvalue:.4g}, "
            f"is {step_size * eigenvalue:.3g}; gradient descent is unstable from about {stability.LIMIT:g}. "
            f"Use at most {0.99 * stability.LIMIT / eigenvalue:.2g}, or step_size=None for "
            f"{stability.advised_step_size(eigenvalue):g}.",
            TrainingWarning,
            stacklevel=4,
        )
    return step_size


def _as_earlier(name, resume, settings, step_size, total):
    """The run to go on with, or None; ``name`` is the argument that it comes from."""
    if resume is None:
        return None
    if not isinstance(resume, (TrainingRun, str, os.PathLike)):
        raise TypeError(f"resume is {resume!r}; it must be a TrainingRun, the path of a saved one, or None.")
    earlier = resume if isinstance(resume, TrainingRun) else TrainingRun.load(resume)
    lines = settings.differences(earlier.settings)
    if step_size is not None and step_size != earlier.step_size:
        lines.append(f"step_size ({earlier.step_size!r} there, {step_size!r} here)")
    earlier.require_own_weights("resume cannot go on from it")
    if lines:
        raise ValueError(
            f"{name} is a run of something else: {', '.join(lines)} differ. Give what it was started "
            f"with, or start again without {name}."
        )
    if earlier.status == "diverged":
        raise ValueError(
            f"{name} is a run that diverged after {earlier.steps_done} steps. Start again, with a step size "
            f"below {earlier.step_size:g}."
        )
    if earlier.steps_done > total:
        raise ValueError(
            f"{name} is a run of {earlier.steps_done} steps already, more than steps={total}. Ask for more."
        )
    return earlier


def _check_expected(mode, mask, X, audit_every):
    """Refuse what does not go with steps along a mean over masks."""
    if mask is None:
        raise ValueError(
            f"mode is {mode!r}, a mean over masks, but there is no mask; give one, or mode='clean'."
        )
    variances(mask, X, "X")
    if audit_every is not None:
        raise ValueError(
            f"audit_every is given with mode={mode!r}; the identity it checks is that of steps under masks. "
            f"Leave it out."
        )


def _checked_backend(backend, mode, *inputs):
    """ "cpu" or "cuda", which takes steps under masks or without."""
    if mode not in REGULARISERS:
        return devices.checked_backend(backend, *inputs)
    if backend == "cuda":
        raise ValueError(
            f"backend is 'cuda' with mode={mode!r}; devices take the steps of mode='masked' and 'clean'. Use "
            f"backend='cpu'."
        )
    return devices.checked_backend(backend)


def _steps(network, weights, batches, threads, backend):
    """The weights, and what passes over them."""
    sizes = batches.size, len(batches.X)
    if backend == "cuda":
        from .engine.device_steps import DeviceSteps

        return DeviceSteps(devices.all_devices()[0], network._neurons, weights, *sizes)
    return Steps(load(), network._neurons, weights, *sizes, threads)


def _plan(network, rows, total_rows, every, mode, out, options):
    """The number of threads; raises MemoryError where the memory is not there."""
    weights = 4 * network.width * network.dim
    if options.backend == "cuda":
        from .engine.device_steps import nbytes_host, require_room

        require_room(devices.all_devices()[0], network._neurons, rows, total_rows)
        shared, each = nbytes_host(network._neurons, rows, total_rows), 1
    else:
        shared, each = nbytes_steps(load(), network._neurons, rows, total_rows)
    shared += 0 if out is not None else weights
    if every.audit is not None:
        shared += weights + nbytes_audit(total_rows, rows)
    wanted = options.threads or min(available_cpus(), MAX_THREADS)
    if every.eigenvalues is not None:
        shared += nbytes_ntk(network, total_rows, wanted) + 8 * total_rows * total_rows
    if mode in REGULARISERS:
        shared += nbytes_objective(load(), network._neurons, rows, REGULARISERS[mode])
    if every.expected is not None:
        shared += sum(PairVariance.nbytes(load(), network._neurons, total_rows))
    limit, source = allowed_memory(options.memory_limit)
    fitting = min(wanted, int((limit - shared) // each))
    needed = max(
        shared + each * (wanted if options.threads else max(fitting, 1)),
        stability.nbytes_eigenvalue(network, rows, wanted),
    )
    if needed > limit:
        hints = [
            "fewer threads" if options.threads else "",
            "no audits" if every.audit else "",
            "no eigenvalues" if every.eigenvalues else "",
            "no expected losses" if every.expected else "",
            "" if out is not None else "out=np.lib.format.open_memmap(...) for the weights",
            "a smaller network, fewer rows, or a larger memory_limit",
        ]
        raise MemoryError(
            f"training {network.width} neurons of {network.dim} features on {total_rows} rows needs about "
            f"{describe_bytes(needed)}, of which the weights {describe_bytes(weights)}, but {source} is "
            f"{describe_bytes(limit)}. Use {', '.join(filter(None, hints))}. {MEMORY}"
        )
    return fitting
