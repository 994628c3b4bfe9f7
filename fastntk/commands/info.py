"""``fastntk info``: versions, processor and the instruction set in use."""

from .terminal import InputError


def add_to(commands):
    """Describe the command to argparse."""
    info = commands.add_parser("info", help="versions, processor and the instruction set in use")
    info.set_defaults(run=_run)


def _run(options):
    from ..study.provenance import provenance

    try:
        facts = provenance()
    except ValueError as error:  # an instruction set is forced that is unknown or not there
        raise InputError(error) from error
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:{width}}  {value}")
