"""The commands, one a module: ``add_to(commands)`` describes its arguments and what runs.

study.py      fastntk study
train.py      fastntk train
ntk.py        fastntk ntk
bench.py      fastntk bench
info.py       fastntk info
arguments.py  arguments that several commands take
terminal.py   messages, progress and signals
"""
