"""What a case is made of, read from one workspace: the mail, its way, what is set up, what DNS says, what changed.

Everything here is as it stands, with names: it goes through :mod:`.clean` before anybody sees it. Secrets are not read
at all: a password is told as ``kept`` or ``none``.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from .. import __version__
from ..errors import InputRefused, MailopsError, NotFound
from ..inbound.files import mails
from ..model.setup import Server
from ..model.text import counted
from ..store import schema
from ..store.database import explained, reading
from .moment import moment_of
from .questions import FORWARDED, Answer

if TYPE_CHECKING:
    from ..bounces.reading.sources import Skipped
    from ..ops import Ops

AROUND, RECENT, NEAR = timedelta(minutes=30), timedelta(days=30), timedelta(minutes=30)
MOST, MAX_MAIL = 200, 25_000_000
e, m, b, v, n, msg = (
    schema.events,
    schema.mails,
    schema.bounces,
    schema.verdicts,
    schema.notifications,
    schema.messages,
)
r, g, k = schema.runs, schema.guide_answers, schema.dkim_keys


@dataclass(frozen=True, slots=True)
class Case:
    """What it is about. ``raw`` are the bytes of the mail, None where they are gone; ``number`` its number in the
    queue; ``record`` and ``at`` name it where there is no file; ``how`` says whether it is the original."""

    number: int | None
    raw: bytes | None
    record: str = ""
    at: datetime | None = None
    how: str = ""
    signs: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    sender: str = ""
    name: str = ""


@dataclass(slots=True)
class Material:
    """All of it: ``mails`` are messages (RFC 5322), ``facts`` JSON-ready values, by the name of the file they make."""

    mails: dict[str, bytes] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


def case_of(ops: Ops, mail: int | None, file: str | Path | None, record: str, at: str) -> Case:
    """The case that was named: a mail of the queue, a file (.eml, .msg), or a record with the time it was sent.

    Raises :class:`InputRefused` where nothing complete was named, or the file holds no single mail.
    """
    when = moment_of(at) if at.strip() else None
    if mail is not None and file is not None:
        raise InputRefused(
            "One mail is asked for, and two were named.",
            code="support.case",
            facts={"mail": mail, "file": str(file)},
            fix="Name the mail by its number, or give the file.",
        )
    if file is not None:
        raw = _from_file(Path(file).expanduser())
        number = _number_of(ops, raw)
        return _seen(ops, Case(number, raw, record, when, name=Path(file).name))
    if mail is not None:
        view = ops.queue.mail(mail) if _there(ops, mail) else None
        kept = _raw(ops, mail)
        gone = () if kept else ("The bytes of this mail are gone: it left, and its contents with it.",)
        found = Case(mail, kept, record, when or (view.created_at if view else None), warnings=gone)
        return replace(_seen(ops, found), sender=(view.header_from or "") if view else "")
    if record.strip() and when is not None:
        near = _near(ops, record.strip(), when)
        return _seen(ops, Case(near, _raw(ops, near) if near else None, record.strip(), when))
    missing = "when it was sent, with the time zone" if record.strip() else "the mail"
    raise InputRefused(
        f"Support needs {missing}.",
        code="support.case",
        facts={"record": record.strip(), "at": at.strip()},
        fix="Give --mail NUMBER, or --file MAIL.eml (or .msg), or --record with --at: for an outgoing mail the record"
        " (order, contact, invoice) and the date and time with its zone are enough, such as --record S00042 --at"
        " '2024-01-10 11:45 Europe/Berlin'.",
    )


def _from_file(path: Path) -> bytes:
    found, skipped = [], list[Any]()

    def skip(one: Skipped) -> None:
        skipped.append(one)

    for one in mails([path], skip):
        found.append(one.raw[:MAX_MAIL])
        if len(found) > 1:
            break
    if len(found) != 1:
        why = skipped[0].reason if skipped else "it holds more than one mail" if found else "it holds no mail"
        raise InputRefused(
            f"{path.name} is not one mail: {why}.",
            code="support.file",
            facts={"file": str(path), "reason": why},
            fix="Save the one mail as .eml or .msg: mailops support questions says how.",
        )
    return found[0]


def _seen(ops: Ops, case: Case) -> Case:
    """The case with what its own signs say of how it came."""
    if case.raw is None:
        return case
    from ..inbound.carried import FORWARDED as BY_HAND

    if case.number is not None and not case.name:
        return replace(case, how="original", signs=("it is the mail as it was handed to the queue",))
    told = ops.carried(case.raw)
    forwarded = told.how == BY_HAND
    warnings = (*case.warnings, FORWARDED) if forwarded else case.warnings
    sender = ops.inbound.read(case.raw).sender_address or ""
    return replace(
        case, how="forwarded" if forwarded else "original", signs=told.signs, warnings=warnings, sender=sender
    )


def _there(ops: Ops, mail: int) -> bool:
    with explained("reading a mail"), reading(ops.engine) as connection:
        if connection.execute(sa.select(m.c.id).where(m.c.id == mail)).first() is not None:
            return True
        if connection.execute(sa.select(e.c.id).where(e.c.mail_id == mail).limit(1)).first() is not None:
            return False
    raise NotFound(
        f"There is no mail {mail}.", facts={"mail": mail}, fix="List mails with their numbers: mailops queue list"
    )


def _raw(ops: Ops, mail: int) -> bytes | None:
    try:
        return ops.queue.raw(mail)
    except NotFound:
        return None


def _number_of(ops: Ops, raw: bytes) -> int | None:
    """The number of the mail in the queue that a file is a copy of."""
    name = ops.inbound.read(raw).message_id
    if not name:
        return None
    with explained("looking for a mail"), reading(ops.engine) as connection:
        found = connection.execute(sa.select(m.c.id).where(m.c.message_id == name).order_by(m.c.id.desc()).limit(1))
        row = (
            found.first()
            or connection.execute(
                sa.select(e.c.mail_id).where(e.c.message_id == name, e.c.mail_id > 0).limit(1)
            ).first()
        )
    return int(row[0]) if row is not None else None


def _near(ops: Ops, record: str, at: datetime) -> int | None:
    """The mail of about that time whose subject names the record."""
    query = sa.select(m.c.id, m.c.created_at).where(
        m.c.created_at.between(at - NEAR, at + NEAR), m.c.subject.contains(record, autoescape=True)
    )
    with explained("looking for a mail"), reading(ops.engine) as connection:
        rows = connection.execute(query.limit(MOST)).all()
    return min((abs(row.created_at - at), int(row.id)) for row in rows)[1] if rows else None


# --- the files --------------------------------------------------------------------------------------------------------


def gather(ops: Ops, case: Case) -> Material:
    """Everything but DNS, which takes its time (:mod:`.evidence`)."""
    made, now = Material(), ops.clock.now()
    if case.raw is not None:
        made.mails["mail.eml"] = case.raw
    for number, raw in enumerate(_reports(ops, case.number), start=1):
        made.mails[f"reports/{number}.eml"] = raw
    made.facts["case.json"] = {
        "made_at": now,
        "mailops": __version__,
        "mail": case.number,
        "record": case.record,
        "sent_at": case.at,
        "copy": case.how or "no copy",
        "signs": list(case.signs),
        "warnings": list(case.warnings),
    }
    made.facts["timeline.json"] = timeline(ops, case)
    made.facts["why.json"] = why(ops, case)
    made.facts["configuration.json"] = configuration(ops)
    made.facts["changes.json"] = changes(ops, now)
    made.facts["around.json"] = around(ops, case.at or now)
    return made


def _reports(ops: Ops, number: int | None) -> list[bytes]:
    if number is None:
        return []
    query = sa.select(b.c.raw).where(b.c.mail_id == number, sa.func.length(b.c.raw) > 0).order_by(b.c.id).limit(20)
    with explained("reading the reports"), reading(ops.engine) as connection:
        return [bytes(row.raw) for row in connection.execute(query)]


def timeline(ops: Ops, case: Case) -> dict[str, Any]:
    """The way of the mail, from everything that is known of it."""
    asked = str(case.number) if case.number is not None else ""
    if not asked and case.raw is not None:
        asked = ops.inbound.read(case.raw).message_id or ""
    if not asked:
        return {"known": False, "steps": [], "paths": [], "unjoined": []}
    try:
        found = ops.trace(asked, since=None, limit=1)
    except NotFound:
        return {"known": False, "steps": [], "paths": [], "unjoined": []}
    if not found.journeys:
        return {"known": bool(found.refused), "steps": [asdict(s) for s in found.refused], "paths": [], "unjoined": []}
    journey = found.journeys[0]
    return {
        "known": True,
        "message_id": journey.message_id,
        "sender": journey.author,
        "steps": [asdict(step) for step in journey.steps[:MOST]],
        "paths": [
            {"recipient": p.recipient, "says": p.says, "since": p.since, "answer": p.answer} for p in journey.paths
        ],
        "unjoined": list(journey.unjoined),
    }


def why(ops: Ops, case: Case) -> list[dict[str, Any]]:
    """Each recipient's trouble: what the server said, and what mailops makes of it. ``host`` and ``provider`` are of
    the server that was spoken to, so that the judgement can be made again."""
    if case.number is None:
        return []
    servers = {server.key: server for server in ops.setup.servers}
    out = []
    own = _own_errors(ops, case.number)
    for one in ops.why(case.number):
        failure, told = one.failure, one.explanation
        server = servers.get(failure.server_key)
        out.append(
            {
                "recipient": failure.recipient,
                "at": failure.at,
                "kind": failure.kind,
                "server": failure.server_key,
                "host": server.host if server else "",
                "provider": (server.provider or "") if server else "",
                "said": failure.error,
                "code": failure.code,
                "reason": failure.reason,
                "own": failure.id in own,
                "class": told.kind,
                "row": told.row or "",
                "cause": one.cause,
                "who": told.acts,
                "tasks": list(one.tasks),
                "consequence": one.consequence,
                "listed": one.listed,
            }
        )
    return out


def _own_errors(ops: Ops, number: int) -> set[int]:
    """Failures of which mailops itself knew the cause when it happened: no server's words tell it."""
    query = sa.select(e.c.id, e.c.data).where(e.c.mail_id == number, e.c.data.is_not(None))
    with explained("reading a mail's facts"), reading(ops.engine) as connection:
        return {int(row.id) for row in connection.execute(query) if "explained" in row.data}


def configuration(ops: Ops) -> dict[str, Any]:
    """The set-up without a secret."""
    setup, settings = ops.setup, ops.workspace.settings
    return {
        "mailops": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "database": "PostgreSQL" if ops.engine.dialect.name == "postgresql" else "SQLite",
        "hosting": str(setup.profile.hosting),
        "profile": f"{setup.profile.database}.{setup.profile.hosted_suffix}",
        "zone": settings.profile.zone,
        "servers": [_server(server) for server in setup.servers],
        "alias_domains": [asdict(domain) for domain in setup.alias_domains],
        "companies": [
            {"key": one.key, "email": one.email, "alias_domain": one.alias_domain.name if one.alias_domain else None}
            for one in setup.companies
        ],
        "parameters": {key: value for key, value in sorted(setup.parameters.items()) if not _quiet(key)},
        "aliases": [f"{one.local}@{one.domain or ''} → {one.model}" for one in ops.aliases][:MOST],
        "incoming": [
            {"protocol": a.protocol, "host": a.host, "port": a.port, "login": a.login, "state": a.state}
            for a in ops.mailboxes.list()
        ],
        "queue": settings.queue.model_dump(mode="json"),
        "findings": [
            {"code": f.code, "severity": str(f.severity), "message": f.message, "fix": f.fix} for f in ops.findings()
        ],
    }  # fmt: skip


def _server(server: Server) -> dict[str, Any]:
    kept = {"name", "password", "client_cert", "client_key", "ca_file"}
    shown = {key: value for key, value in asdict(server).items() if key not in kept}
    return shown | {"sign_in_kept": bool(server.password)}


def _quiet(key: str) -> bool:
    return any(word in key.lower() for word in ("secret", "password", "token", "key"))


def changes(ops: Ops, now: datetime) -> list[dict[str, Any]]:
    """What changed in the last days, as far as anything tells it: servers that mail first left by, steps of guides,
    DNS, keys, the settings file."""
    since = now - RECENT
    out: list[dict[str, Any]] = []
    with explained("reading what changed"), reading(ops.engine) as connection:
        first = sa.func.min(e.c.at, type_=e.c.at.type)
        query = sa.select(e.c.server_key, first).where(
            e.c.server_key.is_not(None), e.c.kind.in_(("sent", "failed", "deferred"))
        )
        for key, at in connection.execute(query.group_by(e.c.server_key)):
            if at >= since:
                out.append({"at": at, "what": f"mail was handed to the server {key} for the first time"})
        query = sa.select(g.c.guide, g.c.step, g.c.state, g.c.at).where(g.c.at >= since).order_by(g.c.at.desc())
        for row in connection.execute(query.limit(MOST)):
            out.append({"at": row.at, "what": f"step {row.step} of the guide {row.guide}: {row.state}"})
        query = sa.select(k).where(k.c.changed_at >= since).order_by(k.c.changed_at.desc())
        for row in connection.execute(query.limit(MOST)):
            out.append({"at": row.changed_at, "what": f"DKIM key {row.selector} of {row.domain}: {row.state}"})
    for domain in ops.setup.alias_domains:
        try:
            _, newer, found = ops.domains.compare(domain.name)
        except MailopsError:
            continue
        if newer.at >= since:
            out += [
                {"at": newer.at, "what": f"DNS of {domain.name}, {one.check}: {one.before} → {one.after}"}
                for one in found
            ]
    written = _written(ops)
    if written is not None and since <= written <= now:
        out.append({"at": written, "what": "mailops.toml was written"})
    return sorted(out, key=lambda one: one["at"], reverse=True)[:MOST]


def _written(ops: Ops) -> datetime | None:
    from datetime import UTC

    try:
        return datetime.fromtimestamp((ops.workspace.path / "mailops.toml").stat().st_mtime, UTC)
    except OSError:
        return None


def around(ops: Ops, at: datetime) -> dict[str, Any]:
    """Facts, runs and received mail within half an hour of the mail: how it was with the others."""
    span = (at - AROUND, at + AROUND)
    with explained("reading what happened around"), reading(ops.engine) as connection:
        query = sa.select(e.c.at, e.c.kind, e.c.mail_id, e.c.recipient, e.c.server_key, e.c.data).where(
            e.c.at.between(*span)
        )
        rows = connection.execute(query.order_by(e.c.at, e.c.id).limit(MOST)).all()
        done = connection.execute(
            sa.select(r.c.notebook, r.c.started_at, r.c.status).where(r.c.started_at.between(*span)).limit(MOST)
        ).all()
    return {
        "from": span[0],
        "until": span[1],
        "facts": [
            {
                "at": row.at, "kind": row.kind, "mail": row.mail_id, "recipient": row.recipient,
                "server": row.server_key, "said": str((row.data or {}).get("reply") or ""),
                "reason": str((row.data or {}).get("reason") or ""),
            }
            for row in rows
        ],
        "runs": [{"notebook": row.notebook, "at": row.started_at, "status": row.status} for row in done],
        "python": sys.version.split()[0],
    }  # fmt: skip


# --- answers that are known -------------------------------------------------------------------------------------------


def known_answers(ops: Ops, case: Case, facts: Mapping[str, Any]) -> dict[str, Answer]:
    """What is kept here, as answers to support's questions."""
    out = [
        ("reply", *_is_reply(ops, case)),
        ("sent", *_was_sent(ops, case)),
        ("incoming", *_incoming(ops)),
        ("example", *_example(ops)),
        ("changed", *_changed(facts)),
        ("specific", *_specific(ops, case)),
        ("expected", *_expected(ops, case)),
    ]
    return {key: Answer(key, "", answer, "mailops", tuple(evidence)) for key, answer, evidence in out}


def _is_reply(ops: Ops, case: Case) -> tuple[str, Sequence[str]]:
    if case.number is None:
        return "", ("It is not among the mails that were sent here.",)
    parent = msg.alias("parent")
    query = (
        sa.select(n.c.id, msg.c.kind, parent.c.kind.label("parent"))
        .join(msg, msg.c.id == n.c.message_id)
        .outerjoin(parent, parent.c.id == msg.c.parent_id)
        .where(n.c.mail_id == case.number)
    )
    with explained("reading notifications"), reading(ops.engine) as connection:
        row = connection.execute(query.limit(1)).first()
    if row is None:
        return "No: no entry of a thread made it.", ()
    reply = row.kind == "email" or row.parent == "email"
    return ("Yes." if reply else "No: somebody wrote it in the database."), (f"The entry is of kind {row.kind}.",)


def _was_sent(ops: Ops, case: Case) -> tuple[str, Sequence[str]]:
    if case.number is None:
        return "No: it is not among the mails that were sent here.", ()
    query = sa.select(e.c.at, e.c.actor, e.c.data).where(e.c.mail_id == case.number, e.c.kind == "submitted").limit(1)
    with explained("reading a mail's facts"), reading(ops.engine) as connection:
        row = connection.execute(query).first()
    when = f", handed in on {row.at:%Y-%m-%d %H:%M} UTC by {row.actor or 'a program'}" if row is not None else ""
    return f"Yes: mail {case.number} of the queue{when}.", ()


def _incoming(ops: Ops) -> tuple[str, Sequence[str]]:
    accounts = ops.mailboxes.list()
    methods = ops.readiness(dns=False).methods
    told = [f"{a.protocol} {a.host}:{a.port} as {a.login}, {a.state}" for a in accounts]
    if accounts:
        return f"Yes: {counted(len(accounts), 'incoming mail server')}.", told
    return (f"Mail comes in by: {', '.join(methods)}." if methods else "No incoming mail server is set up here."), told


def _example(ops: Ops) -> tuple[str, Sequence[str]]:
    lines, _ = ops.inbound.log(limit=50)
    good = next((one for one in lines if one.decision in ("reply", "create", "update")), None)
    if good is None:
        return "", ("No mail that came in correctly is kept here.",)
    return f"Yes: one of {good.at:%Y-%m-%d %H:%M} UTC was taken in ({good.decision}).", (good.reason,)


def _changed(facts: Mapping[str, Any]) -> tuple[str, Sequence[str]]:
    found = facts.get("changes.json") or []
    failed = [one["at"] for one in facts.get("why.json") or [] if one.get("at")]
    lines = [f"{one['at']:%Y-%m-%d %H:%M} UTC: {one['what']}" for one in found[:10]]
    if not found:
        return "Nothing that is kept here changed in the last 30 days.", ()
    if not failed:
        return f"Yes: {counted(len(found), 'change')} in the last 30 days.", lines
    before = [one for one in found if one["at"] <= min(failed)]
    told = f"{counted(len(before), 'change')} came before the first failure of {min(failed):%Y-%m-%d %H:%M} UTC."
    return f"Yes: {counted(len(found), 'change')} in the last 30 days; {told}", lines


def _specific(ops: Ops, case: Case) -> tuple[str, Sequence[str]]:
    since = ops.clock.now() - timedelta(days=7)
    query = sa.select(e.c.recipient, e.c.server_key).where(
        e.c.kind.in_(("failed", "bounced")), e.c.at >= since, e.c.recipient.is_not(None)
    )
    with explained("reading the failures"), reading(ops.engine) as connection:
        rows = connection.execute(query.order_by(e.c.id.desc()).limit(2_000)).all()
    if not rows:
        return "", ("No failure of the last 7 days is kept here.",)
    domains = {str(row.recipient).rpartition("@")[2].lower() for row in rows}
    servers = {row.server_key for row in rows if row.server_key}
    evidence = [f"{counted(len(rows), 'failure')} in 7 days, at {counted(len(domains), 'domain')}."]
    if len(domains) == 1:
        return f"Specific: every failure of the last 7 days is at {next(iter(domains))}.", evidence
    if len(servers) == 1:
        return f"Specific: every failure of the last 7 days left by {next(iter(servers))}.", evidence
    return f"Generic: failures at {counted(len(domains), 'domain')}.", evidence


def _expected(ops: Ops, case: Case) -> tuple[str, Sequence[str]]:
    if case.number is None:
        return "", ()
    with explained("reading what came back"), reading(ops.engine) as connection:
        query = sa.select(e.c.at, e.c.kind).where(e.c.mail_id == case.number, e.c.kind.in_(("bounced", "failed")))
        told = connection.execute(query.order_by(e.c.id).limit(20)).all()
        marks = [str(row[0]) for row in connection.execute(sa.select(n.c.state).where(n.c.mail_id == case.number))]
    evidence = [f"{row.kind} on {row.at:%Y-%m-%d %H:%M} UTC" for row in told]
    evidence += [f"the envelope of the entry: {state}" for state in marks]
    if not told:
        return "No bounce reached the database, and no failure is known.", evidence
    red = any(state in ("bounce", "exception", "failed") for state in marks)
    shown = "shows the red envelope" if red else "has no entry in a thread" if not marks else "shows no red envelope"
    came = "The bounce reached the database" if any(row.kind == "bounced" for row in told) else "It was refused at once"
    return f"{came}; it {shown}.", evidence
