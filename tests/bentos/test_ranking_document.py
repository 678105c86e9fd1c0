"""docs/ranking.md names every weight with its default, and the committed weights can be served."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bentos.ranking_settings import PREFIX, RankingSettings, read_ranking

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "ranking.md").read_text()


@pytest.mark.parametrize("field", RankingSettings.__struct_fields__)
def test_every_weight_is_documented_with_its_default(field: str) -> None:
    default = msgspec.to_builtins(RankingSettings())[field]
    told = default if isinstance(default, str) else f"{default:g}"
    assert f"| `{field}` | `{PREFIX}{field.upper()}` | {told} |" in DOCUMENT


def test_the_committed_weights_are_those_that_the_document_tells() -> None:
    chosen = read_ranking(ROOT / "bentos" / "configs" / "ranking.toml")
    assert chosen.active
    told = f"diversity {chosen.diversity:g}, recency {chosen.recency:g}, tenth place from {chosen.tail_from}"
    assert f"**chosen**: {told.replace('0.', '.')} " in DOCUMENT
    assert chosen.tail_slot == 10
