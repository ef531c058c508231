"""Pieces of HTML in which whatever the user's data holds is text and nothing else.

`text` is the one door for strings from outside; all other functions take HTML that has come through it.
"""

import html
import re
import unicodedata
from collections.abc import Iterable, Sequence

from chainrule.look.explaining.lines import visible


def plain(value: object, limit: int = 120) -> str:
    """`value` on one line, at most `limit` characters, without characters that a page must not hold. Not escaped.

    Examples
    --------
    >>> plain("two\\nlines"), plain("x" * 9, 5), plain("  ")
    ('two lines', 'xxxx…', '(empty)')
    """
    line = " ".join(visible(str(value)[: 4 * limit]).split())
    if len(line) > limit:
        line = line[: limit - 1] + "…"
    return line or "(empty)"


def text(value: object, limit: int = 120) -> str:
    """`plain(value)`, escaped for HTML and XML, also inside quoted attributes.

    Examples
    --------
    >>> text('<b a="1">')
    '&lt;b a=&quot;1&quot;&gt;'
    """
    return html.escape(plain(value, limit), quote=True)


def name(value: object, limit: int = 120) -> str:
    """A name out of the user's data, kept apart from its surroundings whichever way it is written."""
    return f"<bdi>{text(value, limit)}</bdi>"


def verbatim(lines: Iterable[str], width: int = 160) -> str:
    """Lines whose spaces count, for `<pre>`: escaped, each cut to `width` characters.

    Examples
    --------
    >>> verbatim(["a  <b>", "c"])
    'a  &lt;b&gt;\\nc'
    """
    cut = (line if len(line) <= width else line[: width - 1] + "…" for line in lines)
    return "\n".join(html.escape(visible(line), quote=True) for line in cut)


def file_name(path: object) -> str:
    """The last part of a path, or a name as it is. Not escaped.

    Examples
    --------
    >>> file_name("/home/me/penguins.csv"), file_name("digits")
    ('penguins.csv', 'digits')
    """
    return re.split(r"[/\\\\]", str(path).rstrip("/\\"))[-1] or str(path)


def fitting(value: object, width: int) -> str:
    """`plain(value)` cut to about `width` columns of text; wide characters (East Asian, emoji) take two.

    Examples
    --------
    >>> fitting("petal width (cm)", 10), fitting("日本語の列", 6)
    ('petal wid…', '日本…')
    """
    line, used = plain(value), 0
    for place, character in enumerate(line):
        wide = 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if used + wide > width or (used + wide == width and place + 1 < len(line)):
            return line[:place] + "…"
        used += wide
    return line


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]], words: Iterable[int] = ()) -> str:
    """A table whose first cell of a row names it. Cells are HTML; `words` are the columns that hold no numbers."""
    left = {0, *words}
    kinds = ['class="w"' if place in left else 'class="n"' for place in range(len(heads))]
    head = "".join(f'<th scope="col" {kind}>{each}</th>' for kind, each in zip(kinds, heads, strict=True))
    lines = []
    for first, *others in rows:
        cells = "".join(f"<td {kind}>{cell}</td>" for kind, cell in zip(kinds[1:], others, strict=True))
        lines.append(f'<tr><th scope="row" class="w">{first}</th>{cells}</tr>')
    body = "\n".join(lines)
    inside = f"<caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody>"
    return f'<div class="scroll" tabindex="0" role="group" aria-label="{_label(caption)}"><table>{inside}</table></div>'


def _label(caption: str) -> str:
    return re.sub("<[^>]*>", "", caption)


def details(summary: str, inside: str, opened: bool = False) -> str:
    """What an expert unfolds."""
    return f"<details{' open' if opened else ''}><summary>{summary}</summary>\n{inside}\n</details>"


def rest(shown: int, total: int, what: str) -> str:
    """The line under a table that was cut short; nothing if it was not.

    Examples
    --------
    >>> rest(200, 10000, "columns"), rest(3, 3, "columns")
    ('<p class="rest">… and 9,800 more columns.</p>', '')
    """
    return f'<p class="rest">… and {total - shown:,} more {what}.</p>' if total > shown else ""
