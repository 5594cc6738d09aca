"""The tokenisation that coco-caption scores with, without Java.

coco-caption runs Stanford CoreNLP's PTBTokenizer (Penn Treebank tokens, lower case) and removes
punctuation. This module does the same for the kind of text that captions are; the tests compare the
two. Not covered is what captions hardly ever contain: web addresses, markup, smileys.
"""

import re

from captioning.data.scripts import MARKS, normalized

# As the program writes them; in lower case, so that coco-caption does not remove them.
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
# Their full stop belongs to them, wherever they occur.
_ABBREVIATIONS = (
    r"mr|mrs|ms|messrs|dr|drs|jr|sr|st|ste|mt|ft|lt|ltd|inc|corp|co|cos|vs|etc|prof|gen|col|capt|"
    r"sgt|cpl|gov|sen|rep|rev|hon|pres|ave|blvd|rd|dept|univ|assn|bros|est|feb|aug|sept|oct|nov|dec"
)


def _pattern(letter: str, more: str, word: str) -> re.Pattern[str]:
    """The pattern of a token.

    ``letter`` is one that is no digit, ``more`` what a word that does not end goes on with, and
    ``word`` is one without joints.
    """
    clitics = rf"'(?:s|m|d|ll|re|ve)(?!{more})"
    return re.compile(
        rf"""
        can(?=not(?!{more}))                      # can|not
      | (?:gon|wan)(?=na(?!{more})) | got(?=ta(?!{more}))
      | n't(?!{more}) | {clitics}
      | '(?:n'|em|til|\d0s)(?!{more})             # slip 'n' slide  '90s
      | no\.(?=\s?\d)                            # no. 12
      | (?:{_ABBREVIATIONS})\.(?=\W|$)
      | {letter}(?:\.{letter})*\.(?=\W|$)        # u.s.  p.
      | {letter}+(?=n't(?!{more}))                # did|n't
      | \d+(?:[.,:/]\d+)+                        # 1,000  1/2
      | {word}(?:[-.']{word})*?(?={clitics})      # dog|'s
      | {word}(?:[-.'/]{word})*                   # t-shirt  o'clock  man/woman
      | [!?][!?]+ | [\#_]+
      | [()\[\]{{}}]
      | [&$%=+*@/<>~^|\\]
        """,
        re.VERBOSE,
    )


# Nothing shorter than a whole word is ever wanted, and to try all its parts could take for ever.
_OF_ANY_SCRIPT = _pattern(
    rf"(?:[^\W\d_][{MARKS}]*)", rf"(?:[^\W_]|[{MARKS}])", rf"[^\W_]++(?:[{MARKS}]++[^\W_]*+)*+"
)
_OF_ASCII = _pattern(r"[^\W\d_]", r"[^\W_]", r"[^\W_]+")  # the same, in less time


def ptb_tokenize(text: str) -> list[str]:
    """Split a caption into lower-case Penn Treebank tokens in the normal form NFC.

    They have no punctuation.
    """
    text = normalized(text)
    text = text.lower().replace("\u2019", "'").replace("\u2018", "'").replace("`", "'")
    pattern = _OF_ASCII if text.isascii() else _OF_ANY_SCRIPT
    return [_BRACKETS.get(token, token) for token in pattern.findall(text)]
