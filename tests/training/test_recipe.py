"""The recipe: every setting has a flag with a help text, which overrides it and nothing else."""

from dataclasses import fields, replace

import pytest

import main
from captioning.network.config import DecodeConfig
from captioning.training.config import TrainConfig
from captioning.training.recipe import ADAPT, SETTINGS, STAGES, Recipe

# The fields of the recipe that have settings of their own.
PARTS = ("decoding", *STAGES, ADAPT)

# A value for each flag of the recipe that is valid and not the recipe's own.
VALUES = {
    "beam": 2,
    "length_penalty": 0.5,
    "max_words": 7,
    "epochs": 3,
    "batch_size": 3,
    "learning_rate": 0.5,
    "encoder_learning_rate": 0.25,
    "warmup": 0.5,
    "weight_decay": 0.125,
    "label_smoothing": 0.25,
    "frozen_layers": 3,
    "entropy": 0.5,
    "guidance": 0.625,
    "detection": 0.75,
    "distillation": 0.875,
    "captions_per_photo": 3,
    "other_manners": 0.5,
    "naming": 0.6,
    "hallucination": 0.4,
    "train_size": 96,
    "clip_norm": 3.0,
    "patience": 9,
    "crop": 0.5,
    "flip": 0.25,
    "jitter": 0.125,
    "samples": 3,
    "cross_entropy": 0.75,
    "precision": "float32",
    "seed": 77,
    "min_count": 2,
    "caption_words": 11,
    "image_size": 64,
    "embedding_dim": 8,
    "attention_dim": 6,
    "decoder_dim": 7,
    "dropout": 0.25,
    "repetition_penalty": 0.75,
    "blend": 0.625,
}


def flag(name):
    return "--" + name.replace("_", "-")


def values_of(recipe):
    """Every setting of a recipe by its location: ("decoder", "epochs") and so on."""
    values = {}
    for field in fields(recipe):
        value = getattr(recipe, field.name)
        if field.name in PARTS:
            values |= {(field.name, part.name): getattr(value, part.name) for part in fields(value)}
        else:
            values["recipe", field.name] = value
    return values


def override_by(*arguments):
    return values_of(main.RECIPE.override(main.parse_arguments(arguments).settings))


def test_every_setting_of_the_recipe_has_a_flag():
    settings = {
        field.name
        for config in (Recipe, TrainConfig, DecodeConfig)
        for field in fields(config)
        if field.name not in PARTS
    }
    assert set(SETTINGS) == settings == set(VALUES)


def test_without_flags_the_recipe_holds():
    assert override_by() == values_of(main.RECIPE)


@pytest.mark.parametrize(("name", "value"), VALUES.items())
def test_a_flag_changes_its_setting_in_every_part_and_nothing_else(name, value):
    recipe = values_of(main.RECIPE)
    expected = {where: value if where[1] == name else old for where, old in recipe.items()}
    assert override_by(flag(name), str(value)) == expected
    assert expected != recipe


@pytest.mark.parametrize("name", VALUES)
def test_the_type_of_a_setting_is_that_of_its_values(name):
    assert SETTINGS[name].type is type(VALUES[name])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("min_count", "5"),
        ("beam", "4"),
        ("clip_norm", "1.0"),
        ("patience", "language 4, decoder 4, finetune 9, refine 4, reinforce 4, adapt 4"),
    ],
)
def test_a_default_is_described_by_stage_where_the_stages_differ(name, text):
    recipe = replace(main.RECIPE, finetune=replace(main.RECIPE.finetune, patience=9))
    assert recipe.describe(name) == text


def test_the_recipe_keeps_the_encoder_frozen_until_the_decoder_has_learned_to_read_it():
    assert STAGES == ("language", "decoder", "finetune", "refine", "reinforce")
    frozen = {name: main.RECIPE.stages[name].encoder_learning_rate == 0 for name in STAGES}
    assert frozen["language"]
    assert frozen["decoder"]
    assert not frozen["finetune"]


def test_the_recipe_keeps_what_the_encoder_knows_while_it_learns():
    stages = main.RECIPE.stages.values()
    assert all(config.distillation for config in stages if config.encoder_learning_rate)
