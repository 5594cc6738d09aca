"""What the command line was given."""

from collections.abc import Iterator, Sequence
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
    ray: str | None = None
    actors: int | None = None
    actor_cpus: int | None = None

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
            *self._on_a_cluster(),
        ):
            if wrong:
                raise SettingError(sentence)

    def _on_a_cluster(self) -> Iterator[tuple[object, str]]:
        """What may be wrong with the flags of a cluster, and the sentences that say so."""
        address = self.ray or ""
        host, _, port = address.rpartition(":")
        is_port = port.isdecimal() and 0 < int(port) < 65536 and host and "/" not in host
        others = self.json or self.maps or self.attention or self.alt_text
        numbers = [number for number in (self.actors, self.actor_cpus) if number is not None]
        yield (
            numbers and self.ray is None,
            "--actors and --actor-cpus are of a cluster: give --ray ADDRESS too",
        )
        yield (
            self.ray is not None and address not in ("local", "auto") and not is_port,
            f"--ray takes local, auto or HOST:PORT, not {address}",
        )
        yield any(number < 1 for number in numbers), "--actors and --actor-cpus are at least 1"
        yield (
            self.ray and (others or self.sidecar or self.embed),
            "--ray writes a folder of Parquet files: leave --json, --maps, --attention, "
            "--alt-text, --sidecar and --embed out",
        )
        yield self.ray and not self.output, "--ray writes a folder: give --output FOLDER too"

    @property
    def running(self) -> EngineConfig:
        """How the model is run."""
        return EngineConfig(self.engine, self.precision, self.device)
