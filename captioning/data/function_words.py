"""Words that nothing in a photograph shows: articles, prepositions, auxiliaries and the like."""

_FUNCTION_WORDS = """
    a an the this that these those some another other each both all its his her their it he she
    they them him who which what there and or but as while with without of in on at by to from for
    into onto over under through up down out off around across along near next behind between above
    below against toward towards past after before during is are am was were be been being has have
    having had do does doing done can could will would may might not no n't 's 're 've 'll 'd 'm
    then than so very just also like if when where how about
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
