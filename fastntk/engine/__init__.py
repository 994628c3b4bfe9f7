"""The engine: how a sum over neurons is planned, split, run and put together.

    neuron_sums   what the API calls for one sweep
    runs          what it calls for sweeps that may be stopped: checkpoints, tiles, workers elsewhere
    kernel_matrix, row_values    matrices (in memory or in a file), and values of rows, made by runs

    plan          threads, memory estimate and limit;  ranges: ranges of neurons
    sweep         workers over neuron ranges, progress, interruption
    accumulators  what a sweep adds up: nbytes, add, merge, state, finish; fixed_point: sums of floats
    chunk         one range of neurons evaluated on demand: bits, rectified preactivations
    neurons       weights by range, and bounds on their norms
    inputs        masked inputs of the rows and columns, packed for the kernels
    products      their inner products
    assembly      from sums to entries, block by block

    problem       what a run computes, part by part, as it is sent to workers
    checkpoint    what it has added up so far, in a folder;  durable: files that are whole
    tiles, npyfile, patterns     a matrix on disk
    executors, dask_workers, remote     ranges of neurons on other workers

    threads       the one thread pool
    environment   IEEE arithmetic whatever the host has set

Moments, pairs, steps and gradients have sums and drivers of their own: moment_sums, pairs, steps, gradients.
It takes checked arguments from the API above and calls the kernels below.
"""
