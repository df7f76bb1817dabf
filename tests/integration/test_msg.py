"""Outlook's .msg files come in like any other mail; a broken one is told, and stops nobody."""

from __future__ import annotations

import email
import random
from pathlib import Path

import pytest
from desk import Desk
from ole_kit import Tree, compound, fixed, person, text
from test_intake import furnish, mail, put

from mailops.errors import InputRefused
from mailops.inbound.msg import from_msg

HEAD = (
    "Received: from mx.y.example by mx.acme.example; Sun, 29 Nov 2026 10:00:00 +0000\r\n"
    "From: =?utf-8?q?J=C3=B6rg?= <joerg@y.example>\r\nTo: help@acme.example\r\nSubject: The\r\n printer\r\n"
    "Message-ID: <wire@y.example>\r\nReferences: <m1@x.example>\r\nContent-Type: multipart/mixed; boundary=gone\r\n"
)
TICKS = 133_462_080_000_000_000  # 2023-12-05 in units of 100 nanoseconds since 1601


def attachment(number: int, name: str, data: bytes, kind: str = "image/png") -> Tree:
    made = {**text(0x3707, name), **text(0x370E, kind), "__substg1.0_37010102": data, **fixed(8, t3705=1)}
    return {f"__attach_version1.0_#{number:08X}": made}


def made(**more: object) -> Tree:
    tree = {
        **text(0x0037, "Größe"), **text(0x0C1A, "Ann Müller"), **text(0x5D01, "ann@x.example"), **text(0x1000, "Grüße\r\n"),
        **text(0x1035, "<made@x.example>"), **person(0, "Help", "help@acme.example", 1),
        **person(1, "Bob", "bob@y.example", 2), **person(2, "Secret", "secret@y.example", 3), **fixed(32, t0039=TICKS),
    }  # fmt: skip
    return {**tree, **more}


def test_the_header_of_the_wire_is_kept_and_the_body_made_anew() -> None:
    tree = {
        **text(0x007D, HEAD),
        **text(0x1000, "It is broken."),
        "__substg1.0_10130102": b"<p>It is broken.</p>",
        **fixed(32),
    }
    tree |= attachment(0, "größe.png", b"\x89PNG" + bytes(5000))
    found = email.message_from_bytes(from_msg(compound(tree)))
    assert (found["Message-ID"], found["References"]) == ("<wire@y.example>", "<m1@x.example>")
    assert found.get_content_type() == "multipart/mixed"
    leaves = [part for part in found.walk() if not part.is_multipart()]
    assert [part.get_content_type() for part in leaves] == ["text/plain", "text/html", "image/png"]
    assert leaves[2].get_payload(decode=True) == b"\x89PNG" + bytes(5000)
    assert leaves[2].get_filename() == "größe.png"


def test_a_header_is_made_where_there_is_none() -> None:
    raw = from_msg(compound(made()))
    found = email.message_from_bytes(raw)
    assert email.header.make_header(email.header.decode_header(found["Subject"])) == "Größe"
    assert "ann@x.example" in found["From"]
    assert ("help@acme.example" in found["To"], "bob@y.example" in found["Cc"]) == (True, True)
    assert b"secret@y.example" not in raw
    assert found["Date"].startswith("Tue, 05 Dec 2023")
    assert "Grüße" in found.get_payload(decode=True).decode()


def test_mail_in_mail_is_an_attachment() -> None:
    inner = {**made(), **fixed(24)}
    tree = made(
        **{"__attach_version1.0_#00000000": {"__substg1.0_3701000D": inner, **text(0x3707, "the other"), **fixed(8)}}
    )
    found = email.message_from_bytes(from_msg(compound(tree)))
    parts = [part for part in found.walk() if part.get_filename()]
    assert [part.get_filename() for part in parts] == ["the other.eml"]
    assert b"Message-ID: <made@x.example>" in parts[0].get_payload(decode=True)


def test_msg_files_are_ingested_beside_others(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "w")
    furnish(desk.ops()).close()
    folder = tmp_path / "in"
    folder.mkdir()
    put(folder, mail(1))
    (folder / "wire.msg").write_bytes(compound({**text(0x007D, HEAD), **text(0x1000, "Still broken."), **fixed(32)}))
    (folder / "made.msg").write_bytes(compound(made()))
    (folder / "word.doc").write_bytes(compound({"WordDocument": b"x" * 100}))
    (folder / "broken.msg").write_bytes(compound(made())[:1500])
    said = desk.json("inbound", "ingest", str(folder))
    assert (said["seen"], said["delivered"], said["unreadable"]) == (5, 3, 2), said
    ops = desk.ops()
    entries = [one.message_id for one in ops.threads.entries(1)]
    ops.close()
    assert "<wire@y.example>" in entries + [e.message_id for e in ops.threads.entries(2)]
    told = desk.json("explain", "receive", str(folder / "made.msg"))
    assert told["kind"] == "duplicate"
    assert desk.json("inbound", "ingest", str(folder))["stored"] == 0


def test_a_broken_compound_file_brings_an_error_of_ours() -> None:
    whole, luck, codes = compound(made()), random.Random(20_261_129), set[str]()
    for number in range(300):
        data = bytearray(whole if number % 3 else whole[: luck.randrange(80, len(whole))])
        for _ in range(luck.randrange(1, 40)):
            data[luck.randrange(8, len(data))] = luck.randrange(256)
        try:
            codes.add("read" if from_msg(bytes(data)) else "empty")
        except InputRefused as refused:
            codes.add(refused.code)
    assert codes == {"read", "input.msg"}


@pytest.mark.parametrize("tree", [{}, {"__properties_version1.0": b"\0" * 32}])
def test_what_holds_no_mail_is_refused(tree: Tree) -> None:
    with pytest.raises(InputRefused):
        from_msg(compound(tree))
