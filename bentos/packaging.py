"""From a bundle to a bento with exact tags: model and bento are both `name:version`, the version being the bundle's.

The bento carries only what serving needs: the modules that the service imports, pinned requirements. Its
content hash covers all of that, the bundle and the Dockerfile, and none of BentoML's timestamps: the same inputs make
the same hash. BentoML runs in its own process and directory with a bare environment, so that what is packaged is what
is imported, and nothing of this machine. Next module: `bentos.containers`.
"""

from __future__ import annotations

import ast
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from bentos import pinned
from bentos.agreement import NOTE, Packaged, packaged
from bentos.bundle import Bundle, load_bundle
from bentos.errors import PackagingError
from bentos.settings import building_environment

ROOM: Final = Path(__file__).parent
DOCKERFILE: Final = "bento.Dockerfile"
SERVICE: Final = "bentos.service"
ROOMS: Final = ("bentos", "analysis")
CONTENT_DIGITS: Final = 12
BUILD_SECONDS: Final = 300


def build_bento(bundle: Path, name: str | None = None, rebuild: bool = False) -> tuple[str, bool]:
    """Store the bundle as a model and build its bento; returns (tag, whether it was built now).

    `PackagingError` when BentoML refuses, `BundleError` when the bundle is not to be trusted. A bento that is there
    already with the same content and labels is left alone unless `rebuild`: labels are no part of the content, but say
    which run the bundle is from, and a training may come to the same bundle again.
    """
    loaded = load_bundle(bundle)
    if name not in (None, loaded.manifest.name):
        raise PackagingError(f"{bundle} is called {loaded.manifest.name!r}, not {name!r}: train it under that name")
    tag = loaded.manifest.tag
    relabelled = _store_model(loaded)
    with tempfile.TemporaryDirectory(prefix="understudy-bento-") as directory:
        context = Path(directory)
        content = _fill(context, loaded)
        if exists(tag):
            if not rebuild and not relabelled and stored_content(tag) == content:
                return tag, False
            import bentoml

            bentoml.delete(tag)
        _build(tag, context)
    return tag, True


def ensure_built(tag: str) -> None:
    """`PackagingError` unless the bento `tag` is in the store; it names those that are."""
    import bentoml

    if not exists(tag):
        there = ", ".join(sorted(str(each.tag) for each in bentoml.list())) or "none"
        raise PackagingError(f"no bento {tag}; there are: {there}. Build it: understudy bento build BUNDLE")


def exists(tag: str) -> bool:
    """Whether the bento `tag` is in the store."""
    import bentoml
    from bentoml.exceptions import NotFound

    try:
        bentoml.get(tag)
    except NotFound:
        return False
    return True


def stored_content(tag: str) -> str:
    """The content hash of the bento `tag` in the store; "" when it was built before there was one."""
    import bentoml

    try:
        return packaged(Path(bentoml.get(tag).path) / "src").content
    except PackagingError:
        return ""


def _store_model(bundle: Bundle) -> bool:
    """Have the bundle in the store; whether it was there with other labels, which gave way."""
    import bentoml
    from bentoml.exceptions import NotFound

    manifest = bundle.manifest
    try:
        stored = Path(bentoml.models.get(manifest.tag).path)
    except NotFound:
        relabelled = False
    else:
        relabelled = load_bundle(stored).manifest.labels != manifest.labels
        if not relabelled:
            return False
        bentoml.models.delete(manifest.tag)
    labels = {"bundle": manifest.version}
    with bentoml.models.create(manifest.tag, labels=labels, metadata=dict(manifest.labels)) as model:
        shutil.copytree(bundle.directory, model.path, dirs_exist_ok=True)
    return relabelled


def _build(tag: str, context: Path) -> None:
    name, _, number = tag.partition(":")
    command = [sys.executable, "-m", "bentoml", "build", "--name", name, "--version", number, "--output", "tag", "."]
    try:
        done = subprocess.run(
            command,
            cwd=context,
            env=building_environment(),
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PackagingError(f"{tag}: bentoml build took longer than {BUILD_SECONDS} s") from error
    if done.returncode != 0 or not exists(tag):
        lines = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
        raise PackagingError(f"{tag}: bentoml build failed with code {done.returncode}:\n{lines}")


def _fill(context: Path, bundle: Bundle) -> str:
    """Put code, requirements, note and bentofile into `context`; the content hash."""
    for path in served_code():
        target = context / path.relative_to(ROOM.parent)
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)
    (context / "requirements.txt").write_text("".join(f"{line}\n" for line in pinned.pinned()))
    manifest = bundle.manifest
    content = content_hash(context, manifest.version)
    (context / NOTE).write_bytes(msgspec.json.encode(Packaged(manifest.tag, content)))
    bentofile: dict[str, Any] = {
        "service": "bentos.service:Recommender",
        "labels": {key: value for key, value in manifest.labels.items() if value} | {"content": content},
        "include": [*(f"{room}/**/*.py" for room in ROOMS), NOTE, "requirements.txt"],
        "python": {"requirements_txt": "./requirements.txt", "lock_packages": False},
        "models": [manifest.tag],
    }
    (context / "bentofile.yaml").write_text(yaml.safe_dump(bentofile))
    return content


def served_code() -> list[Path]:
    """The files of our rooms that the service imports, at its start or later, in the order of their names."""
    return sorted(_file(module) for module in reached((SERVICE, *ROOMS), ROOMS))


def reached(entries: Iterable[str], rooms: Collection[str]) -> dict[str, list[str]]:
    """The modules of `rooms` that `entries` import, at their start or later, each with the names in its imports."""
    waiting, found = list(entries), dict[str, list[str]]()
    while waiting:
        module = waiting.pop()
        if module in found or not _file(module).exists():
            continue
        found[module] = imported(_file(module))
        waiting += [name for name in found[module] if name.partition(".")[0] in rooms]
    return found


def imported(path: Path) -> list[str]:
    """The names in a file's imports, wherever they stand; of `from a import b` a and a.b, for b may be a module."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [str(node.module), *(f"{node.module}.{each.name}" for each in node.names)]
    return names


def _file(module: str) -> Path:
    path = ROOM.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def content_hash(context: Path, bundle_version: str) -> str:
    """First 12 hex digits of the SHA-256 over the bundle's version, the Dockerfile and every file below `context`."""
    digest = hashlib.sha256(f"{bundle_version}\0".encode())
    files = {"Dockerfile": ROOM / DOCKERFILE}
    files |= {path.relative_to(context).as_posix(): path for path in context.rglob("*") if path.is_file()}
    for name in sorted(files):
        digest.update(f"{name}\0{hashlib.sha256(files[name].read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:CONTENT_DIGITS]
