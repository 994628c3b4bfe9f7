"""``fastntk info``: versions, processor, the instruction set in use, CUDA devices."""

from .terminal import InputError


def add_to(commands):
    """Describe the command to argparse."""
    info = commands.add_parser("info", help="versions, processor, the instruction set in use, CUDA devices")
    info.set_defaults(run=_run)


def _run(options):
    from ..study.provenance import provenance

    try:
        facts = provenance()
    except ValueError as error:  # an instruction set is forced that is unknown or not there
        raise InputError(error) from error
    facts["CUDA devices"] = _cuda_devices()
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:{width}}  {value}")


def _cuda_devices():
    from ..kernels.cuda.device import find_devices, why_unavailable

    found = ", ".join(f"{device.name} ({device.arch})" for device in find_devices())
    return found or f"none: {why_unavailable()}"
