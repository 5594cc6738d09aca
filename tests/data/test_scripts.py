"""Marks of words against Unicode's categories, and captions whose words are not separated."""

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.data.scripts import MARKS, WORD, has_unseparated_words
from captioning.data.vocab import tokenize

several = settings(max_examples=60, deadline=None, database=None)
OF_EMOJI = {*range(0xFE00, 0xFE10), *range(0x20DD, 0x20E5), *range(0xE0100, 0xE01F0)}

# A sentence each, whose words are separated by "|".
UNSPACED = {
    "Chinese": "一|只|狗|在|草地|上|奔跑",
    "Chinese, traditional": "兩|個|女人|走|在|街道|上",
    "Japanese": "犬|が|草原|を|走って|いる",
    "Thai": "สุนัข|สีน้ำตาล|วิ่ง|บน|หญ้า",
    "Lao": "ໝາ|ກໍາລັງ|ແລ່ນ|ຢູ່|ໃນ|ຫຍ້າ",
    "Khmer": "ឆ្កែ|កំពុង|រត់|លើ|ស្មៅ",
    "Burmese": "ခွေး|တစ်ကောင်|မြက်|ပေါ်|ပြေး|နေသည်",
}
SPACED = {
    "English": "A dog runs over the grass .",
    "German": "Donaudampfschifffahrtsgesellschaftskapitän am Steuer",
    "Hindi": "एक कुत्ता घास पर दौड़ रहा है",
    "Korean": "개가 잔디밭을 달린다",
    "Vietnamese": "một con chó chạy trên cỏ",
    "English with a sign": "a shop with a sign that says 一只狗在草地上奔跑",
}


def test_the_marks_are_those_of_unicode_but_for_those_of_emoji():
    is_mark = re.compile(f"[{MARKS}]").fullmatch
    for code in range(0x110000):
        expected = unicodedata.category(chr(code)).startswith("M") and code not in OF_EMOJI
        assert bool(is_mark(chr(code))) == expected


@several
@given(st.text(st.sampled_from("aé1 क्षि\u200d\u200c'-_")))
def test_a_word_is_never_empty_and_has_nothing_but_letters_digits_marks_and_joiners(text):
    for word in re.findall(WORD, text):
        assert word[0].isalnum()
        assert set(word) <= set("aé1क्षि\u200d\u200c")
        assert word[-1] not in "\u200d\u200c"


@pytest.mark.parametrize("sentence", UNSPACED.values(), ids=UNSPACED.keys())
def test_phrases_are_told_from_words_that_blanks_separate(sentence):
    joined, separated = sentence.replace("|", ""), sentence.replace("|", " ")
    assert has_unseparated_words([tokenize(joined)] * 3)
    assert not has_unseparated_words([tokenize(separated)] * 3)
    english = tokenize(SPACED["English"])
    assert not has_unseparated_words([tokenize(joined), *[english] * 5])


@pytest.mark.parametrize("sentence", SPACED.values(), ids=SPACED.keys())
def test_languages_with_blanks_are_left_alone(sentence):
    assert not has_unseparated_words([tokenize(sentence)])


def test_no_captions_have_nothing_to_separate():
    assert not has_unseparated_words([])
    assert not has_unseparated_words([[], ["12", "3"]])
