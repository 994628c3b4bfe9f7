"""Benchmarks: this package and its peers on one machine, for ``fastntk bench`` and the suites in bench/.

methods.py         the methods that are compared, and what each takes
own_methods.py     ... by this package
numpy_methods.py   ... by NumPy and NumKong
torch_methods.py   ... by PyTorch
jax_methods.py     ... by JAX and neural-tangents
problem.py         what they compute
sizes.py           which problems
agreement.py       how far their results may be apart
worker.py          a process for each method
measure.py         the run
single_kernels.py  compiled kernels alone
roofline.py        ... beside the machine's peaks
peaks.py, tile_peak.py   these peaks
results.py         what came of it, and its file
tables.py          as text
report.py          the folder

interleave.py      A B B A A B ...: times that noise on the machine hits alike
cores.py           some of the processors
memory.py          what a process holds
hardware.py        the machine and the versions
"""
