"""`python -m shadow` is `understudy`: for processes that must run in this very environment."""

from __future__ import annotations

from shadow.cli import run

if __name__ == "__main__":
    run()
