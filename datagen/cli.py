"""The command line: the table of commands, and how a command ends."""

import io
import os
import sys
from collections.abc import Callable

import typer

from datagen.commands import checks, data, learning, measure
from datagen.errors import DatagenError, InputError

INTERRUPTED = 130
app = typer.Typer(
    help="Find where a text-to-image model is weak, write the data that fixes it, post-train on it.",
    no_args_is_help=True,
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


def main() -> None:
    """Exit 0 done, 1 the work failed, 2 the call or its input was wrong, 130 stopped."""
    argv = [a for a in sys.argv[1:] if a != "--debug"]
    debug = len(argv) < len(sys.argv) - 1
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # half an emoji in a prompt is legal JSON
    try:
        code = app(argv, standalone_mode=False)
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
        print("datagen: stopped; run the same command to resume", file=sys.stderr)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
