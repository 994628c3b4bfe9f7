"""Everything to be known of the CUDA backend on a GPU: ``python -m bench.gpu`` (``--help`` lists its parts).

=================  ====================================================================
parts.py           the parts, each in a process of its own
lab.py             the device that is measured, its clock, its memory
checks.py          parts: GPU tests, compute-sanitizer, equality with processors, leaks
every_kernel.py    ... what compute-sanitizer looks at
ledger.py          ... where each GPU test last passed
ceilings.py        part: what the chip does of one thing at a time, by peaks.cu
kernels.py         part: each kernel beside these ceilings
cases.py           ... what is run
profiler.py        ... and why it is below
choices.py         part: the forms of kernels/cuda/tables.py
calls.py           part: whole kernels against PyTorch and CuPy
peers.py           ... as these write them
resources.py       registers, memory and instructions of every kernel, without a GPU
=================  ====================================================================
"""
