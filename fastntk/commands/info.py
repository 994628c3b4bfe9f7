"""``fastntk info``: versions, processor, the instruction set in use, CUDA devices."""

from .terminal import InputError


def add_to(commands):
    """Describe the command to argparse."""
    info = commands.add_parser("info", help="versions, processor, the instruction set in use, CUDA devices")
    info.set_defaults(run=_run)


def _run(options):
    from ..study.provenance import provenance

    try:
        facts = provenance() | {"CUDA devices": _cuda_devices(), **_tensor_forward()}
    except ValueError as error:  # a setting is unknown, or not for this machine
        raise InputError(error) from error
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:{width}}  {value}")


def _cuda_devices():
    from ..kernels.cuda.device import find_devices, why_unavailable

    found = ", ".join(f"{device.name} ({device.arch})" for device in find_devices())
    return found or f"none: {why_unavailable()}"


def _tensor_forward():
    from ..kernels.cuda.forward_bf16 import VARIABLE, is_chosen

    said = f"patterns of bfloat16 networks, exact if they round as measured ({VARIABLE})"
    return {"tensor cores": said} if is_chosen() else {}
