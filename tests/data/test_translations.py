"""Sentences beside their translations, and words as numbers."""

import pytest

from seqmem import data
from seqmem.data import WordVocabulary, multi30k, tiny_shakespeare

EN = "a dog runs .\na cat and a dog .\n"
DE = "ein hund rennt .\neine katze und ein hund .\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "val.lc.norm.tok.en").write_text(EN, encoding="utf-8")
    (tmp_path / "val.lc.norm.tok.de").write_text(DE, encoding="utf-8")
    return tmp_path


def test_sentences_stand_beside_their_translations(folder):
    found = data.multi30k("val", folder)
    assert found.en == (("a", "dog", "runs", "."), ("a", "cat", "and", "a", "dog", "."))
    assert found.de[1] == ("eine", "katze", "und", "ein", "hund", ".")


def test_only_an_end_of_line_ends_a_sentence(folder):
    (folder / "val.lc.norm.tok.de").write_bytes("ein\u2028hund\x0crennt .\nzwei\n".encode())
    assert len(data.multi30k("val", folder).de) == 2


def test_a_translation_that_is_missing_is_refused(folder):
    (folder / "val.lc.norm.tok.de").write_text(DE.splitlines()[0])
    with pytest.raises(ValueError, match=r"en has 2 lines(.|\n)*de has 1(.|\n)*What to do"):
        data.multi30k("val", folder)


@pytest.mark.parametrize("text", ["ein hund\n \n", "", "ein hund\n\n"])
def test_an_empty_sentence_is_refused(text, folder):
    (folder / "val.lc.norm.tok.de").write_text(text)
    with pytest.raises(ValueError, match=r"line \d of(.|\n)*is empty(.|\n)*What to do"):
        data.multi30k("val", folder)


def test_a_missing_file_is_refused(folder):
    with pytest.raises(ValueError, match=r"holds no train.lc(.|\n)*What to do"):
        data.multi30k("train", folder)


def test_the_most_frequent_words_come_first():
    vocabulary = WordVocabulary.of([line.split() for line in EN.splitlines()], least=1)
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


def test_decoding_undoes_encoding_and_ends_where_the_sentence_does():
    vocabulary = WordVocabulary.of([EN.split()], least=1)
    ids = vocabulary.encode(("a", "cat", "."))
    assert vocabulary.decode(ids) == ("a", "cat", ".")
    whole = [vocabulary.BEGIN, *ids, vocabulary.END, *ids]
    assert vocabulary.decode(whole) == ("a", "cat", ".")


def test_rare_words_and_marks_in_a_text_are_unknown():
    vocabulary = WordVocabulary.of([EN.split(), ["<s>", "<s>"]], least=2)
    assert vocabulary.words[4:] == ("a", ".", "dog")
    assert vocabulary.encode(("cat", "dog")).tolist() == [vocabulary.UNKNOWN, 6]


@pytest.mark.parametrize("words", [("a",), ("<pad>", "<s>", "</s>", "<unk>", "a", "a")])
def test_a_vocabulary_without_marks_or_with_a_word_twice_is_refused(words):
    with pytest.raises(ValueError, match=r"beginning with(.|\n)*What to do"):
        WordVocabulary(words)


def test_the_real_sentences_are_as_many_as_published(data):
    counts = {"train": 29_000, "val": 1_014, "test_2016_flickr": 1_000, "test_2017_flickr": 1_000}
    for split, count in counts.items():
        found = multi30k(split, data / "multi30k")
        assert len(found.en) == len(found.de) == count


def test_the_real_shakespeare_is_as_long_as_published(data):
    text = tiny_shakespeare(data / "tinyshakespeare")
    assert (len(text), len(set(text))) == (1_115_394, 65)
