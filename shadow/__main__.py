"""`python -m shadow` is `understudy`: for processes that must run in this very environment."""

from __future__ import annotations

from shadow.cli import main

if __name__ == "__main__":
    main(prog_name="understudy")
