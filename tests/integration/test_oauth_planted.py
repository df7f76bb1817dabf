"""Planted secrets: connect, send, read, fail, run a guide and the calendar, then search every file and log for them."""

from __future__ import annotations

import base64
import io
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy.engine import Engine

from mailops.clock import SystemClock
from mailops.errors import MailopsError
from mailops.guides import GuideAnswers, GuideRun, guide
from mailops.guides.checks import Services, account_of, checks_for
from mailops.model.setup import Profile
from mailops.oauth import Doctor, SignIn, TokenService, ends_of, icalendar
from mailops.oauth.doctor import Reading
from mailops.secrets import SecretStore, install_log_redaction, redact
from mailops.testing.identity_pages import click_through
from mailops.testing.sandbox import Sandbox

ANN = "ann@acme.com"


def _forms(value: str) -> list[bytes]:
    xoauth2 = base64.b64encode(f"user={ANN}\x01auth=Bearer {value}\x01\x01".encode())
    return [
        value.encode(),
        quote(value, safe="").encode(),
        base64.b64encode(value.encode()).rstrip(b"="),
        xoauth2[40:-8],
    ]


def test_no_secret_in_any_file_log_or_result(
    tmp_path: Path, sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MAILOPS_VAULT_KEY", raising=False)
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    factory = logging.getLogRecordFactory()
    install_log_redaction()
    root = logging.getLogger()
    root.addHandler(handler)
    level = root.level
    root.setLevel(logging.DEBUG)
    said: list[str] = []
    planted: list[str] = []
    try:
        with Sandbox(tmp_path / "sandbox") as sandbox:
            sandbox.idp.add_person(ANN)
            secrets = SecretStore(tmp_path / "workspace")
            tokens = TokenService(secrets, http=sandbox.idp.session)
            signin = SignIn(secrets, http=sandbox.idp.session)
            services = Services(tokens=tokens, server_overrides={"host": "localhost", "port": sandbox.smtp.port})
            run = GuideRun(
                guide("azure"), GuideAnswers(sqlite_engine, "azure", ANN, SystemClock()), secrets,
                profile=Profile(web_base_url="https://mail.acme.com"), checks=checks_for(services),
            )  # fmt: skip
            client = sandbox.idp.add_client("outlook", "web", run.values()["redirect_uri"])
            planted.append(client.secret)
            ends = (datetime.now(UTC) + timedelta(days=300)).date().isoformat()
            given = {
                "account": {"account_kind": "custom", "mailbox": ANN},
                "client_id": {"client_id": client.client_id},
                "client_secret": {"client_secret": client.secret, "secret_ends": ends},
            }
            for step in run.guide.steps:
                if step.id == "connect":
                    break
                said.append(repr(run.answer(step.id, given.get(step.id))))
            begun = signin.begin(account_of(run), run.values()["redirect_uri"])
            landed = click_through(sandbox.idp, begun.address, ANN)
            planted.append(landed.partition("code=")[2].partition("&")[0])
            said.append(repr(begun))
            signin.store(signin.redeem(landed))
            for scenario in ("healthy", "smtp-auth-off", "revoked"):
                sandbox.idp.add_person(ANN, "outlook", scenario)
                planted.append(tokens.token_for(ANN))
                grant = tokens.accounts.load(ANN).grant
                assert grant is not None
                assert grant.refresh_token is not None
                planted.append(grant.refresh_token.reveal())
                doctor = Doctor(tokens, timeout=5, wait=2)
                verdicts = doctor.examine(sandbox.server(ANN), reading=Reading(sandbox.hosts()["imap"]))
                said.append(repr(verdicts))
                try:
                    tokens.token_for(ANN, refused=True)
                except MailopsError as error:
                    said.append(repr(error.as_dict()))
                    logging.getLogger("mailops.test").exception("token %s", planted[-2])
            said.append(repr(ends_of(tokens.accounts)) + icalendar(ends_of(tokens.accounts), datetime.now(UTC)))
            said += [repr(sandbox.smtp.log), repr(sandbox.imap.log), repr(sandbox.pop.log), repr(run.view())]
    finally:
        root.removeHandler(handler)
        logging.setLogRecordFactory(factory)
        root.setLevel(level)
    assert len(set(planted)) >= 5
    logging.getLogger("mailops.test")
    texts = [text.encode() for text in said] + [out.getvalue().encode()]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [p.name for p in files if p.suffix == ".db"]  # the store was among what is searched
    for value in planted:
        assert redact(f"<{value}>") != f"<{value}>"
        for form in _forms(value):
            assert not [t for t in texts if form in t]
            assert not [p for p in files if form in p.read_bytes()]
