"""The command: `sshmux`, and `python -m sshmux`."""

import contextlib
import signal
import sys


def main() -> None:
    """Runs the command, and ends the program."""
    # To load it takes a tenth of a second: until then Ctrl-C ends the program, without a traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from .cli.main import main as run

    status = run()
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    sys.exit(status)


if __name__ == "__main__":
    main()
