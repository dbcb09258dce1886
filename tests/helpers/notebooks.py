"""Notebooks with their outputs: `python -m tests.helpers.notebooks [NAME ...]` writes them again.

`docs/notebooks/NAME.py` is the source, in the percent format of jupytext: `# %% [markdown]` begins
a cell of text, in comments, and `# %%` a cell of code, in which a comment such as `# %matplotlib
inline` is a command of Jupyter. The code runs from top to bottom in one process, and
`docs/notebooks/NAME.ipynb` gets what each cell printed and its last expression, a figure as a
picture. Without names all of them are written, each in a process of its own, from the directory of
the repository's root.
"""

import ast
import base64
import contextlib
import io
import json
import pathlib
import re
import subprocess
import sys
import time
from typing import Any, NamedTuple

FOLDER = pathlib.Path(__file__).parent.parent.parent / "docs" / "notebooks"
COMMAND = "python -m tests.helpers.notebooks"
DPI = 100  # of pictures in outputs
MAGIC = re.compile(r"^# (?=%[a-z])", re.M)


class Cell(NamedTuple):
    """A cell of a source.

    Attributes:
        is_code: or text.
        source: the code, or the Markdown without its comment marks.
        line: of the source file, before the cell's first line.
    """

    is_code: bool
    source: str
    line: int


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.py"))


def cells_of(text: str) -> list[Cell]:
    """The cells of a source.

    Raises:
        ValueError: for lines before the first cell, another kind of cell, or a line of text that is
            no comment.
    """
    cells: list[Cell] = []
    lines: list[str] = []
    for number, line in enumerate([*text.splitlines(), "# %%"], 1):
        if not line.startswith("# %%"):
            lines.append(line)
            continue
        if cells:
            source = "\n".join(lines).strip("\n")
            cells[-1] = cells[-1]._replace(
                source=source if cells[-1].is_code else without_marks(source)
            )
        elif any(lines):
            raise ValueError(f"{lines[0]!r} stands before the first cell, `# %%`.")
        if line not in ("# %%", "# %% [markdown]"):
            raise ValueError(f"line {number}: {line!r} is neither `# %%` nor `# %% [markdown]`.")
        lines = []
        cells.append(Cell(line == "# %%", "", number))
    return cells[:-1]


def without_marks(comment: str) -> str:
    """The text of a comment of several lines."""
    lines = comment.split("\n")
    wrong = [line for line in lines if line != "#" and not line.startswith("# ")]
    if wrong:
        raise ValueError(f"{wrong[0]!r} in a cell of text is no comment.")
    return "\n".join(line[2:] for line in lines)


def run(cells: list[Cell], path: pathlib.Path, variables: dict[str, Any]) -> list[list[dict]]:
    """The outputs of each cell of code, which run one after another on the same variables."""
    outputs = []
    for number, cell in enumerate(cells, 1):
        if cell.is_code:
            start = time.perf_counter()
            outputs.append(outputs_of(cell, path, variables))
            seconds = time.perf_counter() - start
            print(f"{path.name}: cell {number} of {len(cells)}, {seconds:.1f} s", file=sys.stderr)
    return outputs


def outputs_of(cell: Cell, path: pathlib.Path, variables: dict[str, Any]) -> list[dict]:
    """What the cell prints, and the value of its last statement where that is an expression."""
    tree, value = ast.parse(cell.source), None
    ast.increment_lineno(tree, cell.line)  # as in the file, for the lines of an error
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(tree, str(path), "exec"), variables)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), str(path), "eval"), variables)
    outputs = []
    if printed.getvalue():
        text = lines_of(printed.getvalue())
        outputs.append({"name": "stdout", "output_type": "stream", "text": text})
    if value is not None:
        outputs.append({"data": data_of(value), "metadata": {}, "output_type": "display_data"})
    return outputs


def data_of(value: Any) -> dict[str, Any]:
    """The value as text, and a figure as a picture too."""
    data: dict[str, Any] = {"text/plain": lines_of(repr(value))}
    if hasattr(value, "savefig"):
        png = io.BytesIO()
        value.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
        data = {"image/png": base64.b64encode(png.getvalue()).decode(), **data}
    return data


def lines_of(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def notebook(cells: list[Cell], outputs: list[list[dict]]) -> dict[str, Any]:
    """The notebook, in version 4.5 of the format."""
    rest, written = iter(enumerate(outputs, 1)), []
    for index, cell in enumerate(cells):
        common = {"id": f"cell-{index}", "metadata": {}, "source": lines_of(cell.source)}
        if cell.is_code:
            common["source"] = lines_of(MAGIC.sub("", cell.source))
            count, shown = next(rest)
            common |= {"execution_count": count, "outputs": shown}
        written.append({"cell_type": "code" if cell.is_code else "markdown"} | common)
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return {"cells": written, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def build(name: str) -> pathlib.Path:
    """Run a source and write its notebook."""
    path = FOLDER / f"{name}.py"
    cells = cells_of(path.read_text(encoding="utf-8"))
    outputs = run(cells, path, {"__name__": "__main__"})
    written = json.dumps(notebook(cells, outputs), indent=1, ensure_ascii=False)
    path.with_suffix(".ipynb").write_text(f"{written}\n", encoding="utf-8")
    return path.with_suffix(".ipynb")


def main() -> None:
    chosen = sys.argv[1:] or names()
    if len(chosen) > 1:
        for name in chosen:
            subprocess.run([sys.executable, "-m", "tests.helpers.notebooks", name], check=True)
        return
    print(f"wrote {build(*chosen)}")


if __name__ == "__main__":
    main()
