"""Requests that two readers may read differently, and what the router must make of each.

Three expectations, one per group of functions:

- `refused`: no byte of the request, nor of what stands behind it, reaches the primary. The client gets one of the
  statuses as problem+json, then the end of the connection. The test sends each twice: as it is, and with a whole
  request behind it.
- `cut`: the head is a request, the body is none. The primary may have got the head and a part of the body, but never a
  whole request and nothing of what stands behind it. The client gets one of the statuses, then the end.
- `served`: the primary gets exactly these requests. `must` are headers that it reads with exactly one value each,
  `never` headers that it does not get. With `then` a refusal with one of these statuses follows.

The cases are written after published ones, whose names or numbers stand beside them: RFC 9110 and 9112; HG, the
trophies of the HTTP Garden (https://github.com/narfindustries/http-garden, TROPHIES.md); PS, the permutations of
PortSwigger's HTTP Request Smuggler (https://github.com/PortSwigger/http-request-smuggler, DesyncBox); 11P, the tests of
Http11Probe (https://github.com/MDA2AV/Http11Probe, docs/content/docs); LL, the tests of llhttp
(https://github.com/nodejs/llhttp, test/request); FC, Weikop's "Funky chunks" (https://w4ke.info/2025/06/18/funky-chunks.html);
CVEs by number. Next module: `tests.shadow.router.smuggling.test_corpus`, which sends them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

TAIL = b"GET /smuggled/x HTTP/1.1\r\nHost: reco\r\n\r\n"
"""A request of 40 bytes that must never be seen where it hides behind, or inside, a refused one."""
GET = b"GET /recommend?user_id=1 HTTP/1.1\r\nHost: reco\r\n"
"""A head, without its empty line, of the kind that is copied to the shadow."""
POST = b"POST /events HTTP/1.1\r\nHost: reco\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
"""Begins a body in chunks."""
THREE = b"3\r\nabc\r\n0\r\n\r\n"
"""abc in chunks."""
HEAD_LIMIT = 32 << 10
"""The longest head that is served; longer ones are 431 (414 for the target)."""

BAD = frozenset({400})
UNKNOWN = frozenset({400, 501})
VERSION = frozenset({400, 505})
LONG = frozenset({414, 431})


@dataclass(frozen=True)
class Seen:
    """A request that the primary must have read."""

    method: bytes
    target: bytes
    body: bytes = b""
    must: tuple[tuple[bytes, bytes], ...] = ()
    never: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Case:
    """Bytes and what must become of them."""

    name: str
    raw: bytes
    statuses: frozenset[int] = frozenset()
    """Of the refusal; empty when there is none."""
    seen: tuple[Seen, ...] = ()
    in_body: bool = False
    """The refusal may come after the head has left for the primary."""
    closes: bool = False
    """The last served request ends the connection."""
    methods: tuple[bytes, ...] = field(default=())
    """Of the requests that get an answer which is no refusal."""


def refused(name: str, raw: bytes, statuses: frozenset[int] = BAD) -> Case:
    return Case(name, raw, statuses)


def cut(name: str, raw: bytes, statuses: frozenset[int] = BAD) -> Case:
    return Case(name, raw, statuses, in_body=True)


def served(name: str, raw: bytes, *seen: Seen, then: frozenset[int] = frozenset(), closes: bool = False) -> Case:
    return Case(name, raw, then, seen, closes=closes, methods=tuple(each.method for each in seen))


def posted(body: bytes = b"abc", *must: tuple[bytes, bytes], never: tuple[bytes, ...] = ()) -> Seen:
    return Seen(b"POST", b"/events", body, must, never)


def got(body: bytes = b"", *must: tuple[bytes, bytes], never: tuple[bytes, ...] = ()) -> Seen:
    return Seen(b"GET", b"/recommend?user_id=1", body, must, never)


BOTH_LENGTHS = (
    # RFC 9112 §6.1: "ought to be handled as an error"; LL; 11P CL-TE-BOTH; CVE-2019-20445, CVE-2020-10109.
    refused("length, then chunked", POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + THREE, UNKNOWN),
    refused("chunked, then length", POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n" + THREE, UNKNOWN),
    # CL.TE and TE.CL (Kettle, "HTTP desync attacks", 2019), with the request that they smuggle.
    refused(
        "CL.TE with a request behind the last chunk",
        POST + b"Content-Length: 45\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + TAIL,
        UNKNOWN,
    ),
    refused(
        "TE.CL with a request inside a chunk",
        POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n28\r\n" + TAIL + b"\r\n0\r\n\r\n",
        UNKNOWN,
    ),
    refused(
        "length of zero with chunked",  # LiteSpeed, openlitespeed issue 392
        POST + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n28\r\n" + TAIL + b"\r\n0\r\n\r\n",
        UNKNOWN,
    ),
    refused("both on a GET", GET + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + THREE, UNKNOWN),
    refused("both, chunked hidden by a fold", POST + b"Content-Length: 3\r\nTransfer-Encoding:\r\n chunked\r\n\r\n"),
    refused("both, identity", POST + b"Content-Length: 3\r\nTransfer-Encoding: identity\r\n\r\nabc", UNKNOWN),
    refused(
        "both in HTTP/1.0",
        POST.replace(b"1.1", b"1.0") + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        UNKNOWN,
    ),
    refused(
        "a chunked that Connection lists",
        POST + b"Connection: Transfer-Encoding\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + THREE,
        UNKNOWN,
    ),  # PS connection
)

LENGTHS = (
    refused("two different lengths", POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),  # CVE-2020-10108
    refused("two equal lengths", POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
    refused("zero, then the length of a request", POST + b"Content-Length: 0\r\nContent-Length: 40\r\n\r\n" + TAIL),
    refused("a list of equal lengths", POST + b"Content-Length: 3, 3\r\n\r\nabc"),  # 11P CL-COMMA-SAME
    refused("a list of different lengths", POST + b"Content-Length: 3, 4\r\n\r\nabcd"),
    refused("a list without a first member", POST + b"Content-Length: ,3\r\n\r\nabc"),  # PS CL-commaprefix
    refused("a list without a last member", POST + b"Content-Length: 3,\r\n\r\nabc"),  # PS CL-commasuffix
    refused("a length with a plus", POST + b"Content-Length: +3\r\n\r\nabc"),  # CVE-2022-24801; PS CL-plus
    refused("a negative length", POST + b"Content-Length: -3\r\n\r\nabc"),  # HG: GET with -48 repeats for ever
    refused("a length of minus zero", POST + b"Content-Length: -0\r\n\r\n"),  # 11P CL-NEGATIVE-ZERO
    refused("a length in hexadecimal", POST + b"Content-Length: 0x3\r\n\r\nabc"),  # HG: Akamai
    refused("a length in octal", POST + b"Content-Length: 0o3\r\n\r\nabc"),  # 11P CL-OCTAL
    refused(
        "a length with an underscore", POST + b"Content-Length: 1_0\r\n\r\n0123456789"
    ),  # HG: aiohttp, Python's int
    refused("a length with an exponent", POST + b"Content-Length: 3e0\r\n\r\nabc"),  # PS CL-e
    refused("a length with a fraction", POST + b"Content-Length: 3.0\r\n\r\nabc"),  # PS CL-dec
    refused("a length with a space inside", POST + b"Content-Length: 1 0\r\n\r\n0123456789"),  # LL
    refused("a length with letters behind", POST + b"Content-Length: 3abc\r\n\r\nabc"),  # HG: 1Z
    refused("a length in quotes", POST + b'Content-Length: "3"\r\n\r\nabc'),
    refused("an empty length", POST + b"Content-Length: \r\n\r\nabc"),  # HG, four servers
    refused("an empty length, then one", POST + b"Content-Length: \r\nContent-Length: 40\r\n\r\n" + TAIL),  # HG
    refused("a length over 64 bits", POST + b"Content-Length: 18446744073709551616\r\n\r\n"),
    refused("a length that wraps to 3", POST + b"Content-Length: 18446744073709551619\r\n\r\nabc"),
    refused("a length over 63 bits", POST + b"Content-Length: 9223372036854775808\r\n\r\n", frozenset({400, 413})),
    refused("a length with a vertical tab", POST + b"Content-Length: \x0b3\r\n\r\nabc"),
    refused("a length with a NUL", POST + b"Content-Length: 3\x00\r\n\r\nabc"),
    refused("a length with other digits", POST + b"Content-Length: \xd9\xa3\r\n\r\nabc"),  # Arabic-Indic three, UTF-8
    refused("a length with a no-break space", POST + b"Content-Length: \xa03\r\n\r\nabc"),
    refused("a length whose name ends with a no-break space", POST + b"Content-Length\xa0: 3\r\n\r\nabc"),  # PS nbsp
    refused("a length whose name ends with NEL", POST + b"Content-Length\x85: 3\r\n\r\nabc"),  # HG; PS nel
    refused(
        "a length with a space before the colon", POST + b"Content-Length : 3\r\n\r\nabc"
    ),  # CVE-2019-16869, -16276
    refused("a length with a tab before the colon", POST + b"Content-Length\t: 3\r\n\r\nabc"),
    refused("a length without a colon", POST + b"Content-Length 3\r\n\r\nabc"),  # HG; CVE-2019-20444
    refused("a length with a CR for the dash", POST + b"Content\rLength: 3\r\n\r\nabc"),  # LL
    refused("a length with a backslash for the dash", POST + b"Content\\Length: 3\r\n\r\nabc"),  # PS backslash
    refused("a length with a space for the dash", POST + b"Content Length: 3\r\n\r\nabc"),  # PS spacejoin1
    served("a length", POST + b"Content-Length: 3\r\n\r\nabc", posted(b"abc", (b"content-length", b"3"))),
    served("a length of zero", POST + b"Content-Length: 0\r\n\r\n", posted(b"")),
    served("no length at all", POST + b"\r\n", posted(b"")),  # RFC 9112 §6.3, the seventh rule
    served(
        "a length with white space around",
        POST + b"Content-Length: \t 3 \t\r\n\r\nabc",
        posted(b"abc", (b"content-length", b"3")),
    ),  # LL; OWS is not part of the value
    # 1*DIGIT may begin with zeros, but some read them as octal (HG: fasthttp): what leaves has none.
    served(
        "a length with leading zeros",
        POST + b"Content-Length: 0010\r\n\r\n0123456789",
        posted(b"0123456789", (b"content-length", b"10")),
    ),
    served("a length in odd case", POST + b"conTENT-lenGTH: 3\r\n\r\nabc", posted(b"abc", (b"content-length", b"3"))),
    # A name of its own for h11 and llhttp; CGI and WSGI fold it into the same variable (11P; PS underjoin1).
    served(
        "a length with an underscore for the dash",
        POST + b"Content_Length: 40\r\nContent-Length: 3\r\n\r\nabc",
        posted(b"abc", (b"content-length", b"3")),
    ),
    served(
        "a length that Connection lists",
        POST + b"Connection: Content-Length\r\nContent-Length: 40\r\n\r\n" + TAIL,
        posted(TAIL, never=(b"connection",)),
    ),
    served("a GET with a body", GET + b"Content-Length: 40\r\n\r\n" + TAIL, got(TAIL)),  # 11P GET-CL-BODY-DESYNC
    served(
        "a GET with a prefix of a request as its body",
        GET + b"Content-Length: 23\r\n\r\nGET /smuggled HTTP/1.1\n",
        got(b"GET /smuggled HTTP/1.1\n"),
    ),  # 11P GET-CL-PREFIX-DESYNC
    served(
        "a HEAD with a body",
        b"HEAD /x HTTP/1.1\r\nHost: reco\r\nContent-Length: 40\r\n\r\n" + TAIL,
        Seen(b"HEAD", b"/x", TAIL),
    ),  # 11P HEAD-CL-BODY
    served(
        "an OPTIONS with a body",
        b"OPTIONS /x HTTP/1.1\r\nHost: reco\r\nContent-Length: 40\r\n\r\n" + TAIL,
        Seen(b"OPTIONS", b"/x", TAIL),
    ),  # 11P OPTIONS-CL-BODY
    served(
        "a DELETE with a body",
        b"DELETE /x HTTP/1.1\r\nHost: reco\r\nContent-Length: 3\r\n\r\nabc",
        Seen(b"DELETE", b"/x", b"abc"),
    ),
    # CL.0 (Kettle, "Browser-powered desync attacks", 2022): the length counts, whatever the target.
    served(
        "a length on a target that looks static",
        b"POST /favicon.ico HTTP/1.1\r\nHost: reco\r\nContent-Length: 40\r\n\r\n" + TAIL,
        Seen(b"POST", b"/favicon.ico", TAIL),
    ),
)

CODINGS = (
    refused("xchunked", POST + b"Transfer-Encoding: xchunked\r\n\r\n" + THREE, UNKNOWN),  # 11P TE-XCHUNKED
    refused("chunk", POST + b"Transfer-Encoding: chunk\r\n\r\n" + THREE, UNKNOWN),  # PS lazygrep
    refused("chunkedchunked", POST + b"Transfer-Encoding: chunkedchunked\r\n\r\n" + THREE, UNKNOWN),  # CVE-2022-32213
    refused("chunked twice in a list", POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + THREE, UNKNOWN),
    refused(
        "chunked twice in two lines",
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + THREE,
        UNKNOWN,
    ),  # HG; CVE-2020-8287
    refused("gzip, chunked", POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + THREE, UNKNOWN),  # no coding but one
    refused("chunked, gzip", POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n" + THREE, UNKNOWN),  # CVE-2024-1135
    refused(
        "gzip and chunked in two lines",
        POST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + THREE,
        UNKNOWN,
    ),
    refused(
        "chunked and gzip in two lines",
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n" + THREE,
        UNKNOWN,
    ),  # LL
    refused("identity", POST + b"Transfer-Encoding: identity\r\n\r\n" + THREE, UNKNOWN),  # 11P TE-IDENTITY
    refused(
        "identity, chunked", POST + b"Transfer-Encoding: identity, chunked\r\n\r\n" + THREE, UNKNOWN
    ),  # PS cowComma
    refused(
        "chunked, identity", POST + b"Transfer-Encoding: chunked, identity\r\n\r\n" + THREE, UNKNOWN
    ),  # PS commaCow
    refused(
        "identity, chunked, identity", POST + b"Transfer-Encoding: identity, chunked, identity\r\n\r\n" + THREE, UNKNOWN
    ),  # PS nested
    refused(
        "identity and chunked in two lines",
        POST + b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n" + THREE,
        UNKNOWN,
    ),  # PS revdualchunk
    refused(
        "a comma before chunked", POST + b"Transfer-Encoding: ,chunked\r\n\r\n" + THREE, UNKNOWN
    ),  # HG, four servers
    refused("a comma behind chunked", POST + b"Transfer-Encoding: chunked,\r\n\r\n" + THREE, UNKNOWN),
    refused(
        "chunked with a parameter", POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n" + THREE, UNKNOWN
    ),  # RFC 9112 §7.1
    refused("chunked in double quotes", POST + b'Transfer-Encoding: "chunked"\r\n\r\n' + THREE, UNKNOWN),  # PS quoted
    refused("chunked in single quotes", POST + b"Transfer-Encoding: 'chunked'\r\n\r\n" + THREE, UNKNOWN),  # PS aposed
    refused(
        "chunked as an encoded word", POST + b"Transfer-Encoding: =?UTF-8?B?Y2h1bmtlZA==?=\r\n\r\n" + THREE, UNKNOWN
    ),  # PS qencodeutf
    refused("an empty coding", POST + b"Transfer-Encoding:\r\n\r\n" + THREE, UNKNOWN),  # 11P TE-EMPTY-VALUE
    refused("a coding that is not known", POST + b"Transfer-Encoding: blegh\r\n\r\n" + THREE, UNKNOWN),  # HG
    refused("a vertical tab before chunked", POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + THREE, UNKNOWN),
    # ^ CVE-2019-18277, CVE-2019-16789
    refused("a vertical tab behind chunked", POST + b"Transfer-Encoding: chunked\x0b\r\n\r\n" + THREE, UNKNOWN),
    refused("a form feed before chunked", POST + b"Transfer-Encoding: \x0cchunked\r\n\r\n" + THREE, UNKNOWN),
    refused("a NUL behind chunked", POST + b"Transfer-Encoding: chunked\x00\r\n\r\n" + THREE, UNKNOWN),  # 11P TE-NULL
    # White space that llhttp leaves in the value, and reads as a part of the name when it is a tab.
    refused("a space behind chunked", POST + b"Transfer-Encoding: chunked \r\n\r\n" + THREE, UNKNOWN),
    refused("a tab behind chunked", POST + b"Transfer-Encoding: chunked\t\r\n\r\n" + THREE, UNKNOWN),  # PS tabsuffix
    refused("a CR behind chunked", POST + b"Transfer-Encoding: chunked\r\r\n\r\n" + THREE, UNKNOWN),  # PS 0dsuffix
    refused("a no-break space before chunked", POST + b"Transfer-Encoding: \xa0chunked\r\n\r\n" + THREE, UNKNOWN),  # HG
    refused("0xff around chunked", POST + b"Transfer-Encoding: \xffchunked\xff\r\n\r\n" + THREE, UNKNOWN),  # HG
    refused("an accent in chunked", POST + b"Transfer-Encoding: ch\x96nked\r\n\r\n" + THREE, UNKNOWN),  # PS accentCH
    refused("an accent in the name", POST + b"Transf\x82r-Encoding: chunked\r\n\r\n" + THREE),  # PS accentTE
    refused("a soft hyphen in the name", POST + b"Transfer\xadEncoding: chunked\r\n\r\n" + THREE),  # PS shy
    refused("a word before the colon", POST + b"Transfer-Encoding x: chunked\r\n\r\n" + THREE),  # PS spjunk
    refused("a space before the colon", POST + b"Transfer-Encoding : chunked\r\n\r\n" + THREE),  # CVE-2021-22959
    refused("a tab before the colon", POST + b"Transfer-Encoding\t: chunked\r\n\r\n" + THREE),
    refused("a NUL before the colon", POST + b"Transfer-Encoding\x00: chunked\r\n\r\n" + THREE),  # PS namesuffix1:0
    refused("a CR inside the name", POST + b"Tra\rnsfer-Encoding: chunked\r\n\r\n" + THREE),  # PS 0dspam
    refused("an LF inside the name", POST + b"Transfer-\nEncoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
    refused(
        "a line end inside the name", POST + b"Transfer-\r\nEncoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"
    ),
    # ^ HG: lighttpd
    refused("chunked in HTTP/1.0", CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0") + THREE, UNKNOWN),  # RFC 9112 §6.1
    served("chunked", CHUNKED + THREE, posted()),
    served("CHUNKED", POST + b"TRANSFER-ENCODING: CHUNKED\r\n\r\n" + THREE, posted()),  # names and codings know no case
    served("chunked without a space", POST + b"Transfer-Encoding:chunked\r\n\r\n" + THREE, posted()),  # PS nospace1
    served(
        "a percent sign in the name", POST + b"Transfer-%45ncoding: chunked\r\nContent-Length: 3\r\n\r\nabc", posted()
    ),
    # ^ PS encode: it is another name
    served("an underscore in the name", POST + b"Transfer_Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc", posted()),
    served(
        "chunked as a content coding", POST + b"Content-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc", posted()
    ),  # PS contentEnc
    served(
        "TE is not Transfer-Encoding", POST + b"TE: chunked\r\nContent-Length: 3\r\n\r\nabc", posted(never=(b"te",))
    ),
    served(
        "chunked that Connection lists",
        POST + b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n" + THREE,
        posted(),
    ),
    served("a GET in chunks", GET + b"Transfer-Encoding: chunked\r\n\r\n28\r\n" + TAIL + b"\r\n0\r\n\r\n", got(TAIL)),
)

CHUNKS = (
    cut("a negative size", CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n"),  # 11P CHUNK-NEGATIVE
    cut("a size with a plus", CHUNKED + b"+3\r\nabc\r\n0\r\n\r\n"),  # 11P CHUNK-SIZE-PLUS
    cut("a size with 0x", CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n"),  # CVE-2022-24801; HG: WEBrick -0x0
    cut("a size with an underscore", CHUNKED + b"0_2e\r\n\r\n" + TAIL),  # HG: aiohttp, gunicorn
    cut("a space before the size", CHUNKED + b" 3\r\nabc\r\n0\r\n\r\n"),
    cut("a space behind the size", CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n"),  # LL
    cut("a tab behind the size", CHUNKED + b"3\t\r\nabc\r\n0\r\n\r\n"),
    cut("spaces before the last size", CHUNKED + b"         0\r\n\r\n"),  # HG
    cut("a size of letters", CHUNKED + b"Z\r\nZZ\r\nZZZ\r\n\r\n"),  # HG: Akamai
    cut("letters behind the size", CHUNKED + b"3these-bytes-are-no-size\r\nabc\r\n0\r\n\r\n"),  # HG
    cut("an empty size", CHUNKED + b"\r\n\r\n"),  # HG
    cut("a size over 64 bits", CHUNKED + b"10000000000000003\r\nabc\r\n0\r\n\r\n"),
    cut("a size over 64 bits by far", CHUNKED + b"f" * 64 + b"\r\nabc\r\n0\r\n\r\n"),
    cut("an extension behind a space", CHUNKED + b"3 a\r\nabc\r\n0\r\n\r\n"),  # LL; CVE-2021-22960
    cut("a semicolon without an extension", CHUNKED + b"3;\r\nabc\r\n0\r\n\r\n"),  # 11P CHUNK-BARE-SEMICOLON
    cut("a bare LF behind the size", CHUNKED + b"3\nabc\r\n0\r\n\r\n"),  # CVE-2025-22871
    cut("a bare CR behind the size", CHUNKED + b"3\rabc\r\n0\r\n\r\n"),
    cut("a CR and any byte behind the size", CHUNKED + b"3\rXabc\r\n0\r\n\r\n"),  # LL
    cut("two CRs behind the size", CHUNKED + b"5\r\r;ABCD\r\n34\r\nE\r\n0\r\n\r\n" + TAIL),  # HG: Node.js
    cut("a bare LF inside an extension", CHUNKED + b"3;a\nabc\r\n0\r\n\r\n"),  # FC TERM.EXT; CVE-2025-55315
    cut("a bare LF inside an extension's value", CHUNKED + b"3;a=b\nxx\r\n28\r\n0\r\n\r\n" + TAIL),  # FC EXT.TERM
    cut("a bare CR inside an extension", CHUNKED + b"3;a\rb\r\nabc\r\n0\r\n\r\n"),
    cut("two CRs behind an extension", CHUNKED + b"41;a=b\r\r" + b"X" * 65 + b"\r\n0\r\n\r\n" + TAIL),  # HG: H2O
    cut("a NUL inside an extension", CHUNKED + b"3;a\x00\r\nabc\r\n0\r\n\r\n"),  # 11P CHUNK-EXT-CTRL
    cut("a bracket as an extension", CHUNKED + b"3;[\r\nabc\r\n0\r\n\r\n"),  # 11P CHUNK-EXT-INVALID-TOKEN
    cut("an LF inside a quoted extension", CHUNKED + b'3;a="\n"\r\nabc\r\n0\r\n\r\n'),
    cut("a quoted extension that does not end", CHUNKED + b'3;a="b\r\nabc\r\n0\r\n\r\n'),  # LL
    cut("no line end behind the data", CHUNKED + b"3\r\nabc0\r\n\r\n"),  # CVE-2025-43859
    cut("two other bytes behind the data", CHUNKED + b"3\r\nabcXX0\r\n\r\n"),  # CVE-2025-43859; FC ONE.TWO
    cut("a bare LF behind the data", CHUNKED + b"a\r\n0123456789\n0\r\n\r\n"),  # HG
    cut("a bare CR behind the data", CHUNKED + b"3\r\nabc\r0\r\n\r\n"),
    cut("more data than the size says", CHUNKED + b"3\r\nabcde\r\n0\r\n\r\n"),  # 11P CHUNK-SPILL; FC SPILL.TERM
    cut("less data than the size says", CHUNKED + b"5\r\nabc\r\n0\r\n\r\n"),
    cut("bare LFs throughout", CHUNKED + b"3\nabc\n0\n\n"),
    cut("a bare LF behind the last chunk", CHUNKED + b"3\r\nabc\r\n0\n\r\n"),  # HG: nginx
    cut("a bare LF as the last line", CHUNKED + b"3\r\nabc\r\n0\r\n\n"),  # 11P CHUNK-LF-TRAILER
    cut("an LF for the last two line ends", CHUNKED + b"3\r\nabc\r\n0\n\n"),
    cut("a request where the trailers are", CHUNKED + b"0\r\n" + TAIL),  # HG: X:POST / HTTP/1.1 behind the last chunk
    cut("a trailer that is folded", CHUNKED + b"3\r\nabc\r\n0\r\nX: a\r\n b\r\n\r\n"),
    cut("a trailer that begins with a space", CHUNKED + b"3\r\nabc\r\n0\r\n X: a\r\n\r\n"),
    cut("a trailer with a space before the colon", CHUNKED + b"3\r\nabc\r\n0\r\nX : a\r\n\r\n"),
    cut("a trailer with a bare LF", CHUNKED + b"3\r\nabc\r\n0\r\nX: a\nY: b\r\n\r\n"),
    cut("a trailer with a NUL", CHUNKED + b"3\r\nabc\r\n0\r\nX: a\x00\r\n\r\n"),
    cut("a trailer without a name", CHUNKED + b"3\r\nabc\r\n0\r\n: a\r\n\r\n"),
    cut("trailers without end", CHUNKED + b"3\r\nabc\r\n0\r\n" + b"X: a\r\n" * (100 << 10), frozenset({400, 413, 431})),
    # CVE-2023-39326, CVE-2024-22019: an extension without end feeds a parser for ever.
    cut("an extension without end", CHUNKED + b"3;" + b"a" * (600 << 10), frozenset({400, 413, 431})),
    cut(
        "a length among the trailers", CHUNKED + b"3\r\nabc\r\n0\r\nContent-Length: 40\r\n\r\n" + TAIL
    ),  # 11P TRAILER-CL
    served("two chunks", CHUNKED + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", posted(b"hello world")),
    served("no chunk but the last", CHUNKED + b"0\r\n\r\n", posted(b"")),
    served("a size in capital letters", CHUNKED + b"A\r\n0123456789\r\n0\r\n\r\n", posted(b"0123456789")),
    served("sizes with leading zeros", CHUNKED + b"0003\r\nabc\r\n000\r\n\r\n", posted()),  # LL
    served("extensions", CHUNKED + b'3;a=b;c="d;e"\r\nabc\r\n0;f\r\n\r\n', posted()),  # RFC 9112 §7.1.1
    served("a line end as data", CHUNKED + b"4\r\n\r\n\r\n\r\n0\r\n\r\n", posted(b"\r\n\r\n")),
    served("a last chunk as data", CHUNKED + b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", posted(b"0\r\n\r\n")),  # TE.TE
    served("a request as data", CHUNKED + b"28\r\n" + TAIL + b"\r\n0\r\n\r\n", posted(TAIL)),
    # RFC 9110 §6.5.1: a trailer changes neither framing nor routing; the router merges none into the head.
    served(
        "a host among the trailers",
        CHUNKED + b"3\r\nabc\r\n0\r\nHost: evil\r\n\r\n",
        posted(b"abc", (b"host", b"reco")),
    ),
    served(
        "credentials among the trailers",
        CHUNKED + b"3\r\nabc\r\n0\r\nAuthorization: Bearer x\r\n\r\n",
        posted(never=(b"authorization",)),
    ),  # 11P TRAILER-AUTH
    served(
        "a type among the trailers",
        CHUNKED + b"3\r\nabc\r\n0\r\nContent-Type: text/html\r\n\r\n",
        posted(never=(b"content-type",)),
    ),
    served(
        "a marker among the trailers",
        GET + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
        b"X-Understudy-Arm: shadow\r\nX-Forwarded-For: 9.9.9.9\r\nX-Request-Id: evil\r\n\r\n",
        got(b"abc", (b"x-forwarded-for", b"127.0.0.1"), never=(b"x-understudy-arm",)),
    ),
)

HEADS = (
    # RFC 9112 §5.2: a fold is answered 400 or unfolded; here it is answered.
    refused("a folded header", GET + b"X: a\r\n b\r\n\r\n"),
    refused("a header folded with a tab", GET + b"X: a\r\n\tb\r\n\r\n"),
    refused("a folded Host", b"GET / HTTP/1.1\r\nHost:\r\n reco\r\n\r\n"),
    refused("a folded length", POST + b"Content-Length:\r\n 3\r\n\r\nabc"),  # CVE-2024-27982
    refused(
        "a length folded into a header", POST + b"X: a\r\n Content-Length: 40\r\n\r\n" + TAIL
    ),  # PS nameprefix1; LL
    refused("chunked on a folded line", POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + THREE),  # CVE-2022-32215
    refused(
        "chunked behind two folds", POST + b"Transfer-Encoding:\r\n \r\n chunked\r\n\r\n" + THREE
    ),  # PS doublewrapped
    refused("a fold behind chunked", POST + b"Transfer-Encoding: chunked\r\n  abc\r\n\r\n" + THREE),  # LL
    refused("a fold with a bare LF", POST + b"Transfer-Encoding:\n chunked\r\n\r\n" + THREE),  # PS linewrapped1
    refused("a space before the first header", b"GET / HTTP/1.1\r\n Host: reco\r\n\r\n"),  # RFC 9112 §2.2; LL
    refused("a tab before the first header", b"GET / HTTP/1.1\r\n\tHost: reco\r\n\r\n"),  # HG: aiohttp
    refused("a first header that is all space", b"GET / HTTP/1.1\r\n \r\nHost: reco\r\n\r\n"),
    refused("a length before the first header", b"POST / HTTP/1.1\r\n Content-Length: 40\r\nHost: reco\r\n\r\n" + TAIL),
    # ^ PS badwrap
    refused("a bare CR in a value", GET + b"X: a\rb\r\n\r\n"),  # RFC 9112 §2.2
    refused("a header behind a bare CR", POST + b"X: a\rContent-Length: 40\r\n\r\n" + TAIL),  # PS badsetupCR
    refused("a header behind an empty value and a bare CR", POST + b"X:\rTransfer-Encoding: chunked\r\n\r\n" + THREE),
    # ^ CVE-2023-30589
    refused(
        "a header behind a bare LF", POST + b"X: a\nContent-Length: 40\r\n\r\n" + TAIL
    ),  # CVE-2022-32214; PS badsetupLF
    refused(
        "a header behind an empty value and a bare LF", POST + b"X:\nTransfer-Encoding: chunked\r\n\r\n" + THREE
    ),  # LL
    refused("a head behind an empty value and two LFs", GET + b"X:\n\n" + TAIL),  # HG
    refused("a CR before a name", POST + b"X: a\r\n\rContent-Length: 40\r\n\r\n" + TAIL),  # PS 0dwrap
    refused("a CR in the empty line", GET + b"\r\r\n"),
    refused("another byte in the empty line", GET + b"\rZGET /smuggled: HTTP/1.1\r\nHost: reco\r\n\r\n"),
    # ^ HG: Node.js; CVE-2025-23167
    refused("an LF for the empty line", GET + b"\n"),
    refused("an LF behind each line", b"GET / HTTP/1.1\nHost: reco\n\n"),  # CVE-2019-16785
    refused("an LF behind the request line", b"GET / HTTP/1.1\nHost: reco\r\n\r\n"),
    refused("a CR behind each line", b"GET / HTTP/1.1\rHost: reco\r\r"),  # 11P CR-ONLY-LINE-ENDING
    refused("a CR behind the request line", b"GET / HTTP/1.1\rHost: reco\r\n\r\n"),
    refused("two CRs behind a value", GET + b"X: a\r\r\n\r\n"),
    refused("a NUL in a value", GET + b"X: a\x00b\r\n\r\n"),  # HG, five servers
    refused("a NUL as a value", GET + b"X: \x00\r\n\r\n"),
    refused("a NUL in a name", GET + b"X\x00Y: a\r\n\r\n"),
    refused("a NUL before a name", GET + b"\x00X: a\r\n\r\n"),
    refused("a NUL for the head", b"\x00" * 8 + b"\r\n\r\n", UNKNOWN),
    refused("a space before a colon", GET + b"X : a\r\n\r\n"),  # RFC 9112 §5.1
    refused("a space in a name", GET + b"X Y: a\r\n\r\n"),
    refused("an empty name", GET + b": a\r\n\r\n"),  # CVE-2023-25725
    refused("an empty name and value", GET + b":\r\nI: am chopped off\r\n\r\n"),  # HG
    refused("an empty name before Host", b"GET / HTTP/1.1\r\n: a\r\nHost: reco\r\n\r\n"),  # HG
    refused("a header without a colon", GET + b"X\r\n\r\n"),  # RFC 9112 §5
    refused("a name over two lines", GET + b"X\r\n : a\r\n\r\n"),  # LL
    *(
        refused(f"0x{byte:02x} in a name", GET + b"X" + bytes([byte]) + b"Y: a\r\n\r\n")
        for byte in (0x01, 0x08, 0x09, 0x1F, 0x7F, 0x80, 0xFF, *b'"(),/;<=>?@[]{}')  # tchar, RFC 9110 §5.6.2; HG
    ),
    *(
        refused(f"0x{byte:02x} in a value", GET + b"X: a" + bytes([byte]) + b"b\r\n\r\n")
        for byte in (0x01, 0x08, 0x0B, 0x0C, 0x1B, 0x1F, 0x7F)  # RFC 9110 §5.5 lets them be refused
    ),
    refused("a terminal sequence where a name ends", GET + b"Connection\r\x1b[5\xd5eep-Alive: a\r\n\r\n"),  # LL
    refused("a header of more bytes than a head may have", GET + b"X: " + b"x" * HEAD_LIMIT + b"\r\n\r\n", LONG),
    refused("a name of more bytes than a head may have", GET + b"x" * HEAD_LIMIT + b": a\r\n\r\n", LONG),
    # CVE-2021-40346: a name of 270 bytes whose length wraps in a byte.
    served(
        "a name whose length wraps in a byte",
        POST + b"Content-Length0" + b"a" * 255 + b": \r\nContent-Length: 40\r\n\r\n" + TAIL,
        posted(TAIL),
    ),
    refused(
        "headers of more bytes than a head may have",
        GET + b"".join(b"X-%d: a\r\n" % n for n in range(5000)) + b"\r\n",
        LONG,
    ),
    refused("a head without end", GET + b"X: a\r\n" * 8192, LONG | BAD),
    served(
        "a hundred headers",
        GET + b"".join(b"X-%d: a\r\n" % n for n in range(100)) + b"\r\n",
        got(b"", (b"x-0", b"a"), (b"x-99", b"a")),
    ),
    served(
        "bytes of another alphabet in a value",
        GET + b"X: a\x80\xff\xc3\xa9b\r\n\r\n",
        got(b"", (b"x", b"a\x80\xff\xc3\xa9b")),
    ),
    # ^ obs-text, RFC 9110 §5.5
    served("a tab in a value", GET + b"X: a\tb\r\n\r\n", got(b"", (b"x", b"a\tb"))),
    served("white space around a value", GET + b"X: \t a b \t\r\n\r\n", got(b"", (b"x", b"a b"))),
    served("an empty value", GET + b"X:\r\n\r\n", got(b"", (b"x", b""))),
    served("odd signs that a name may have", GET + b"!#$%&'*+-.^_`|~: a\r\n\r\n", got(b"", (b"!#$%&'*+-.^_`|~", b"a"))),
    served("an empty line before the request", b"\r\n" + GET + b"\r\n", got()),  # RFC 9112 §2.2: SHOULD be ignored
    served("empty lines before the request", b"\r\n" * 4 + GET + b"\r\n", got()),
    served("an empty line between two requests", GET + b"\r\n\r\n" + GET + b"\r\n", got(), got()),
)

HOSTS = (
    refused("no Host", b"GET / HTTP/1.1\r\n\r\n"),  # RFC 9112 §3.2
    refused("no Host in HTTP/1.0", b"GET / HTTP/1.0\r\n\r\n"),  # stricter than the RFC
    refused("two Hosts", GET + b"Host: evil\r\n\r\n"),
    refused("two equal Hosts", GET + b"Host: reco\r\n\r\n"),  # 11P DUPLICATE-HOST-SAME
    refused("an empty Host", b"GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    refused("a Host of white space", b"GET / HTTP/1.1\r\nHost: \t \r\n\r\n"),
    refused("a Host with a list", b"GET / HTTP/1.1\r\nHost: reco, evil\r\n\r\n"),  # 11P MULTIPLE-HOST-COMMA
    refused("a Host with a space", b"GET / HTTP/1.1\r\nHost: reco evil\r\n\r\n"),
    refused("a Host with a path", b"GET / HTTP/1.1\r\nHost: reco/evil\r\n\r\n"),
    refused("a Host with a user", b"GET / HTTP/1.1\r\nHost: evil@reco\r\n\r\n"),
    refused("a Host with a query", b"GET / HTTP/1.1\r\nHost: reco?evil\r\n\r\n"),
    refused("a Host with a fragment", b"GET / HTTP/1.1\r\nHost: reco#evil\r\n\r\n"),
    refused("a Host with a scheme", b"GET / HTTP/1.1\r\nHost: http://reco\r\n\r\n"),
    refused("a Host with a port of letters", b"GET / HTTP/1.1\r\nHost: reco:http\r\n\r\n"),
    refused("a Host with a port of six digits", b"GET / HTTP/1.1\r\nHost: reco:123456\r\n\r\n"),
    refused("a Host with two ports", b"GET / HTTP/1.1\r\nHost: reco:80:81\r\n\r\n"),
    refused("a Host with a NUL", b"GET / HTTP/1.1\r\nHost: reco\x00.evil\r\n\r\n"),  # HG
    refused("a Host with bytes of another alphabet", b"GET / HTTP/1.1\r\nHost: \xffreco\xff\r\n\r\n"),  # HG
    refused("a Host with an open bracket", b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"),
    refused("a Host with a space before the colon", b"GET / HTTP/1.1\r\nHost : reco\r\n\r\n"),
    served(
        "a Host with a port",
        b"GET /x HTTP/1.1\r\nHost: reco:3000\r\n\r\n",
        Seen(b"GET", b"/x", b"", ((b"host", b"reco:3000"),)),
    ),
    served(
        "a Host of IPv6",
        b"GET /x HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
        Seen(b"GET", b"/x", b"", ((b"host", b"[::1]:80"),)),
    ),
    served(
        "a Host with white space around",
        b"GET /x HTTP/1.1\r\nHost:  reco \t\r\n\r\n",
        Seen(b"GET", b"/x", b"", ((b"host", b"reco"),)),
    ),
    served(
        "a Host that Connection lists",
        b"GET /x HTTP/1.1\r\nConnection: host\r\nHost: reco\r\n\r\n",
        Seen(b"GET", b"/x", b"", ((b"host", b"reco"),), (b"connection",)),
    ),
    served(
        "other names of a host", GET + b"X-Forwarded-Host: evil\r\nX-Host: evil\r\n\r\n", got(b"", (b"host", b"reco"))
    ),
)

REQUEST_LINES = (
    refused("HTTP/0.9", b"GET /\r\n\r\n", VERSION),
    refused("HTTP/0.9 with a head", b"GET /\r\nHost: reco\r\n\r\n", VERSION),
    refused("HTTP/0.9 as a version", b"GET / HTTP/0.9\r\nHost: reco\r\n\r\n", VERSION),
    refused("HTTP/1.2", b"GET / HTTP/1.2\r\nHost: reco\r\n\r\n", VERSION),
    refused("HTTP/2.0", b"GET / HTTP/2.0\r\nHost: reco\r\n\r\n", VERSION),
    refused("HTTP/2", b"GET / HTTP/2\r\nHost: reco\r\n\r\n", VERSION),
    refused("HTTP/3.7", b"GET / HTTP/3.7\r\nHost: reco\r\n\r\n", VERSION),
    refused("HTTP/1", b"GET / HTTP/1\r\nHost: reco\r\n\r\n", VERSION),  # 11P VERSION-MISSING-MINOR
    refused("HTTP/1.", b"GET / HTTP/1.\r\nHost: reco\r\n\r\n", VERSION),
    refused("HTTP/1.10", b"GET / HTTP/1.10\r\nHost: reco\r\n\r\n", VERSION),
    refused("HTTP/1.32", b"GET / HTTP/1.32\r\nHost: reco\r\n\r\n", VERSION),  # HG: aiohttp
    refused("HTTP/01.1", b"GET / HTTP/01.1\r\nHost: reco\r\n\r\n", VERSION),  # 11P VERSION-LEADING-ZEROS
    refused("HTTP/4294967297.1", b"GET / HTTP/4294967297.1\r\nHost: reco\r\n\r\n", VERSION),  # HG: 4294967295.255
    refused("HTTP/+1.1", b"GET / HTTP/+1.1\r\nHost: reco\r\n\r\n", VERSION),
    refused("HTTP/1,1", b"GET / HTTP/1,1\r\nHost: reco\r\n\r\n", VERSION),
    refused("http/1.1", b"GET / http/1.1\r\nHost: reco\r\n\r\n", VERSION),  # 11P VERSION-CASE
    refused("HTTPS/1.1", b"GET / HTTPS/1.1\r\nHost: reco\r\n\r\n", VERSION),
    refused("IHTTP/1.0", b"GET / IHTTP/1.0\r\nHost: reco\r\n\r\n", VERSION),  # LL
    refused("ICE/1.0", b"SOURCE / ICE/1.0\r\nHost: reco\r\n\r\n", frozenset({400, 501, 505})),  # LL
    refused("RTSP/1.0", b"OPTIONS / RTSP/1.0\r\nHost: reco\r\n\r\n", frozenset({400, 501, 505})),  # LL
    refused("GET of RTSP/1.1", b"GET / RTSP/1.1\r\nHost: reco\r\n\r\n", frozenset({400, 501, 505})),
    refused("POST of RTSP/1.0 with spaces", b"POST   /   RTSP/1.0\r\nHost: reco\r\n\r\n", frozenset({400, 501, 505})),
    refused("a space in the version", b"GET / HTTP/ 1.1\r\nHost: reco\r\n\r\n", VERSION),
    refused("a space behind the version", b"GET / HTTP/1.1 \r\nHost: reco\r\n\r\n", VERSION),
    refused("CRs in the version", b"GET / HTTP/\r\r1.1\r\nHost: reco\r\n\r\n", VERSION),  # HG: CherryPy
    refused("no target", b"GET HTTP/1.1\r\nHost: reco\r\n\r\n"),  # 11P MISSING-TARGET
    refused("no method", b" / HTTP/1.1\r\nHost: reco\r\n\r\n", UNKNOWN),
    refused("two targets", b"GET /a /b HTTP/1.1\r\nHost: reco\r\n\r\n"),
    refused("a space before the method", b" GET / HTTP/1.1\r\nHost: reco\r\n\r\n", UNKNOWN),
    refused("a tab behind the method", b"GET\t/ HTTP/1.1\r\nHost: reco\r\n\r\n", UNKNOWN),
    refused("a tab behind the target", b"GET /\tHTTP/1.1\r\nHost: reco\r\n\r\n", VERSION),
    refused("an LF behind the target", b"GET /\nHTTP/1.1\r\nHost: reco\r\n\r\n", VERSION),  # HG: aiohttp
    refused("a CR behind the method", b"GET\r/ HTTP/1.1\r\nHost: reco\r\n\r\n", UNKNOWN),
    *(
        refused(f"0x{byte:02x} in the target", b"GET /a" + bytes([byte]) + b"b HTTP/1.1\r\nHost: reco\r\n\r\n", VERSION)
        for byte in (0x00, 0x01, 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x1F, 0x7F, 0x80, 0xC0, 0xFF)
    ),
    refused(
        "a target of more bytes than a head may have",
        b"GET /" + b"x" * HEAD_LIMIT + b" HTTP/1.1\r\nHost: reco\r\n\r\n",
        LONG,
    ),
    refused("a target without end", b"GET /" + b"x" * (2 * HEAD_LIMIT), LONG | BAD),
    refused("a method without end", b"A" * 4096, UNKNOWN | LONG),  # 11P LONG-METHOD
    refused("a fragment", b"GET /a#b HTTP/1.1\r\nHost: reco\r\n\r\n"),  # RFC 9112 §3.2
    refused("a target without a slash", b"GET a HTTP/1.1\r\nHost: reco\r\n\r\n"),
    refused("a query for a target", b"GET ?a HTTP/1.1\r\nHost: reco\r\n\r\n"),
    refused("an exclamation mark for a target", b"GET ! HTTP/1.1\r\nHost: reco\r\n\r\n"),  # HG: aiohttp
    # RFC 9112 §3.2.2 is for proxies that clients choose; this one is none, and two hosts are one too many.
    refused("the absolute form", b"GET http://reco/ HTTP/1.1\r\nHost: reco\r\n\r\n"),
    refused("the absolute form of another host", b"GET http://evil/ HTTP/1.1\r\nHost: reco\r\n\r\n"),
    refused("the absolute form with a user", b"GET http://a@reco/ HTTP/1.1\r\nHost: reco\r\n\r\n"),
    refused("the absolute form of another scheme", b"GET gopher://reco/ HTTP/1.1\r\nHost: reco\r\n\r\n"),
    refused("the authority form", b"GET reco:80 HTTP/1.1\r\nHost: reco:80\r\n\r\n"),
    refused("an asterisk for a GET", b"GET * HTTP/1.1\r\nHost: reco\r\n\r\n"),  # 11P ASTERISK-WITH-GET
    refused("an asterisk for OPTIONS", b"OPTIONS * HTTP/1.1\r\nHost: reco\r\n\r\n", UNKNOWN),
    refused("CONNECT", b"CONNECT reco:80 HTTP/1.1\r\nHost: reco:80\r\n\r\n", UNKNOWN),
    refused("CONNECT of a path", b"CONNECT / HTTP/1.1\r\nHost: reco\r\n\r\n", UNKNOWN),
    refused(
        "CONNECT with a length",
        b"CONNECT reco:80 HTTP/1.1\r\nHost: reco:80\r\nContent-Length: 40\r\n\r\n" + TAIL,
        UNKNOWN,
    ),
    refused(
        "TRACE", b"TRACE / HTTP/1.1\r\nHost: reco\r\n\r\n", frozenset({400, 405, 501})
    ),  # it would show what we add
    refused("a method that nobody knows", b"FETCH / HTTP/1.1\r\nHost: reco\r\n\r\n", UNKNOWN),
    refused("a method of WebDAV", b"PROPFIND / HTTP/1.1\r\nHost: reco\r\n\r\n", UNKNOWN),
    refused("a method in small letters", b"get / HTTP/1.1\r\nHost: reco\r\n\r\n", UNKNOWN),  # 11P METHOD-CASE
    refused("a method with letters behind", b"GETX / HTTP/1.1\r\nHost: reco\r\n\r\n", UNKNOWN),
    refused("a method with odd signs", b'G=":<>(e),[T];?" / HTTP/1.1\r\nHost: reco\r\n\r\n', UNKNOWN),  # HG: aiohttp
    refused(
        "the preface of HTTP/2",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00",
        frozenset({400, 501, 505}),
    ),  # RFC 9113 §3.4
    refused("a greeting of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 32, UNKNOWN),
    refused("an answer for a request", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", frozenset({400, 501, 505})),
    refused("plain words", b"hello\r\n\r\n", UNKNOWN),
    served("HTTP/1.0", b"GET /x HTTP/1.0\r\nHost: reco\r\n\r\n", Seen(b"GET", b"/x"), closes=True),
    # RFC 9112 §9.3 leaves persistence in HTTP/1.0 to the server; what stands behind is not read.
    served(
        "HTTP/1.0 with a request behind",
        b"GET /x HTTP/1.0\r\nHost: reco\r\n\r\n" + TAIL,
        Seen(b"GET", b"/x"),
        closes=True,
    ),
    # RFC 9112 §3: "MAY instead parse on whitespace-delimited word boundaries"; what leaves has one space.
    served("two spaces behind the method", b"GET  /x HTTP/1.1\r\nHost: reco\r\n\r\n", Seen(b"GET", b"/x")),
    served("two spaces behind the target", b"GET /x  HTTP/1.1\r\nHost: reco\r\n\r\n", Seen(b"GET", b"/x")),
    served(
        "RTSP in a value and in a body",
        GET + b"X: GET / RTSP/1.0\r\nContent-Length: 14\r\n\r\nGET / RTSP/1.0",
        got(b"GET / RTSP/1.0"),
    ),
    served(
        "percent signs for what a target may not have",
        b"GET /a%00%0d%0aX:%20b HTTP/1.1\r\nHost: reco\r\n\r\n",
        Seen(b"GET", b"/a%00%0d%0aX:%20b"),
    ),  # 11P URL-PERCENT-CRLF: it is passed on as it is
    served(
        "an overlong encoding", b"GET /%c0%ae%c0%ae/x HTTP/1.1\r\nHost: reco\r\n\r\n", Seen(b"GET", b"/%c0%ae%c0%ae/x")
    ),
    served(
        "a version in the target",
        b"GET /x%20HTTP/1.1%0d%0aHost:%20evil HTTP/1.1\r\nHost: reco\r\n\r\n",
        Seen(b"GET", b"/x%20HTTP/1.1%0d%0aHost:%20evil"),
    ),
    served("dots in the target", b"GET /a/../x HTTP/1.1\r\nHost: reco\r\n\r\n", Seen(b"GET", b"/a/../x")),
    served("slashes in the target", b"GET //evil/x HTTP/1.1\r\nHost: reco\r\n\r\n", Seen(b"GET", b"//evil/x")),
    served(
        "a target of 8,000 bytes",
        b"GET /" + b"x" * 8000 + b" HTTP/1.1\r\nHost: reco\r\n\r\n",
        Seen(b"GET", b"/" + b"x" * 8000),
    ),  # RFC 9112 §3: at least 8,000 are recommended
    *(
        served(method, f"{method} /x HTTP/1.1\r\nHost: reco\r\n\r\n".encode(), Seen(method.encode(), b"/x"))
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    ),
)

EXTENSIONS = (
    refused(
        "an upgrade to websocket",
        GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        UNKNOWN,
    ),
    refused(
        "an upgrade to HTTP/2",
        GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAA\r\n\r\n" + TAIL,
        UNKNOWN,
    ),  # h2c smuggling (Bishop Fox, 2020)
    refused(
        "an upgrade with a body",
        POST + b"Connection: Upgrade\r\nUpgrade: ws\r\nContent-Length: 40\r\n\r\n" + TAIL,
        UNKNOWN,
    ),
    refused("an upgrade that Connection does not list", GET + b"Upgrade: h2c\r\n\r\n", UNKNOWN),
    refused(
        "an upgrade in HTTP/1.0",
        b"GET / HTTP/1.0\r\nHost: reco\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        UNKNOWN,
    ),
    # Kettle, "HTTP/1.1 must die" (2025): a server that misreads Expect answers early and reads the body as a request.
    refused(
        "an expectation that nobody knows",
        POST + b"Expect: 200-ok\r\nContent-Length: 40\r\n\r\n" + TAIL,
        frozenset({417}),
    ),
    refused(
        "a continue with a word before it",
        POST + b"Expect: y 100-continue\r\nContent-Length: 40\r\n\r\n" + TAIL,
        frozenset({400, 417}),
    ),
    refused(
        "a continue with a member behind it",
        POST + b"Expect: 100-continue, x\r\nContent-Length: 40\r\n\r\n" + TAIL,
        frozenset({400, 417}),
    ),
    refused("an empty expectation", POST + b"Expect:\r\nContent-Length: 40\r\n\r\n" + TAIL, frozenset({400, 417})),
    refused(
        "a continue twice",
        POST + b"Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
        frozenset({400, 417}),
    ),
    refused(
        "a folded expectation", POST + b"Expect:\r\n 100-continue\r\nContent-Length: 40\r\n\r\n" + TAIL
    ),  # PS CL-expect-obfs
    served("a continue", POST + b"Expect: 100-continue\r\nContent-Length: 40\r\n\r\n" + TAIL, posted(TAIL)),
    served("a continue in odd case", POST + b"Expect: 100-Continue\r\nContent-Length: 3\r\n\r\nabc", posted()),
    served(
        "a continue in chunks", POST + b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n" + THREE, posted()
    ),
    served("a continue without a body", GET + b"Expect: 100-continue\r\n\r\n", got()),
    served(
        "a continue with a length of zero", POST + b"Expect: 100-continue\r\nContent-Length: 0\r\n\r\n", posted(b"")
    ),
    served(
        "hop-by-hop headers",
        GET + b"Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nTrailer: X\r\n"
        b"Proxy-Authorization: Basic x\r\n\r\n",
        got(never=(b"keep-alive", b"proxy-connection", b"te", b"trailer", b"proxy-authorization")),
    ),
    served(
        "headers that Connection lists",
        GET + b"Connection: keep-alive, X-Private\r\nX-Private: a\r\nX: b\r\n\r\n",
        got(b"", (b"x", b"b"), never=(b"connection", b"x-private")),
    ),
    served(
        "headers that two Connections list",
        GET + b"Connection: X-One\r\nX-One: a\r\nX-Two: b\r\nConnection: x-two \t\r\n\r\n",
        got(never=(b"connection", b"x-one", b"x-two")),
    ),
    # Abuse of hop-by-hop headers (Davison, 2019): what the router itself says cannot be made to disappear.
    served(
        "what the router adds, in Connection",
        GET + b"Connection: x-forwarded-for, x-request-id, x-forwarded-proto\r\n\r\n",
        got(b"", (b"x-forwarded-for", b"127.0.0.1"), (b"x-forwarded-proto", b"http")),
    ),
    served(
        "Connection listed in Connection",
        GET + b"Connection: connection, close\r\n\r\n",
        got(never=(b"connection",)),
        closes=True,
    ),
    served("an odd Connection", GET + b"Connection: ,,keep-alive;;,\r\n\r\n", got(never=(b"connection",))),
    served(
        "a close with a request behind",
        GET + b"Connection: close\r\n\r\n" + TAIL,
        got(never=(b"connection",)),
        closes=True,
    ),
    served("a close and a keep-alive", GET + b"Connection: keep-alive, close\r\n\r\n" + TAIL, got(), closes=True),
    served("a close in odd case", GET + b"Connection: ClOsE\r\n\r\n" + TAIL, got(), closes=True),
    served(
        "a close behind a keep-alive in its own line",
        GET + b"Connection: keep-alive\r\nConnection: close\r\n\r\n" + TAIL,
        got(),
        closes=True,
    ),
    served(
        "markers of the router",
        GET + b"X-Understudy-Arm: shadow\r\nX-Understudy-Hops: 1\r\n\r\n",
        got(never=(b"x-understudy-arm", b"x-understudy-hops")),
    ),
    served("a request id with a space", GET + b"X-Request-Id: a b\r\n\r\n", got()),
)

PIPELINES = (
    served("two requests", GET + b"\r\n" + POST + b"Content-Length: 3\r\n\r\nabc", got(), posted()),
    served(
        "a length, chunks and nothing",
        POST + b"Content-Length: 3\r\n\r\nabc" + CHUNKED + THREE + GET + b"\r\n",
        posted(),
        posted(),
        got(),
    ),
    served(
        "a HEAD between two others",
        GET + b"\r\nHEAD /x HTTP/1.1\r\nHost: reco\r\n\r\n" + POST + b"\r\n",
        got(),
        Seen(b"HEAD", b"/x"),
        posted(b""),
    ),
    served(
        "a body whose length is one short", POST + b"Content-Length: 2\r\n\r\nabc" + TAIL, posted(b"ab"), then=UNKNOWN
    ),
    served("a body that has no length", POST + b"\r\nabc=1\r\n\r\n" + TAIL, posted(b""), then=UNKNOWN),
    served("words behind a length of zero", POST + b"Content-Length: 0\r\n\r\nwords" + TAIL, posted(b""), then=UNKNOWN),
    # ^ 11P CL0-BODY-POISON
    served("a byte behind the last chunk", CHUNKED + THREE + b"X" + TAIL, posted(), then=UNKNOWN),  # CL.TE's proof
    served("a NUL behind the last chunk", CHUNKED + THREE + b"\x00" + TAIL, posted(), then=UNKNOWN),  # HG
    served("a chunk behind the last chunk", CHUNKED + THREE + THREE + TAIL, posted(), then=UNKNOWN),
    served("a request and a bad one", GET + b"\r\n" + GET + b"X : a\r\n\r\n" + TAIL, got(), then=BAD),
    served(
        "a request and both lengths",
        GET + b"\r\n" + POST + b"Content-Length: 45\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + TAIL,
        got(),
        then=UNKNOWN,
    ),  # 11P CLTE-PIPELINE
    served(
        "a request and the preface of HTTP/2",
        GET + b"\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        got(),
        then=frozenset({400, 501, 505}),
    ),
    served(
        "a request and an upgrade",
        GET + b"\r\n" + GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + TAIL,
        got(),
        then=UNKNOWN,
    ),
)

CASES = BOTH_LENGTHS + LENGTHS + CODINGS + CHUNKS + HEADS + HOSTS + REQUEST_LINES + EXTENSIONS + PIPELINES
