"""What router and configuration server say to each other: it survives JSON, so do older and newer sides."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from shadow.control_contract import MOST_TOLD, REPORT_VERSION, Acknowledgement, ArmReport, Offer, Report

words = st.text(max_size=20)
arms = st.builds(
    ArmReport,
    arm=words,
    version=words,
    pairs=st.integers(0, 2**60),
    features=st.sampled_from(["", "loaded", "missing"]),
)
reports = st.builds(Report, arms=st.lists(arms, max_size=MOST_TOLD).map(tuple))
offers = st.builds(
    Offer,
    generation=st.integers(1, 2**60),
    lease_seconds=st.floats(0.001, 86_400),
    config=st.just(msgspec.Raw(b'{"mode":"off"}')),
)
acknowledgements = st.builds(
    Acknowledgement,
    router=words,
    incarnation=words,
    generation=st.integers(0, 2**60),
    accepted=st.booleans(),
    error=words,
    suspended=st.lists(words, max_size=2).map(tuple),
)


@given(reports | offers | acknowledgements)
def test_what_is_said_is_what_is_heard(said: Report | Offer | Acknowledgement) -> None:
    heard = msgspec.json.decode(msgspec.json.encode(said), type=type(said))
    assert msgspec.json.encode(heard) == msgspec.json.encode(said)


def test_a_newer_routers_report_is_understood_as_far_as_it_is_known() -> None:
    newer = (
        b'{"schema_version":2,"more":1,"arms":[{"arm":"shadow","version":"v:1","pairs":3,"features":"cold","more":2}]}'
    )
    heard = msgspec.json.decode(newer, type=Report)
    assert (heard.schema_version, heard.arms[0].pairs, heard.arms[0].features) == (REPORT_VERSION + 1, 3, "cold")


def test_the_longest_report_of_real_names_fits_into_a_requests_first_line() -> None:
    from urllib.parse import quote_plus

    arm = ArmReport(arm="a" * 20, version=f"{'recommender' * 4}:{'0' * 40}", pairs=10**12, features="unknown")
    text = msgspec.json.encode(Report(arms=(arm,) * MOST_TOLD)).decode()
    assert len(quote_plus(text)) < 8_190 - 512
