"""Kinds of index small enough for tests."""

from __future__ import annotations

from bentos.index import Kind
from bentos.index_kinds import SQ8, Flat, HnswIp
from bentos.index_lists import IvfIp, IvfL2, IvfRanged

KINDS: tuple[Kind, ...] = (
    Flat(),
    SQ8(),
    IvfIp(nlist=6, nprobe=2),
    IvfL2(nlist=6, nprobe=2),
    IvfRanged(nlist=8, nprobe=2, bands=3),
    HnswIp(m=4, ef_construction=10, ef=4),
)
