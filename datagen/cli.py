"""The command line: the table of commands, and how a command ends."""

import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from datagen.commands import checks, data, learning, measure
from datagen.errors import DatagenError, InputError

INTERRUPTED = 130
app = typer.Typer(
    epilog="--debug, anywhere, shows the traceback of an error.",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
COMMANDS: dict[str, Callable[..., None]] = {  # in the order of --help
    "eval": measure.eval_,
    "weaknesses": measure.weaknesses,
    "build": data.build,
    "train": learning.train,
    "compare": measure.compare,
    "run": learning.run,
    "report": measure.report,
    "calibrate": checks.calibrate,
    "alarms": checks.alarms,
    "publish": data.publish,
    "merge": data.merge,
    "recipes": data.recipes,
    "doctor": checks.doctor,
}
for name, command in COMMANDS.items():
    app.command(name)(command)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"datagen {version('datagen')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="show the version")
    ] = False,
) -> None:
    """Find where a text-to-image model is weak, write the data that fixes it, post-train on it."""


def main() -> None:
    """Exit 0 done, 1 the work failed, 2 the call or its input was wrong, 130 stopped."""
    argv = [a for a in sys.argv[1:] if a != "--debug"] or ["--help"]
    debug = len(argv) < len(sys.argv) - 1
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # half an emoji in a prompt is legal JSON
    try:
        code = app(argv, "datagen", standalone_mode=False)
    except DatagenError as error:
        if debug:
            raise
        print(f"datagen: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, InputError) else 1)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:
        if not hasattr(error, "format_message"):  # not one of click's usage errors: a bug
            raise
        print(f"datagen: {error.format_message()}", file=sys.stderr)
        sys.exit(2)
    if code == INTERRUPTED:  # typer turns Ctrl-C into this exit code
        print(f"datagen: stopped; {resumed(argv)}", file=sys.stderr)
    sys.exit(code if isinstance(code, int) else 0)


def resumed(argv: Sequence[str]) -> str:
    """How to go on after Ctrl-C: a forced build or training would begin anew."""
    again = "run the same command to resume"
    if argv[:1] == ["train"] and "--resume" not in argv:
        return (
            "--resume instead of --force goes on"
            if "--force" in argv
            else f"{again}, with --resume if a checkpoint was saved"
        )
    return f"{again}, without --force" if argv[:1] == ["build"] and "--force" in argv else again


if __name__ == "__main__":
    main()
