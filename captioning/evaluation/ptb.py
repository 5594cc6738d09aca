"""The tokenisation that coco-caption scores with, without Java.

coco-caption runs Stanford CoreNLP's PTBTokenizer (Penn Treebank tokens, lower case) and removes
punctuation. This module does the same for the kind of text that captions are; the tests compare the
two. Not covered is what captions hardly ever contain: web addresses, markup, smileys.
"""

import re

# As the program writes them; in lower case, so that coco-caption does not remove them.
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
# Their full stop belongs to them, wherever they occur.
_ABBREVIATIONS = (
    r"mr|mrs|ms|messrs|dr|drs|jr|sr|st|ste|mt|ft|lt|ltd|inc|corp|co|cos|vs|etc|prof|gen|col|capt|"
    r"sgt|cpl|gov|sen|rep|rev|hon|pres|ave|blvd|rd|dept|univ|assn|bros|est|feb|aug|sept|oct|nov|dec"
)
_LETTER = r"[^\W\d_]"
_CLITICS = r"'(?:s|m|d|ll|re|ve)(?![^\W_])"
_TOKEN = re.compile(
    rf"""
    can(?=not(?![^\W_]))                        # can|not
  | (?:gon|wan)(?=na(?![^\W_])) | got(?=ta(?![^\W_]))
  | n't(?![^\W_]) | {_CLITICS}
  | '(?:n'|em|til|\d0s)(?![^\W_])               # slip 'n' slide  '90s
  | no\.(?=\s?\d)                               # no. 12
  | (?:{_ABBREVIATIONS})\.(?=\W|$)
  | {_LETTER}(?:\.{_LETTER})*\.(?=\W|$)         # u.s.  p.
  | {_LETTER}+(?=n't(?![^\W_]))                 # did|n't
  | \d+(?:[.,:/]\d+)+                           # 1,000  1/2
  | [^\W_]+(?:[-.'][^\W_]+)*?(?={_CLITICS})     # dog|'s
  | [^\W_]+(?:[-.'/][^\W_]+)*                   # t-shirt  o'clock  man/woman
  | [!?][!?]+ | [\#_]+
  | [()\[\]{{}}]
  | [&$%=+*@/<>~^|\\]
    """,
    re.VERBOSE,
)


def ptb_tokenize(text: str) -> list[str]:
    """Split a caption into lower-case Penn Treebank tokens, without punctuation."""
    text = text.lower().replace("\u2019", "'").replace("\u2018", "'").replace("`", "'")
    return [_BRACKETS.get(token, token) for token in _TOKEN.findall(text)]
