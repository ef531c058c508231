"""What a part computes and how an error goes back through it, in one line each: the words of an explanation.

Activations and layers have lines of their own; anything else (a Lambda, a layer of the user's) is told by its ops.
δ is the error that arrives, a and z what the part gives and receives.
"""

from __future__ import annotations

from dataclasses import dataclass

from chainrule.engine.op import Op
from chainrule.look.explaining.parts import LOSS, Part
from chainrule.nn.activations import ActivationLayer
from chainrule.nn.containers import Lambda
from chainrule.nn.dense import Dense, Flatten
from chainrule.nn.dropout import Dropout
from chainrule.nn.embedding import Embedding
from chainrule.nn.module import Module
from chainrule.nn.normalization import BatchNorm, LayerNorm, RMSNorm, Standardize


@dataclass(frozen=True, slots=True)
class Rule:
    """The formula of a part, the derivative that an error is multiplied with, and both in LaTeX ("" where it has none).

    `elementwise` says that each output depends on one input, so that the derivative is one number an element.
    """

    forward: str
    backward: str
    latex: str = ""
    latex_derivative: str = ""
    elementwise: bool = False


def _bend(forward: str, backward: str, latex: str, latex_derivative: str) -> Rule:
    return Rule(forward, backward, latex, latex_derivative, True)


ACTIVATION_RULES: dict[str, Rule] = {
    "relu": _bend("a = max(z, 0)", "× 1 where z > 0, else × 0", r"\max(z, 0)", r"[z > 0]"),
    "leaky_relu": _bend("a = z above 0, slope·z below", "× 1 where z > 0, else × slope", "", ""),
    "elu": _bend("a = z above 0, α(exp z − 1) below", "× 1 where z > 0, else × α·exp z", "", ""),
    "selu": _bend("a = λ·elu(z, α)", "× λ where z > 0, else × λα·exp z", "", ""),
    "gelu": _bend("a = z·Φ(z)", "× Φ(z) + z·φ(z)", r"z\,\Phi(z)", r"\Phi(z) + z\,\varphi(z)"),
    "silu": _bend("a = z·σ(z)", "× σ(z)·(1 + z·(1 − σ(z)))", r"z\,\sigma(z)", r"\sigma(z)(1 + z(1 - \sigma(z)))"),
    "sigmoid": _bend("a = σ(z) = 1 / (1 + exp −z)", "× σ′(z) = a·(1 − a)", r"\sigma(z)", r"a(1 - a)"),
    "tanh": _bend("a = tanh z", "× tanh′(z) = 1 − a²", r"\tanh z", r"1 - a^2"),
    "softplus": _bend("a = log(1 + exp z)", "× σ(z)", r"\log(1 + e^{z})", r"\sigma(z)"),
    "hard_sigmoid": _bend("a = z/6 + 1/2, kept in 0…1", "× 1/6 inside, × 0 where it was cut", "", ""),
    "hard_tanh": _bend("a = z, kept in −1…1", "× 1 inside, × 0 where it was cut", "", ""),
    "hard_silu": _bend("a = z·hard_sigmoid(z)", "× hard_sigmoid(z) + z·hard_sigmoid′(z)", "", ""),
    "softmax": Rule(
        "aᵢ = exp zᵢ / Σ exp zⱼ", "aᵢ·(δᵢ − Σⱼ aⱼ·δⱼ)", r"\mathrm{softmax}(z)", r"a_i(\delta_i - \sum_j a_j\delta_j)"
    ),
    "log_softmax": Rule(
        "aᵢ = zᵢ − log Σ exp zⱼ",
        "δᵢ − softmax(z)ᵢ·Σⱼ δⱼ",
        r"z_i - \log\sum_j e^{z_j}",
        r"\delta_i - \mathrm{softmax}(z)_i\sum_j\delta_j",
    ),
}

LAYER_RULES: dict[type[Module], Rule] = {
    Dense: Rule("z = x·W + b", "× Wᵀ;  W gets xᵀ·δ, b gets Σδ", r"xW + b", r"\delta W^{\top}"),
    Flatten: Rule("the same numbers in one row an example", "× 1, back in the old shape"),
    Dropout: Rule("a = z·mask / (1 − p)", "× mask / (1 − p): what was hidden gets nothing", elementwise=True),
    Embedding: Rule("row i of the table for index i", "each row looked up gets its δ, added where it was used twice"),
    BatchNorm: Rule(
        "y = x̂·w + b with x̂ = (x − mean) / std of the batch",
        "w/std · (δ − mean δ − x̂·mean(δ·x̂)) over the batch;  w gets Σδ·x̂, b gets Σδ",
    ),
    LayerNorm: Rule(
        "y = x̂·w + b with x̂ = (x − mean) / std of the row",
        "1/std · (δw − mean δw − x̂·mean(δw·x̂)) over the row;  w gets Σδ·x̂, b gets Σδ",
    ),
    RMSNorm: Rule(
        "y = x / rms(x) · w, row by row", "1/rms · (δw − x̂·mean(δw·x̂)) over the row with x̂ = x/rms;  w gets Σδ·x̂"
    ),
    Standardize: Rule(
        "y = (x − mean) / deviation, or undone x · deviation + mean; fixed numbers", "× 1/deviation, or × deviation"
    ),
}
_PASSED_ON = Rule("a = z, unchanged", "× 1, passed on as it came", elementwise=True)
_BATCH_NORM_IN_USE = Rule(
    "y = x̂·w + b with x̂ = (x − mean) / std, both running", "× w/std: the statistics are fixed in eval()"
)

# How an error goes back through a single op; `None` where nothing does.
OP_RULES: dict[Op, str | None] = {
    Op.NEG: "× −1",
    Op.ABS: "× sign x",
    Op.SIGN: None,
    Op.SQRT: "÷ 2√x",
    Op.EXP: "× exp x",
    Op.EXPM1: "× exp x",
    Op.LOG: "÷ x",
    Op.LOG1P: "÷ (1 + x)",
    Op.SIN: "× cos x",
    Op.COS: "× −sin x",
    Op.TAN: "× (1 + tan² x)",
    Op.ASIN: "÷ √(1 − x²)",
    Op.ACOS: "÷ −√(1 − x²)",
    Op.ATAN: "÷ (1 + x²)",
    Op.SINH: "× cosh x",
    Op.COSH: "× sinh x",
    Op.TANH: "× (1 − tanh² x)",
    Op.ASINH: "÷ √(x² + 1)",
    Op.ACOSH: "÷ √(x² − 1)",
    Op.ATANH: "÷ (1 − x²)",
    Op.SIGMOID: "× σ(x)·(1 − σ(x))",
    Op.ERF: "× 2/√π·exp −x²",
    Op.FLOOR: None,
    Op.CEIL: None,
    Op.ROUND: None,
    Op.TRUNC: None,
    Op.NOT: None,
    Op.ADD: "× 1 to both",
    Op.SUB: "× 1 and × −1",
    Op.MUL: "× the other factor",
    Op.DIV: "÷ b, and × −(a/b)/b",
    Op.FLOOR_DIVIDE: None,
    Op.REMAINDER: "× 1, and × −⌊a/b⌋",
    Op.POW: "× b·aᵇ⁻¹, and × aᵇ·log a",
    Op.ATAN2: "× b/(a² + b²), and × −a/(a² + b²)",
    Op.MAXIMUM: "to the larger",
    Op.MINIMUM: "to the smaller",
    Op.COPYSIGN: "× ±1",
    Op.NEXTAFTER: "× 1",
    Op.EQUAL: None,
    Op.NOT_EQUAL: None,
    Op.LESS: None,
    Op.LESS_EQUAL: None,
    Op.AND: None,
    Op.OR: None,
    Op.XOR: None,
    Op.SHIFT_LEFT: None,
    Op.SHIFT_RIGHT: None,
    Op.WHERE: "to the branch that was chosen",
    Op.CAST: "× 1",
    Op.STOP_GRADIENT: None,
    Op.CUSTOM: "as its own backward function says",
    Op.SUM: "× 1 to every term",
    Op.PROD: "× the product of the others",
    Op.MAX: "to the largest",
    Op.MIN: "to the smallest",
    Op.ARGMAX: None,
    Op.ARGMIN: None,
    Op.CUMSUM: "the sum from there to the end",
    Op.ARGSORT: None,
    Op.RESHAPE: "× 1, reshaped",
    Op.TRANSPOSE: "× 1, transposed",
    Op.BROADCAST: "summed over the copies",
    Op.SLICE: "× 1 where it was cut from",
    Op.PAD: "× 1 without the padding",
    Op.CONCAT: "× 1, each its part",
    Op.FLIP: "× 1, flipped",
    Op.MATMUL: "δ·Bᵀ and Aᵀ·δ",
    Op.TAKE: "added at the rows taken",
    Op.SCATTER_ADD: "taken from the places added to",
    Op.RANDOM_BITS: None,
}
_SHOWN_OPS = 6


def rule_of(part: Part) -> Rule:
    """The rule of a part."""
    module = part.module
    if part.path == LOSS and module is None:
        return Rule("", "∂loss/∂guess")
    if part.passes_on:
        return _PASSED_ON
    if isinstance(module, Dense) and part.aspect == "activation" and module.activation:
        return ACTIVATION_RULES[module.activation.name]
    if part.aspect == "operations":
        return _by_ops(part)
    if isinstance(module, ActivationLayer):
        return ACTIVATION_RULES[module.activation]
    if isinstance(module, Lambda):
        name = getattr(module.function, "__name__", "")
        ours = getattr(module.function, "__module__", "").startswith("chainrule.")
        return ACTIVATION_RULES[name] if ours and name in ACTIVATION_RULES else _by_ops(part)
    if isinstance(module, BatchNorm) and not module.training:
        return _BATCH_NORM_IN_USE
    return LAYER_RULES.get(type(module), _by_ops(part)) if module is not None else _by_ops(part)


def _by_ops(part: Part) -> Rule:
    if not part.nodes:
        return Rule("made where no gradient flows", "nothing: no gradient is wanted here")
    ops = [node.op for node in part.nodes]
    names = [op.value for op in ops]
    shown = " → ".join(names[:_SHOWN_OPS]) + (f" → … ({len(names)} operations)" if len(names) > _SHOWN_OPS else "")
    distinct = list(dict.fromkeys(op for op in reversed(ops) if OP_RULES[op]))
    words = "; ".join(f"{op.value}: {OP_RULES[op]}" for op in distinct[:_SHOWN_OPS])
    more = f"; and {len(distinct) - _SHOWN_OPS} more" if len(distinct) > _SHOWN_OPS else ""
    return Rule(shown, words + more)
