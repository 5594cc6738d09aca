"""Start the app from any folder: captioning-app, or python -m captioning.app"""

import argparse
import os
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captioning.app.options import Options
from captioning.errors import CaptioningError, needed_for
from captioning.inference.engine_config import FLAGS

SCRIPT = Path(__file__).with_name("application.py")
# An installed package has Streamlit's settings in its folder ``settings``, a checkout at its root.
_INSTALLED = Path(__file__).parent / "settings"
_CHECKOUT = Path(__file__).resolve().parents[2] / ".streamlit"
SETTINGS = (_INSTALLED if _INSTALLED.is_dir() else _CHECKOUT) / "config.toml"


@dataclass(frozen=True)
class Flags:
    """What the command was given."""

    options: Options
    port: int | None


def parse_arguments(arguments: Sequence[str] | None = None) -> Flags:
    """Read the command line; what is not given there comes from the environment."""
    default = Options.from_environment()
    parser = argparse.ArgumentParser(
        prog="captioning-app",
        description="Open the app in a browser at the address that is printed. It listens to this "
        "machine alone.",
        epilog="The environment variables CAPTIONING_MODEL, CAPTIONING_DEVICE, CAPTIONING_ENGINE "
        "and CAPTIONING_PRECISION do the same as --model, --device, --engine and --precision, also "
        "for `streamlit run streamlit_app.py`.",
    )
    parser.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        default=default.model,
        help="the checkpoint to open with (default: the model that ships)",
    )
    for name, (choices, text) in FLAGS.items():
        shown, given = f"{text} (default: %(default)s)", getattr(default, name)
        parser.add_argument(f"--{name}", choices=choices, default=given, help=shown)
    parser.add_argument(
        "--port",
        type=port_number,
        metavar="N",
        help="the port to listen on (default: 8501, or the next one that is free)",
    )
    read = parser.parse_args(arguments)
    return Flags(Options(read.model, read.device, read.engine, read.precision), read.port)


def port_number(text: str) -> int:
    """Read a port; argparse says so where it is not one."""
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port; choose a number from 1 to 65535")
    return int(text)


def streamlit_flags(settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Nested settings as flags of ``streamlit run``: --server.address=localhost.

    Flags because Streamlit looks for a settings file only in the current folder, the home folder
    and beside the script.
    """
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from streamlit_flags(value, f"{prefix}{name}.")
        else:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            yield f"--{prefix}{name}={text}"


def command(flags: Flags) -> list[str]:
    """The arguments for Streamlit's own command line."""
    settings = tomllib.loads(SETTINGS.read_text(encoding="utf-8"))
    port = [] if flags.port is None else [f"--server.port={flags.port}"]
    return ["run", str(SCRIPT), *streamlit_flags(settings), *port]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the app until it is interrupted; Streamlit then exits the process."""
    flags = parse_arguments(arguments)
    try:
        with needed_for("the app", "'.[app]'"):
            from streamlit.web import cli  # which --help need not wait for
    except CaptioningError as error:
        sys.exit(f"captioning-app: {error}")
    os.environ.update(flags.options.as_environment())
    cli.main(command(flags))


if __name__ == "__main__":
    main()
