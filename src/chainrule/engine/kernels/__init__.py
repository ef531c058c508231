"""Kernels: how each kind of work between two stored arrays is written as native code."""
