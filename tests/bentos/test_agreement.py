"""Bento and bundle must agree, or the service does not start."""

from __future__ import annotations

from pathlib import Path

import pytest

from bentos.agreement import check_agreement, packaged
from bentos.errors import PackagingError


def bento_yaml(directory: Path, version: str = "abc", models: tuple[str, ...] = ("champion:abc",)) -> Path:
    path = directory / "bento.yaml"
    pinned = "".join(f"\n- tag: {tag}" for tag in models) or " []"
    path.write_text(f"name: champion\nversion: {version}\nmodels:{pinned}\n")
    return path


def test_agreement_passes(tmp_path: Path) -> None:
    check_agreement("champion:abc", bento_yaml(tmp_path), "champion:abc")


@pytest.mark.parametrize(
    ("built_for", "version", "models", "bundle"),
    [
        ("champion:abc", "abc", ("champion:abc",), "champion:def"),
        ("champion:abc", "def", ("champion:abc",), "champion:abc"),
        ("champion:abc", "abc", ("champion:def",), "champion:abc"),
        ("champion:abc", "abc", (), "champion:abc"),
        ("champion:abc", "abc", ("champion:abc", "other:1"), "champion:abc"),
    ],
)
def test_any_disagreement_is_told_with_all_sides(
    tmp_path: Path, built_for: str, version: str, models: tuple[str, ...], bundle: str
) -> None:
    with pytest.raises(PackagingError, match=rf"disagree: built for champion:abc.*{bundle}.*understudy bento build"):
        check_agreement(built_for, bento_yaml(tmp_path, version, models), bundle)


def test_outside_a_bento_the_note_is_missing_and_the_remedy_said(tmp_path: Path) -> None:
    with pytest.raises(PackagingError, match="understudy bento build"):
        packaged(tmp_path)
