"""Turns a Python function into tensors, a graph, and its gradients.

One file a stage, in the order of the data: op, dtypes, provenance, graph, reference, tensor, functions,
derivatives, backprop, transforms. Everything above this folder calls what is public here and nothing else.
"""
