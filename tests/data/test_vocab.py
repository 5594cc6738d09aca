"""Words: the tokeniser against NLTK and its inverse, the vocabulary against its promises."""

import re
from collections import Counter
from dataclasses import replace
from unicodedata import category, normalize

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nltk.tokenize import TreebankWordTokenizer

from captioning.data.vocab import (
    END,
    PAD,
    SPECIAL_TOKENS,
    START,
    TOKENS,
    UNK,
    Vocabulary,
    detokenize,
    is_manner,
    swap_sides,
    tokenize,
)
from captioning.errors import SettingError

several = settings(max_examples=150, deadline=None, database=None)

CLITICS = ("n't", "'s", "'m", "'d", "'ll", "'re", "'ve")
WORDS = ("man", "they", "it", "could", "dog", "t-shirt", "o'clock", "1,000", "u.s", "café", "犬")

# Text like captions, any text at all, and text made to confuse: clitics and punctuation together.
pieces = st.sampled_from([*CLITICS, *"ans'-.,&_ `I😀", "\u2019", "can't", "N'T", "\n", "É", "1"])
texts = st.one_of(
    st.lists(st.sampled_from([*WORDS, *CLITICS, ".", ","])).map(" ".join),
    st.lists(pieces, max_size=12).map("".join),
    st.text(),
)


def treebank(text):
    return TreebankWordTokenizer().tokenize(text)


def alphanumeric(text):
    return [character for character in text if character.isalnum()]


# tokenize ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a man's dog", "a man 's dog"),
        ("they don't know", "they do n't know"),
        ("it's a t-shirt", "it 's a t-shirt"),
        ("we're sure they'll go", "we 're sure they 'll go"),
        ("i'm sure i've won and i'd stay", "i 'm sure i 've won and i 'd stay"),
        ("the boys' ball", "the boys ball"),
        ("1,000 people at 5 o'clock", "1,000 people at 5 o'clock"),
        ("black-and-white dogs", "black-and-white dogs"),
    ],
)
def test_contractions_split_as_nltk_splits_them(text, expected):
    assert tokenize(text) == expected.split()
    assert tokenize(text) == [token for token in treebank(text) if token != "'"]


@several
@given(st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(["", *CLITICS]))))
def test_words_with_clitics_split_as_nltk_splits_them(words):
    text = " ".join(word + clitic for word, clitic in words)
    assert tokenize(text) == treebank(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A Dog RUNS .", "a dog runs"),
        ('A sign says " stop " , loudly !', "a sign says stop loudly"),
        ("the man\u2019s dog didn\u2019t bark", "the man 's dog did n't bark"),  # curly
        ("a man`s dog", "a man 's dog"),
        ("two dogs 🐕 run…", "two dogs run"),
        ("snake_case", "snake case"),
        ("Ein Café in Zürich", "ein café in zürich"),
        ("wait... what?!", "wait what"),
        ("he shouldn't've", "he should n't 've"),
        ("", ""),
        (" . , ' - _ ", ""),
    ],
)
def test_case_punctuation_and_unicode(text, expected):
    assert tokenize(text) == expected.split()


@several
@given(texts)
@example("a'sn't")
@example("an'tn't")
@example("'s 's n't n't")
def test_tokens_tokenise_to_themselves(text):
    tokens = tokenize(text)
    assert tokenize(" ".join(tokens)) == tokens


@several
@given(texts)
def test_no_letter_or_digit_is_lost_or_moved(text):
    composed = normalize("NFC", normalize("NFC", text).lower())
    assert alphanumeric("".join(tokenize(text))) == alphanumeric(composed)


@several
@given(texts)
def test_tokens_are_lower_case_words_without_punctuation_around_them(text):
    for token in tokenize(text):
        assert token == token.lower()
        assert token[-1].isalnum() or is_mark(token[-1])
        assert token[0].isalnum() or token in CLITICS
        others = set(token) - set(alphanumeric(token))
        assert {each for each in others if not is_mark(each)} <= {*"-.,'&", *JOINERS}


# Words of any script ----------------------------------------------------------------------------

JOINERS = "\u200c\u200d"
SCRIPTS = {
    "Hindi": "एक कुत्ता घास पर दौड़ रहा है",
    "Bengali": "একটি কুকুর ঘাসের উপর",
    "Tamil": "ஒரு நாய் புல்லில்",
    "Thai, separated": "สุนัข สีน้ำตาล วิ่ง",
    "Hebrew": "כֶּלֶב רָץ",
    "Arabic": "كَلْبٌ يَجْرِي",
    "Persian": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \u0631\u0641\u062a",
    "a joiner of Devanagari": "क्\u200dष",
}


def is_mark(character):
    return category(character).startswith("M")


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_marks_and_joiners_inside_belong_to_their_word(text):
    composed = normalize("NFC", text)
    assert tokenize(text) == composed.split()
    assert tokenize(f"«{text}».") == composed.split()
    assert tokenize(normalize("NFD", text)) == composed.split()


@pytest.mark.parametrize("mark", ["\u0301", "\u093f", "\u0e34", "\u05b6", "\u064e", "\U0001e8d0"])
def test_a_mark_is_part_of_the_letters_around_it_and_of_nothing_else(mark):
    assert tokenize(f"ab{mark}cd") == [normalize("NFC", f"ab{mark}cd")]
    assert tokenize(f"{mark} . {mark}a") == ["a"]
    assert tokenize(f"they{mark}'s dogs{mark}") == [
        normalize("NFC", f"they{mark}"),
        "'s",
        normalize("NFC", f"dogs{mark}"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a dog\u200d \u200cruns\u200c", "a dog runs"),  # what joins nothing is dropped
        ("1\ufe0f\u20e3 dog \u2764\ufe0f", "1 dog"),  # an emoji is made of a digit and marks
        ("\U0001f468\u200d\U0001f469 family", "family"),
    ],
)
def test_joiners_and_marks_of_emoji_are_no_part_of_words(text, expected):
    assert tokenize(text) == expected.split()


@several
@given(st.text(st.sampled_from("क ्षिำ\u200c\u200dáe\u0301n't's-.ß1 İΣσ")))
def test_tokens_of_any_script_tokenise_to_themselves(text):
    tokens = tokenize(text)
    assert tokenize(" ".join(tokens)) == tokens
    assert tokenize(normalize("NFD", text)) == tokens


# The rule as it was before it knew marks: for text in ASCII it is still the whole of it.
OLD_CLITIC = re.compile(r"(?<=[^\W_])(?:(n't)|('(?:s|m|d|ll|re|ve)))(?=(?:n't)*(?![^\W_]))")
OLD_TOKEN = re.compile(r"n't(?![^\W_])|'(?:s|m|d|ll|re|ve)(?![^\W_])|[^\W_]+(?:[-.,'&][^\W_]+)*")


@several
@given(
    st.lists(pieces, max_size=12).map("".join) | st.text(st.characters(max_codepoint=127)),
    st.sampled_from(["", " é", " 犬", " œ"]),
)
def test_english_is_split_as_ever(text, more):
    lowered = (text + more).lower().replace("\u2019", "'").replace("`", "'")
    expected = OLD_TOKEN.findall(OLD_CLITIC.sub(r" \1\2 ", lowered))
    assert tokenize(text + more) == expected


# detokenize -------------------------------------------------------------------------------------


@several
@given(texts)
@example("n't n't 's")
@example("a man's dog, and he doesn't")
def test_detokenized_text_tokenises_to_the_same_tokens(text):
    tokens = tokenize(text)
    assert tokenize(detokenize(tokens)) == tokens


@pytest.mark.parametrize(
    "english",
    [
        "a man's dog",
        "they don't know it's a t-shirt",
        "1,000 people can't be wrong",
        "we're two o'clock people",
        "dog",
        "",
    ],
)
def test_english_comes_back_as_it_was(english):
    assert detokenize(tokenize(english)) == english


# Vocabulary -------------------------------------------------------------------------------------

captions = st.lists(st.lists(st.sampled_from("abcde"), max_size=5), max_size=8)


def vocabulary_of(words):
    return Vocabulary((*SPECIAL_TOKENS, *words.split()))


def test_the_special_tokens_have_the_ids_that_checkpoints_rely_on():
    assert (PAD, START, END, UNK) == (0, 1, 2, 3)
    assert SPECIAL_TOKENS == ("<pad>", "<start>", "<end>", "<unk>")
    assert Vocabulary.build([]).words == SPECIAL_TOKENS


def test_words_are_ordered_by_frequency_then_alphabet():
    built = Vocabulary.build([["dog", "cat"], ["cat", "ant"], ["bee"]], min_count=1)
    assert built.words[4:] == ("cat", "ant", "bee", "dog")


@several
@given(captions, st.integers(1, 5))
def test_exactly_the_frequent_words_are_known(captions, min_count):
    counts = Counter(word for caption in captions for word in caption)
    expected = {word for word in counts if counts[word] >= min_count}
    assert set(Vocabulary.build(captions, min_count).words[4:]) == expected


@several
@given(captions.flatmap(lambda each: st.tuples(st.just(each), st.permutations(each))))
def test_the_order_of_the_captions_changes_nothing(both):
    captions, shuffled = both
    backwards = [caption[::-1] for caption in shuffled]
    assert Vocabulary.build(backwards, 2) == Vocabulary.build(captions, 2)


@several
@given(st.lists(st.sampled_from(["a", "dog", "'s", "ball"])))
def test_known_words_come_back_from_their_ids(tokens):
    vocabulary = vocabulary_of("a dog 's ball")
    assert vocabulary.decode(vocabulary.encode(tokens)) == tokens


def test_ids_are_indices():
    vocabulary = vocabulary_of("a dog")
    assert vocabulary.encode(["a", "dog"]) == [4, 5]
    assert len(vocabulary) == 6


def test_unknown_words_become_unk():
    vocabulary = vocabulary_of("a dog")
    assert vocabulary.encode(["a", "zebra"]) == [4, UNK]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "must begin with"),
        (("a", "dog"), "must begin with"),
        (("<start>", "<pad>", "<end>", "<unk>", "a"), "must begin with"),
        (SPECIAL_TOKENS[:3], "must begin with"),
        ((*SPECIAL_TOKENS, "a", "dog", "a"), "twice"),
        ((*SPECIAL_TOKENS, "<end>"), "twice"),
    ],
)
def test_an_invalid_vocabulary_is_refused(words, complaint):
    with pytest.raises(ValueError, match=complaint):
        Vocabulary(words)


# Captions of mirrored photographs ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("caption", "swapped"),
    [
        ("the dog on the left", "the dog on the right"),
        ("from right to left", "from left to right"),
        ("a left-handed batter", "a right-handed batter"),
        ("leftover bright lefty", "leftover bright lefty"),
    ],
)
def test_left_and_right_are_swapped(caption, swapped):
    assert swap_sides(caption.split()) == swapped.split()


@several
@given(texts)
def test_swapping_sides_twice_changes_nothing(text):
    tokens = tokenize(text)
    assert swap_sides(swap_sides(tokens)) == tokens
    assert len(swap_sides(tokens)) == len(tokens)


# Manners ----------------------------------------------------------------------------------------


def test_without_manners_the_tokens_are_those_of_every_vocabulary():
    vocabulary = vocabulary_of("a dog")
    assert vocabulary.manners == ()
    assert replace(vocabulary.tokens(), repeatable=()) == TOKENS


def test_a_manner_has_a_start_token_of_its_own_that_is_never_written():
    vocabulary = vocabulary_of("a <web> dog <news>")  # where growth has put them
    assert vocabulary.manners == ("web", "news")
    never = {PAD, START, UNK, 5, 7}
    for manner, start in {"": START, "web": 5, "news": 7}.items():
        tokens = vocabulary.tokens(manner)
        assert (tokens.start, tokens.end, set(tokens.never)) == (start, END, never)


@pytest.mark.parametrize(
    ("words", "known"),
    [("a", "none but the default one"), ("a <web>", "web"), ("<web> <news>", "web, news")],
)
@pytest.mark.parametrize("manner", ["poem", "start", "pad", "a", "<web>", "we"])
def test_an_unknown_manner_is_refused(words, known, manner):
    with pytest.raises(SettingError, match=f"no manner '{manner}'; it knows {known}$"):
        vocabulary_of(words).tokens(manner)


@pytest.mark.parametrize(
    ("name", "valid"),
    [("web", True), ("x", True), *((name[1:-1], False) for name in SPECIAL_TOKENS)]
    + [(name, False) for name in ("", "Web", "we b", "w2", "web\n", "<web>", "größe", "web-text")],
)
def test_a_manner_is_a_plain_word_and_no_special_token(name, valid):
    assert is_manner(name) == valid
    assert not valid or vocabulary_of(f"a <{name}>").manners == (name,)


@several
@given(texts)
def test_no_text_has_the_token_of_a_manner(text):
    assert not {"<web>", *SPECIAL_TOKENS} & set(tokenize(text + " <web> <start>"))


@several
@given(captions, st.integers(1, 5), st.lists(st.sampled_from(["web", "", "news"]), max_size=4))
def test_manners_come_before_the_words_which_stay_as_they_were(captions, min_count, manners):
    built = Vocabulary.build(captions, min_count, manners=manners)
    assert built.manners == tuple(dict.fromkeys(name for name in manners if name))
    words = built.words[4 + len(built.manners) :]
    assert words == Vocabulary.build(captions, min_count).words[4:]


@several
@given(captions, st.integers(1, 5), st.lists(st.sampled_from(["cup", "zebra", "a"])))
def test_required_words_are_known_whatever_their_count(captions, min_count, required):
    built = Vocabulary.build(captions, min_count, required=required)
    expected = set(Vocabulary.build(captions, min_count).words) | set(required)
    assert set(built.words) == expected
    counts = Counter(word for caption in captions for word in caption)
    ranks = [(-counts[word], word) for word in built.words[4:]]
    assert ranks == sorted(ranks)


def test_function_words_are_repeatable_and_others_are_not():
    vocabulary = Vocabulary((*SPECIAL_TOKENS, "<web>", "on", "dog", "a"))
    assert set(vocabulary.tokens("web").repeatable) == {vocabulary.ids["on"], vocabulary.ids["a"]}
