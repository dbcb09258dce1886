"""Multi30k, the word vocabulary, and the sizes of the published texts."""

import pytest

from seqmem import data
from seqmem.data import WordVocabulary, multi30k, tiny_shakespeare
from tests.helpers.refusals import assert_refused

EN = "a dog runs .\na cat and a dog .\n"
DE = "ein hund rennt .\neine katze und ein hund .\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "val.lc.norm.tok.en").write_text(EN, encoding="utf-8")
    (tmp_path / "val.lc.norm.tok.de").write_text(DE, encoding="utf-8")
    return tmp_path


def test_multi30k_pairs_sentences_with_their_translations(folder):
    translations = data.multi30k("val", folder)
    assert translations.en == (("a", "dog", "runs", "."), ("a", "cat", "and", "a", "dog", "."))
    assert translations.de[1] == ("eine", "katze", "und", "ein", "hund", ".")


def test_multi30k_splits_at_newlines_only(folder):
    (folder / "val.lc.norm.tok.de").write_bytes("ein\u2028hund\x0crennt .\nzwei\n".encode())
    assert len(data.multi30k("val", folder).de) == 2


def test_multi30k_refuses_a_missing_translation(folder):
    (folder / "val.lc.norm.tok.de").write_text(DE.splitlines()[0])
    with pytest.raises(ValueError, match=r"en has 2 lines(.|\n)*de has 1(.|\n)*What to do"):
        data.multi30k("val", folder)


@pytest.mark.parametrize("text", ["ein hund\n \n", "", "ein hund\n\n"])
def test_multi30k_refuses_an_empty_sentence(text, folder):
    (folder / "val.lc.norm.tok.de").write_text(text)
    with pytest.raises(ValueError, match=r"line \d of(.|\n)*is empty(.|\n)*What to do"):
        data.multi30k("val", folder)


def test_multi30k_refuses_a_missing_file(folder):
    with pytest.raises(ValueError, match=r"has no train.lc(.|\n)*What to do"):
        data.multi30k("train", folder)


def test_word_vocabulary_orders_words_by_frequency():
    vocabulary = WordVocabulary.from_sentences(
        [line.split() for line in EN.splitlines()], min_count=1
    )
    assert vocabulary.words == (
        "<pad>",
        "<s>",
        "</s>",
        "<unk>",
        "a",
        ".",
        "dog",
        "and",
        "cat",
        "runs",
    )


def test_word_vocabulary_decode_inverts_encode_up_to_the_end_token():
    vocabulary = WordVocabulary.from_sentences([EN.split()], min_count=1)
    ids = vocabulary.encode(("a", "cat", "."))
    assert vocabulary.decode(ids) == ("a", "cat", ".")
    padded = [vocabulary.BEGIN, *ids, vocabulary.END, *ids]
    assert vocabulary.decode(padded) == ("a", "cat", ".")


def test_word_vocabulary_leaves_out_rare_words_and_special_tokens():
    vocabulary = WordVocabulary.from_sentences([EN.split(), ["<s>", "<s>"]], min_count=2)
    assert vocabulary.words[4:] == ("a", ".", "dog")
    assert vocabulary.encode(("cat", "dog")).tolist() == [vocabulary.UNKNOWN, 6]


@pytest.mark.parametrize("words", [("a",), ("<pad>", "<s>", "</s>", "<unk>", "a", "a")])
def test_word_vocabulary_refuses_missing_special_tokens_and_repeated_words(words):
    with pytest.raises(ValueError, match=r"starting with(.|\n)*What to do"):
        WordVocabulary(words)


def test_multi30k_has_the_published_number_of_sentences(data):
    counts = {"train": 29_000, "val": 1_014, "test_2016_flickr": 1_000, "test_2017_flickr": 1_000}
    for split, count in counts.items():
        translations = multi30k(split, data / "multi30k")
        assert len(translations.en) == len(translations.de) == count


def test_tiny_shakespeare_has_the_published_length(data):
    text = tiny_shakespeare(data / "tinyshakespeare")
    assert (len(text), len(set(text))) == (1_115_394, 65)


def test_multi30k_refuses_other_bytes_than_utf_8(folder):
    path = folder / "val.lc.norm.tok.de"
    path.write_bytes(b"k\xe4se\n")
    assert_refused(f"{path} is not UTF-8", data.multi30k, "val", folder)
