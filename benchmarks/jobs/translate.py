"""Translation from English to German or back, with and without attention, in a given time.

    python -m benchmarks.jobs.translate [--direction en-de] [--minutes 20] [--models dot none]
        [--devices 2]

Each model is trained for the given minutes on Multi30k, compilation included, and translates both
of its test sets by beam search. All models have the same sizes, data and settings, and a vocabulary
of the words that occur at least twice in the training set. Models, by their attention:

    none        no attention: the decoder knows the source from its initial state alone
    dot         attention with the decoder's output, after its update (Luong et al. 2015)
    additive    attention with the decoder's state, before its update (Bahdanau et al. 2015)

The learning rate is constant for half of the time and then falls linearly to 0, so the numbers
depend on the machine. BLEU is sacrebleu's on the data set's own tokens, which are lower case
(tokenize="none"); words outside of the vocabulary count as wrong.
"""

import argparse
import pathlib
from typing import Any

import jax

from seqmem import data, models, training

from ..common.devices import devices_for
from ..common.machine import track_other_load
from ..common.options import positive_float, training_parser
from ..common.records import Row, provenance, write_csv, write_record
from .translation_data import Languages, Pairs
from .translation_model import DECODERS, Sizes, translate_sentences
from .translation_report import TESTS, bleu, draw_attention, report
from .translation_training import Run, train

PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "optax", "sacrebleu")
SAMPLES = 5  # translations in the report


def parse_options() -> argparse.Namespace:
    parser = training_parser(__doc__)
    add = parser.add_argument
    add("--direction", choices=("en-de", "de-en"), default="en-de")
    add("--minutes", type=positive_float, default=20.0, help="of training, for each model")
    add("--models", nargs="+", choices=DECODERS, default=["dot", "none"])
    add("--seed", type=int, default=0)
    return parser.parse_args()


def measure(
    kind: str,
    languages: Languages,
    pairs: dict[str, Pairs],
    references: dict[str, list[str]],
    devices: training.DataParallel,
    options: argparse.Namespace,
) -> tuple[models.EncoderDecoder, Row, list[Row]]:
    """A trained model, its results, and the rows of its training."""
    other_cores = track_other_load()
    run = Run(kind, Sizes(), options.seed, options.minutes, devices)
    model, rows = train(run, languages, pairs)
    result: Row = {
        "model": kind,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(model)),
        "cores_taken": other_cores(),
        **{name: rows[-1][name] for name in ("step", "epoch", "validation_loss")},
        "sentences_per_second": rows[-1]["step"] * Sizes().batch / rows[-1]["seconds"],
    }
    for test in TESTS:
        translations = translate_sentences(model, languages, pairs[test].source)
        result[test], result["bleu"] = bleu(translations, references[test])
        if test == TESTS[0]:
            result["translations"] = translations[:SAMPLES]
    return model, result, rows


def load_sentences(direction: str) -> dict[str, list[Any]]:
    """The source and the target sentences of each split."""
    return {
        split: [getattr(sentences, language) for language in direction.split("-")]
        for split in ("train", "val", *TESTS)
        for sentences in [data.multi30k(split)]
    }


def main() -> None:
    options = parse_options()
    try:
        import sacrebleu  # noqa: F401
    except ImportError:
        raise SystemExit("This needs sacrebleu: pip install 'seqmem[bench]'.") from None
    devices = devices_for(Sizes().batch, options.devices)
    sentences = load_sentences(options.direction)
    languages = Languages.from_sentences(*sentences["train"])
    pairs = {split: languages.encode(*sides) for split, sides in sentences.items()}
    references = {test: [" ".join(words) for words in sentences[test][1]] for test in TESTS}
    results, rows = [], []
    folder = pathlib.Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"translate_{options.direction}"
    for kind in options.models:
        model, result, model_rows = measure(kind, languages, pairs, references, devices, options)
        results.append(result)
        rows += model_rows
        if kind != "none":
            draw_attention(folder / f"{name}_{kind}.png", model, languages, pairs[TESTS[0]])
    record = provenance("benchmarks.jobs.translate", PACKAGES) | {
        "direction": options.direction,
        "minutes": options.minutes,
        "seed": options.seed,
        "devices": devices.num_devices,
        "sizes": vars(Sizes()),
        "tokens": [len(languages.source), len(languages.target)],
        "sources": [" ".join(words) for words in sentences[TESTS[0]][0][:SAMPLES]],
        "references": references[TESTS[0]][:SAMPLES],
        "rows": results,
    }
    print(report(record))
    paths = write_record(options.out, name, record, report(record))
    paths.append(paths[0].with_suffix(".csv"))
    write_csv(paths[-1], rows)
    print("wrote", *paths)


if __name__ == "__main__":
    main()
