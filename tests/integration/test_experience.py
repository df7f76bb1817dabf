"""What a person met on the pages and at the command line: one kind a test, entered by a face."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from furnish import furnish
from sqlalchemy.engine import Engine

from mailops import Ops
from mailops.errors import InputRefused, StateConflict
from mailops.guides import GuideAnswers, GuideRun, guide
from mailops.model.setup import Profile, Server
from mailops.model.states import MailState
from mailops.model.verdict import Verdict, VerdictState
from mailops.secrets import SecretStore
from mailops.testing import ManualClock, SmtpServer, defer, refuse
from mailops.testing.dns_server import DnsServer

NOTEBOOKS = Path(__file__).parent.parent.parent / "notebooks"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ANN = "ann@acme.example"


@pytest.fixture
def mailops(sqlite_file_ops: Ops) -> Callable[..., tuple[int, str]]:
    """The command line in a process of its own, on the workspace of the test: exit status and everything it said."""

    def run(*words: str) -> tuple[int, str]:
        env = {**os.environ, "MAILOPS_WORKSPACE": str(sqlite_file_ops.workspace.path), "COLUMNS": "200"}
        done = subprocess.run(
            [sys.executable, "-m", "mailops", *words], capture_output=True, text=True, timeout=60, env=env
        )
        return done.returncode, done.stdout + done.stderr

    return run


def cards_of(name: str, ops: Ops, **values: object) -> tuple[dict[str, Any], list[Any]]:
    """The notebook's cells, run here with other parameters: its names, and what its cells show, as live cards."""
    cells = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text("utf-8"))["cells"]
    names: dict[str, Any] = {}
    shown = []
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, name, "exec"), names)
        if "parameters" in cell["metadata"].get("tags", []):
            names.update(workspace=str(ops.workspace.path), **values)
        if last is not None and "require_passed" not in ast.dump(last):
            shown.append(eval(compile(ast.Expression(last.value), name, "eval"), names))
    for card in shown:
        if hasattr(card, "widget"):
            card.widget  # noqa: B018 (made live, as on a page)
    return names, shown


def words_of(widget: Any) -> str:
    """Everything that a live card says, with its captions."""
    own = " ".join(str(getattr(widget, name, "") or "") for name in ("value", "description", "caption", "html"))
    return own + " ".join(words_of(child) for child in getattr(widget, "children", ()))


def within(seconds: float, what: Callable[[], bool]) -> bool:
    pause = threading.Event()
    for _ in range(int(seconds * 20)):
        if what():
            return True
        pause.wait(0.05)
    return what()


def press(widget: Any, label: str) -> None:
    def all_of(one: Any) -> Iterator[Any]:
        yield one
        for child in getattr(one, "children", ()):
            yield from all_of(child)

    next(one for one in all_of(widget) if getattr(one, "description", "") == label).click()


# --- U1: a check made again makes nobody's view stale ---------------------------------------------------------------


@pytest.fixture
def make(sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., GuideRun]:
    monkeypatch.delenv("MAILOPS_VAULT_KEY", raising=False)

    def build(state: VerdictState = VerdictState.FAILED, actor: str = "") -> GuideRun:
        def look(run: GuideRun, step: Any) -> Verdict:
            return Verdict(f"guide.{step.id}", "x", state, "Looked at", "found")

        one = guide("google")
        checks = {step.check: look for step in one.steps if step.check}
        answers = GuideAnswers(sqlite_engine, "google", ANN, ManualClock(NOW))
        return GuideRun(one, answers, SecretStore(tmp_path), profile=Profile(), checks=checks, clock=ManualClock(NOW),
                        actor=actor)  # fmt: skip

    return build


@pytest.mark.parametrize("state", [VerdictState.FAILED, VerdictState.PASSED, VerdictState.WARNING])
def test_a_step_that_was_checked_again_can_still_be_saved(make: Callable[..., GuideRun], state: VerdictState) -> None:
    run = make(state)
    checked = next(
        step for step in run.guide.steps if step.check and step.inputs and all(not i.required for i in step.inputs)
    )
    run.store.save(checked.id, {}, VerdictState.READY, version=0)
    run.run_check(checked.id) if run.step(checked.id).state is not VerdictState.WAITING else run.store.save(
        checked.id, {}, state, version=1
    )
    held = run.step(checked.id)  # what the card of the page holds
    other = make(state)  # how it stands, below: looks again
    for _ in range(3):
        if other.step(checked.id).state is not VerdictState.WAITING:
            other.run_check(checked.id)
        else:
            other.reopen(checked.id)
    try:
        run.store.save(checked.id, {"client_id": "1"}, VerdictState.READY, version=held.version)
        refused = ""
    except StateConflict as error:
        refused = str(error)
    assert refused == ""
    assert run.store.load()[checked.id].answers == {"client_id": "1"}


def test_a_real_conflict_names_who_and_when_and_is_never_said_of_oneself(make: Callable[..., GuideRun]) -> None:
    mine, theirs = make(actor=""), make(actor="bob")
    step = mine.guide.steps[0].id
    held = mine.step(step)
    theirs.store.save(step, {"x": "theirs"}, VerdictState.PASSED, version=0, actor="bob")
    with pytest.raises(StateConflict) as caught:
        mine.store.save(step, {"x": "mine"}, VerdictState.PASSED, version=held.version)
    assert "bob" in str(caught.value)
    assert "2026-11-23 12:00 UTC" in str(caught.value)
    mine.store.save(step, {"x": "once more"}, VerdictState.PASSED, version=1)  # the same one person, in another window
    with pytest.raises(StateConflict) as caught:
        mine.store.save(step, {"x": "mine"}, VerdictState.PASSED, version=1)
    assert "Somebody else" not in str(caught.value)


# --- U3, U8: a field for a domain forgives, and says what is not there ----------------------------------------------


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("https://northwind.example/", "northwind.example"),
        ("HTTPS://www.Northwind.example:8443/shop?a=b#c", "northwind.example"),
        ("http://ann@northwind.example/", "northwind.example"),
        ("ann@northwind.example", "northwind.example"),
        ("Ann Lee <ann@northwind.example>", "northwind.example"),
        ("mailto:ann@northwind.example?subject=x", "northwind.example"),
        ("@northwind.example", "northwind.example"),
        (" northwind.example. ", "northwind.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("ann@bücher.example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
    ],
)
def test_what_people_paste_is_read_as_the_domain_they_mean(sqlite_file_ops: Ops, typed: str, meant: str) -> None:
    try:
        read = sqlite_file_ops.domains.setup(typed).name
    except InputRefused as error:
        read = str(error)
    assert read == meant


@pytest.mark.parametrize(
    "typed",
    ["northwind.example/path", "a:b.example", "what?.example", "ex ample.com", "", "https://", "https://192.0.2.1/",
     "a@b.example, c@d.example", "ftp://northwind.example/", "192.0.2.1", "localhost", "@", "ann@"],
)  # fmt: skip
def test_what_is_no_domain_is_refused(sqlite_file_ops: Ops, typed: str) -> None:
    try:
        read = sqlite_file_ops.domains.setup(typed).name
    except InputRefused as error:
        read = error.code
    assert read == "input.domain"


@pytest.fixture
def asked(sqlite_file_ops: Ops) -> Iterator[Ops]:
    """A workspace whose name server knows northwind.example and nothing else."""
    known = {
        "northwind.example": ["NS ns.northwind.example.", "TXT v=spf1 -all"],
        "xn--bcher-kva.example": ["NS ns.northwind.example.", "TXT v=spf1 -all"],
    }
    with DnsServer(known) as server:
        toml = sqlite_file_ops.workspace.path / "mailops.toml"
        toml.write_text(toml.read_text() + f'\n[dns]\nresolvers = ["127.0.0.1:{server.port}"]\n')
        ops = Ops.open(sqlite_file_ops.workspace.path)
        yield ops
        ops.close()


def test_a_domain_that_does_not_exist_is_told_so_and_the_known_one_is_offered(
    asked: Ops, mailops: Callable[..., tuple[int, str]]
) -> None:
    assert mailops("domain", "check", "northwind.example")[1].startswith("northwind.example: ")
    status, said = mailops("domain", "check", "nortwind.example")
    assert status == 1
    assert "DNS does not know it" in said
    assert "Did you mean northwind.example?" in said
    assert "Publish" not in said
    assert "SPF" not in said
    # a name of a domain that is there is about to get its first record
    assert "DNS does not know it" not in mailops("domain", "check", "mail.northwind.example")[1]


def test_a_domain_with_umlauts_is_shown_as_people_write_it(asked: Ops, mailops: Callable[..., tuple[int, str]]) -> None:
    assert "bücher.example (xn--bcher-kva.example)" in mailops("domain", "check", "bücher.example")[1]


# --- U4: a mistake is a card, in every notebook ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["start_here", "domain_dns"])
def test_a_mistake_is_told_by_a_card_with_what_to_do(sqlite_file_ops: Ops, tmp_path: Path, name: str) -> None:
    """Without a workspace, and with a parameter that cannot be used."""
    import nbformat
    from nbclient import NotebookClient

    here = tmp_path / "nowhere"
    here.mkdir()
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []) and name == "domain_dns":
            place = str(sqlite_file_ops.workspace.path)
            cell.source += f"\nworkspace, domain = {place!r}, 'ex ample.com'"
    client = NotebookClient(notebook, timeout=100, allow_errors=True, resources={"metadata": {"path": str(here)}})
    environment = {key: value for key, value in os.environ.items() if key != "MAILOPS_WORKSPACE"}
    client.execute(env=environment)
    first = next(cell for cell in notebook.cells if any(o.output_type == "error" for o in cell.get("outputs", ())))
    shown = "".join(o.data.get("text/html", "") for o in first.outputs if o.output_type == "display_data")
    assert "What to do:" in shown
    assert "Traceback" not in "".join("\n".join(o.get("traceback", ())) for o in first.outputs)
    assert ("no workspace" in shown) if name == "start_here" else ("ex ample.com" in shown)


# --- U5: nothing on a page contradicts it ---------------------------------------------------------------------------


def failing(ops: Ops, smtp: Any, number: int = 3) -> tuple[int, ...]:
    furnish(ops, smtp)
    mails = tuple(ops.send(sender=ANN, to=[f"u{n}@x.example"], subject=f"Mail {n}", text="Hi") for n in range(number))
    ops.queue.run()
    return mails


def test_the_checks_of_the_queue_say_what_the_queue_says_after_an_act(sqlite_file_ops: Ops) -> None:
    ops = sqlite_file_ops
    with SmtpServer(script=[refuse(f"u{n}@x.example") for n in range(3)]) as smtp:
        failing(ops, smtp)
        names, shown = cards_of("queue", ops, state="Delivery Failed")
    view = next(card for card in shown if type(card).__name__ == "QueueView")
    others = [card for card in shown if card is not view]
    assert "3 mails failed" in "".join(words_of(card.widget) for card in others)
    press(view.widget, "Retry")
    press(view.widget, "Confirm")
    assert within(10, lambda: view.actions.said.startswith("Retry: 3 mails done."))
    assert within(10, lambda: "No mail failed" in "".join(words_of(card.widget) for card in others))
    assert "3 mails failed" not in "".join(words_of(card.widget) for card in others)
    names["ops"].close()


def test_how_a_guide_stands_follows_the_guide(sqlite_file_ops: Ops) -> None:
    names, shown = cards_of("connect_google", sqlite_file_ops, mailbox=ANN)
    assert "was not begun" in "".join(words_of(card.widget) for card in shown)
    first = names["guided"].run.view()[0]
    view = next(card for card in shown if type(card).__name__ == "GuideView")
    view._drafts.setdefault(first.step.id, {}).update(
        {one.input.name: ANN if "mail" in one.input.kind or "mail" in one.input.name else
         (one.input.choices[0].value if one.input.choices else one.value) for one in first.inputs}
    )  # fmt: skip
    view.show(first.step.id)
    press(view.widget, "Save and continue" if first.inputs else "Done")
    assert within(10, lambda: bool(names["guided"].run.store.load()))
    assert within(5, lambda: "was not begun" not in "".join(words_of(card.widget) for card in shown))
    assert "this cell" not in (NOTEBOOKS / "connect_google.ipynb").read_text("utf-8")
    names["ops"].close()


@pytest.mark.parametrize("name", sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")))
def test_code_is_out_of_sight_in_jupyterlab_and_a_first_line_says_what_to_press(name: str) -> None:
    cells = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text("utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    shown = [cell for cell in code if not cell["metadata"].get("jupyter", {}).get("source_hidden")]
    assert ["parameters" in cell["metadata"].get("tags", []) for cell in shown] == [True]  # where a person types
    prose = [" ".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    assert any("Run All" in text for text in prose[:2])
    assert " cell" not in " ".join(prose).lower()


# --- U7: one vocabulary of counts -----------------------------------------------------------------------------------


def test_whom_mailops_kept_back_is_no_failure_without_a_reason(
    sqlite_file_ops: Ops, mailops: Callable[..., tuple[int, str]]
) -> None:
    ops = sqlite_file_ops
    with SmtpServer() as smtp:
        furnish(ops, smtp)
        ops.suppressions.add("gone@x.example", scope="all")
        mail = ops.send(sender=ANN, to=["gone@x.example"], subject="x", text="x")
        ops.queue.run()
    assert ops.queue.mail(mail).state is MailState.FAILED
    assert "no error" not in mailops("queue", "causes")[1]
    assert "no error" not in mailops("queue", "show", str(mail))[1]
    assert "no error" not in str(ops.queue.frame()["error"].tolist())
    (word, domain, number), *_ = ops.queue.causes()
    assert (domain, number) == ("x.example", 1)
    assert json.loads(mailops("queue", "list", "--reason", word, "--json")[1])["total"] == 1


def test_the_index_of_reports_says_in_words_what_failed(sqlite_file_ops: Ops, tmp_path: Path) -> None:
    from mailops.jobs import run_notebook
    from mailops.jobs.index import write_index

    ops = sqlite_file_ops
    with SmtpServer(script=[refuse("u0@x.example")]) as smtp:
        failing(ops, smtp, 1)
    run_notebook("queue", {"max_failed": 0}, workspace=ops.workspace.path)
    shown = write_index(ops.workspace.path, tmp_path / "reports" / "index.html").read_text("utf-8")
    assert "1 mail failed" in shown


# --- U10, U11: the colour and the heading say what came of it -------------------------------------------------------


def test_a_from_that_cannot_be_used_has_no_heading_that_it_leaves(sqlite_file_ops: Ops) -> None:
    from mailops.widgets import RouteCard

    sqlite_file_ops.save_server(Server("main", "Main", "127.0.0.1", 2525))
    shown = RouteCard(sqlite_file_ops.explain(sender=None)).html()  # no From, and no notification address
    assert "cannot leave" in shown or "There is no From" in shown
    assert "Leaves through" not in shown
    assert "mail_from" not in shown


def test_send_now_that_only_puts_off_is_not_green_and_leads_to_those_mails(sqlite_file_ops: Ops) -> None:
    from mailops.widgets import QueueView

    ops = sqlite_file_ops
    with SmtpServer(script=[defer(f"u{n}@x.example") for n in range(3)]) as smtp:
        mails = failing(ops, smtp)
        view = QueueView(ops, state=MailState.OUTGOING)
        view.table.widget.selected = list(mails[:2])
        press(view.widget, "Send Now")
        press(view.widget, "Confirm")
        assert within(20, lambda: view.actions.said.startswith("Send Now: 0 sent, 2 deferred"))
    said = words_of(view.actions.widget)
    assert "#1a7f37" not in said  # the green of what went well
    assert "x.example" in view.actions.said  # why
    assert within(5, lambda: "Show 2 of them" in words_of(view.actions.widget))
    press(view.actions.widget, "Show 2 of them")
    assert view.table.widget.total == 2


def test_a_preview_counts_those_it_does_not_list_and_warns_of_a_retry_in_vain(sqlite_file_ops: Ops) -> None:
    from mailops.widgets import QueueView

    ops = sqlite_file_ops
    script = [refuse(f"u{n}@x.example", 550, "5.2.2", "Mailbox full") for n in range(5)]
    with SmtpServer(script=script) as smtp:
        failing(ops, smtp, 5)
    view = QueueView(ops, state=MailState.FAILED)
    view.widget  # noqa: B018
    press(view.widget, "Retry")
    said = words_of(view.actions.widget)
    assert "and 2 more" in said
    assert "put off again" in said


# --- U12: the command line leads on ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("quue",), "mailops queue"),
        (("sned",), "mailops send"),
        (("dns", "acme.example"), "mailops domain check"),
        (("test",), "mailops server test"),
        (("queue", "show", "abc"), "a whole number is wanted"),
        (("serve", "--port", "x"), "a whole number is wanted"),
        (("--version",), "mailops "),
    ],
)
def test_a_mistyped_command_is_answered_with_the_one_that_was_meant(
    mailops: Callable[..., tuple[int, str]], words: tuple[str, ...], says: str
) -> None:
    status, said = mailops(*words)
    assert says in said
    assert "Input should be" not in said
    assert status == (0 if words == ("--version",) else 2)


@pytest.mark.parametrize("group", ["serve", "domain", "bounces", "queue", "inbound"])
def test_the_list_of_commands_cuts_no_sentence(mailops: Callable[..., tuple[int, str]], group: str) -> None:
    listed = mailops(group, "--help")[1].partition("Commands:")[2]
    assert listed
    assert "..." not in listed


def test_the_peer_for_tests_lives_when_nobody_holds_its_standard_input(tmp_path: Path) -> None:
    """Started with & in a script, by nohup, systemd or a container."""
    child = subprocess.Popen(
        [sys.executable, "-m", "mailops.testing.smtp_server", "--port", "0"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, cwd=tmp_path,
    )  # fmt: skip
    try:
        assert child.stdout is not None
        assert json.loads(child.stdout.readline())["ready"] is True
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout=2)
    finally:
        child.kill()
        child.communicate()


def test_one_press_tests_every_server_and_says_how_many_passed(sqlite_file_ops: Ops) -> None:
    from mailops.widgets import ServersView

    ops = sqlite_file_ops
    with SmtpServer() as smtp:
        furnish(ops, smtp)
        view = ServersView(ops)
        press(view.widget, "Test all")
        number = len(ops.setup.servers)
        assert within(30, lambda: "passed Test Connection" in words_of(view._so_far))
    assert f"{number} of {number} server" in words_of(view._so_far)
    assert all(card.verdict.passed for card in view.tests)
    assert "setup.ipynb" in words_of(view.widget)
