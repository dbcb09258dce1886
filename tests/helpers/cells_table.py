"""`docs/cells.md`, read off the classes: `python -m tests.helpers.cells_table` writes it again.

The cost, the sequential part and the source come from a cell's docstring, the size of the state
from a cell that is made with sizes that all differ, and the methods from its family. Only what
other libraries have is written by hand: `ELSEWHERE`.
"""

import collections
import inspect
import itertools
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np

import seqmem
from tests.helpers.elsewhere import ELSEWHERE
from tests.helpers.inputs import ones_like_inputs

PATH = pathlib.Path(__file__).parent.parent.parent / "docs" / "cells.md"
COMMAND = "python -m tests.helpers.cells_table"

# Arguments of constructors. A count of heads divides sizes, and all that follow from it differ.
SIZES = {
    "input_size": 330,
    "hidden_size": 150,
    "state_size": 38,
    "size": 345,
    "output_size": 37,
    "num_heads": 15,
    "num_key_value_heads": 5,
    "key_size": 34,
    "width": 23,
    "window": 31,
    "capacity": 73,
    "dilation": 43,
    "num_angles": 13,
    "rank": 29,
    "num_slots": 41,
    "slot_size": 97,
    "num_read_heads": 59,
    "num_write_heads": 61,
    "mini_batch_size": 47,
    "input_shape": (53, 330),
    "context_size": 67,
    "depth": 7,
}

PAGE = """# Cells

One row for each cell. `{command}` writes this page from the docstrings, the initial states and
the families of the classes, and a test compares the two.

* **Methods**: every cell runs on `Scan`, `ReferenceScan`, `Newton` and `QuasiNewton`, the last two
  unless its state counts steps (`CausalAttention`, `TTTLinear`, `TTTMLP`, `Titans`); the column has
  the others.
  "kernel" is `Parallel(kernel=True)`, where the family has one. Which cells, sizes and platforms it
  and `Fused` are for is in [accelerators.md](accelerators.md).
* **State**: real numbers that one sequence carries from step to step; a complex number is two.
  *value* is the size of one value, hidden / heads.
* **Cost** of one step, and of it the **sequential** part, which waits for the step before.
  "chunks" is from one chunk of steps to the next only.
* **Elsewhere**: libraries in whose lists of November 2026 the cell was found. An empty place is no
  claim that nobody has it.

| cell | family | methods | state | cost | sequential | source | elsewhere |
|---|---|---|---|---|---|---|---|
{rows}

## Outside

* **S4 with its diagonal-plus-low-rank matrix** (arXiv:2111.00396). Its steps are neither diagonal
  nor writes to a matrix, and composed they are dense: input · state² numbers, and state³ products
  per channel to compose two of them, where `S4D` has input · state and state. So `Parallel` and
  `Sharded` would not pay. The paper's own way, one convolution by FFT, is for sequences without
  resets. S4D is its diagonal part, with comparable results (arXiv:2206.11893).
* **Cells of torchrecurrent 0.2.5 that are others under a name**: TRNN (arXiv:1602.02218) is
  `MinGRU` with 1 − z in place of z; OriginalLSTM is `LSTM` with
  `with_gate(cell, "forget", W=0, U=0, b=100)`; MiRU2 is a leaky `RNN`.
* **Cells of torchrecurrent 0.2.5 without a file here**: TGRU and TLSTM (1602.02218), SGU and DSGU
  (1604.02910), NAS (1611.01578), IntersectionRNN (1611.09913), ResLSTM (1701.03360), WMCLSTM
  (2109.00020), tauGRU (2212.00228), and LightRU, SGRN, MCLSTM and MiRU1. No user has asked for
  them. NAS, LightRU, SGRN and MCLSTM are one product and gates: with `AbstractGatedCell` each is a
  few lines in a program of yours. tauGRU reads the state of many steps before.
* **HyperLSTM** (arXiv:1609.09106): two LSTMs, one of which scales the rows of the other, with layer
  norms between. It is a network of several cells and norms, and not a small file.
"""


def cell_types() -> list[type]:
    """The public cells, by family and name."""
    classes = [value for value in vars(seqmem).values() if inspect.isclass(value)]
    cells = [cls for cls in classes if issubclass(cls, seqmem.AbstractCell)]
    concrete = [cls for cls in cells if not inspect.isabstract(cls)]
    return sorted(concrete, key=lambda cls: (cls.family.name, cls.__name__.lower()))


def page() -> str:
    rows = "\n".join(f"| {' | '.join(row(cls))} |" for cls in cell_types())
    return PAGE.format(command=COMMAND, rows=rows)


def row(cls: type) -> list[str]:
    doc = " ".join(inspect.getdoc(cls).split())
    cost, sequential = cost_of(doc, cls.__name__)
    return [
        f"`{cls.__name__}`",
        cls.family.name,
        methods_of(cls),
        state_of(cls),
        cost,
        sequential,
        source_of(doc, cls.__name__),
        ELSEWHERE.get(cls.__name__, ""),
    ]


def methods_of(cls: type) -> str:
    family = cls.family
    has = {
        "`Parallel`": family.parallel is not None,
        "kernel": family.has_kernel,
        "`Sharded`": family.transition is not None,
        "`Fused`": is_fusable(cls),
        "`LayerByLayer`": issubclass(cls, seqmem.AbstractContainer),
    }
    return ", ".join(name for name, is_offered in has.items() if is_offered)


def is_fusable(cls: type) -> bool:
    if not cls.family.vjp_rule or not cls.family.vjp_rule.is_gated:
        return False
    cell = make(cls)
    method = seqmem.Fused(precision="float32", interpret=True)
    return method.refusal(cell, ones_like_inputs(cell, 2)) is None


def make(cls: type):
    """A cell of the sizes of SIZES."""
    parameters = inspect.signature(cls).parameters
    required = {name for name, p in parameters.items() if p.default is p.empty} - {"key"}
    if required - SIZES.keys():
        raise ValueError(
            f"{cls.__name__} needs {sorted(required - SIZES.keys())}: give it a size unlike the "
            f"others in SIZES of tests/helpers/cells_table.py."
        )
    return cls(**{name: SIZES[name] for name in parameters if name in SIZES}, key=jax.random.key(0))


# The size of the state


def names_of_sizes() -> dict[int, str]:
    """What an axis of a state may be called, by its length."""
    short = {name.removesuffix("_size"): length for name, length in SIZES.items()}
    short |= {"heads": short.pop("num_heads"), "angles": short.pop("num_angles")}
    short["slots"] = short.pop("num_slots")
    short |= {f"{kind} heads": short.pop(f"num_{kind}_heads") for kind in ("read", "write")}
    short["key-value heads"] = short.pop("num_key_value_heads")
    value = short["hidden"] // short["heads"]
    names = {length: name for name, length in short.items()}
    names[value] = "value"
    names[short["input"] // short["heads"]] = "input / heads"
    names[short["dilation"] * (short["width"] - 1) + 1] = "(dilation · (width − 1) + 1)"
    names |= {value + 1: "(value + 1)", 2 * value: "2 · value", 2 * short["key"]: "2 · key"}
    names[4 * value] = "4 · value"
    names |= {short["key"] + 1: "(key + 1)", short["key"] // 2: "key / 2"}
    reads = short["read heads"] * short["slot"]
    names[short["hidden"] + reads] = "(hidden + read heads · slot)"
    names[short["key"] + value] = "(key + value)"
    names[SIZES["input_shape"][0]] = "pixels"
    return names


def state_of(cls: type) -> str:
    """The entries of the initial state, as a sum of products of sizes."""
    leaves = jax.tree.leaves(jax.eval_shape(lambda: make(cls).init_state()))
    names = names_of_sizes()
    counts: dict[tuple[str, ...], int] = collections.Counter()
    for leaf in leaves:
        unknown = [length for length in leaf.shape if length > 4 and length not in names]
        if unknown:
            raise ValueError(
                f"the state of {cls.__name__} has axes of {unknown} entries, which follow from no "
                f"size in tests/helpers/cells_table.py: name them in names_of_sizes."
            )
        factors = [length for length in leaf.shape if length != 1]
        numbers = [length for length in factors if length not in names]
        product = tuple(sorted(names[length] for length in factors if length in names))
        is_complex = jnp.issubdtype(leaf.dtype, jnp.complexfloating)
        counts[simplified(product)] += int(np.prod(numbers)) * (2 if is_complex else 1)
    return " + ".join(
        " · ".join([str(count)] * (count > 1 or not product) + list(product))
        for product, count in counts.items()
    )


def simplified(product: tuple[str, ...]) -> tuple[str, ...]:
    """heads · value is hidden."""
    factors = collections.Counter(product)
    pairs = min(factors["heads"], factors["value"])
    factors.subtract({"heads": pairs, "value": pairs})
    factors["hidden"] += pairs
    order = ["heads", "hidden", "input", "size", "value"]
    place = {name: rank for rank, name in enumerate(order)}
    return tuple(
        itertools.chain.from_iterable(
            [name] * factors[name] for name in sorted(factors, key=lambda n: (place.get(n, 9), n))
        )
    )


# What docstrings say


def cost_of(doc: str, name: str) -> tuple[str, str]:
    """The cost of a step and its sequential part, from "Cost per step: ... ."."""
    match = re.search(r"Cost per step: (.*?)\.(?= |$)", doc)
    if not match:
        raise ValueError(f'the docstring of {name} has no sentence "Cost per step: ...".')
    total, *rest = re.split(r",? of which ", match[1], maxsplit=1)
    cost = " + ".join(orders(total)) or "none"
    if rest:
        return cost, orders(rest[0])[0]
    if "from chunk to chunk" in match[1]:
        return cost, f"{orders(total)[-1]}, chunks"
    return cost, cost if "all of it sequential" in match[1] else "none"


def orders(text: str) -> list[str]:
    """The O(...) of a text, brackets within included."""
    found, start = [], text.find("O(")
    while start >= 0:
        depth, end = 0, start + 1
        for end in range(start + 1, len(text)):
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            if depth == 0:
                break
        found.append(text[start : end + 1])
        start = text.find("O(", end)
    return found


def source_of(doc: str, name: str) -> str:
    """The paper, from "Source: ...", with a link where it has a number of arXiv or a DOI."""
    match = re.search(r"Source: (.*?)(?:;| Differs|\.(?= )(?! \d))", doc)
    if not match:
        raise ValueError(f'the docstring of {name} has no sentence "Source: ...".')
    paper = re.match(r"(.*?)(arXiv|doi):(\d+\.[^\s,:]*[^\s,:.])", match[1])
    if paper:
        site = {"arXiv": "https://arxiv.org/abs/", "doi": "https://doi.org/"}[paper[2]]
        return f"{paper[1]}[{paper[2]}:{paper[3]}]({site}{paper[3]})"
    return match[1].split(", the simple")[0]


def main() -> None:
    PATH.write_text(page(), encoding="utf-8")
    print(f"wrote {PATH.relative_to(PATH.parent.parent)}")


if __name__ == "__main__":
    main()
