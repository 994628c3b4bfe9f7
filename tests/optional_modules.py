"""Modules that are for a library, and cannot be imported without it."""

LIBRARIES = {
    "fastntk.torch": "torch",
    "fastntk.jax": "jax",
    "fastntk.benchmarks.torch_methods": "torch",
    "fastntk.benchmarks.jax_methods": "jax",
}
