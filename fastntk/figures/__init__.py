"""Figures: numbers in, matplotlib ``Figure`` objects out; no pyplot, no backend, no global style.

One module for each part of a study (``figures(study)`` gives {name: Figure}), ``kernel`` with those of a
width study, ``training`` with that of a training run, and ``style`` with what they share.
"""
