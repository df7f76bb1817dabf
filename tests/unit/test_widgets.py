"""The cards: three faces each, nothing foreign unescaped, readable colours, and answers that do not hang or hide."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

import pytest

from mailops.errors import StoreError
from mailops.model.verdict import Verdict, VerdictState
from mailops.page import theme as look
from mailops.widgets import (
    Actions,
    Card,
    CheckCard,
    CopyField,
    Form,
    Headline,
    Panel,
    Progress,
    SecretField,
    Table,
    Tiles,
    bar_chart,
    line_chart,
    safe_html,
)
from mailops.widgets.actions import Action, Preview
from mailops.widgets.check import difference
from mailops.widgets.faces import STATIC
from mailops.widgets.table import Column, Rows, state_cell

EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>"
VIEW = "application/vnd.jupyter.widget-view+json"


def verdict(state: VerdictState = VerdictState.FAILED, **more: Any) -> Verdict:
    return Verdict("spf", "example.com", state, more.pop("title", "Who may send for you (SPF)"), **more)


def rows_of(*names: str) -> Callable[..., Rows]:
    rows = [{"id": n, "name": name} for n, name in enumerate(names, start=1)]
    return lambda offset, limit, sort, descending: Rows(rows[offset : offset + limit], len(rows))


def every_card(text: str) -> list[Card]:
    check = verdict(title=text, found=text, expected=text, fix=text, evidence={"said": text})
    return [
        Headline(text, text, state="failed"),
        Tiles([(text, text, "bad"), (text, text)]),
        CheckCard(check),
        CopyField(text, text),
        Form([("name", text, text)], lambda values: text, title=text),
        SecretField(text, lambda value: text),
        Progress(text, 10),
        Actions([Action(text, lambda: Preview(text))]),
        Table([Column("name", text)], rows_of(text), caption=text),
        Table([Column("name", text)], rows_of(), caption=text, empty=text),
        bar_chart(text, [text], [1.0], unit=text, label=text),
        line_chart(text, ["11-01", "11-02"], {text: [1.0, 2.0]}, unit=text),
        Panel(Headline(text), Tiles([])),
    ]


@pytest.mark.parametrize("card", every_card("plain"), ids=lambda card: type(card).__name__)
def test_each_card_has_a_widget_an_html_and_a_text_face(card: Card) -> None:
    bundle = card._repr_mimebundle_()
    assert bundle[VIEW]["model_id"]
    assert "plain" in bundle["text/html"]
    assert "plain" in bundle["text/plain"]
    assert "<script" not in bundle["text/html"]
    assert "<style" not in re.sub(r"<svg.*?</svg>", "", bundle["text/html"], flags=re.S)


@pytest.mark.parametrize("card", every_card(EVIL), ids=lambda card: type(card).__name__)
def test_foreign_text_never_becomes_markup(card: Card) -> None:
    assert "<script" not in card.html()
    assert "<img" not in card.html()
    for value in html_values(card.widget):
        assert "<script" not in value
        assert "<img" not in value


def html_values(widget: Any) -> list[str]:
    own = [widget.value] if type(widget).__name__ == "HTML" else []
    return own + [value for child in getattr(widget, "children", ()) for value in html_values(child)]


def test_both_html_and_text_are_redacted() -> None:
    bundle = CheckCard(verdict(found="Authorization: Bearer abcdefghijklmnop1234"))._repr_mimebundle_()
    assert "abcdefghijklmnop1234" not in bundle["text/html"] + bundle["text/plain"]


# --- the look ---------------------------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("tone", look.TONES)
def test_labels_are_readable(tone: str) -> None:
    assert contrast("#ffffff", look.TONES[tone]) >= 4.5


def test_the_styles_of_live_tables_use_the_same_tones() -> None:
    style = (STATIC / "table.css").read_text()
    assert dict(re.findall(r"\.mo-(\w+) { background:(#\w{6}); }", style)) == look.TONES


def test_every_state_shows_an_icon_and_a_word() -> None:
    for state in VerdictState:
        html = CheckCard(Verdict("c", "s", state, "Title")).html()
        icon, _ = look.STATE_TONES[state.value]
        assert icon == state.icon
        assert f"{icon} {state.value.capitalize()}" in html


# --- checks -----------------------------------------------------------------------------------------------------------


class Waits:
    """A check that ends when told to."""

    def __init__(self, ends: Verdict | Exception) -> None:
        self.ends, self.calls, self.go = ends, 0, threading.Event()

    def __call__(self) -> Verdict:
        self.calls += 1
        assert self.go.wait(30)
        if isinstance(self.ends, Exception):
            raise self.ends
        return self.ends


def settled(card: CheckCard) -> Verdict:
    assert card._busy.acquire(timeout=30), "the check did not end"
    card._busy.release()
    return card.verdict


def test_check_now_answers_checking_at_once_and_stores_what_came() -> None:
    kept: list[Verdict] = []
    run = Waits(verdict(VerdictState.PASSED, found="v=spf1 -all"))
    card = CheckCard(verdict(VerdictState.READY), run, on_verdict=kept.append)
    assert "Check now" in [child.description for child in card.widget.children[1].children]
    card.check_now()
    assert card.verdict.state is VerdictState.CHECKING
    assert "Checking" in html_values(card.widget)[0]
    card.check_now()  # a second press changes nothing
    run.go.set()
    assert settled(card).state is VerdictState.PASSED
    assert run.calls == 1
    assert kept == [card.verdict]
    assert "v=spf1 -all" in card.html()


def test_a_check_without_answer_ends_at_its_deadline_as_unknown_not_failed() -> None:
    run = Waits(verdict(VerdictState.PASSED))
    card = CheckCard(verdict(VerdictState.READY), run, deadline=0.05)
    card.check_now()
    late = settled(card)
    run.go.set()
    assert late.state is VerdictState.UNKNOWN
    assert "no answer within" in late.found
    assert late.fix


@pytest.mark.parametrize(
    ("error", "state", "said"),
    [
        (StoreError("The database is locked.", fix="Try again."), VerdictState.FAILED, "The database is locked."),
        (ValueError("odd"), VerdictState.UNKNOWN, "ValueError: odd"),
    ],
)
def test_a_check_that_breaks_is_a_verdict_and_no_traceback(error: Exception, state: VerdictState, said: str) -> None:
    run = Waits(error)
    run.go.set()
    card = CheckCard(verdict(VerdictState.READY), run)
    card.check_now()
    assert (settled(card).state, card.verdict.found) == (state, said)
    assert "Traceback" not in card.html()


def test_a_verdict_that_cannot_be_stored_still_shows_and_says_so() -> None:
    def refuse(_: Verdict) -> None:
        raise StoreError("The disk is full.", fix="Make room.")

    run = Waits(verdict(VerdictState.PASSED, found="found it"))
    run.go.set()
    card = CheckCard(verdict(VerdictState.READY), run, on_verdict=refuse)
    card.check_now()
    assert settled(card).state is VerdictState.PASSED
    assert "This verdict is not stored:</b> The disk is full. Make room." in card.html()


@pytest.mark.parametrize(
    ("expected", "found", "apart"),
    [
        ("v=spf1 include:a.test include:b.test -all", "v=spf1 include:a.test -all", (("missing", "include:b.test"),)),
        ("v=spf1 include:a.test -all", "v=spf1 include:a.test ~all", (("missing", "-all"), ("not expected", "~all"))),
        ("v=spf1 a mx -all", "v=spf1 mx a -all", (("order", "the same words, in another order"),)),
        ("v=spf1 -all", "v=spf1 -all", ()),
        ("One record that begins with v=spf1", "v=spf1 -all", ()),
        ("v=spf1 -all", "", ()),
    ],
)
def test_a_near_miss_names_the_difference(expected: str, found: str, apart: tuple[tuple[str, str], ...]) -> None:
    assert difference(expected, found) == apart


def test_a_long_answer_is_shown_by_its_beginning_and_opens_whole() -> None:
    html = CheckCard(verdict(found="x" * 5000)).html()
    assert "All 5,000 characters" in html
    assert "x" * 5000 in html


# --- tables -----------------------------------------------------------------------------------------------------------


def test_a_table_over_a_million_rows_asks_only_for_the_page_it_shows() -> None:
    asked: list[tuple[int, int]] = []

    def fetch(offset: int, limit: int, sort: str, descending: bool) -> Rows:
        asked.append((offset, limit))
        return Rows([{"id": n, "name": f"row {n}"} for n in range(offset, offset + limit)], 1_000_000)

    table = Table([Column("name", "Name")], fetch, limit=25)
    grid = table.widget
    grid.offset = 999_975
    assert asked == [(0, 25), (999_975, 25)]
    assert len(grid.rows) == 25
    assert "The first 25 of 1,000,000." in table.html()


def test_a_selection_survives_paging_and_the_last_page_may_empty() -> None:
    names = [f"row {n}" for n in range(30)]
    table = Table([Column("name", "Name")], lambda *a: rows_of(*names)(*a), limit=10, selectable=True)
    table.widget.selected = [1, 2]
    table.widget.offset = 20
    assert table.selected == (1, 2)
    del names[20:]
    table.reload()
    assert table.widget.offset == 10
    assert [row["name"] for row in table.widget.rows] == names[10:20]


def test_a_table_that_cannot_be_read_says_so_and_tries_again() -> None:
    broken = [True]

    def fetch(offset: int, limit: int, sort: str, descending: bool) -> Rows:
        if broken[0]:
            raise StoreError("The database is locked.", fix="Try again in a moment.")
        return Rows([{"id": 1, "name": "back"}], 1)

    grid = Table([Column("name", "Name")], fetch).widget
    assert grid.trouble == "The database is locked. Try again in a moment."
    broken[0] = False
    grid.tries += 1
    assert (grid.trouble, grid.rows) == ("", [{"id": 1, "name": "back"}])
    broken[0] = True
    grid.tries += 1
    assert grid.rows, "what was read before stays in sight"


def test_a_state_in_a_table_has_icon_and_word() -> None:
    table = Table(
        [Column("state", "State", kind="state")],
        lambda *_: Rows([{"id": 1, "state": state_cell("failed", "Delivery Failed")}], 1),
    )
    assert "✗ Delivery Failed" in table.html()
    assert "Delivery Failed" in table.text()


# --- actions ----------------------------------------------------------------------------------------------------------


def pressed(actions: Actions, label: str) -> None:
    buttons = [b for part in actions.widget.children if hasattr(part, "children") for b in part.children]
    next(b for b in buttons if b.description == label).click()


def done(actions: Actions, text: str) -> bool:
    waiting = threading.Event()
    for _ in range(600):
        if actions.said == text:
            return True
        waiting.wait(0.05)
    return False


def test_an_action_does_what_its_preview_said_even_if_the_choice_changed_since() -> None:
    chosen, acted = ["a", "b"], []

    def preview() -> Preview:
        bound = tuple(chosen)

        def run(say: Callable[[str], None]) -> str:
            acted.append(bound)
            return f"{len(bound)} done."

        return Preview(f"{len(bound)} mails.", bound, run)

    actions = Actions([Action("Retry", preview)])
    pressed(actions, "Retry")
    assert acted == [], "a preview changes nothing"
    chosen.append("c")
    pressed(actions, "Confirm")
    assert done(actions, "2 done.")
    assert acted == [("a", "b")]


def test_back_and_an_empty_preview_leave_nothing_to_confirm() -> None:
    acted: list[str] = []

    def run(say: Callable[[str], None]) -> str:
        acted.append("x")
        return "done"

    actions = Actions(
        [Action("Retry", lambda: Preview("3 mails.", (), run)), Action("Cancel Email", lambda: Preview("Nothing."))]
    )
    pressed(actions, "Retry")
    pressed(actions, "Back")
    pressed(actions, "Confirm")
    pressed(actions, "Retry")
    pressed(actions, "Cancel Email")
    pressed(actions, "Confirm")
    assert acted == []


def test_an_action_that_breaks_says_what_to_do_next() -> None:
    def run(say: Callable[[str], None]) -> str:
        raise StoreError("The disk is full.", fix="Make room.")

    actions = Actions([Action("Retry", lambda: Preview("1 mail.", (), run))])
    pressed(actions, "Retry")
    pressed(actions, "Confirm")
    assert done(actions, "The disk is full. Make room.")
    assert any('role="alert"' in value for value in html_values(actions.widget))


# --- forms and secrets ------------------------------------------------------------------------------------------------


def answer(form: Form) -> str:
    assert form._busy.acquire(timeout=30), "the form did not answer"
    form._busy.release()
    return html_values(form.widget)[-1]


def test_a_form_answers_at_once_and_then_with_what_came() -> None:
    go = threading.Event()

    def work(values: dict[str, str]) -> str:
        assert go.wait(30)
        return f"To {values['to']}"

    form = Form([("to", "To", " bob@x.example ")], work)
    assert form.widget
    form.press()
    assert "Working" in html_values(form.widget)[-1]
    go.set()
    assert "To bob@x.example" in answer(form)


def test_a_form_whose_work_breaks_says_so() -> None:
    form = Form([("to", "To", "")], lambda values: str(1 // 0))
    assert form.widget
    form.press()
    assert "ZeroDivisionError" in answer(form)
    assert 'role="alert"' in answer(form)


def test_a_secret_reaches_its_keeper_and_no_widget_state() -> None:
    import ipywidgets

    kept: list[str] = []
    field = SecretField("Client secret", lambda value: kept.append(value) or f"saved, ends in {value[-4:]}")
    assert field.widget
    field.receive({"typed": "Planted-Value-7391"})
    assert kept == ["Planted-Value-7391"]
    state = str(ipywidgets.Widget.get_manager_state()["state"])
    assert "Planted-Value" not in state
    assert "saved, ends in 7391" in state
    assert "Planted-Value" not in str(vars(field)) + field.html() + field.text()


def test_a_secret_that_cannot_be_kept_is_not_repeated_in_the_error() -> None:
    def refuse(value: str) -> str:
        raise StoreError(f"cannot keep {value}", fix="Try again.")

    field = SecretField("Client secret", refuse)
    for content in (None, {}, {"typed": ""}, {"typed": 5}):
        field.receive(content)
    assert field.state == ""
    field.receive({"typed": "Planted-Value-7391"})
    assert field.state == "cannot keep ••• Try again."


# --- mail's own HTML --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "absent"),
    [
        (EVIL, ("script", "onerror", "img", "alert")),
        ("<a href='javascript:alert(1)'>x</a>", ("javascript",)),
        ("<p style='background:url(http://t.example/p)'>x</p>", ("style", "t.example")),
        ("<form action='http://t.example'><input name=p></form>", ("form", "input", "t.example")),
        ("<svg><a xlink:href='javascript:alert(1)'>x</a></svg>", ("svg", "javascript")),
        ("<style>@import 'http://t.example'</style><link rel=stylesheet href=http://t.example>", ("t.example", "link")),
        (
            "<iframe srcdoc='<script>1</script>'></iframe><meta http-equiv=refresh content=0>",
            ("iframe", "meta", "script"),
        ),
    ],
)
def test_html_from_mail_is_made_safe(given: str, absent: tuple[str, ...]) -> None:
    clean = safe_html(f"<b>kept</b>{given}")
    assert "<b>kept</b>" in clean
    assert [word for word in absent if word in clean] == []


def test_a_chart_says_its_finding_and_carries_its_figures() -> None:
    chart = bar_chart(
        "gmail.example gives 61 % of all returns", ["gmail.example"], [6.1], low=[5.0], high=[7.4], unit="%"
    )
    html = chart.html()
    assert 'role="img" aria-label="gmail.example gives 61 % of all returns"' in html
    assert "The figures as a table" in html
    assert "gmail.example | 6.10 | 5 | 7.40" in chart.text()
    assert "#000000" not in html, "lines and text take the page's colour"


def test_scripts_and_styles_of_live_widgets_ask_nobody() -> None:
    for file in STATIC.iterdir():
        assert not re.search(r"https?://|@import|import\(", file.read_text()), file.name
