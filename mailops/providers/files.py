"""The files in ``data/``, read into one frozen :class:`Provider` each; everything else in the room is read from them.

``as_of`` is the day a file was compared with its ``source``; a bare year, with ``basis = "general knowledge"``, waits
for the comparison. ``{domain}`` stands for the sending domain, ``{dashed}`` for it with dashes for dots, ``{db}`` for
the database name; ``*`` stands for an account's own part. A key that is missing or unknown raises while the package is
tested.
"""

from __future__ import annotations

import tomllib
from datetime import timedelta
from importlib.resources import files
from typing import Any

from ..model.setup import Authentication, Encryption, MailClass
from .model import (
    Answers,
    DkimExpectation,
    Endpoints,
    Host,
    Limit,
    PasswordRule,
    Provider,
    ReturnPathRecord,
    SendingProfile,
    WebhookProof,
    limits_said,
)

_FIRST = ("odoo", "microsoft365", "google", "mailjet")  # the order people look for them in; the others by name
_SCOPES = ("send", "receive", "pop", "app")


def read(key: str, text: str) -> Provider:
    """One file of ``data/``."""
    data = tomllib.loads(text)
    server, oauth = data.pop("server", {}), data.pop("oauth", {})
    webhook, answers = data.pop("webhook", None), data.pop("answers", None)
    limits = tuple(Limit(**one) for one in data.pop("limits", ()))
    known = server.get("id", "")
    passwords = tuple(rule for one in data.pop("passwords", ()) for rule in _passwords(known, one))
    said = data.pop("limit", "") or limits_said(limits)
    scopes: dict[str, Any] = {f"scopes_{name}": tuple(oauth.pop(name, ())) for name in _SCOPES}
    places = {name: oauth.pop(name, "") for name in ("authority", "authorize", "token", "revoke")}
    name = server.pop("name", data["title"])
    return Provider(
        id=server.pop("id", ""),
        name=name,
        product=server.pop("product", name),
        dns=_profile(key, data, said),
        limits=limits,
        limit=server.pop("limit", "") or said,
        passwords=passwords,
        webhook=_webhook(webhook) if webhook else None,
        answers=_answers(answers) if answers else None,
        oauth=bool(oauth),
        endpoints=Endpoints(**places),
        **_server(server),
        **scopes,
        **oauth,
    )


def _passwords(known: str, one: dict[str, Any]) -> list[PasswordRule]:
    rest = {"since": None, "until": None, "taken": False, **one}
    return [PasswordRule(known, protocol, **rest) for protocol in rest.pop("protocols")]


def _webhook(data: dict[str, Any]) -> WebhookProof:
    hours = data.pop("hours", None)
    return WebhookProof(max_age=None if hours is None else timedelta(hours=hours), **data)


def _answers(data: dict[str, Any]) -> Answers:
    says = tuple((words, reason) for words, reason in data.pop("says"))
    return Answers(marks=tuple(data.pop("marks")), says=says, **data)


def _server(data: dict[str, Any]) -> dict[str, Any]:
    """The server's side: the first port goes with its usual protection."""
    ports = tuple(data.pop("ports", ()))
    host = data.pop("host", "")
    out: dict[str, Any] = {
        "smtp": Host(host, ports[0], Encryption.TLS if ports[0] == 465 else Encryption.STARTTLS) if host else None,
        "ports": ports,
        "authentication": Authentication(data.pop("authentication", "login")),
        "suits": tuple(MailClass(one) for one in data.pop("suits", ("transactional",))),
        "other_hosts": tuple(data.pop("other_hosts", ())),
    }
    for name, port in (("imap", 993), ("pop", 995)):
        if name in data:
            out[name] = Host(data.pop(name), port, Encryption.TLS)
    return {**out, **data}


def _profile(key: str, data: dict[str, Any], limits: str) -> SendingProfile:
    spf, back, dkim = data.pop("spf"), data.pop("return_path"), data.pop("dkim")
    for part, known in ((spf, "include at alternatives"), (back, "own says records"), (dkim, "need zones selectors")):
        if unknown := set(part) - set(known.split()):
            raise TypeError(f"{key}: nobody reads {', '.join(sorted(unknown))}")
    zones = tuple(dkim.get("zones", ()))
    selectors = tuple(
        DkimExpectation(one["selector"], tuple(one.get("targets", ())), zones) for one in dkim.get("selectors", ())
    )
    return SendingProfile(
        key=key,
        spf_include=spf["include"],
        spf_at=spf["at"],
        spf_alternatives=tuple(spf.get("alternatives", ())),
        dkim=selectors,
        dkim_need=dkim["need"],
        own_bounce=back["own"],
        return_path=back["says"],
        return_records=tuple(ReturnPathRecord(**one) for one in back.get("records", ())),
        limits=limits,
        aliases=tuple(data.pop("aliases", ())),
        host_names=tuple(data.pop("host_names", ())),
        **data,
    )


def _all() -> dict[str, Provider]:
    folder = files(__package__) / "data"
    found = {one.name.removesuffix(".toml"): one for one in folder.iterdir() if one.name.endswith(".toml")}
    order = [*_FIRST, *sorted(set(found) - set(_FIRST))]
    return {key: read(key, found[key].read_text(encoding="utf-8")) for key in order}


FILES: dict[str, Provider] = _all()


def _receivers() -> tuple[Answers, ...]:
    """The answers of those who send for us too, and of those who only receive (``data/receivers``)."""
    found = [one.answers for one in FILES.values() if one.answers is not None]
    for file in (files(__package__) / "data" / "receivers").iterdir():
        if file.name.endswith(".toml"):
            data = tomllib.loads(file.read_text(encoding="utf-8"))
            del data["title"]  # for those who read the file
            found.append(_answers(data))
    return tuple(sorted(found, key=lambda one: one.rank))


RECEIVERS: tuple[Answers, ...] = _receivers()
WEBHOOKS: dict[str, WebhookProof] = {one.webhook.name: one.webhook for one in FILES.values() if one.webhook is not None}
