"""The source files of the package, parsed, for the laws that are about the text of the program."""

import ast
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "src" / "chainrule"


@dataclass(frozen=True)
class Source:
    """One module: its dotted name, its file, and its syntax tree."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def folder(self) -> str:
        """The part of the house it lives in: `engine`, `nn` ...; `errors` and `` (the package itself) are files."""
        return self.name.split(".")[1] if "." in self.name else ""


def _read(path: Path) -> Source:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    text = path.read_text(encoding="utf-8")
    return Source(name, path, text, ast.parse(text, str(path)))


SOURCES = [_read(path) for path in sorted(PACKAGE.rglob("*.py"))]
NAMES = [source.name for source in SOURCES]
