"""Tokens equal those of coco-caption's own program."""

import csv
import random
import shutil
from pathlib import Path
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocoevalcap.tokenizer.ptbtokenizer import PUNCTUATIONS, PTBTokenizer

from captioning.data.vocab import detokenize
from captioning.evaluation.ptb import ptb_tokenize

CAPTIONS = Path(__file__).parents[3] / "shared" / "flickr8k" / "Flickr8k_Subset" / "captions.txt"
needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="Java is not installed")
needs_flickr8k = pytest.mark.skipif(not CAPTIONS.exists(), reason="../shared/flickr8k is not here")

# As the program tokenises them.
CASES = {
    "": "",
    "A man 's dog , and a T-shirt .": "a man 's dog and a t-shirt",
    "Don't can't won't he's she'll I'd I'm": "do n't ca n't wo n't he 's she 'll i 'd i 'm",
    "the boys' dogs'": "the boys dogs",
    "It cannot be gonna": "it can not be gon na",
    "Mr. Potato Head, Dale Jr. and St. Bernard": "mr. potato head dale jr. and st. bernard",
    "a S.C.U.B.A. diver in Washington D.C.": "a s.c.u.b.a. diver in washington d.c.",
    "the letter P. at 5:30 p.m.": "the letter p. at 5:30 p.m.",
    "at&t # 28 & two": "at & t # 28 & two",
    "a lens ( almost fish eye ) [a]": "a lens -lrb- almost fish eye -rrb- -lsb- a -rsb-",
    "a slip 'n' slide of the '90s": "a slip 'n' slide of the '90s",
    "\"quoted\" 'single' ``tick`` \u201ccurly\u201d": "quoted single tick curly",
    "1,000 dogs 3.5 $5 50% 10-year 1/2 3rd": "1,000 dogs 3.5 $ 5 50 % 10-year 1/2 3rd",
    "man/woman -- dash - and \u2014 en \u2013 ...": "man/woman dash and en",
    "No. 12 but no.": "no. 12 but no",
    "what ?! stop!!! now!": "what ?! stop !!! now",
    "A dog.A cat,a horse": "a dog.a cat a horse",
    "caf\u00e9 o'clock black-and-white": "caf\u00e9 o'clock black-and-white",
}


@pytest.mark.parametrize("text", CASES)
def test_by_hand(text):
    assert ptb_tokenize(text) == CASES[text].split()


def by_java(texts):
    """The tokens of coco-caption's program, for each text."""
    tokens = PTBTokenizer().tokenize({i: [{"caption": text}] for i, text in enumerate(texts)})
    return [tokens[i][0].split() for i in range(len(texts))]


@needs_java
def test_the_program_agrees_with_the_cases():
    assert by_java(list(CASES)) == [tokens.split() for tokens in CASES.values()]


@needs_java
@needs_flickr8k
def test_all_captions_of_flickr8k_are_tokenised_as_by_the_program():
    with CAPTIONS.open(encoding="utf-8", newline="") as file:
        texts = [row["caption"] for row in csv.DictReader(file)]
    pairs = zip(texts, by_java(texts), strict=True)
    assert len(texts) == 35_455
    assert [text for text, tokens in pairs if ptb_tokenize(text) != tokens] == []


@needs_java
def test_sentences_with_more_punctuation_than_captions_have_are_tokenised_as_by_the_program():
    rng = random.Random(0)
    words = ["dog", "man's", "Don't", "T-shirt", "3", "10-year-old", "1,500", "o'clock", "(small)"]
    marks = [" ", " ", " ", ", ", "; ", ": ", ' "', '" ', " - ", " -- ", " & ", " # ", " ... "]
    texts = []
    for _ in range(3000):
        parts = [rng.choice(words) + rng.choice(marks) for _ in range(rng.randint(1, 9))]
        texts.append("A " + "".join(parts) + "dog .")
    pairs = zip(texts, by_java(texts), strict=True)
    assert [text for text, tokens in pairs if ptb_tokenize(text) != tokens] == []


SCRIPTS = [
    "एक कुत्ता घास पर दौड़ रहा है",
    "একটি কুকুর ঘাসের উপর",
    "ஒரு நாய் புல்லில்",
    "แมวดำ ตัวใหญ่ นั่ง",
    "כֶּלֶב רָץ",
    "كَلْبٌ يَجْرِي",
    "a cafe\u0301's dog, and he didn't",
    "1\ufe0f\u20e3 dog",
]


@needs_java
def test_marks_belong_to_their_word_as_in_the_program():
    expected = [[normalize("NFC", token) for token in tokens] for tokens in by_java(SCRIPTS)]
    assert [ptb_tokenize(text) for text in SCRIPTS] == expected


@pytest.mark.parametrize("text", SCRIPTS)
def test_a_caption_scores_the_same_in_any_normal_form(text):
    assert ptb_tokenize(normalize("NFD", text)) == ptb_tokenize(normalize("NFC", text))


@settings(max_examples=200, deadline=None, database=None)
@given(st.text(max_size=80))
def test_tokens_are_lower_case_without_spaces_and_punctuation(text):
    tokens = ptb_tokenize(text)
    assert all(token and not set(token) & set(" \t\n\r") for token in tokens)
    assert all(token == token.lower() for token in tokens)
    assert not set(tokens) & set(PUNCTUATIONS)


@pytest.mark.parametrize("tokens", ["a man 's dog", "two t-shirt", "it does n't run", "the boys"])
def test_captions_of_the_model_keep_their_tokens(tokens):
    assert ptb_tokenize(detokenize(tokens.split())) == tokens.split()
