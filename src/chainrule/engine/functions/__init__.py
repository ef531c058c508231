"""Everything that can be done to tensors, by the names of the Python array API standard (2024.12) where it has one.

Each file holds one family; all are functions over the primitives of `op.py`. This module is the standard's namespace:
what `x.__array_namespace__()` answers.
"""

import sys
from math import e as e
from math import inf as inf
from math import nan as nan
from math import pi as pi
from typing import Any

from chainrule.engine.dtypes import bool_ as bool  # noqa: F401  # the name that the standard gives it
from chainrule.engine.dtypes import float32 as float32
from chainrule.engine.dtypes import float64 as float64
from chainrule.engine.dtypes import int32 as int32
from chainrule.engine.dtypes import int64 as int64
from chainrule.engine.functions.activations import elu as elu
from chainrule.engine.functions.activations import gelu as gelu
from chainrule.engine.functions.activations import hard_sigmoid as hard_sigmoid
from chainrule.engine.functions.activations import hard_silu as hard_silu
from chainrule.engine.functions.activations import hard_tanh as hard_tanh
from chainrule.engine.functions.activations import leaky_relu as leaky_relu
from chainrule.engine.functions.activations import log_softmax as log_softmax
from chainrule.engine.functions.activations import relu as relu
from chainrule.engine.functions.activations import selu as selu
from chainrule.engine.functions.activations import silu as silu
from chainrule.engine.functions.activations import softmax as softmax
from chainrule.engine.functions.activations import softplus as softplus
from chainrule.engine.functions.control import scan as scan
from chainrule.engine.functions.creation import arange as arange
from chainrule.engine.functions.creation import empty as empty
from chainrule.engine.functions.creation import empty_like as empty_like
from chainrule.engine.functions.creation import eye as eye
from chainrule.engine.functions.creation import from_dlpack as from_dlpack
from chainrule.engine.functions.creation import full as full
from chainrule.engine.functions.creation import full_like as full_like
from chainrule.engine.functions.creation import linspace as linspace
from chainrule.engine.functions.creation import meshgrid as meshgrid
from chainrule.engine.functions.creation import ones as ones
from chainrule.engine.functions.creation import ones_like as ones_like
from chainrule.engine.functions.creation import tril as tril
from chainrule.engine.functions.creation import triu as triu
from chainrule.engine.functions.creation import zeros as zeros
from chainrule.engine.functions.creation import zeros_like as zeros_like
from chainrule.engine.functions.datatypes import __array_namespace_info__ as __array_namespace_info__
from chainrule.engine.functions.datatypes import can_cast as can_cast
from chainrule.engine.functions.datatypes import finfo as finfo
from chainrule.engine.functions.datatypes import iinfo as iinfo
from chainrule.engine.functions.datatypes import isdtype as isdtype
from chainrule.engine.functions.datatypes import result_type as result_type
from chainrule.engine.functions.elementwise import abs as abs
from chainrule.engine.functions.elementwise import acos as acos
from chainrule.engine.functions.elementwise import acosh as acosh
from chainrule.engine.functions.elementwise import add as add
from chainrule.engine.functions.elementwise import asin as asin
from chainrule.engine.functions.elementwise import asinh as asinh
from chainrule.engine.functions.elementwise import astype as astype
from chainrule.engine.functions.elementwise import atan as atan
from chainrule.engine.functions.elementwise import atan2 as atan2
from chainrule.engine.functions.elementwise import atanh as atanh
from chainrule.engine.functions.elementwise import bitwise_and as bitwise_and
from chainrule.engine.functions.elementwise import bitwise_invert as bitwise_invert
from chainrule.engine.functions.elementwise import bitwise_left_shift as bitwise_left_shift
from chainrule.engine.functions.elementwise import bitwise_or as bitwise_or
from chainrule.engine.functions.elementwise import bitwise_right_shift as bitwise_right_shift
from chainrule.engine.functions.elementwise import bitwise_xor as bitwise_xor
from chainrule.engine.functions.elementwise import ceil as ceil
from chainrule.engine.functions.elementwise import clip as clip
from chainrule.engine.functions.elementwise import copysign as copysign
from chainrule.engine.functions.elementwise import cos as cos
from chainrule.engine.functions.elementwise import cosh as cosh
from chainrule.engine.functions.elementwise import divide as divide
from chainrule.engine.functions.elementwise import equal as equal
from chainrule.engine.functions.elementwise import erf as erf
from chainrule.engine.functions.elementwise import exp as exp
from chainrule.engine.functions.elementwise import expm1 as expm1
from chainrule.engine.functions.elementwise import floor as floor
from chainrule.engine.functions.elementwise import floor_divide as floor_divide
from chainrule.engine.functions.elementwise import greater as greater
from chainrule.engine.functions.elementwise import greater_equal as greater_equal
from chainrule.engine.functions.elementwise import hypot as hypot
from chainrule.engine.functions.elementwise import isfinite as isfinite
from chainrule.engine.functions.elementwise import isinf as isinf
from chainrule.engine.functions.elementwise import isnan as isnan
from chainrule.engine.functions.elementwise import less as less
from chainrule.engine.functions.elementwise import less_equal as less_equal
from chainrule.engine.functions.elementwise import log as log
from chainrule.engine.functions.elementwise import log1p as log1p
from chainrule.engine.functions.elementwise import log2 as log2
from chainrule.engine.functions.elementwise import log10 as log10
from chainrule.engine.functions.elementwise import logaddexp as logaddexp
from chainrule.engine.functions.elementwise import logical_and as logical_and
from chainrule.engine.functions.elementwise import logical_not as logical_not
from chainrule.engine.functions.elementwise import logical_or as logical_or
from chainrule.engine.functions.elementwise import logical_xor as logical_xor
from chainrule.engine.functions.elementwise import maximum as maximum
from chainrule.engine.functions.elementwise import minimum as minimum
from chainrule.engine.functions.elementwise import multiply as multiply
from chainrule.engine.functions.elementwise import negative as negative
from chainrule.engine.functions.elementwise import nextafter as nextafter
from chainrule.engine.functions.elementwise import not_equal as not_equal
from chainrule.engine.functions.elementwise import positive as positive
from chainrule.engine.functions.elementwise import pow as pow
from chainrule.engine.functions.elementwise import reciprocal as reciprocal
from chainrule.engine.functions.elementwise import remainder as remainder
from chainrule.engine.functions.elementwise import round as round
from chainrule.engine.functions.elementwise import sigmoid as sigmoid
from chainrule.engine.functions.elementwise import sign as sign
from chainrule.engine.functions.elementwise import signbit as signbit
from chainrule.engine.functions.elementwise import sin as sin
from chainrule.engine.functions.elementwise import sinh as sinh
from chainrule.engine.functions.elementwise import sqrt as sqrt
from chainrule.engine.functions.elementwise import square as square
from chainrule.engine.functions.elementwise import stop_gradient as stop_gradient
from chainrule.engine.functions.elementwise import subtract as subtract
from chainrule.engine.functions.elementwise import tan as tan
from chainrule.engine.functions.elementwise import tanh as tanh
from chainrule.engine.functions.elementwise import trunc as trunc
from chainrule.engine.functions.elementwise import where as where
from chainrule.engine.functions.indexing import nonzero as nonzero
from chainrule.engine.functions.indexing import one_hot as one_hot
from chainrule.engine.functions.indexing import scatter_add as scatter_add
from chainrule.engine.functions.indexing import take as take
from chainrule.engine.functions.indexing import take_along_axis as take_along_axis
from chainrule.engine.functions.linear import einsum as einsum
from chainrule.engine.functions.linear import matmul as matmul
from chainrule.engine.functions.linear import tensordot as tensordot
from chainrule.engine.functions.linear import vecdot as vecdot
from chainrule.engine.functions.reductions import all as all
from chainrule.engine.functions.reductions import any as any
from chainrule.engine.functions.reductions import argmax as argmax
from chainrule.engine.functions.reductions import argmin as argmin
from chainrule.engine.functions.reductions import count_nonzero as count_nonzero
from chainrule.engine.functions.reductions import logsumexp as logsumexp
from chainrule.engine.functions.reductions import max as max
from chainrule.engine.functions.reductions import mean as mean
from chainrule.engine.functions.reductions import min as min
from chainrule.engine.functions.reductions import prod as prod
from chainrule.engine.functions.reductions import std as std
from chainrule.engine.functions.reductions import sum as sum
from chainrule.engine.functions.reductions import var as var
from chainrule.engine.functions.running import cumulative_prod as cumulative_prod
from chainrule.engine.functions.running import cumulative_sum as cumulative_sum
from chainrule.engine.functions.running import diff as diff
from chainrule.engine.functions.shapes import broadcast_arrays as broadcast_arrays
from chainrule.engine.functions.shapes import broadcast_to as broadcast_to
from chainrule.engine.functions.shapes import concat as concat
from chainrule.engine.functions.shapes import expand_dims as expand_dims
from chainrule.engine.functions.shapes import flip as flip
from chainrule.engine.functions.shapes import matrix_transpose as matrix_transpose
from chainrule.engine.functions.shapes import moveaxis as moveaxis
from chainrule.engine.functions.shapes import pad as pad
from chainrule.engine.functions.shapes import permute_dims as permute_dims
from chainrule.engine.functions.shapes import repeat as repeat
from chainrule.engine.functions.shapes import reshape as reshape
from chainrule.engine.functions.shapes import roll as roll
from chainrule.engine.functions.shapes import split as split
from chainrule.engine.functions.shapes import squeeze as squeeze
from chainrule.engine.functions.shapes import stack as stack
from chainrule.engine.functions.shapes import tile as tile
from chainrule.engine.functions.shapes import unstack as unstack
from chainrule.engine.functions.sorting import argsort as argsort
from chainrule.engine.functions.sorting import searchsorted as searchsorted
from chainrule.engine.functions.sorting import sort as sort
from chainrule.engine.functions.sorting import top_k as top_k
from chainrule.engine.functions.sorting import unique_all as unique_all
from chainrule.engine.functions.sorting import unique_counts as unique_counts
from chainrule.engine.functions.sorting import unique_inverse as unique_inverse
from chainrule.engine.functions.sorting import unique_values as unique_values
from chainrule.engine.tensor import METHODS
from chainrule.engine.tensor import asarray as asarray
from chainrule.errors import ArgumentError

newaxis = None
__array_api_version__ = "2024.12"
_VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12")


def _namespace(api_version: str | None) -> Any:
    if api_version not in (None, *_VERSIONS):
        raise ArgumentError(f"the array API standard {api_version!r} is not known; known are {', '.join(_VERSIONS)}.")
    return sys.modules[__name__]


METHODS["__array_namespace__"] = _namespace
