"""The app's pages without a kernel, over HTTP from a real server on loopback: who may open what, and what they say."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from furnish import furnish

from mailops import Ops
from mailops.app import bar, hands, language, pages
from mailops.app.handlers import document
from mailops.app.serve import addresses, settings
from mailops.errors import ConfigError, InputRefused, StateConflict
from mailops.jobs.catalogue import available
from mailops.page.blocks import Link, Paragraph, Raw, Table, Title, html, text
from mailops.page.glossary import WORDS
from mailops.testing import SmtpServer, refuse

Get = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ops, Callable[..., Get], int]]:
    """A workspace with three failed mails and one sent, the app on it, and one of a failed mail's numbers."""
    from mailops.workspace import init

    folder = tmp_path_factory.mktemp("app") / "workspace"
    init(folder).engine.dispose()
    ops = Ops.open(folder)
    with SmtpServer(script=[refuse(f"u{n}@strict.example") for n in range(3)]) as smtp:
        furnish(ops, smtp)
        for n in range(3):
            failed = ops.send(
                sender="ann@acme.example", to=[f"u{n}@strict.example"], subject=f"<b>Mail {n}</b>", text="x"
            )
        ops.send(sender="ann@acme.example", to=["bob@fine.example"], subject="Fine", text="x")
        ops.queue.run()
    running = []

    def start(*options: str) -> Get:
        env = {**os.environ, "MAILOPS_WORKSPACE": str(folder), "MAILOPS_APP_LOOK": "look-token", "MAILOPS_APP_ACT": "act-token",
               "JUPYTER_RUNTIME_DIR": str(folder.parent / "run"), "JUPYTER_CONFIG_DIR": str(folder.parent / "conf")}  # fmt: skip
        child = subprocess.Popen([sys.executable, "-m", "mailops", "app", "--port", "0", *options], env=env, text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
        running.append(child)
        assert child.stdout is not None
        said = child.stdout.readline()
        found = re.search(r"(http://127\.0\.0\.1:\d+)/mailops/home\?look=", said)
        assert found, said
        start.address = found[1]  # type: ignore[attr-defined]

        def get(path: str, token: str = "look=look-token", **more: Any) -> tuple[int, str]:
            mark = "&" if "?" in path else "?"
            address = f"{found[1]}/{path}{mark}{token}" if token else f"{found[1]}/{path}"
            try:
                with urllib.request.urlopen(urllib.request.Request(address, **more), timeout=60) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

        return get

    yield ops, start, failed
    for child in running:
        os.killpg(child.pid, signal.SIGTERM)
        child.communicate(timeout=20)
    ops.close()


@pytest.fixture(scope="module")
def get(served: Any) -> Get:
    get: Get = served[1]()
    return get


PAGES = ("home", "queue", "queue?show=all", "status", "verdicts", "files", "search?q=strict.example", "search?q=", "trace",
         "docs/index", "docs/how-to/relay", "page/queue", "page/connect_google")  # fmt: skip


class Read(HTMLParser):
    """What a check of accessibility wants to know of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._skipped = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._skipped += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._skipped -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self._skipped:
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.mark.parametrize("path", PAGES)
def test_every_page_has_landmarks_a_title_labels_and_a_way_home(get: Get, path: str) -> None:
    status, body = get(f"mailops/{path}")
    page = Read(body)
    assert status == 200
    assert page.all("html")[0]["lang"] == "en"
    assert re.search(r"<title>[^<]{3,} – mailops</title>", body)
    assert [len(page.all(tag)) for tag in ("main", "header", "footer", "h1")] == [1, 1, 1, 1]
    assert page.all("a")[0]["class"] == "skip"
    assert str(page.all("a")[0]["href"]).endswith("#main")
    assert "home" in [one.get("href") for one in page.all("a")]
    ids = [one["id"] for _, one in page.tags if one.get("id")]
    assert len(ids) == len(set(ids))
    labels = {one.get("for") for one in page.all("label")}
    for control in page.all("input") + page.all("select"):
        assert control.get("id") in labels or control.get("id") == "theme", control
    assert len(page.all("caption")) == len(page.all("table")) or path.startswith("docs")
    assert all(one.get("scope") == "col" for one in page.all("th")) or path.startswith("docs")
    assert "mailops-" not in body.partition("<script>")[0] or "token" not in body.partition("<script>")[0]
    assert "cell" not in " ".join(page.words).lower().split()


def test_home_says_what_needs_somebody_and_leads_on(get: Get, served: Any) -> None:
    _, body = get("mailops/home")
    words = " ".join(Read(body).words)
    assert "Mail at a glance" in words
    assert "Delivery Failed" in words
    assert "strict.example" in words
    assert "Open Queue" in words
    assert "queue.waiting" not in words  # words, never the code of a check
    assert 'href="queue?show=needs"' in body


def test_a_person_walks_from_home_to_a_cause_and_back(get: Get, served: Any) -> None:
    _, _, failed = served
    body = get("mailops/queue")[1]
    assert f'href="mail/{failed}"' in body
    assert "<b>Mail" not in body
    mail = get(f"mailops/mail/{failed}")[1]
    assert "What the server said" in mail
    found = re.search(r'href="(queue\?reason=[^"]+strict\.example)"', mail)
    assert found
    others = get("mailops/" + found[1].replace("&amp;", "&"))[1]
    assert "1–3 of 3" in others
    assert f'href="page/queue?mail={failed}"' in mail
    assert get("mailops/mail/999999")[0] == 404


def test_search_finds_an_address_a_domain_a_number_and_words(get: Get, served: Any) -> None:
    _, _, failed = served
    assert "Mails to u1@strict.example (1)" in get("mailops/search?q=u1@strict.example")[1]
    assert "Mails from acme.example (4)" in get("mailops/search?q=acme.example")[1]
    assert "page/domain_dns?domain=acme.example" in get("mailops/search?q=acme.example")[1]
    assert f"Mail {failed}" in get(f"mailops/search?q={failed}")[1]
    assert "has it (1)" in get("mailops/search?q=Fine")[1]
    assert "<script>alert" not in get("mailops/search?q=%3Cscript%3Ealert(1)%3C/script%3E")[1]


def test_a_page_is_there_at_once(get: Get) -> None:
    """At most 0.2 s on a machine that rests; the bound here leaves room for one that works."""
    for path in ("home", "queue", "verdicts", "search?q=strict.example"):
        get(f"mailops/{path}")
        best = min(_seconds(lambda path=path: get(f"mailops/{path}")) for _ in range(5))  # type: ignore[misc]
        assert best < 0.6, (path, best)


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def test_who_only_looks_reaches_nothing_that_acts(get: Get) -> None:
    assert get("mailops/home", token="")[0] == 403
    assert get("mailops/home", token="look=wrong")[0] == 403
    assert get("mailops/home", token="token=wrong")[0] == 403
    assert get("api/kernels")[0] == 403
    assert get("api/contents")[0] == 403
    assert "jupyter-config-data" not in get("voila/render/queue.ipynb")[1]
    assert "you may look" in get("mailops/page/queue")[1]
    assert "<iframe" not in get("mailops/page/queue")[1]
    assert get("api/kernels", token="token=act-token") == (200, "[]")


def test_a_notebook_is_a_page_of_the_app_with_header_bar_and_ways_on(get: Get) -> None:
    """The whole page as voila draws it in our template, once the browser has told its theme; before, no kernel runs."""
    status, asked = get("mailops/page/jobs", token="token=act-token")
    assert (status, "data-hop=1" in asked) == (200, True)
    assert get("api/kernels", token="token=act-token")[1] == "[]"
    status, body = get("mailops/page/jobs?q=x", token="token=act-token", headers={"Cookie": "mailops-theme=dark"})
    assert status == 200
    page = Read(body)
    assert re.search(r"<title>Jobs – mailops</title>", body)
    assert page.all("html")[0]["lang"] == "en"
    assert [len(page.all(tag)) for tag in ("main", "header", "footer")] == [1, 1, 1]
    assert page.all("main")[0]["id"] == "page"
    assert str(page.all("a")[0]["href"]).endswith("#page")
    led = [str(one.get("href")) for one in page.all("a")]
    for way in ("/mailops/home", "/mailops/queue", "/mailops/docs/index", "/mailops/page/inbound"):
        assert way in led
    assert 'data-theme="dark"' in body
    fetched = [str(one.get("src", "")) for one in page.all("script")] + [str(one["href"]) for one in page.all("link")]
    assert not [one for one in fetched if one.startswith(("http", "//"))]
    assert "act-token" not in body.partition("jupyter-config-data")[0]


def test_read_only_gives_nobody_the_second_token(served: Any) -> None:
    get = served[1]("--read-only")
    assert get("mailops/home")[0] == 200
    for token in ("look=look-token", "token=act-token", "token="):
        assert get("api/kernels", token)[0] == 403
        assert get("voila/render/queue.ipynb", token)[0] in (403, 404)
    assert addresses("127.0.0.1", 1, "a", None).act is None
    assert "VoilaConfiguration" not in settings("127.0.0.1", 1, act="x", read_only=True)
    kept = settings("127.0.0.1", 1, act="x", read_only=False)["MappingKernelManager"]
    assert kept["cull_idle_timeout"] > 0  # the kernel of a page that was left is not kept for ever
    assert kept["cull_connected"] is False  # that of an open page is


def test_the_app_listens_on_this_machine_only() -> None:
    from mailops.app.serve import serve

    with pytest.raises(ConfigError) as caught:
        serve("0.0.0.0", 0)
    assert caught.value.code == "app.host"


# --- the bar ----------------------------------------------------------------------------------------------------------


def info(name: str) -> Any:
    return next(one for one in available() if one.name == name)


def test_an_address_sets_what_is_looked_at_by_the_types_of_the_notebook() -> None:
    values, trouble = bar.read(info("domain_dns"), {"domain": "acme.example", "everything": "yes", "volume": "12"})
    assert (values, trouble) == ({"domain": "acme.example", "everything": True, "volume": 12}, "")
    lines = bar.source(info("domain_dns"), values).splitlines()
    assert sorted(lines) == ["domain = 'acme.example'", "everything = True", "volume = 12"]
    values, trouble = bar.read(info("domain_dns"), {"volume": "many", "domain": "acme.example"})
    assert values == {"domain": "acme.example"}
    assert "volume" in trouble
    assert bar.read(info("queue"), {"mail": "7"})[0] == {"mail": 7}


@pytest.mark.parametrize("name", [one.name for one in available()])
def test_no_address_sets_what_acts_or_names_a_place(name: str) -> None:
    one = info(name)
    given = {parameter.name: "/etc/passwd" for parameter in one.parameters if parameter.type == "str"}
    reached = bar.read(one, given)[0]
    for never in ("workspace", "backup_to", "export", "files", "logs", "registered", "behaves", "decision"):
        assert never not in reached
    assert "accept_losses" not in bar.read(one, {"accept_losses": "yes", "test_mail": "yes", "loop": "yes"})[0]


def test_a_value_is_text_to_the_notebook_and_is_never_run() -> None:
    nasty = "x'); import os; os.system('id') #\n\n1/0"
    lines = bar.source(info("domain_dns"), bar.read(info("domain_dns"), {"domain": nasty})[0])
    names: dict[str, Any] = {}
    exec(lines, names)
    assert names.get("domain", nasty) == nasty


# --- blocks -----------------------------------------------------------------------------------------------------------


def test_a_block_escapes_everything_and_takes_no_text_for_html() -> None:
    evil = "<img src=x onerror=alert(1)>"
    for block in (
        Title(evil, evil),
        Paragraph((evil, Link(evil, evil))),
        Table(evil, (evil,), [[evil, Link(evil, "javascript:alert(1)")]]),
    ):
        assert "<img" not in html(block)
        assert "javascript:" not in html(block)
        assert evil in text(block)
    with pytest.raises(TypeError):
        Raw("<b>plain text</b>")  # type: ignore[arg-type]


# --- the documentation ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(pages.documents()))
def test_no_link_of_the_documentation_is_dead_in_the_app(name: str) -> None:
    known = pages.documents()
    body = document(known[name], name, known)
    for target in re.findall(r'href="([^"]*)"', body):
        inside = target.partition("#")[0]
        assert target.startswith(("http://", "https://", "mailto:")) or inside.removeprefix("docs/") in known, target
    assert "<h1" in body


def test_a_page_names_a_report_only_where_there_is_one(get: Get, tmp_path: Path) -> None:
    assert get("mailops/report/nobody")[0] == 404
    assert get("mailops/report/..%2f..%2fetc")[0] == 404


# --- handed in and taken away -----------------------------------------------------------------------------------------


def handed(
    get: Get, kind: str, name: str, data: bytes, *, piece: int, token: str = "token=act-token"
) -> dict[str, Any]:
    """Hand a file in by pieces, as the page's script does; the last answer, with its status as ``status``."""
    at, answer = 0, {}
    while at < len(data):
        where = f"mailops/hand/{kind}?name={name}&size={len(data)}&at={at}"
        status, body = get(where, token, method="POST", data=data[at : at + piece])
        answer = {**json.loads(body), "status": status}
        if "at" not in answer:
            return answer
        at = answer["at"]
    return answer


REPORT = b"""<?xml version="1.0"?><feedback><report_metadata><org_name>receiver.example</org_name><email>d@receiver.example</email>
<report_id>%d</report_id><date_range><begin>1764288000</begin><end>1764374400</end></date_range></report_metadata>
<policy_published><domain>acme.example</domain><p>none</p></policy_published><record><row><source_ip>192.0.2.1</source_ip>
<count>7</count><policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>pass</spf></policy_evaluated></row>
<identifiers><header_from>acme.example</header_from></identifiers><auth_results><spf><domain>acme.example</domain>
<result>pass</result></spf></auth_results></record></feedback>"""


def test_a_report_is_handed_in_by_pieces_and_counts_at_once(get: Get, served: Any) -> None:
    ops: Ops = served[0]
    answer = handed(get, "dmarc", "..%2F..%2Freport.xml", REPORT % 1, piece=100)
    assert answer["status"] == 200
    assert answer["said"].startswith("1 report, 7 messages")
    assert (ops.workspace.path / "dmarc" / "report.xml").read_bytes() == REPORT % 1
    assert ops.dmarc.read().messages == 7
    again = handed(get, "dmarc", "report.xml", REPORT % 2, piece=1000)
    assert again["name"] == "2-report.xml"  # what lies there keeps its name
    assert not list((ops.workspace.path / "uploads").iterdir())


def test_a_file_of_more_than_ten_mebibytes_comes_whole(get: Get, served: Any) -> None:
    rows = b"email,name\n" + b"".join(b"p%07d@fine.example,%s\n" % (n, b"x" * 90) for n in range(120_000))
    assert len(rows) > 12 * 1024 * 1024
    answer = handed(get, "recipients", "big.csv", rows, piece=hands.PIECE)
    assert answer["said"].startswith("120,000 rows, 120,000 with an address.")
    assert (served[0].workspace.path / "lists" / "big.csv").stat().st_size == len(rows)


def test_a_mail_that_came_back_is_taken_in(get: Get) -> None:
    report = b"From: MAILER-DAEMON@strict.example\r\nTo: ann@acme.example\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\n" \
        b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nNo.\r\n" \
        b"--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; strict.example\r\n\r\nFinal-Recipient: rfc822; u9@strict.example\r\n" \
        b"Action: failed\r\nStatus: 5.1.1\r\n\r\n--b--\r\n"  # fmt: skip
    assert "1 " in handed(get, "bounces", "back.eml", report, piece=64)["said"]
    assert "taken before" in handed(get, "bounces", "back.eml", report, piece=4000)["said"]


@pytest.mark.parametrize(
    ("kind", "name", "data", "code"),
    [("dmarc", "x.xml", b"<no", "upload.no_report"), ("recipients", "x.csv", b"email\n,\n", "upload.no_list"),
     ("nothing", "x", b"1", "upload.kind"), ("dmarc", "...", b"1", "upload.name")],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_with_what_to_do(
    get: Get, served: Any, kind: str, name: str, data: bytes, code: str
) -> None:
    answer = handed(get, kind, name, data, piece=100)
    assert (answer["status"], answer["code"]) == (400, code)
    assert answer["message"]
    assert not (served[0].workspace.path / "dmarc" / "x.xml").exists()


def test_a_piece_out_of_turn_is_told_where_to_go_on(tmp_path: Path) -> None:
    assert hands.take(tmp_path, "dmarc", "a.xml", size=10, at=0, piece=b"12345") == hands.Handed(5)
    for at in (3, 7):
        with pytest.raises(StateConflict) as caught:
            hands.take(tmp_path, "dmarc", "a.xml", size=10, at=at, piece=b"678")
        assert caught.value.facts["at"] == 5
    whole = hands.take(tmp_path, "dmarc", "a.xml", size=10, at=5, piece=b"67890")
    assert whole.path == tmp_path / "dmarc" / "a.xml"
    for size, piece in ((0, b""), (4, b"12345"), (hands.MOST + 1, b"1"), (hands.PIECE + 9, b"x" * (hands.PIECE + 1))):
        with pytest.raises(InputRefused):
            hands.take(tmp_path, "dmarc", "b.xml", size=size, at=0, piece=piece)


def test_who_only_looks_hands_nothing_in(get: Get, served: Any) -> None:
    assert get("mailops/hand/dmarc?name=l.xml&size=3&at=0", method="POST", data=b"abc")[0] in (401, 403)
    assert not (served[0].workspace.path / "dmarc" / "l.xml").exists()
    assert 'id="hand-files"' not in get("mailops/files")[1]
    assert 'id="hand-files"' in get("mailops/files", token="token=act-token")[1]
    assert get("mailops/away/records.txt?domain=acme.example")[0] == 403


def test_lists_are_taken_away_as_files(get: Get, served: Any, tmp_path: Path) -> None:
    import pandas as pd

    lines = get("mailops/away/queue.csv?to=strict.example")[1].splitlines()
    assert len(lines) == 4
    assert "recipient" in lines[0]
    assert all("@strict.example" in line for line in lines[1:])
    with urllib.request.urlopen(
        served[1].address + "/mailops/away/queue.parquet?show=all&look=look-token", timeout=60
    ) as answer:
        (tmp_path / "q.parquet").write_bytes(answer.read())
        assert answer.headers["Content-Disposition"] == 'attachment; filename="queue.parquet"'
    assert len(pd.read_parquet(tmp_path / "q.parquet")) == 4
    assert get("mailops/away/ends.ics")[1].startswith("BEGIN:VCALENDAR")
    assert "address" in get("mailops/away/suppressions.csv")[1].splitlines()[0]
    assert get("mailops/away/suppressions.parquet")[0] == 404
    assert get("mailops/away/queue.csv", token="")[0] == 403
    assert "away/queue.csv?show=all" in get("mailops/queue?show=all")[1]


# --- charts -----------------------------------------------------------------------------------------------------------


def test_bars_and_points_lead_to_their_mails_in_the_app_only(
    served: Any, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mailops.widgets import RatesView

    plain = RatesView(served[0], since="30d", by="domain").chart().html()
    assert "<a " not in plain
    assert 'role="img"' in plain
    monkeypatch.setenv("SERVER_SOFTWARE", "voila/0.5")
    monkeypatch.setenv("VOILA_BASE_URL", "/base/")
    view = RatesView(served[0], since="30d", by="domain")
    drawn = view.chart().html()
    assert 'role="group"' in drawn  # within an image nothing can be pressed
    bars = re.findall(r'<a xlink:href="([^"]+)" aria-label="strict.example: 100 ([^"]+)"', drawn)
    assert bars == [("/base/mailops/queue?to=strict.example&amp;show=all", "returned, % (line: 95 % interval)")]
    assert '<a href="/base/mailops/queue?to=strict.example&amp;show=all">strict.example</a>' in drawn  # the table too
    (day,) = re.findall(r'<a xlink:href="/base/(mailops/queue\?day=[\d-]+&amp;show=all)"', view.trend("day").html())
    assert "1–4 of 4" in get(day.replace("&amp;", "&"))[1]
    assert "mailops/queue?day=" in view.days().html()
    assert "No mail fits." in get("mailops/queue?day=2020-01-01")[1]
    assert "No mail fits." in get("mailops/queue?server=nobody")[1]


# --- help in place ----------------------------------------------------------------------------------------------------


def test_a_word_that_a_newcomer_cannot_know_has_one_sentence_behind_a_mark(get: Get) -> None:
    body = get("mailops/home")[1]
    for word in ("Outgoing", "Delivery Failed", "Due now"):
        assert f'aria-label="What is {word}?"' in body
        assert WORDS[word] in body
    assert 'aria-label="What is Bounce?"' in str(html(Table("x", ("Bounces",), [])))  # the plural too
    assert "term" not in str(html(Table("x", ("Subject",), [])))
    for word, said in WORDS.items():
        assert said.endswith(".")
        assert said.count(". ") == 0, word
        assert f"| {word} | {said} |" in pages.documents()["glossary"].read_text("utf-8"), "run `make docs`"


def test_the_tour_has_five_cards_that_lead_to_pages_and_on(get: Get, served: Any) -> None:
    folder = served[0].workspace.path
    assert "Take the tour" not in get("mailops/home")[1]
    (folder / "demo.json").write_text('{"ports": {}}')
    try:
        assert 'href="tour"' in get("mailops/home")[1]
        path, seen = "tour", []
        while path.startswith("tour"):
            status, body = get(f"mailops/{path}")
            assert status == 200
            main = body.partition("<main")[2].partition("</main>")[0]
            seen.append(re.findall(r"<h2>([^<]+)</h2>", main)[0])
            there = re.findall(r'href="([^"]+)"', main)
            assert get(f"mailops/{there[0]}".replace("&amp;", "&"))[0] == 200  # the page that the card speaks of
            path = there[-1].replace("&amp;", "&")
        assert (len(seen), len(set(seen)), path) == (5, 5, "home")
    finally:
        (folder / "demo.json").unlink()


# --- language ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accepted", "wanted"),
    [("de", "de"), ("de-CH,de;q=0.9,en;q=0.8", "de"), ("en,de;q=0.9", "en"), ("fr;q=0.9, de;q=0.4", "de"), ("fr", "en"),
     ("", "en"), ("de;q=0, en", "en"), ("de;q=x", "en"), (",;q=,de" * 900, "de"), ("../../etc", "en")],
)  # fmt: skip
def test_the_reader_s_language_is_taken_where_there_is_a_catalogue(accepted: str, wanted: str) -> None:
    assert language.chosen(accepted) == wanted


def test_the_app_speaks_german_to_who_reads_german(get: Get) -> None:
    body = get("mailops/home", headers={"Accept-Language": "de-DE,de;q=0.9,en;q=0.5"})[1]
    page = Read(body)
    words = " ".join(page.words)
    assert page.all("html")[0]["lang"] == "de"
    for german in ("Mail auf einen Blick", "Warteschlange", "Zustellung fehlgeschlagen", "Zum Inhalt", "Link kopieren"):
        assert german in words
    assert "Mail at a glance" in " ".join(Read(get("mailops/home")[1]).words)
    with language.speaking("de"):
        assert (language.number(3255), language.say("Nobody translated this.")) == ("3.255", "Nobody translated this.")
    assert language.number(3255) == "3,255"


def test_every_text_of_the_catalogue_is_one_that_the_app_says() -> None:
    """A translation of a text that has changed since would be said never again, without a word."""
    source = "".join(path.read_text("utf-8") for path in Path(pages.__file__).parent.glob("*.py"))
    catalogue = language.catalogue("de")
    states = {"passed", "failed", "skipped", "warning", "unknown"}
    texts = [key for key in catalogue._catalog if key]  # type: ignore[attr-defined]
    assert len(texts) > 50
    assert [key for key in texts if f'"{key}"' not in source and key not in states] == []
