"""Layers and networks: modules that own parameters, and what is needed to make, print and describe them.

Everything here works on tensors of the engine; channels and features stand on the last axis.
"""

from chainrule.nn import description as description
from chainrule.nn import initializers as initializers
from chainrule.nn import losses as losses
from chainrule.nn import optimizers as optimizers
from chainrule.nn import schedules as schedules
from chainrule.nn.activations import ELU as ELU
from chainrule.nn.activations import GELU as GELU
from chainrule.nn.activations import SELU as SELU
from chainrule.nn.activations import HardSigmoid as HardSigmoid
from chainrule.nn.activations import HardSiLU as HardSiLU
from chainrule.nn.activations import HardTanh as HardTanh
from chainrule.nn.activations import LeakyReLU as LeakyReLU
from chainrule.nn.activations import LogSoftmax as LogSoftmax
from chainrule.nn.activations import ReLU as ReLU
from chainrule.nn.activations import Sigmoid as Sigmoid
from chainrule.nn.activations import SiLU as SiLU
from chainrule.nn.activations import Softmax as Softmax
from chainrule.nn.activations import Softplus as Softplus
from chainrule.nn.activations import Tanh as Tanh
from chainrule.nn.containers import Lambda as Lambda
from chainrule.nn.containers import Residual as Residual
from chainrule.nn.containers import Sequential as Sequential
from chainrule.nn.dense import Dense as Dense
from chainrule.nn.dense import Flatten as Flatten
from chainrule.nn.dropout import Dropout as Dropout
from chainrule.nn.embedding import EmbeddedColumns as EmbeddedColumns
from chainrule.nn.embedding import Embedding as Embedding
from chainrule.nn.module import Module as Module
from chainrule.nn.normalization import BatchNorm as BatchNorm
from chainrule.nn.normalization import LayerNorm as LayerNorm
from chainrule.nn.normalization import RMSNorm as RMSNorm
from chainrule.nn.normalization import Standardize as Standardize
