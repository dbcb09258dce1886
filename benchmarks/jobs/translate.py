"""From English to German or back: what attention is worth in a given time.

    python -m benchmarks.jobs.translate [--direction en-de] [--minutes 20] [--models dot none]

Each model is trained for so many minutes on Multi30k, compiling included, and translates both of
its test sets by beam search. All have the same sizes, data and settings, and know the words that
come at least twice in the training set. Models, by their attention:

    none        the decoder begins from what is left of the source, and nothing else
    dot         attention with what the decoder shows, after its update (Luong et al. 2015)
    additive    attention with the decoder's state, before its update (Bahdanau et al. 2015)

The learning rate is constant for half of the time and then falls to 0 with it, so another machine
gives other numbers. BLEU is sacrebleu's of the data set's own tokens, which are lower case
(tokenize="none"); the words of a translation that are not known count as wrong.
"""

import argparse
import functools
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
import optax
from tqdm import tqdm

from seqmem import data, models, training
from seqmem._core.errors import bad_input

from ..common.machine import track_other_load
from ..common.records import Row, markdown_table, provenance, write_csv, write_record
from .translation import (
    ALPHA,
    BEGIN,
    BUCKETS,
    DECODERS,
    LONGEST,
    WIDTH,
    Languages,
    Pairs,
    Sizes,
    batch_at,
    batches,
    loss,
    losses,
    translations,
    translator,
)

PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "optax", "sacrebleu")
TESTS = ("test_2016_flickr", "test_2017_flickr")
SHOWN = 5  # translations
PUBLISHED = {
    "en-de": (
        "Published, of the test sets of 2016 and 2017, with parts of words and no limit of time: "
        "39.00 and 31.25 by a GRU of 256 that attends, vectors of 128 (Caglayan et al. 2017, "
        "arXiv:1707.04481, text alone)."
    ),
    "de-en": (
        "Published, of the test set of 2016, by tutorials, cut into words in another way: GRU "
        "20.6, GRU that attends 28.3, transformer 36.5 (github.com/bentrevett/pytorch-seq2seq)."
    ),
}


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--direction", choices=("en-de", "de-en"), default="en-de")
    add("--minutes", type=float, default=20.0, help="of training, for each model")
    add("--models", nargs="+", choices=DECODERS, default=["dot", "none"])
    add("--seed", type=int, default=0)
    add("--out", default="benchmarks/results", help="folder for the results")
    chosen = parser.parse_args()
    if not chosen.minutes > 0:
        parser.error("--minutes is a number above 0.")
    return chosen


def bleu(found: Sequence[str], expected: Sequence[str]) -> tuple[float, str]:
    """BLEU of a test set, and sacrebleu's word for how it was counted.

    Raises:
        ValueError: where a reference is empty, or one is missing.
    """
    empty = [i for i, words in enumerate(expected) if not words.strip()]
    if empty or len(found) != len(expected):
        raise bad_input(
            f"{len(found)} translations, {len(expected)} references, {len(empty)} of them empty.",
            "a reference with words for each translation.",
            "take sentences without words out of both languages.",
        )
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(tokenize="none", force=True)
    return metric.corpus_score(list(found), [list(expected)]).score, str(metric.get_signature())


def optimiser(sizes: Sizes) -> optax.GradientTransformation:
    adam = optax.inject_hyperparams(optax.adam)(learning_rate=sizes.learning_rate)
    return optax.chain(optax.clip_by_global_norm(1.0), adam)


def with_rate(state: training.TrainingState, rate: float) -> training.TrainingState:
    return eqx.tree_at(
        lambda state: state.opt_state[1].hyperparams["learning_rate"],
        state,
        np.float32(rate),
    )


@functools.cache
def compiled_losses():
    return jax.jit(losses)


def validation(model: models.EncoderDecoder, pairs: Pairs, batch: int) -> float:
    """Mean −ln P of a word."""
    total = weight = 0.0
    for chosen in batches(pairs.times, batch):
        source, target = (data.padded(side, chosen)[0] for side in pairs)
        some, count = compiled_losses()(model, source, target)
        total, weight = total + float(some), weight + float(count)
    return total / weight


def train(
    kind: str,
    languages: Languages,
    pairs: dict[str, Pairs],
    sizes: Sizes,
    seed: int,
    minutes: float,
) -> tuple[models.EncoderDecoder, list[Row]]:
    """The model after so many minutes, and what was seen on the way."""
    begun, budget = time.perf_counter(), 60 * minutes
    keys = jax.random.split(jax.random.key(seed), 3)
    buckets = data.Buckets.of(pairs["train"].times, batch=sizes.batch, count=BUCKETS)
    batch = batch_at(pairs["train"], buckets)
    adam = optimiser(sizes)
    step = training.make_step(training.TruncatedBPTT(loss, window=max(buckets.times)), adam)
    state = training.begin_training(translator(kind, languages, sizes, keys[0]), adam, keys[1])
    rows, totals, position = [], np.zeros(4), 0

    def row() -> Row:
        return {
            "model": kind,
            "step": position,
            "epoch": position / len(buckets),
            "seconds": time.perf_counter() - begun,
            "training_loss": totals[0] / totals[1],
            "gradient_norm": totals[2] / totals[3],
            "validation_loss": validation(state.model, pairs["val"], sizes.batch),
        }

    with tqdm(total=round(budget), unit="s", desc=kind) as bar:
        while (seconds := time.perf_counter() - begun) < budget:
            rate = sizes.learning_rate * min(1.0, 2 - 2 * seconds / budget)
            state, told = step(with_rate(state, rate), batch(keys[2], position))
            experiment.stop_if_skipped(position, told)
            weight = float(told["weight"])
            totals += float(told["loss"]) * weight, weight, float(told["gradient_norm"]), 1
            position += 1
            bar.update(round(time.perf_counter() - begun) - bar.n)
            if position % len(buckets) == 0:
                rows.append(row())
                totals[:] = 0
                bar.set_postfix(loss=rows[-1]["validation_loss"], epoch=rows[-1]["epoch"])
    if totals[3]:
        rows.append(row())
    return state.model, rows


def measure(
    kind: str,
    languages: Languages,
    pairs: dict[str, Pairs],
    expected: dict[str, list[str]],
    chosen: argparse.Namespace,
) -> tuple[models.EncoderDecoder, Row, list[Row]]:
    taken = track_other_load()
    model, rows = train(kind, languages, pairs, Sizes(), chosen.seed, chosen.minutes)
    found: Row = {
        "model": kind,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(model)),
        "cores_taken": taken(),
        **{name: rows[-1][name] for name in ("step", "epoch", "validation_loss")},
        "sentences_per_second": rows[-1]["step"] * Sizes().batch / rows[-1]["seconds"],
    }
    for test in TESTS:
        told = translations(model, languages, pairs[test].source)
        found[test], found["bleu"] = bleu(told, expected[test])
        if test == TESTS[0]:
            found["translations"] = told[:SHOWN]
    return model, found, rows


def draw(path: pathlib.Path, model: models.EncoderDecoder, languages: Languages, pairs: Pairs):
    """The attention of one sentence's reference, words of the source below."""
    import matplotlib
    from matplotlib.figure import Figure

    from ..common.plots import STYLE, WIDTH as COLUMN

    source, target = pairs.source[0], pairs.target[0]
    weights = model.alignment(source, np.append(np.int32(BEGIN), target[:-1]))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(COLUMN, COLUMN), dpi=300, layout="constrained")
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
    for i, (source, expected) in enumerate(
        zip(record["sources"], record["references"], strict=True)
    ):
        told = [[row["model"], row["translations"][i]] for row in rows]
        both = [["source", source], ["reference", expected], *told]
        samples.append(markdown_table(["", f"{i + 1}"], both, left=2))
    busy = [row["cores_taken"] for row in rows if row["cores_taken"] is not None]
    versions = ", ".join(f"{name} {value}" for name, value in record["versions"].items())
    return "\n\n".join(
        [
            f"`{record['command']}`",
            f"{record['machine']}, {record['date']}; other programs took up to "
            f"{max(busy, default=float('nan')):.1f} cores. Versions: {versions}.",
            f"{record['minutes']:g} minutes of training for each model, {record['direction']}; "
            f"beam search of {WIDTH}, at most {LONGEST} words, alpha {ALPHA}. BLEU: sacrebleu "
            f"{rows[0]['bleu']}, on tokens in lower case.",
            markdown_table(head, lines),
            PUBLISHED[record["direction"]],
            "The first sentences of the test set of 2016:",
            *samples,
        ]
    )


def main() -> None:
    chosen = options()
    try:
        import sacrebleu  # noqa: F401
    except ImportError:
        raise SystemExit("This needs sacrebleu: pip install 'seqmem[bench]'.") from None
    languages_of = chosen.direction.split("-")
    sides = {
        split: [getattr(sentences, language) for language in languages_of]
        for split in ("train", "val", *TESTS)
        for sentences in [data.multi30k(split)]
    }
    languages = Languages.of(*sides["train"])
    pairs = {split: languages.encode(*both) for split, both in sides.items()}
    expected = {test: [" ".join(words) for words in sides[test][1]] for test in TESTS}
    found, rows = [], []
    folder = pathlib.Path(chosen.out)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"translate_{chosen.direction}"
    for kind in chosen.models:
        model, own, seen = measure(kind, languages, pairs, expected, chosen)
        found.append(own)
        rows += seen
        if kind != "none":
            draw(folder / f"{name}_{kind}.png", model, languages, pairs[TESTS[0]])
    record = provenance("benchmarks.jobs.translate", PACKAGES) | {
        "direction": chosen.direction,
        "minutes": chosen.minutes,
        "seed": chosen.seed,
        "sizes": vars(Sizes()),
        "tokens": [len(languages.source), len(languages.target)],
        "sources": [" ".join(words) for words in sides[TESTS[0]][0][:SHOWN]],
        "references": expected[TESTS[0]][:SHOWN],
        "rows": found,
    }
    print(report(record))
    written = write_record(chosen.out, name, record, report(record))
    write_csv(written[0].with_suffix(".csv"), rows)
    print("wrote", *written, written[0].with_suffix(".csv"))


if __name__ == "__main__":
    main()
