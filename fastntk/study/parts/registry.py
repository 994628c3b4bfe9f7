"""All parts by name, in the order of the page."""

from importlib import import_module

MODULES = (
    "smoothing",
    "trajectories",
    "regime",
    "floor",
    "width",
    "movement",
    "certificate",
    "data",
    "privacy",
    "federated",
)
PARTS = {part.name: part for part in (import_module(f".{name}", __package__).PART for name in MODULES)}
