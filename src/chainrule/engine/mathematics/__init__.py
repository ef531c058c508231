"""Vector code for the functions of mathematics: exponentials, logarithms, angles; one file a family.

Each function takes `Lanes` and gives `Lanes`, without a branch but for the sine, cosine and tangent of very large
angles, so that it serves single values and vectors of any width with the same bits. Errors stay below 2 units in the
last place (`scripts/check_mathematics.py` measures them, over all inputs in float32).
"""
