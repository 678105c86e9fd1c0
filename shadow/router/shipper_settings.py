"""What may be set of the shipper: by flag, else by environment (`UNDERSTUDY_SHIPPER_…`), else these defaults.

Credentials are no settings: obstore finds them as the store's own tools do (AWS_…, GOOGLE_…, AZURE_…, a role of the
pod). Next module: `shadow.router.shipper`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

DROP_OLDEST: Final = "drop_oldest"
STOP_MIRRORING: Final = "stop_mirroring"
POLICIES: Final = (DROP_OLDEST, STOP_MIRRORING)
NONE: Final = "none"
ENCRYPTIONS: Final = (NONE, "AES256", "aws:kms", "aws:kms:dsse")
LOCK: Final = ".lock"
"""In the spool: the file that keeps other shippers out."""
SCHEMES: Final = ("file", "s3", "gs", "az")


@dataclass(frozen=True)
class ShipperSettings:
    """Settings of one shipper; `ValueError` names the field that cannot be, and what can."""

    socket: Path
    """The unix socket that the router writes to; no default."""
    spool: Path
    """The directory on this machine where segments grow and wait; no default. One shipper at a time uses it."""
    destination: str
    """Where closed segments go: file:///…, s3://bucket/prefix, gs://… or az://… (the last two untested); no default."""
    segment_bytes: int = 64 << 20
    """Compressed bytes at which a segment is closed. Default 64 MiB."""
    segment_seconds: float = 300.0
    """Seconds after which a segment is closed, whatever its size, and the manifest renewed. Default 300."""
    spool_bytes: int = 2 << 30
    """Most bytes of segments in the spool, open and closed together. Default 2 GiB; at least two segments."""
    when_full: str = DROP_OLDEST
    """What gives way when the spool is full: `drop_oldest` (the default), the oldest closed segment; `stop_mirroring`,
    the mirroring, and then the newest records."""
    put_seconds: float = 60.0
    """Deadline of one upload, in seconds. Default 60: 64 MiB at 1.1 MiB/s."""
    retry_seconds: float = 30.0
    """The longest pause between attempts, in seconds; the first are shorter, all are jittered. Default 30."""
    drain_seconds: float = 10.0
    """After SIGTERM: how long routers may take to say goodbye, and what is closed to be uploaded. Default 10."""
    metrics: str = ""
    """HOST:PORT of the metrics, to be on the loopback or a port of the pod; "" (the default): none."""
    endpoint: str = ""
    """Of s3 only: the URL of a store that speaks S3 but is not Amazon's; http:// is taken as it is said. Default "":
    AWS_ENDPOINT_URL, else Amazon's."""
    encryption: str = NONE
    """Of s3 only: the server-side encryption that is asked for, `AES256`, `aws:kms` or `aws:kms:dsse`. Default `none`:
    nothing is asked for, and the bucket does what it does by itself (S3: AES256)."""
    kms_key: str = ""
    """The id or ARN of the KMS key; needs an encryption by KMS. Default "": the account's key for S3."""
    retain_days: float = 0.0
    """Of file:// only: days after its last write at which an incarnation's log is deleted; 0 (the default): never. Of
    an object store its own lifecycle rules do that: this process may only write (docs/shipper.md)."""

    def __post_init__(self) -> None:
        scheme = self.destination.partition("://")[0]
        problems = (
            (scheme not in SCHEMES, f"destination {self.destination!r}: give file:///…, s3://…, gs://… or az://…"),
            (self.segment_bytes < 1, f"segment_bytes {self.segment_bytes}: give at least 1"),
            (self.segment_seconds <= 0, f"segment_seconds {self.segment_seconds}: give more than 0"),
            (
                self.spool_bytes < 2 * self.segment_bytes,
                f"spool_bytes {self.spool_bytes}: give at least two segments of segment_bytes {self.segment_bytes}",
            ),
            (self.when_full not in POLICIES, f"when_full {self.when_full!r}: give {' or '.join(POLICIES)}"),
            (self.put_seconds <= 0, f"put_seconds {self.put_seconds}: give more than 0"),
            (self.retry_seconds <= 0, f"retry_seconds {self.retry_seconds}: give more than 0"),
            (self.drain_seconds < 0, f"drain_seconds {self.drain_seconds}: give 0 or more"),
            (self.encryption not in ENCRYPTIONS, f"encryption {self.encryption!r}: give {', '.join(ENCRYPTIONS)}"),
            (bool(self.endpoint) and scheme != "s3", f"endpoint is for s3://, not for {self.destination}"),
            (self.encryption != NONE and scheme != "s3", f"encryption is for s3://, not for {self.destination}"),
            (bool(self.kms_key) and "kms" not in self.encryption, "kms_key needs encryption aws:kms or aws:kms:dsse"),
            (self.retain_days < 0, f"retain_days {self.retain_days}: give 0 or more"),
            (
                self.retain_days > 0 and scheme != "file",
                f"retain_days is for file:///…; {self.destination} needs the store's lifecycle rule (docs/shipper.md)",
            ),
        )
        for wrong, text in problems:
            if wrong:
                raise ValueError(text)
