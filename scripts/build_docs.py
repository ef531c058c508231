"""Builds the documentation as HTML: the pages of `docs/` by markdown-it, and a reference of all public names by pdoc.

    python scripts/build_docs.py                # into build/docs, as `make docs` does
    python scripts/build_docs.py --output DIR

Everything stands in plain files that load nothing from elsewhere. Ends with status 1 if a link leads nowhere.
"""

from __future__ import annotations

import argparse
import html
import inspect
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pdoc.doc
import pdoc.render
from markdown_it import MarkdownIt
from markdown_it.token import Token
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name

import chainrule

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs"
REFERENCE = ("chainrule", "nn", "losses", "optim", "schedules", "random", "look")
PICTURES = {".svg", ".png"}

STYLE = """
:root{color-scheme:light dark;--paper:#fff;--card:#f6f8fa;--ink:#1b1f24;--muted:#57606a;--edge:#d0d7de;--link:#0b5cad}
@media(prefers-color-scheme:dark){
 :root{--paper:#0f141a;--card:#171e26;--ink:#e6edf3;--muted:#9aa7b4;--edge:#303a45;--link:#58a6ff}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:70rem;padding:1.5rem 1rem 4rem;display:grid;gap:2.5rem;background:var(--paper);
 color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif}
@media(min-width:56rem){body{grid-template-columns:13rem minmax(0,1fr)}nav{position:sticky;top:1.5rem;align-self:start}}
main{min-width:0}
nav ul{list-style:none;margin:.5rem 0;padding:0}
nav li{margin:.15rem 0}
nav b{display:block;margin-top:1rem}
nav [aria-current]{font-weight:650;color:var(--ink);text-decoration:none}
a{color:var(--link)}
h1{margin-top:0;line-height:1.25}
h2{margin-top:2.2rem;border-top:1px solid var(--edge);padding-top:.8rem}
pre{background:var(--card);border:1px solid var(--edge);border-radius:6px;padding:.7rem .9rem;overflow-x:auto;
 line-height:1.35}
code,pre{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;font-size:.87rem}
table{border-collapse:collapse;display:block;overflow-x:auto}
td,th{border:1px solid var(--edge);padding:.3rem .6rem;text-align:left;vertical-align:top}
img{max-width:100%;height:auto}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="build/docs", metavar="DIR", help="the folder; default build/docs")
    folder = Path(parser.parse_args().output)
    build(folder)
    broken = broken_links(folder)
    for link in broken:
        print(f"broken link: {link}", file=sys.stderr)
    print(f"documentation: {folder / 'index.html'}")
    return 1 if broken else 0


def build(folder: Path) -> None:
    """Write all pages, pictures and the reference into a folder, which is made if need be."""
    pages = {path: path.read_text(encoding="utf-8") for path in sorted(PAGES.glob("*.md"))}
    contents = {path.stem: title(text) for path, text in pages.items()}
    order = re.findall(r"\]\(([\w-]+)\.md\)", pages[PAGES / "index.md"])
    names = list(dict.fromkeys(["index", *(name for name in order if name in contents), *contents]))
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in pages.items():
        navigation = _navigation({name: contents[name] for name in names}, path.stem)
        page = _page(contents[path.stem], navigation, rendered(text))
        (folder / f"{path.stem}.html").write_text(page, encoding="utf-8")
    for picture in (path for path in (PAGES / "pictures").iterdir() if path.suffix in PICTURES):
        (folder / "pictures").mkdir(exist_ok=True)
        shutil.copyfile(picture, folder / "pictures" / picture.name)
    _write_reference(folder / "reference")


def title(text: str) -> str:
    """The first heading of a page."""
    return text.partition("\n")[0].removeprefix("# ")


# --- Pages -------------------------------------------------------------------------------------------------------


def rendered(text: str) -> str:
    """Markdown as HTML, with a name at each heading and links to pages as links to their HTML."""
    markdown = MarkdownIt("commonmark", {"highlight": _coloured}).enable("table")
    tokens = markdown.parse(text)
    for place, token in enumerate(tokens):
        if token.type == "heading_open":
            token.attrSet("id", anchor(tokens[place + 1].content))
        _relink(token.children or [])
    return str(markdown.renderer.render(tokens, markdown.options, {}))


def anchor(heading: str) -> str:
    """What a link to a heading says after the #.

    >>> anchor("What `compile` cannot do")
    'what-compile-cannot-do'
    """
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip())


def _relink(tokens: list[Token]) -> None:
    for token in tokens:
        target = token.attrGet("href")
        if isinstance(target, str) and "://" not in target:
            token.attrSet("href", re.sub(r"\.md(#|$)", r".html\1", target))


def _coloured(code: str, language: str, _attributes: str) -> str:
    if language not in ("python", "sh"):
        return html.escape(code)
    return str(highlight(code, get_lexer_by_name(language), HtmlFormatter(nowrap=True)))


def _navigation(contents: dict[str, str], here: str) -> str:
    lines = [
        f'<li><a href="{name}.html"{" aria-current=page" if name == here else ""}>{html.escape(text)}</a></li>'
        for name, text in contents.items()
    ]
    reference = [f'<li><a href="reference/{_file(name)}">{_called(name)}</a></li>' for name in REFERENCE]
    return f"<nav><ul>{''.join(lines)}</ul><b>Reference</b><ul>{''.join(reference)}</ul></nav>"


def _page(heading: str, navigation: str, content: str) -> str:
    colours = HtmlFormatter(style="default").get_style_defs("pre")
    dark = HtmlFormatter(style="github-dark").get_style_defs("pre")
    own = "pre{background:var(--card)}"
    style = f"{STYLE}{colours}\n@media(prefers-color-scheme:dark){{{dark}}}\n{own}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{html.escape(heading)} · chainrule</title><style>{style}</style></head>\n"
        f"<body>{navigation}<main>{content}</main></body></html>\n"
    )


# --- The reference -----------------------------------------------------------------------------------------------


def _called(name: str) -> str:
    return name if name == "chainrule" else f"chainrule.{name}"


def _file(name: str) -> str:
    return "chainrule.html" if name == "chainrule" else f"chainrule/{name}.html"


def public_names(module: ModuleType) -> list[str]:
    """What users find in a module: its names but for modules, and for what it only borrows of NumPy and the like."""
    found = []
    for name in dir(module):
        thing = getattr(module, name)
        owner = getattr(thing, "__module__", None) or ""
        borrowed = callable(thing) and not owner.startswith("chainrule")
        if not name.startswith("_") and not inspect.ismodule(thing) and not borrowed:
            found.append(name)
    return found


def documented(name: str) -> pdoc.doc.Module:
    """A module as pdoc sees it, under the name by which users reach it and with what they find there."""
    found = chainrule if name == "chainrule" else getattr(chainrule, name)
    shown = ModuleType(_called(name), found.__doc__)
    names = public_names(found)
    if name not in ("chainrule", "nn", "look"):  # these three name what others define; the others their own
        names = [each for each in names if getattr(getattr(found, each), "__module__", "") == found.__name__]
    for each in names:
        setattr(shown, each, getattr(found, each))
    shown.__all__ = names
    return pdoc.doc.Module(shown)


def _write_reference(folder: Path) -> None:
    modules = {_called(name): documented(name) for name in REFERENCE}
    pdoc.render.configure(docformat="numpy", show_source=False, search=True, footer_text="chainrule")
    for name in REFERENCE:
        path = folder / _file(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(pdoc.render.html_module(modules[_called(name)], modules), encoding="utf-8")
    (folder / "search.js").write_text(pdoc.render.search_index(modules), encoding="utf-8")


# --- Links -------------------------------------------------------------------------------------------------------


def broken_links(folder: Path) -> list[str]:
    """The links and pictures of the guide's pages that lead to no file, or to no heading in it."""
    broken = []
    for page in sorted(folder.glob("*.html")):
        for link in re.findall(r'(?:href|src)="([^"]+)"', page.read_text(encoding="utf-8")):
            name, _, place = link.partition("#")
            goal = page.parent / name if name else page
            if "://" in link:
                continue
            if not goal.is_file() or (place and f'id="{place}"' not in goal.read_text(encoding="utf-8")):
                broken.append(f"{page.name}: {link}")
    return broken


if __name__ == "__main__":
    sys.exit(main())
