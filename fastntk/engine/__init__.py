"""The engine: how a sum over neurons is planned, split, run and put together.

    neuron_sums   what the API calls: planned once, run for each draw of the masks
    plan          threads, neuron ranges, memory estimate and limit
    sweep         workers over neuron ranges, progress, interruption
    accumulators  what a sweep adds up: nbytes, add, merge, finish; the sweep knows nothing else of them
    chunk         one range of neurons evaluated on demand: bits, rectified preactivations
    neurons       weights by range, and bounds on their norms
    inputs        masked inputs of the rows and columns, packed for the kernels
    products      their inner products
    threads       the one thread pool
    environment   IEEE arithmetic whatever the host has set

It takes checked arguments from the API above and calls the kernels below.
"""
