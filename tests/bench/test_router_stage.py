"""What the router's bench stands on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.bench.router_stage import REMEDY, Cores, MissingError, program


def test_a_program_that_is_missing_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REMEDY, "understudys-understudy", "Debian: apt-get install it")
    with pytest.raises(MissingError, match="understudys-understudy is not there: Debian: apt-get install it"):
        program("understudys-understudy")


def test_a_program_of_the_path_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "wrk").write_text("#!/bin/sh\n")
    (tmp_path / "wrk").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program("wrk") == str(tmp_path / "wrk")


@pytest.mark.parametrize(("cores", "told"), [({3, 1, 2}, "proxy on core 1, load and upstreams on core 2, 3")])
def test_the_proxy_has_a_core_of_its_own(monkeypatch: pytest.MonkeyPatch, cores: set[int], told: str) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: cores, raising=False)
    assert Cores.of_this_machine().text() == told


def test_one_core_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    with pytest.raises(MissingError, match="two cores"):
        Cores.of_this_machine()
