"""The CUDA backend: kernels in CUDA C++ (``*.cu``), compiled when first used and launched through CuPy.

    layout.py      how arrays lie in the memory of a device, stated once for both sides
    nvrtc.py       NVIDIA's compiler as a library
    compile.py     a source and an architecture -> machine code, kept on disk
    device.py      memory, transfers and launches: all that the host code of a kernel talks to
    tables.py      what is chosen for each architecture
    ptx.cuh        instructions that CUDA C++ has no function for
    wire_format.py the constants of random values as a C++ header, from reference.py
    random.py      virtual weights and output signs as arrays
    forward.py     certified pattern bits of a chunk of neurons
    forward_bf16.py the same of bfloat16 weights on tensor cores, for who trusts their rounding
    coactivation.py counts of neurons active on two samples
    sums.py        float sums in the order of the CPU's
    gradient.py    gradients of the neurons and tangents of the samples
    batch.py       the masked inputs of a training step, made and packed on the device
    step.py        a training step: weights updated, and run forward with their outputs
    history.py     what a training run records: flipped bits, the distance travelled

Importing this package needs neither CuPy nor a GPU: :func:`device.why_unavailable` says what is missing.
"""
