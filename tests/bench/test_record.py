"""The document of the benches: a block is replaced, others stay."""

from __future__ import annotations

from tests.bench.record import machine, with_block


def test_a_block_is_appended_and_later_replaced() -> None:
    first = with_block("# Benchmarks\n", "one", "| 1 |")
    both = with_block(first, "two", "| 2 |")
    again = with_block(both, "one", "| 1a |")
    assert again.count("<!-- bench: one -->") == 1
    assert "| 1a |" in again
    assert "| 1 |" not in again
    assert "| 2 |" in again
    assert again.startswith("# Benchmarks\n")


def test_the_machine_is_named() -> None:
    assert "cores" in machine()
