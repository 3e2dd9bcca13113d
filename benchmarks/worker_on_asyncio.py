"""``nextclick`` on Python's own event loop: of libuv's, py-spy does not see who has called whom."""

from stream import interpreter
from stream.cli import main


def leave_loops_alone() -> None:
    """In place of ``run_loops_in_c``."""


if __name__ == "__main__":
    interpreter.run_loops_in_c = leave_loops_alone
    main()
