"""The settings of a training run, as the command line takes them and the results folder keeps them."""

from dataclasses import dataclass

from ..descent import REGULARISERS
from .mask_options import MASKS, STRENGTHS, MaskOptionError, make_mask, strength_of

RECORDS = 100  # in a run, unless it is told how often; more in a long one,
MOST_STEPS_BETWEEN = 100  # so that there is something to see wherever it is stopped
RECORDS_PER_MEASUREMENT = 10  # of eigenvalues, and per audit, unless it is told how often
MOST_ROWS_MEASURED = 3000  # both cost rows^3 or rows^2 width: for larger data they have to be asked for


class TrainingError(ValueError):
    """The data or the settings do not allow the training; the message says how."""


@dataclass(frozen=True)
class Settings:
    """What a training run does; the names are those of the options.

    None is "as the program sees fit" for `step_size`, the whole set for `batch_size`, and "does not belong
    to this mask" for `kappa`, `tau` and `keep`.
    """

    data: str
    target: str | None
    preprocess: str
    test_fraction: float
    width: int
    dtype: str
    mask: str
    kappa: float | None
    tau: float | None
    keep: float | None
    mode: str
    steps: int
    step_size: float | None
    batch_size: int | None
    seed: int
    record_every: int
    eigenvalues_every: int
    audit_every: int
    expected_every: int

    @property
    def strength(self):
        """The mask's strength as a pair, its name and its value; None where there is no mask."""
        _, name, _ = MASKS[self.mask]
        return name and (name, getattr(self, name))

    def make_mask(self):
        """The mask, or None."""
        return make_mask(self.mask, self.strength)


DEFAULTS = {
    "data": "digits",
    "target": None,
    "preprocess": "unit",
    "test_fraction": 0.2,
    "width": 4096,
    "dtype": "float32",
    "mask": "gaussian",
    "mode": "masked",
    "steps": 1000,
    "step_size": None,
    "batch_size": None,
    "seed": 0,
}


def neurons_text(settings):
    """The neurons of settings with a width and a dtype, in words."""
    weights = "" if settings.dtype == "float32" else f" of {settings.dtype} weights"
    return f"{settings.width:,} neurons{weights}"


def complete(given, rows):
    """The settings of a new run.

    Parameters
    ----------
    given : dict
        The options that the user gave, by the names of :class:`Settings`.
    rows : int
        Rows of the data set: of many, the eigenvalues are left out unless they are asked for.

    Returns
    -------
    Settings

    Raises
    ------
    TrainingError
        A strength is given that belongs to another mask, or records are to be made every 0 steps.
    """
    chosen = DEFAULTS | given
    try:
        strength = strength_of(chosen["mask"], given)
    except MaskOptionError as error:
        raise TrainingError(str(error)) from error
    often = min(max(1, chosen["steps"] // RECORDS), MOST_STEPS_BETWEEN)
    seldom = often * RECORDS_PER_MEASUREMENT if rows <= MOST_ROWS_MEASURED else 0
    audits = 0 if chosen["mode"] in REGULARISERS else seldom
    every = {"record_every": often, "eigenvalues_every": seldom, "audit_every": audits, "expected_every": 0}
    strengths = dict.fromkeys(STRENGTHS) | dict([strength] if strength else [])
    settings = Settings(**every | strengths | chosen)
    if settings.record_every < 1:
        raise TrainingError(f"--record-every is {settings.record_every}; it must be at least 1.")
    return settings


def require_same(settings, given, folder):
    """Raise TrainingError where options differ from the settings of the run that is to go on."""
    different = [name for name, value in given.items() if value != getattr(settings, name)]
    if different:
        theirs = " and ".join(_option(name, getattr(settings, name)) for name in different)
        ours = " and ".join(_option(name, given[name]) for name in different)
        raise TrainingError(
            f"the run in {folder} was started with {theirs}, and goes on like that: leave {ours} out, or "
            "start another run in another --output."
        )


def _option(name, value):
    name = f"--{name.replace('_', '-')}"
    return f"no {name}" if value is None else f"{name} {value}"
