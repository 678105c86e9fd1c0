"""Object stores for tests: a real S3 server over a directory, with an account that may write and not read."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from shadow.processes import Running, Stage, accepts
from tests.ports import free_port

HOST: Final = "127.0.0.1"
WRITER: Final = {"AWS_ACCESS_KEY_ID": "writer", "AWS_SECRET_ACCESS_KEY": "writersecret", "AWS_REGION": "us-east-1"}
"""May put objects into the bucket; may not get, head or list them."""
BUCKET: Final = "pairs"


@dataclass
class Gateway:
    """versitygw over a directory: what is put there can be looked at as files."""

    stage: Stage
    directory: Path
    port: int

    @staticmethod
    def opened(stage: Stage, directory: Path) -> Gateway:
        """With one bucket, and the writer; skips where the program is not installed."""
        if not Gateway.installed():
            pytest.skip("versitygw is not on the PATH")
        for name in ("objects", "iam"):
            (directory / name).mkdir(parents=True)
        gateway = Gateway(stage, directory, free_port())
        gateway.start()
        for user in ("owner", "writer"):
            gateway._admin("create-user", "--access", user, "--secret", f"{user}secret", "--role", "user")
        grant = ("--grant-write", "writer", "--object-ownership", "BucketOwnerPreferred")
        gateway._admin("create-bucket", "--owner", "owner", "--bucket", BUCKET, *grant)
        return gateway

    @staticmethod
    def installed() -> bool:
        return shutil.which("versitygw") is not None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def bucket(self) -> Path:
        return self.directory / "objects" / BUCKET

    def start(self) -> Running:
        root = ("--access", "root", "--secret", "rootsecret", "--iam-dir", str(self.directory / "iam"))
        place = ("--port", f"{HOST}:{self.port}", "posix", str(self.directory / "objects"))
        return self.stage.start("versitygw", ["versitygw", *root, *place], lambda: accepts(HOST, self.port))

    def stop(self) -> None:
        self.stage.stop("versitygw")

    def _admin(self, *arguments: str) -> None:
        root = ("--access", "root", "--secret", "rootsecret", "--endpoint-url", self.url)
        subprocess.run(["versitygw", "admin", *root, *arguments], check=True, capture_output=True, env=dict(os.environ))


class Recorder:
    """An S3 server that keeps the heads of what is put, and says that all is well; silent, it says nothing."""

    def __init__(self, silent: bool = False) -> None:
        self.heads: list[str] = []
        self._silent = silent

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        return f"http://{HOST}:{self._server.sockets[0].getsockname()[1]}"

    def stop(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            self.heads.append(head)
            if self._silent:
                await reader.read()
            writer.write(b'HTTP/1.1 200 OK\r\netag: "x"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n')
        finally:
            writer.close()
