"""From a bundle to a bento with exact tags: model and bento are both `name:version`, the version being the bundle's.

The bento carries only what serving needs: this room, the list metrics, pinned requirements. BentoML runs in its own
process and directory, so that what is packaged is what is imported. Next module: `bentos.command_parts`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from bentos.bundle import load_bundle, read_manifest
from bentos.errors import PackagingError

ROOM: Final = Path(__file__).parent
REQUIREMENTS: Final = (
    "bentoml",
    "click",
    "faiss-cpu",
    "fastapi",
    "hiredis",
    "msgspec",
    "numpy",
    "prometheus-client",
    "pyarrow",
    "pyyaml",
    "redis",
    "uvicorn",
)
"""What the service imports; pinned to the versions it was built beside."""
BUILD_SECONDS: Final = 300


def build_bento(bundle: Path, name: str | None = None, rebuild: bool = False) -> tuple[str, bool]:
    """Store the bundle as a model and build its bento; returns (tag, whether it was built now).

    `PackagingError` when BentoML refuses, `BundleError` when the bundle is not to be trusted. A bento that is there
    already is left alone unless `rebuild`.
    """
    loaded = load_bundle(bundle)
    if name not in (None, loaded.manifest.name):
        raise PackagingError(f"{bundle} is called {loaded.manifest.name!r}, not {name!r}: train it under that name")
    tag = loaded.manifest.tag
    _store_model(tag, bundle)
    if _exists(tag):
        if not rebuild:
            return tag, False
        import bentoml

        bentoml.delete(tag)
    _build(tag, bundle)
    return tag, True


def ensure_built(tag: str) -> None:
    """`PackagingError` unless the bento `tag` is in the store; it names those that are."""
    import bentoml

    if not _exists(tag):
        there = ", ".join(sorted(str(each.tag) for each in bentoml.list())) or "none"
        raise PackagingError(f"no bento {tag}; there are: {there}. Build it: understudy bento build BUNDLE")


def _store_model(tag: str, bundle: Path) -> None:
    import bentoml
    from bentoml.exceptions import NotFound

    try:
        stored = Path(bentoml.models.get(tag).path)
    except NotFound:
        manifest = read_manifest(bundle)
        with bentoml.models.create(tag, labels={"bundle": manifest.version}, metadata=dict(manifest.labels)) as model:
            shutil.copytree(bundle, model.path, dirs_exist_ok=True)
        return
    load_bundle(stored)


def _exists(tag: str) -> bool:
    import bentoml
    from bentoml.exceptions import NotFound

    try:
        bentoml.get(tag)
    except NotFound:
        return False
    return True


def _build(tag: str, bundle: Path) -> None:
    name, _, number = tag.partition(":")
    with tempfile.TemporaryDirectory(prefix="understudy-bento-") as directory:
        context = Path(directory)
        _fill(context, tag, dict(read_manifest(bundle).labels))
        command = [
            sys.executable,
            "-m",
            "bentoml",
            "build",
            "--name",
            name,
            "--version",
            number,
            "--output",
            "tag",
            ".",
        ]
        try:
            done = subprocess.run(
                command, cwd=context, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise PackagingError(f"{tag}: bentoml build took longer than {BUILD_SECONDS} s") from error
    if done.returncode != 0 or not _exists(tag):
        lines = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
        raise PackagingError(f"{tag}: bentoml build failed with code {done.returncode}:\n{lines}")


def _fill(context: Path, tag: str, labels: dict[str, str]) -> None:
    """The build context: code, note, requirements, bentofile."""
    shutil.copytree(ROOM, context / "bentos", ignore=shutil.ignore_patterns("__pycache__"))
    (context / "analysis").mkdir()
    for file in ("__init__.py", "lists.py"):
        shutil.copy(ROOM.parent / "analysis" / file, context / "analysis" / file)
    (context / "packaged.json").write_bytes(msgspec.json.encode({"tag": tag}))
    (context / "requirements.txt").write_text("".join(f"{name}=={version(name)}\n" for name in REQUIREMENTS))
    bentofile: dict[str, Any] = {
        "service": "bentos.service:Recommender",
        "labels": {key: value for key, value in labels.items() if value},
        "include": ["bentos/**/*.py", "analysis/*.py", "packaged.json", "requirements.txt"],
        # Locking would write this machine's index addresses into the bento (research note deploy §2.3).
        "python": {"requirements_txt": "./requirements.txt", "lock_packages": False},
        "models": [tag],
    }
    (context / "bentofile.yaml").write_text(yaml.safe_dump(bentofile))
