"""The masks by the names and strengths that the command line has for them."""

from .. import masks

# The distribution, the option that is its strength, and what that is by default.
MASKS: dict[str, tuple] = {
    "gaussian": (masks.GaussianMask, "kappa", 0.2),
    "additive": (masks.AdditiveMask, "tau", 0.02),
    "lognormal": (masks.LognormalMask, "kappa", 0.2),
    "bernoulli": (masks.BernoulliMask, "keep", 0.9),
    "none": (None, None, None),
}
STRENGTHS = ("kappa", "tau", "keep")


class MaskOptionError(ValueError):
    """A strength is given that belongs to another mask; the message says which."""


def strength_of(mask, given):
    """The strength of a mask as a pair, its option and its value; None where there is no mask.

    ``given`` has the options that the user gave, by name; a strength of another mask among them raises
    MaskOptionError.
    """
    _, strength, usual = MASKS[mask]
    for option in set(STRENGTHS) & set(given) - {strength}:
        others = " or ".join(name for name, (_, own, _) in MASKS.items() if own == option)
        instead = f"its strength is --{strength}" if strength else "it has no strength"
        raise MaskOptionError(f"--{option} belongs to --mask {others}, and the mask is {mask}: {instead}.")
    return strength and (strength, given.get(strength, usual))


def make_mask(mask, strength):
    """The mask, or None."""
    distribution, *_ = MASKS[mask]
    return distribution and distribution(strength[1])


def mask_text(mask, strength):
    """The mask in words, such as "gaussian mask of kappa 0.2"."""
    if mask == "none":
        return "no mask"
    name, value = strength
    return f"{mask} mask of {name} {value:g}"
