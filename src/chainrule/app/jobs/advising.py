"""Advice as flags of `chainrule train`: what findings say to somebody who has no Python in hand.

Comes in: findings and the network that they are about. Goes out: the same with other advice, one for every rule.
"""

from collections.abc import Callable
from dataclasses import replace

from chainrule.look.diagnosis.curves import LARGER_RATE
from chainrule.look.diagnosis.finding import Finding, Findings
from chainrule.look.diagnosis.graphs import ENDS, activation_of
from chainrule.nn.dense import Dense
from chainrule.nn.module import Module
from chainrule.train.history import History

Advise = Callable[[Finding, Module], str]
OF_COLUMNS = ("constant-columns", "duplicate-columns")
RATE = "rate of the run"  # beside the evidence of a finding: the learning rate of the first epoch, where it is known
ANEW = "train it anew with chainrule train, which puts networks together and draws their weights as they should be"


def with_flags(findings: Findings, net: Module, history: History | None = None) -> Findings:
    """The same findings with advice that is a flag of `chainrule train`, or something to do with the file.

    The history of the run tells its learning rate, to which advice can refer. Nothing is said of inputs that the run
    made itself, such as the one for cells that are missing: these are constant or repeated as the rows have it, and
    columns that are constant in the file are left out before training.
    """
    own = [finding for finding in findings if not (finding.rule in OF_COLUMNS and "=" in finding.where)]
    rate = None if history is None else history.first_rate
    known = {RATE: rate} if rate else {}
    told = []
    for finding in own:
        more = replace(finding, evidence={**known, **finding.evidence})
        told.append(replace(finding, advice=ADVICE[finding.rule](more, net)))
    return Findings(told, has_run=findings.has_run)


def _ten_times(finding: Finding, *ways: str) -> str:
    """A learning rate ten times "smaller" or "larger" than that of the run, in numbers if it is known."""
    rate = finding.evidence.get(RATE)
    if not isinstance(rate, float | int):
        return f"--learning-rate ten times {' or '.join(ways)}"
    rates = [rate / 10 if way == "smaller" else rate * 10 for way in ways]
    return f"--learning-rate {' or '.join(f'{each:g}' for each in rates)}"


def _slower(finding: Finding, net: Module) -> str:
    evidence = finding.evidence
    rate = evidence.get("suggested", evidence.get("learning rate"))
    if not isinstance(rate, float | int) or not rate:
        return _ten_times(finding, "smaller")
    return f"--learning-rate {rate if 'suggested' in evidence else rate / 100:g}"


def _faster(finding: Finding, net: Module) -> str:
    rate = finding.evidence.get("suggested")
    return f"--learning-rate {rate:g}" if isinstance(rate, float) else _ten_times(finding, "larger")


def _other_step(finding: Finding, net: Module) -> str:
    rate, ratio = finding.evidence.get("learning rate"), finding.evidence.get("update by weight")
    if isinstance(rate, float | int) and isinstance(ratio, float) and ratio > 1:
        return f"--learning-rate {rate * 0.01 / ratio:.1g}"
    return _ten_times(finding, "larger")


def _stuck(finding: Finding, net: Module) -> str:
    """A loss far above that of a constant answer comes from steps that are too long."""
    loss, chance = finding.evidence.get("loss"), finding.evidence.get("chance")
    if isinstance(loss, float) and isinstance(chance, float) and loss > 1.5 * chance:
        return _ten_times(finding, "smaller")
    return f"{_ten_times(finding, 'larger', 'smaller')}, --hidden 128,64, more --epochs"


def _other_size(finding: Finding, net: Module) -> str:
    classes = finding.evidence.get("classes")
    if isinstance(classes, int):  # a layer too narrow for them
        return f"--hidden with more units, such as --hidden {max(16, 2 * classes)}"
    return "--hidden with fewer units, such as --hidden 16, or --dropout 0.3"


def _stronger(finding: Finding, net: Module) -> str:
    faster = "a larger --learning-rate, " if LARGER_RATE in finding.advice else ""
    widths = ",".join(str(max(128, 2 * width)) for width in _hidden(net)) or "128,128"
    return f"more units with --hidden {widths}, more --epochs, {faster}--dropout 0"


def _larger_batch(finding: Finding, net: Module) -> str:
    return f"--batch-size {max(16, 4 * int(finding.evidence.get('batch size', 8)))}"


def _stronger_signal(finding: Finding, net: Module) -> str:
    """Against signals that fade: another activation where it has one that fades, fewer layers where there are many."""
    advice = (
        ["--activation relu"] if any(activation_of(layer) in ENDS for layer in net.named_modules().values()) else []
    )
    widths = _hidden(net)
    if len(widths) > 2:
        advice.append(f"fewer layers, such as --hidden {widths[0]},{widths[1]}")
    return ", or ".join(advice or [_ten_times(finding, "smaller")])


def _fewer_layers(finding: Finding, net: Module) -> str:
    widths = _hidden(net)
    return f"fewer layers, such as --hidden {widths[0]},{widths[1]}" if len(widths) > 2 else _slower(finding, net)


def _hidden(net: Module) -> list[int]:
    """The widths of the hidden layers."""
    return [layer.weight.shape[1] for layer in net.named_modules().values() if isinstance(layer, Dense)][:-1]


def _rows(finding: Finding) -> str:
    """The row of a finding, as it is called in the file."""
    return finding.where.removesuffix(" (validation)").rpartition(", ")[2]


def _outlier(finding: Finding, net: Module) -> str:
    if finding.evidence.get("such numbers", 1) != 1:
        return "leave such cells empty if they mark what is missing; mend misprints; take out rows that do not belong"
    bears = ", or --loss huber, which bears single wild values" if finding.rule == "extreme-targets" else ""
    return f"mend {_rows(finding)} if it is a misprint or of another unit, else leave that row out{bears}"


def _always(advice: str) -> Advise:
    return lambda finding, net: advice


ADVICE: dict[str, Advise] = {
    "too-few-rows": _always("more rows, some dozens for each class at least; scores of so few mean little"),
    "data-not-finite": _always("fill in or leave out such cells and rows of the file"),
    "extreme-inputs": _outlier,
    "inputs-not-scaled": _always("look whether the column has the unit of the rows that were learned from"),
    "constant-columns": _always("look whether the file was read as it should be; --ignore COLUMN leaves a column out"),
    "duplicate-columns": _always("--ignore COLUMN leaves one of the two out"),
    "validation-shares-rows": _always("take each row of the file once: copies make every score too good"),
    "validation-scaled-otherwise": _always("look at the rows that differ; another --seed draws others to choose by"),
    "label-out-of-range": _always("look at the column of answers, or take another --loss"),
    "label-wrong-kind": _always("--task says whether the answers are classes or numbers"),
    "constant-target": _always("look at the column of answers; --target names another"),
    "class-imbalance": _always("judge by balanced accuracy; --weights COLUMN lets rare classes count more"),
    "validation-of-other-targets": _always("another --seed draws other rows to choose by; or --validation 0.3"),
    "extreme-targets": _outlier,
    "targets-not-scaled": _always("look whether the answers have the unit of those that were learned from"),
    "target-given-away": _always("if it is not known before the answer is: --ignore COLUMN"),
    "labels-look-shuffled": _always("look whether the column of answers belongs to these rows"),
    "labels-likely-wrong": _always("look at the rows that report.html names as the worst mistakes"),
    "output-width": _always("more rows of the classes that are rare or missing, or leave these classes out"),
    "probabilities-before-logits": _always(ANEW),
    "output-cannot-reach-targets": _always(ANEW),
    "no-gradient": _always(ANEW),
    "frozen-parameters": _always(ANEW),
    "hidden-parameters": _always(ANEW),
    "no-nonlinearity": _always("--activation relu"),
    "dropout-misplaced": _always("--dropout 0.5 or less"),
    "batch-norm-tiny-batch": _always("--batch-size 32"),
    "bias-before-batch-norm": _always(ANEW),
    "network-size": _other_size,
    "symmetric-weights": _always(ANEW),
    "first-weights-scale": _always(ANEW),
    "initial-loss-far-from-chance": _always(ANEW),
    "learning-rate-too-high": _slower,
    "learning-rate-too-low": _faster,
    "weights-collapsed": _always("--optimizer adamw, without --learning-rate"),
    "updates-too-large-or-small": _other_step,
    "activations-shrink": _stronger_signal,
    "activations-grow": _fewer_layers,
    "vanishing-gradients": _stronger_signal,
    "exploding-gradients": _fewer_layers,
    "dead-relu": _always("--activation leaky_relu, or a smaller --learning-rate"),
    "saturated-units": _always("--activation relu, or a smaller --learning-rate"),
    "batch-too-small": _larger_batch,
    "loss-not-finite": _slower,
    "diverging-loss": _slower,
    "oscillating-loss": _slower,
    "not-learning": _stuck,
    "overfitting": _always("--dropout 0.3, fewer units such as --hidden 16, or more rows"),
    "underfitting": _stronger,
    "trained-too-long": _always("--patience 5 stops earlier; the network of the best epoch is what was kept"),
    "stopped-too-early": _always("more --epochs, and a longer --patience"),
    "seeds-disagree": _always("a smaller --learning-rate, a larger --batch-size; report several --seed"),
}
