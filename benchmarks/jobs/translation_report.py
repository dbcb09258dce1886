"""The report of `translate`: BLEU, the table, sample translations and the attention figure."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from seqmem import models
from seqmem._core.errors import bad_input

from ..common.records import markdown_table, versions_text
from .translation_data import BEGIN, Languages, Pairs
from .translation_model import ALPHA, BEAM_WIDTH, MAX_LENGTH

TESTS = ("test_2016_flickr", "test_2017_flickr")
PUBLISHED = {
    "en-de": (
        "Published, for the test sets of 2016 and 2017, with subword units and no time limit: "
        "39.00 and 31.25 by a GRU of 256 with attention, embeddings of 128 (Caglayan et al. 2017, "
        "arXiv:1707.04481, text only)."
    ),
    "de-en": (
        "Published, for the test set of 2016, by tutorials, with another tokenizer: GRU 20.6, GRU "
        "with attention 28.3, transformer 36.5 (github.com/bentrevett/pytorch-seq2seq)."
    ),
}


def bleu(translations: Sequence[str], references: Sequence[str]) -> tuple[float, str]:
    """BLEU of a test set, and sacrebleu's signature of how it is computed.

    Raises:
        ValueError: where a reference is empty, or one is missing.
    """
    empty = [i for i, words in enumerate(references) if not words.strip()]
    if empty or len(translations) != len(references):
        raise bad_input(
            f"{len(translations)} translations, {len(references)} references, {len(empty)} of "
            "them empty.",
            "a reference with words for each translation.",
            "take sentences without words out of both languages.",
        )
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(tokenize="none", force=True)
    score = metric.corpus_score(list(translations), [list(references)]).score
    return score, str(metric.get_signature())


def draw_attention(
    path: pathlib.Path, model: models.EncoderDecoder, languages: Languages, pairs: Pairs
) -> None:
    """Draw the attention weights of the first sentence's reference: a row for each target word, a
    column for each source word.
    """
    import matplotlib
    from matplotlib.figure import Figure

    from ..common.plots import STYLE, WIDTH

    source, target = pairs.source[0], pairs.target[0]
    weights = model.alignment(source, np.append(np.int32(BEGIN), target[:-1]))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, WIDTH), dpi=300, layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(np.asarray(weights), cmap="gray_r", vmin=0, vmax=1, aspect="auto")
        axes.set_xticks(range(len(source)), [languages.source.words[i] for i in source])
        axes.tick_params(axis="x", rotation=90)
        axes.set_yticks(range(len(target)), [languages.target.words[i] for i in target])
        figure.savefig(path)


def report(record: dict[str, Any]) -> str:
    """The record in Markdown."""
    rows = record["rows"]
    head = ["attention", "BLEU 2016", "BLEU 2017", "validation loss", "epochs", "sentences/s"]
    head += ["parameters"]
    lines = [
        [row["model"]]
        + [f"{row[test]:.1f}" for test in TESTS]
        + [f"{row['validation_loss']:.3f}", f"{row['epoch']:.1f}"]
        + [f"{row['sentences_per_second']:.0f}", f"{row['parameters'] / 1e6:.1f}M"]
        for row in rows
    ]
    samples = []
    for i, (source, reference) in enumerate(
        zip(record["sources"], record["references"], strict=True)
    ):
        sample = [["source", source], ["reference", reference]]
        sample += [[row["model"], row["translations"][i]] for row in rows]
        samples.append(markdown_table(["", f"{i + 1}"], sample, left=2))
    loads = [row["cores_taken"] for row in rows if row["cores_taken"] is not None]
    return "\n\n".join(
        [
            f"`{record['command']}`",
            f"{record['machine']}, {record['date']}; other programs used up to "
            f"{max(loads, default=float('nan')):.1f} cores. {versions_text(record)}",
            f"{record['minutes']:g} minutes of training for each model, {record['direction']}; "
            f"beam search of width {BEAM_WIDTH}, at most {MAX_LENGTH} words, alpha {ALPHA}. BLEU: "
            f"sacrebleu {rows[0]['bleu']}, on tokens in lower case.",
            markdown_table(head, lines),
            PUBLISHED[record["direction"]],
            "The first sentences of the test set of 2016:",
            *samples,
        ]
    )
