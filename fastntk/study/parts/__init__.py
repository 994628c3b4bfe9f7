"""The parts of `fastntk study`, one a module, each a question of the paper with figures and a table.

A part is

    a function that returns its numbers (a dataclass of arrays), for use without the command line,
    SIZES, what the command computes by default and with --full,
    PART, how it is shown: title, figures, findings and table; the text around them is in ../pages/parts

registry.py     all of them by name
part.py         what they have in common
problems.py     the synthetic problems
plateau.py      training until nothing but noise moves, and the network in the middle of it

smoothing.py    1   the ReLU under a mask, exact and proxy against Monte Carlo
trajectories.py 2   losses over the steps, predicted and measured ("training")
regime.py       2b  the kernel regime, on rows that were not seen
floor.py        3   what is left in the end, against the strength of the mask
width.py        4a  the kernel, from finite to infinite width
movement.py     4b  how far training moves the weights
certificate.py  4c  where a proof applies
data.py         5   the same on real data
privacy.py      6   who can tell that a row was trained on (membership.py: the attack)
federated.py    7   clients whose features fade (clients.py: who sees what, and training in rounds)
"""
