"""The recipe of a training run: what its stages are, and how flags override it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple, TypeAlias, get_args, get_origin, get_type_hints

from captioning.errors import SettingError
from captioning.network.config import DecodeConfig
from captioning.training.config import TrainConfig

LANGUAGE, DECODER, FINETUNE, REFINE, REINFORCE = STAGES = (
    "language",
    "decoder",
    "finetune",
    "refine",
    "reinforce",
)
BLEND = "blend"  # needs no training: weights between those of the last two stages
ADAPT = "adapt"  # replaces all others where training continues from a trained model

Value: TypeAlias = int | float | str


@dataclass(frozen=True)
class Recipe:
    """Everything that determines the result of a training run.

    The annotations of the fields are the help texts of their flags.
    """

    min_count: Annotated[int, "learn words that occur at least this often in the training captions"]
    caption_words: Annotated[int, "cut training captions after this many words"]
    image_size: Annotated[int, "side of the square that photographs are resized to, in pixels"]
    embedding_dim: Annotated[int, "size of a word's embedding"]
    attention_dim: Annotated[int, "size of the attention's hidden layer"]
    decoder_dim: Annotated[int, "size of the LSTM's state"]
    dropout: Annotated[float, "dropout of the decoder"]
    decoding: DecodeConfig  # for scoring every epoch and the blend; checkpoints keep it
    language: TrainConfig  # first, where there is text: the decoder, without photographs
    decoder: TrainConfig  # the decoder, on features of the frozen encoder
    finetune: TrainConfig  # the whole encoder with the decoder
    refine: TrainConfig  # both, with fewer captions in other manners
    reinforce: TrainConfig  # the decoder, rewarded by the CIDEr-D of its captions
    blend: Annotated[float, "last step: from the refined weights (0) to the reinforced ones (1)"]
    adapt: TrainConfig  # with --init: a trained model's decoder, on other captions

    def __post_init__(self) -> None:
        for name in ("min_count", "caption_words"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not 0 <= self.blend <= 1:
            raise SettingError(f"blend must be in [0, 1], not {self.blend}")

    @property
    def stages(self) -> dict[str, TrainConfig]:
        """The configurations of the stages by name, in order."""
        return {name: getattr(self, name) for name in (*STAGES, ADAPT)}

    def override(self, settings: Mapping[str, Value]) -> "Recipe":
        """The recipe with other ``settings``, in every stage that has them.

        Raises SettingError for values out of range.
        """

        def override_in(config: Any) -> Any:
            known = settings_of(type(config))
            return replace(config, **{k: v for k, v in settings.items() if k in known})

        parts: dict[str, Any] = {"decoding": self.decoding, **self.stages}
        changed: Recipe = override_in(self)
        return replace(changed, **{name: override_in(config) for name, config in parts.items()})

    def describe(self, setting: str) -> str:
        """The value of a setting; by stage where the stages differ."""
        for config in (self, self.decoding):
            if setting in settings_of(type(config)):
                return str(getattr(config, setting))
        values = {name: getattr(config, setting) for name, config in self.stages.items()}
        if len(set(values.values())) == 1:
            return str(values[ADAPT])
        return ", ".join(f"{name} {value}" for name, value in values.items())


class Setting(NamedTuple):
    """A field of a configuration that a flag can set."""

    type: type
    help: str


def settings_of(config: type) -> dict[str, Setting]:
    """The fields of a configuration that are annotated with a help text."""
    hints = get_type_hints(config, include_extras=True)
    return {
        name: Setting(*get_args(hint))
        for name, hint in hints.items()
        if get_origin(hint) is Annotated
    }


SETTINGS = settings_of(DecodeConfig) | settings_of(TrainConfig) | settings_of(Recipe)
