"""Which classes were taken for which: a matrix for up to 30 classes, the worst pairs for more, figures by class."""

import math
from dataclasses import dataclass

from chainrule.app.jobs.outcome import Confusion
from chainrule.app.report.figures import count, percent, plural
from chainrule.app.report.markup import details, fitting, name, rest, table, text

_LARGEST_MATRIX = 30
_MOST_PAIRS = 20
_MOST_CLASSES = 200


@dataclass(frozen=True, slots=True)
class Pair:
    """Rows of one class that were taken for another."""

    true: str
    guessed: str
    rows: int
    share: float


def confusion(found: Confusion) -> str:
    """The section: the matrix or the pairs, then precision and recall of every class."""
    head = "<h2>What it got right and wrong</h2>"
    if not any(map(sum, found.counts)):
        return f"{head}<p>There were no held-out rows to compare.</p>"
    pairs = worst_pairs(found)
    if len(found.classes) <= _LARGEST_MATRIX:
        shown = _matrix(found) + _in_words(pairs) + (details("All confusions", _pairs(pairs)) if pairs else "")
    else:
        shown = f"<p>{plural(len(found.classes), 'class', 'classes')}.</p>{_in_words(pairs)}{_pairs(pairs)}"
    return head + shown + details("Figures by class", _by_class(found))


def worst_pairs(found: Confusion) -> list[Pair]:
    """Every pair of classes that was confused, most rows first."""
    totals = [sum(line) for line in found.counts]
    pairs = [
        Pair(found.classes[true], found.classes[guessed], rows, rows / totals[true])
        for true, line in enumerate(found.counts)
        for guessed, rows in enumerate(line)
        if rows and true != guessed
    ]
    return sorted(pairs, key=lambda pair: -pair.rows)


def _in_words(pairs: list[Pair]) -> str:
    if not pairs:
        return "<p>No held-out row was put into a wrong class.</p>"
    worst = pairs[0]
    of = f"{plural(worst.rows, 'row')} ({percent(worst.share)} of that class)"
    return f"<p>Most often, {name(worst.true, 60)} was taken for {name(worst.guessed, 60)}: {of}.</p>"


def _pairs(pairs: list[Pair]) -> str:
    rows = [
        [name(pair.true, 60), name(pair.guessed, 60), count(pair.rows), percent(pair.share)]
        for pair in pairs[:_MOST_PAIRS]
    ]
    shown = table("Confusions, most rows first", ["true class", "taken for", "rows", "share of the class"], rows, [1])
    return shown + rest(len(rows), len(pairs), "pairs of classes")


def _matrix(found: Confusion) -> str:
    shown = [fitting(each, 16) for each in found.classes]
    longest = max(len(each) for each in shown)
    heads = "".join(
        f'<th scope="col" class="c" title="{text(each)}"><span>{text(cut)}</span></th>'
        for each, cut in zip(found.classes, shown, strict=True)
    )
    lines = []
    for true, (each, cut, line) in enumerate(zip(found.classes, shown, found.counts, strict=True)):
        total = sum(line)
        cells = "".join(_cell(rows, total, true == guessed) for guessed, rows in enumerate(line))
        recall = percent(line[true] / total) if total else "no rows"
        lines.append(
            f'<tr><th scope="row" title="{text(each)}">{name(cut)}</th>{cells}<td class="share">{recall}</td></tr>'
        )
    look = "matrix long" if longest > 4 and len(shown) > 2 else "matrix"
    body = "\n".join(lines)
    caption = (
        "Each row of the table is a true class, each column what the network said; the outlined diagonal (blue) is "
        "right, everything else (orange) is wrong. A bad sign: a full cell off the diagonal, or a column that takes "
        "everything."
    )
    return (
        f'<figure><div class="scroll {look}" tabindex="0" role="group" aria-label="Confusion matrix"><table>'
        f"<caption>Held-out rows by true class (down) and by the network’s answer (across)</caption>"
        f'<thead><tr><th scope="col">true ↓ said →</th>{heads}<th scope="col">right</th></tr></thead>'
        f"<tbody>\n{body}\n</tbody></table></div><figcaption>{caption}</figcaption></figure>"
    )


def _cell(rows: int, total: int, hit: bool) -> str:
    kinds = ["hit"] if hit else []
    if rows:
        kinds.append(f"{'h' if hit else 'm'}{1 + min(int(4 * rows / total), 3)}")
    else:
        kinds.append("zero")
    return f'<td class="{" ".join(kinds)}">{count(rows)}</td>'


def _by_class(found: Confusion) -> str:
    columns = [sum(line) for line in zip(*found.counts, strict=True)]
    figures = []
    for place, line in enumerate(found.counts):
        rows, hits, said = sum(line), line[place], columns[place]
        recall = hits / rows if rows else math.nan
        precision = hits / said if said else math.nan
        balanced = 2 * hits / (rows + said) if rows + said else math.nan
        figures.append(
            (recall, [name(found.classes[place], 60), count(rows), count(said), precision, recall, balanced])
        )
    if len(figures) > _MOST_CLASSES:
        figures.sort(key=lambda each: each[0] if math.isfinite(each[0]) else 2.0)
    cells = [[each if isinstance(each, str) else percent(each) for each in row] for _, row in figures[:_MOST_CLASSES]]
    caption = (
        "Precision: of the rows that it put into the class, the share that belongs there. "
        "Recall: of the rows of the class, the share that it found. F1: their harmonic mean."
    )
    shown = table(caption, ["class", "rows", "said", "precision", "recall", "F1"], cells)
    return shown + rest(len(cells), len(figures), "classes with a higher recall")
