"""Without docker, or with one that does not answer, `understudy bento containerize` says what to do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from bentos import containers
from bentos.bento_cli import bento


def fake_docker(directory: Path, script: str) -> str:
    """A PATH with a docker command of our own before the others."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "docker"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return f"{directory}{os.pathsep}{os.environ['PATH']}"


def said(monkeypatch: pytest.MonkeyPatch, path: str) -> str:
    monkeypatch.setenv("PATH", path)
    result = CliRunner().invoke(bento, ["containerize", "champion:0123456789ab"])
    assert result.exit_code == 2
    return result.output.strip()


def test_a_missing_docker_is_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(monkeypatch, str(tmp_path)).startswith("error: docker is not on the PATH: install it")


def test_a_daemon_that_does_not_answer_is_told_in_docker_s_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fake_docker(tmp_path, "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    assert said(monkeypatch, path) == (
        "error: docker does not answer (Cannot connect to the Docker daemon): start it, or let this user use it"
    )


def test_a_daemon_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "ASK_SECONDS", 0.3)
    monkeypatch.setattr(containers._docker, "__kwdefaults__", {"most": 0.3})
    assert "took longer than 0 s" in said(monkeypatch, fake_docker(tmp_path, "exec sleep 30"))
