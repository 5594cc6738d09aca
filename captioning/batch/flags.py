"""What the command line was given."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from captioning.errors import SettingError
from captioning.inference.engine_config import AUTO, EngineConfig


@dataclass(frozen=True)
class Flags:
    """The command line's flags; ``model`` is None for the model that ships.

    Raises SettingError for flags that do not go together.
    """

    photos: Sequence[str]
    recursive: bool = False
    output: Path | None = None
    changed: bool = False
    sidecar: bool = False
    embed: bool = False
    alt_text: Path | None = None
    beam: int | None = None
    json: bool = False
    maps: bool = False
    attention: Path | None = None
    evidence: bool = False
    model: Path | None = None
    device: str = AUTO
    engine: str = AUTO
    precision: str = "float32"

    def __post_init__(self) -> None:
        _ = self.running  # raises what is wrong with it
        detailed = self.json or self.output
        for wrong, sentence in (
            (
                not self.photos and not self.alt_text,
                "name a photograph, a folder, or - for standard input",
            ),
            (
                self.photos and self.alt_text,
                "--alt-text captions the pictures of a page: name no others",
            ),
            (
                self.alt_text and (self.json or self.attention or self.sidecar or self.embed),
                "--alt-text writes a page: leave --json, --attention, --sidecar and --embed out",
            ),
            (
                self.maps and (not detailed or self.alt_text),
                "--maps adds to --json or --output: give one of them too",
            ),
            (
                self.evidence and not (detailed or self.attention),
                "--evidence adds to --json, to --output or to --attention OUT.png: give one of "
                "them too",
            ),
            (
                self.output and (self.json or self.attention),
                "--output writes a file: leave --json and --attention out",
            ),
            (
                self.changed and not self.output,
                "--changed looks at what --output FILE has: give that too",
            ),
        ):
            if wrong:
                raise SettingError(sentence)

    @property
    def running(self) -> EngineConfig:
        """How the model is run."""
        return EngineConfig(self.engine, self.precision, self.device)
