"""The table of fields in the documentation."""

from __future__ import annotations

import pytest

from shadow.controller.reference import BEGIN, END, table, with_reference


def test_rows_have_type_bounds_default_and_meaning() -> None:
    rows = table().splitlines()
    assert "| `spec.replicas` | 0–1000 | `2` | Pods of the primary; not used with autoscaling. |" in rows
    assert any(row.startswith("| `spec.shadows[].model.bento` | string | **required** |") for row in rows)
    assert any(row.startswith("| `spec.deletionPolicy` | `Delete`, `Orphan` | `Orphan` |") for row in rows)
    assert any(row.startswith("| `status.conditions[].reason` |") for row in rows)


def test_every_row_has_four_cells() -> None:
    for row in table().splitlines():
        assert row.replace("\\|", "").count("|") == 5, row


def test_only_what_is_between_the_marks_is_replaced() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    made = with_reference(page)
    assert made.startswith(f"before\n{BEGIN}\n\n| field ")
    assert made.endswith(f"\n\n{END}\nafter\n")
    assert with_reference(made) == made


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="the page needs the lines"):
        with_reference("no marks\n")
