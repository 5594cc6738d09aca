"""The nouns of ImageNet's classes: the plain word that a caption would use for each."""

import csv
from functools import cache
from importlib import resources


@cache
def class_nouns() -> tuple[str, ...]:
    """The noun of each of the 1,000 ImageNet classes, in torchvision's order.

    Each is one token in lower case: "dog" for all breeds of dogs, "coffee" for espresso. Several
    classes may share one. Written by hand in ``class_nouns.csv``, beside torchvision's names of the
    classes, and checked against WordNet 3.0 (Princeton University): a noun is a name of its class
    or of a broader term, except where those are misleading or say too little ("pumpkin" for a
    jack-o'-lantern). No text of WordNet is copied.
    """
    path = resources.files("captioning.data").joinpath("class_nouns.csv")
    rows = csv.DictReader(path.read_text("utf-8").splitlines())
    return tuple(row["noun"] for row in rows)
