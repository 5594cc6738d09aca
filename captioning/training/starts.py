"""What training starts from: nothing but an encoder, a trained model, or an earlier stage."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from captioning.data.caption_files import DataError
from captioning.data.caption_rows import count_noun
from captioning.data.class_nouns import class_nouns
from captioning.data.data_sets import DataSets
from captioning.data.images import ImageConfig
from captioning.data.scripts import has_unseparated_words
from captioning.data.vocab import SPECIAL_TOKENS, Vocabulary, manner_token
from captioning.errors import SettingError
from captioning.network.checkpoint import SHIPPED_MODEL, Checkpoint
from captioning.network.config import ModelConfig
from captioning.network.model import CaptioningModel
from captioning.network.pretrained import PretrainedEncoder, pretrained_encoder
from captioning.network.saved_network import weights_of
from captioning.network.vocabulary_growth import extend_vocabulary
from captioning.training.flags import TrainingFlags
from captioning.training.recipe import DECODER, LANGUAGE, STAGES, Recipe
from captioning.training.records import RunFiles, say


def starting_point(flags: TrainingFlags, recipe: Recipe, data: DataSets) -> Checkpoint:
    """The checkpoint that the first stage of this command starts from."""
    if flags.init:
        return from_trained_model(flags.init, flags, recipe, data)
    files = RunFiles(flags.run_name)
    before = stage_before(flags.stages[0], files)
    if before is None:
        return from_scratch(flags, recipe, data)
    checkpoint = load_stage(files, before)
    refuse_other_sizes(flags, checkpoint)
    return checkpoint


def stage_before(stage: str, files: RunFiles) -> str | None:
    """The stage that this one starts from, None for none.

    A language model may be missing, and where there is one the frozen encoder's stage may be.
    """
    before = (None, *STAGES)[STAGES.index(stage)]
    has_language = files.checkpoint(LANGUAGE).exists()
    if before == LANGUAGE and not has_language:
        return None
    if before == DECODER and has_language and not files.checkpoint(DECODER).exists():
        return LANGUAGE
    return before


def from_scratch(flags: TrainingFlags, recipe: Recipe, data: DataSets) -> Checkpoint:
    """A pretrained encoder, a new vocabulary and a randomly initialised decoder."""
    pretrained = first_weights(flags)
    captions = training_captions(data)
    refuse_phrases(captions, flags)
    if not Vocabulary.build(captions, recipe.min_count).words[len(SPECIAL_TOKENS) :]:
        raise DataError(
            f"{flags.captions[0]}: no word occurs {recipe.min_count} times in the training "
            "captions; add photographs, or lower --min-count"
        )
    vocabulary = Vocabulary.build(captions, recipe.min_count, class_nouns(), data.manners)
    source = pretrained.source
    if flags.encoder_source:
        source = f"{flags.encoder_source}; {source}"
    say(f"encoder: {source}; vocabulary: {len(vocabulary):,} words")
    network = new_network(recipe, pretrained, vocabulary)
    return Checkpoint(
        model=network.config,
        images=ImageConfig(recipe.image_size),
        vocabulary=vocabulary,
        weights=weights_of(network),
        training_images=pretrained.training_images,
        decoding=recipe.decoding,
        provenance={"encoder": source, "data": data.describe(), "stages": []},
    )


def first_weights(flags: TrainingFlags) -> PretrainedEncoder:
    """The encoder and the classifier that training starts from."""
    fallback = SHIPPED_MODEL if SHIPPED_MODEL.exists() else None
    first = pretrained_encoder(flags.encoder_weights, flags.stride_in_1x1, fallback)
    known, needed = first.classifier.out_features, len(class_nouns())
    if known != needed:  # only a checkpoint's, for that of a file is checked as it is read
        raise SettingError(
            f"{fallback}: its classifier is one of {known:,} classes, not of ImageNet's "
            f"{needed:,}; name a file of weights with --encoder-weights"
        )
    return first


def new_network(
    recipe: Recipe, pretrained: PretrainedEncoder, vocabulary: Vocabulary
) -> CaptioningModel:
    """A network with this encoder, its classifier, and a randomly initialised decoder."""
    model = ModelConfig(
        vocabulary_size=len(vocabulary),
        embedding_dim=recipe.embedding_dim,
        attention_dim=recipe.attention_dim,
        decoder_dim=recipe.decoder_dim,
        dropout=recipe.dropout,
        stride_in_1x1=pretrained.stride_in_1x1,
        classes=len(class_nouns()),
    )
    torch.manual_seed(recipe.decoder.seed)
    network = CaptioningModel(model)
    network.encoder.load_state_dict(pretrained.encoder.state_dict())
    classifier = network.decoder.classifier
    classifier.linear.load_state_dict(pretrained.classifier.state_dict())
    classifier.name_classes(vocabulary.encode(class_nouns()))
    return network


def from_trained_model(
    path: Path, flags: TrainingFlags, recipe: Recipe, data: DataSets
) -> Checkpoint:
    """A trained model, with the new words and manners of these captions added."""
    model = Checkpoint.load(path)
    refuse_other_sizes(flags, model)
    captions = training_captions(data)
    refuse_phrases(captions, flags)
    # A manner's token becomes known as a new word does: by occurring often enough.
    starts = [[manner_token(manner)] * recipe.min_count for manner in data.manners]
    extended = extend_vocabulary(model, [*captions, *starts], recipe.min_count)
    manners = extended.vocabulary.manners[len(model.vocabulary.manners) :]
    added = len(extended.vocabulary) - len(model.vocabulary) - len(manners)
    words = f"{count_noun(added, 'new word')} added to its {len(model.vocabulary):,}"
    say("; ".join([f"start: {path}", words, *(f"new manner: {manner}" for manner in manners)]))
    return extended


def load_stage(files: RunFiles, stage: str) -> Checkpoint:
    """The checkpoint of a stage; raises SettingError where that has not been trained."""
    path = files.checkpoint(stage)
    if not path.exists():
        raise SettingError(f"{path}: there is no such model file; train --stage {stage} first")
    return Checkpoint.load(path)


def refuse_other_sizes(flags: TrainingFlags, model: Checkpoint) -> None:
    """Raise SettingError for flags that differ from a model whose training continues."""
    sizes = {**asdict(model.model), "image_size": model.images.size}
    others = [name for name, size in sizes.items() if flags.settings.get(name, size) != size]
    if others:
        raise SettingError(
            f"these settings differ from the trained model's: {', '.join(others)}; leave them out, "
            "or train all stages again under another --name"
        )


def refuse_phrases(captions: Iterable[Sequence[str]], flags: TrainingFlags) -> None:
    """Raise DataError for captions whose words are not separated, so that phrases are tokens."""
    if has_unseparated_words(captions):
        raise DataError(
            f"{flags.captions[0]}: the words of the captions are not separated by blanks, as in "
            "Chinese, Japanese or Thai, so whole phrases would count as words; separate the words "
            "by blanks, with a program that segments that language"
        )


def training_captions(data: DataSets) -> list[list[str]]:
    """The tokens of all captions to train on, those of the text among them."""
    captions = [tokens for photograph in data.train for tokens in photograph.references]
    return [*captions, *data.text]
