"""Foreign bytes and header values as text: one decoder for the whole house.

What it returns is :func:`storable`: every database takes it and every encoding writes it. What a mail *is* (who gets
it, who wrote it, its Message-ID) is read from the undecoded value; what is decoded here is for people. An encoded word
is never part of an address (RFC 2047 §5(3)), and a field is parsed before its words are decoded (§6.2), which
:func:`mailops.model.address.read_field` does.
"""

from __future__ import annotations

import binascii
import codecs
import re

MAX_WORDS = 2_000
"""Characters of a header value that are decoded, where a caller names no other bound."""
_WORD = re.compile(r"=\?([!->@-~]{1,75})\?([bq])\?([^?\r\n]{0,8000})\?=", re.I)
_RUNS = re.compile(rb"[\x80-\xff]{4,}")
_CHARSETS = {
    "unicode-1-1-utf-7": "utf-7",
    "utf8": "utf-8",
    "unknown-8bit": "latin-1",
    "x-unknown": "latin-1",
    "default": "utf-8",
    "iso-8859-8-i": "iso-8859-8",
    "cp-850": "cp850",
    "ks_c_5601-1987": "cp949",
    "gb2312": "gb18030",
    "x-gbk": "gb18030",
    "x-sjis": "cp932",
    "shift_jis": "cp932",
    "iso-2022-jp": "iso2022_jp_ext",
}

_NO_CHARSETS = frozenset({"punycode", "idna", "unicode-escape", "raw-unicode-escape", "undefined"})
"""Codecs of Python that no mail uses; the first takes time by the square of the length."""


def storable(text: str) -> str:
    """Text that every database and protocol carries: no NUL, no half surrogates."""
    text = text.replace("\x00", "")
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def head_text(block: bytes) -> str:
    """Header bytes as text: UTF-8 (RFC 6532), else Latin-1; without NUL."""
    try:
        return block.decode("utf-8").replace("\x00", "")
    except UnicodeDecodeError:
        return block.decode("latin-1").replace("\x00", "")


def to_text(data: bytes, charset: str) -> str:
    """Bytes as :func:`storable` text in the named charset; a wrong or unknown one falls back to UTF-8, then Latin-1."""
    return storable(_decoded(data, charset))


def _decoded(data: bytes, charset: str) -> str:
    name = charset.strip().strip("'\"").lower()
    if not name or name in ("us-ascii", "ascii"):
        name = "iso2022_jp_ext" if b"\x1b$" in data else "utf-8"
    name = _CHARSETS.get(name, name)
    try:
        if codecs.lookup(name).name not in _NO_CHARSETS:
            return data.decode(name)
    except (LookupError, UnicodeError, ValueError):
        pass
    if name != "utf-8":
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            pass
    if name.startswith("iso2022"):
        return data.decode("iso2022_jp_ext", "replace")
    return data.decode(_guess(data), "replace")


def _guess(data: bytes) -> str:
    """The charset of a text that lies about its own: runs of high bytes are Cyrillic or Chinese words, else Latin-1."""
    high = b"".join(_RUNS.findall(data[:20_000]))
    letters = sum(byte >= 0xC0 for byte in high)
    if not high:
        return "latin-1"
    if letters >= 0.9 * len(high):
        return "koi8-r" if sum(0xC0 <= byte < 0xE0 for byte in high) > letters / 2 else "cp1251"
    for name in ("gb18030", "big5", "cp932"):
        try:
            data.decode(name)
        except UnicodeDecodeError:
            continue
        return name
    return "latin-1"


def decode_words(value: str, limit: int = MAX_WORDS) -> str:
    """RFC 2047 encoded words as text; at most ``limit`` characters of the value are looked at.

    White space between two words is none (§6.2); bytes of neighbours in one charset are decoded together, as a
    character may be split over both. A word that is broken stays as it was written.
    """
    if "=?" not in value:
        return value
    value = value[:limit]
    out: list[str] = []
    charset, data, at = "", b"", 0

    def flush() -> None:
        nonlocal data
        if data:
            out.append(to_text(data, charset))
        data = b""

    for word in _WORD.finditer(value):
        piece = _word_bytes(word[2].lower(), word[3])
        if piece is None:
            continue
        between = value[at : word.start()]
        named = word[1].partition("*")[0].lower()  # RFC 2231 §5: a language may follow
        if named != charset or (between and (between.strip() or not at)):
            flush()
        if between and (between.strip() or not at):
            out.append(storable(between))
        charset, data, at = named, data + piece, word.end()
    flush()
    out.append(storable(value[at:]))
    return "".join(out)


def _word_bytes(encoding: str, text: str) -> bytes | None:
    try:
        if encoding == "q":
            return binascii.a2b_qp(text.encode("utf-8", "replace"), header=True)
        return binascii.a2b_base64(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None
