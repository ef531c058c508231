"""Remedies: what can be changed, safely and by itself, where a rule found something, and how it is judged.

`way` says what a run is made of, `judging` whether a change helped, `loop` tries one after the other; `table` names the
remedies of every rule, which stand in a file for each kind of change.
"""
