"""The engine: how a sum over neurons is planned, split, run and put together.

    plan          threads, neuron ranges, memory estimate and limit
    inputs        masked inputs of the rows and columns, packed for the kernels
    chunk         one range of neurons evaluated on demand: bits, rectified preactivations
    accumulators  what a sweep adds up: nbytes, add, merge, finish; the sweep knows nothing else of them
    sweep         workers over neuron ranges, progress, interruption
    threads       the one thread pool
    environment   IEEE arithmetic whatever the host has set

It takes checked arguments from the API above and calls the kernels below.
"""
