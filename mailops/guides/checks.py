"""What marks steps by itself: the checks of the guides, bound to the services of a workspace.

A check looks at the world and gives a :class:`Verdict`; it never raises for what it finds there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from ..errors import MailopsError
from ..model.setup import Encryption, MailClass, Server, Setup
from ..model.text import counted
from ..model.verdict import Verdict, VerdictState
from ..oauth.account import Account, FlowKind
from ..oauth.claims import judge_claims, read_claims
from ..oauth.doctor import Doctor, Reading
from ..oauth.tokens import TokenService
from ..providers import provider
from ..providers.outgoing import server_for
from ..routing.mailbox import envelope_of
from ..routing.ports import encryption_finding, port_finding
from .engine import Check, GuideRun
from .flows import flow_of
from .model import Step
from .values import values_of

if TYPE_CHECKING:
    from ..dns.published import Sighting
    from ..dns.records import ZoneRecord

Tester = Callable[[Server], Any]
"""Test Connection: gives an object with ``ok``, ``message``, ``code``, ``fix`` and ``facts``."""


@dataclass
class Services:
    """What checks need. Whatever is missing makes its checks unavailable, not wrong."""

    tokens: TokenService | None = None
    test: Tester | None = None
    setup: Callable[[], Setup] | None = None
    mailjet: Callable[[str, str], Any] | None = None  # API key, reference of the secret → MailjetApi
    ask_txt: Callable[[str], Any] | None = None  # name → mailops.dns Answer
    look_up: Callable[[Sequence[ZoneRecord]], Sequence[Sighting]] | None = None  # (default: by ask_txt)
    overrides: Mapping[str, Any] = field(default_factory=dict)  # of the account (sandbox)
    server_overrides: Mapping[str, Any] = field(default_factory=dict)
    reading: Reading | None = None


def checks_for(services: Services) -> dict[str, Check]:
    """The checks that these services allow, by name."""
    bound = _Checks(services)
    found: dict[str, Check] = {"both_values": bound.both_values, "mailjet_server": bound.mailjet_server}
    if services.tokens is not None:
        found |= {"connect": bound.connect, "incoming": bound.incoming, "first_mail": bound.first_mail}
    if services.test is not None:
        found["test_connection"] = bound.test_connection
    if services.mailjet is not None:
        found |= {
            "mailjet_keys": bound.mailjet_keys,
            "mailjet_senders": bound.mailjet_senders,
            "mailjet_dns": bound.mailjet_dns,
        }
    if services.ask_txt is not None:
        found |= {"mailjet_txt": bound.mailjet_txt, "mailjet_dns": bound.mailjet_dns}
    return found


# --- what the answers amount to ---------------------------------------------------------------------------------------


def account_of(run: GuideRun, flow: FlowKind | None = None, **overrides: Any) -> Account:
    """The account that the answers describe. Raises :class:`ConfigError` where Client ID or Secret are missing."""
    from ..errors import ConfigError

    answers = run.answers()
    of = provider(run.guide.provider)
    way = flow or flow_of(of.id, answers) or FlowKind.WEB
    user = str(answers.get("mailbox") or answers.get("username") or "")
    shared = str(answers.get("shared") or "")
    if not shared:
        user = str(answers.get("username") or user)
    proof = answers.get("service_json") if way is FlowKind.SERVICE_ACCOUNT else answers.get("client_secret")
    wants_id = way is not FlowKind.SERVICE_ACCOUNT
    if not user or (wants_id and not answers.get("client_id")) or not (proof or (way.public and of.id == "outlook")):
        raise ConfigError(of.not_configured, code="auth.not_configured", fix="Finish the steps before this one.")
    ends = answers.get("secret_ends")
    tenant = values_of(run.guide, answers, run.profile)["tenant"] if of.id == "outlook" else "common"
    if of.id == "outlook" and tenant.startswith("("):
        raise ConfigError(
            "The Directory (tenant) ID is missing.",
            code="auth.tenant",
            fix="Enter it in the step Register an application.",
        )
    public = way.public and of.id == "outlook"  # such a client must send no secret
    values: dict[str, Any] = {
        "key": (shared or user).lower(),
        "provider": of.id,
        "flow": way,
        "user": user,
        "mailbox": shared or None,
        "client_id": str(answers.get("client_id") or ""),
        "client_secret": None if public or way is FlowKind.SERVICE_ACCOUNT else answers.get("client_secret"),
        "service_account": proof if way is FlowKind.SERVICE_ACCOUNT else None,
        "tenant": tenant,
        "testing": of.id == "gmail" and answers.get("user_type") == "external" and not way.app_only,
        "secret_ends": date.fromisoformat(str(ends)) if ends and not public else None,
    }
    return Account(**{**values, **overrides})


def server_of(run: GuideRun, **overrides: Any) -> Server:
    """The outgoing server that the answers describe, with the provider's host, port and encryption."""
    answers = run.answers()
    name = str(answers.get("server_name") or run.guide.title)
    if run.guide.provider == "mailjet":
        port = int(str(answers.get("port") or 587))
        server = server_for(
            "mailjet",
            login=str(answers.get("api_key") or ""),
            password=answers.get("secret_key"),
            port=port if port in (465, 587) else 587,
            name=name,
            priority=int(str(answers.get("priority") or 20)),
        )
        if port not in (465, 587):
            server = replace(server, port=port)
        if answers.get("security") == "none":
            server = replace(server, encryption=Encryption.NONE)
        server = replace(server, mail_class=MailClass.MASS, from_filter=mailjet_filter(answers) or None)
        return replace(server, **{"host": str(answers.get("smtp_server") or server.host), **overrides})
    mailbox = str(answers.get("username") or answers.get("shared") or answers.get("mailbox") or "")
    server = server_for(run.guide.provider, login=mailbox, name=name)
    return replace(server, **{"from_filter": str(answers.get("from_filter") or mailbox), **overrides})


def mailjet_filter(answers: Mapping[str, Any]) -> str:
    """What Mailjet verified, as a FROM filter: the whole domain, or the single addresses."""
    domain = str(answers.get("domain") or "").strip().lower()
    if str(answers.get("sender_way") or "domain") == "domain":
        return domain
    return ", ".join(sender_addresses(str(answers.get("senders") or ""), domain))


def authentication_options(enabled: Sequence[str]) -> tuple[str, ...]:
    """AZ-22, GO-21: the ways to sign in that a server form offers; OAuth only for enabled providers."""
    return (
        "none",
        "login",
        "certificate",
        "cli",
        *(f"oauth:{name}" for name in ("outlook", "gmail") if name in enabled),
    )


class _Checks:
    def __init__(self, services: Services) -> None:
        self.services = services

    def _server(self, run: GuideRun) -> Server:
        return server_of(run, **self.services.server_overrides)

    def both_values(self, run: GuideRun, step: Step) -> Verdict:
        """GO-20: Client ID and Client Secret are both there."""
        answers = run.answers()
        missing = [
            label
            for name, label in (("client_id", "Client ID"), ("client_secret", "Client Secret"))
            if not answers.get(name)
        ]
        if missing:
            return _verdict(
                run,
                step,
                VerdictState.FAILED,
                f"{' and '.join(missing)} missing.",
                "Copy both, or give the JSON.",
                "guide.missing",
            )
        return _verdict(run, step, VerdictState.PASSED, "Client ID and Client Secret are there.")

    def connect(self, run: GuideRun, step: Step) -> Verdict:
        """AZ-28, GO-26: a token is in force; the tag's text is the product's."""
        assert self.services.tokens is not None
        server = self._server(run)
        if not server.login:
            return _verdict(
                run,
                step,
                VerdictState.FAILED,
                "The server has no username, so it cannot be connected.",
                "Enter the mailbox as Username.",
                "guide.username",
            )
        try:
            token = self.services.tokens.access_token(server)
        except MailopsError as error:
            return _from_error(run, step, error)
        account = self.services.tokens.accounts.load(self.services.tokens.key_of(server)).account
        claims = judge_claims(read_claims(token), account, run.clock.now())
        if claims.state is VerdictState.FAILED:  # a token that no mail server will take: say so at once
            return replace(claims, check=f"guide.{step.id}", subject=run.store.subject, title=step.title)
        return _verdict(run, step, VerdictState.PASSED, account.about.token_tag)

    def test_connection(self, run: GuideRun, step: Step) -> Verdict:
        """AZ-29, GO-27, MJ-24: the product's Test Connection."""
        assert self.services.test is not None
        server = self._server(run)
        domain = str(run.answers().get("domain") or "")
        if run.guide.provider == "mailjet" and not server.from_filter and domain:
            server = replace(server, from_filter=f"notifications@{domain}")  # a key is no sender; that one is verified
        result = self.services.test(server)
        state = VerdictState.PASSED if result.ok else VerdictState.FAILED
        warnings = getattr(result, "warnings", ())
        if result.ok and warnings:
            told = warnings[0]
            found = f"{result.message} But mail will not leave: {told.message}"
            return _verdict(run, step, VerdictState.WARNING, found, told.fix, told.code, **dict(told.facts))
        judged = _verdict(run, step, state, result.message, result.fix, result.code, **dict(result.facts))
        # a passed test is no proof that mail goes out (OUT-20)
        return replace(judged, fix=getattr(result, "note", "")) if result.ok else judged

    def incoming(self, run: GuideRun, step: Step) -> Verdict:
        """AZ-39: the incoming server goes from draft to confirmed only after a good login."""
        assert self.services.tokens is not None
        server = self._server(run)
        doctor = Doctor(self.services.tokens, clock=run.clock)
        verdicts = doctor.examine(server, reading=self.services.reading, test_mail=False)
        mailbox = next(v for v in verdicts if v.check == "doctor.mailbox")
        good = mailbox.state is VerdictState.PASSED
        evidence = {**mailbox.evidence, "server_state": "confirmed" if good else "draft"}
        return replace(
            mailbox, check=f"guide.{step.id}", subject=run.store.subject, title=step.title, evidence=evidence
        )

    def first_mail(self, run: GuideRun, step: Step) -> Verdict:
        """A real mail to the mailbox itself, with the envelope sender that mail will have, found again."""
        assert self.services.tokens is not None
        server = self._server(run)
        sender = envelope_of(server, self.services.setup()) if self.services.setup else server.login
        verdicts = Doctor(self.services.tokens, clock=run.clock, wait=30.0).examine(
            server, reading=self.services.reading, sender=sender or None
        )
        broken = next((v for v in verdicts if v.state in (VerdictState.FAILED, VerdictState.UNKNOWN)), verdicts[-1])
        return replace(broken, check=f"guide.{step.id}", subject=run.store.subject, title=step.title)

    # --- Mailjet ------------------------------------------------------------------------------------------------------

    def _api(self, run: GuideRun) -> Any:
        assert self.services.mailjet is not None
        answers = run.answers()
        return self.services.mailjet(str(answers.get("api_key", "")), str(answers.get("secret_key", "")))

    def mailjet_keys(self, run: GuideRun, step: Step) -> Verdict:
        """The keys open the API."""
        try:
            with self._api(run) as api:
                count = len(api.senders())
        except MailopsError as error:
            return _from_error(run, step, error)
        return _verdict(
            run, step, VerdictState.PASSED, f"Mailjet knows the keys; the account has {counted(count, 'sender')}."
        )

    def mailjet_senders(self, run: GuideRun, step: Step) -> Verdict:
        """MJ-08 to MJ-10, MJ-14: every sending address is verified, by itself or by its domain."""
        from ..providers.mailjet import covered

        answers = run.answers()
        try:
            with self._api(run) as api:
                senders = api.senders()
        except MailopsError as error:
            return _from_error(run, step, error)
        wanted = sender_addresses(str(answers.get("senders", "")), str(answers.get("domain", "")))
        missing = [a for a in wanted if not covered(a, senders, str(answers.get("account_address", "")))]
        if missing:
            return _verdict(
                run,
                step,
                VerdictState.FAILED,
                f"Not verified in Mailjet: {', '.join(missing)}.",
                "Verify each address, or its whole domain.",
                "auth.mailjet-sender",
                missing=missing,
            )
        return _verdict(
            run, step, VerdictState.PASSED, f"{counted(len(wanted), 'address is', 'addresses are')} verified."
        )

    def mailjet_txt(self, run: GuideRun, step: Step) -> Verdict:
        """MJ-16, MJ-18: the ownership record, looked up by ourselves before *Check Now* is pressed."""
        from ..dns.published import Presence, compare
        from ..dns.records import ZoneRecord

        assert self.services.ask_txt is not None
        answers = run.answers()
        name, value = record_name(str(answers["dns_host"]), str(answers.get("domain", ""))), str(answers["dns_value"])
        seen = compare(ZoneRecord(name, "TXT", value.strip().strip('"')), self.services.ask_txt(name))
        facts: dict[str, Any] = {
            "name": name,
            "presence": seen.presence.value,
            "found": list(seen.found),
            "ttl": seen.ttl,
        }
        if seen.presence is Presence.PRESENT:
            return _verdict(
                run, step, VerdictState.PASSED, "The record is visible: press Check Now.", "", "dns.present", **facts
            )
        wait = f" Old answers live in caches for up to {seen.ttl} seconds more." if seen.ttl else ""
        if seen.presence is Presence.UNKNOWN:
            return _verdict(run, step, VerdictState.UNKNOWN, seen.reason, "Try again.", "dns.unknown", **facts)
        found = f"The record is {seen.presence.value}: do not press Check Now yet.{wait}"
        return _verdict(
            run,
            step,
            VerdictState.FAILED,
            found,
            f"Publish TXT {name} with the value shown; {seen.reason}.",
            f"dns.{seen.presence.value}",
            **facts,
        )

    def mailjet_dns(self, run: GuideRun, step: Step) -> Verdict:
        """MJ-12, MJ-19: the pasted records as DNS has them, then SPF and DKIM as Mailjet sees them; missing ones are a
        warning, not an error."""
        domain = str(run.answers().get("domain", ""))
        told, facts = self._pasted(run.answers(), domain)
        if self.services.mailjet is None and not facts:
            return _verdict(run, step, VerdictState.UNKNOWN, "No record was pasted, and Mailjet cannot be asked here.",
                            "Paste the records that the page lists.", "guide.missing")  # fmt: skip
        if told or self.services.mailjet is None:
            state = VerdictState.WARNING if told else VerdictState.PASSED
            found = " ".join(said for said, _ in told) or f"SPF and DKIM of {domain} are published as pasted."
            return _verdict(run, step, state, found, " ".join(fix for _, fix in told), "dns.pasted", **facts)
        try:
            with self._api(run) as api:
                result = api.check_dns(api.dns(domain).id)
        except MailopsError as error:
            return _from_error(run, step, error)
        wrong = [n for n, s in (("SPF", result.spf_status), ("DKIM", result.dkim_status)) if s.upper() != "OK"]
        facts = {
            "spf": result.spf_status,
            "dkim": result.dkim_status,
            "spf_seen": list(result.spf_current),
            "dkim_seen": result.dkim_current,
        }
        if wrong:
            return _verdict(
                run,
                step,
                VerdictState.WARNING,
                f"Mailjet does not see {' and '.join(wrong)} of {domain} yet.",
                f"Publish the records; see them with: mailops domain check {domain} --service mailjet",
                "auth.mailjet-dns",
                **facts,
            )
        return _verdict(run, step, VerdictState.PASSED, f"SPF and DKIM of {domain} are right.", **facts)

    def _pasted(self, answers: Mapping[str, Any], domain: str) -> tuple[list[tuple[str, str]], dict[str, Any]]:
        """What is wrong with the records that were pasted, each with what to publish, and how each stands."""
        from ..dns.published import Presence
        from ..dns.records import ZoneRecord
        from ..dns.spf_merge import merge

        told: list[tuple[str, str]] = []
        facts: dict[str, Any] = {}
        dkim = str(answers.get("dkim_record") or "").strip().strip('"')
        if dkim:
            name = record_name(str(answers.get("dkim_host") or "mailjet._domainkey"), domain)
            [seen] = self._look_up([ZoneRecord(name, "TXT", dkim)])
            facts["dkim_pasted"] = seen.presence.value
            if seen.presence is not Presence.PRESENT:
                fix = f"Publish TXT {name} with the value pasted."
                told.append((f"The DKIM record is {seen.presence.value}: {seen.reason}.", fix))
        spf = str(answers.get("spf_record") or "").strip().strip('"')
        if spf:
            [seen] = self._look_up([ZoneRecord(domain, "TXT", spf)])
            there = [text for text in seen.found if text.lower().startswith("v=spf1")]
            wanted = [term for term in spf.split()[1:] if not term.lower().endswith("all")]
            lacking = [term for term in wanted if not any(term.lower() in text.lower().split() for text in there)]
            facts["spf_pasted"] = seen.presence.value if lacking or not there else Presence.PRESENT.value
            if seen.presence is Presence.UNKNOWN:
                told.append((f"The SPF record could not be read: {seen.reason}.", "Try again."))
            elif lacking or not there:
                text = merge(there, wanted).text or spf
                seen_now = f"there is {there[0]!r}" if there else f"no SPF record stands at {domain}"
                said = f"The SPF record is {facts['spf_pasted']}: {seen_now}, without {' '.join(lacking)}."
                told.append((said, f"Publish TXT {domain}: {text} (one SPF record, never a second one)."))
        return told, facts

    def _look_up(self, records: Sequence[ZoneRecord]) -> Sequence[Sighting]:
        from ..dns.published import compare

        if self.services.look_up is not None:
            return self.services.look_up(records)
        assert self.services.ask_txt is not None
        return [compare(record, self.services.ask_txt(record.name)) for record in records]

    def mailjet_server(self, run: GuideRun, step: Step) -> Verdict:
        """MJ-04, MJ-21 to MJ-23: port, encryption, and a priority above every server for day-to-day mail; with the
        domain way (MJ-14) Mailjet is asked whether the domain, and so every sender, is verified."""
        if self.services.mailjet is not None and run.answers().get("sender_way") == "domain":
            asked = self.mailjet_senders(run, step)
            if not asked.passed:
                return asked
        server = self._server(run)
        findings = [
            port_finding(run.profile.hosting, server.port, server.name),
            encryption_finding(server.port, server.encryption, server.name),
        ]
        others = self.services.setup().servers if self.services.setup else ()
        higher = [s for s in others if s.active and s.provider != "mailjet" and s.priority >= server.priority]
        if higher:
            names = ", ".join(f"{s.name} ({s.priority})" for s in higher)
            return _verdict(
                run,
                step,
                VerdictState.FAILED,
                f"Priority {server.priority} is not higher than that of {names}.",
                f"Give Mailjet a priority above {max(s.priority for s in higher)}.",
                "guide.priority",
            )
        said = [f for f in findings if f is not None]
        if said:
            worst = said[0]
            state = VerdictState.FAILED if worst.severity.value in ("error", "blocking") else VerdictState.WARNING
            return _verdict(run, step, state, worst.message, worst.fix, worst.code, **worst.facts)
        return _verdict(
            run,
            step,
            VerdictState.PASSED,
            f"{server.host}:{server.port}, {server.encryption.value}, priority {server.priority}.",
        )


def sender_addresses(senders: str, domain: str) -> list[str]:
    """The addresses to verify: those named, and always the three technical ones of the domain (MJ-10)."""
    import re

    named = [a.lower() for a in re.split(r"[\s,;]+", senders) if a]
    technical = [f"{local}@{domain.lower()}" for local in ("notifications", "bounce", "catchall")] if domain else []
    return list(dict.fromkeys([*technical, *named]))


def record_name(host: str, domain: str) -> str:
    """The full name of a record: consoles show it with or without the domain, ``@`` for the domain itself."""
    host, domain = host.strip().rstrip(".").lower(), domain.strip().rstrip(".").lower()
    if host in ("", "@"):
        return domain
    return host if not domain or host == domain or host.endswith("." + domain) else f"{host}.{domain}"


def _verdict(
    run: GuideRun, step: Step, state: VerdictState, found: str, fix: str = "", code: str = "", /, **evidence: Any
) -> Verdict:
    return Verdict(
        f"guide.{step.id}",
        run.store.subject,
        state,
        step.title,
        found,
        "",
        "" if state is VerdictState.PASSED else fix,
        code,
        evidence,
        run.clock.now(),
    )


def _from_error(run: GuideRun, step: Step, error: MailopsError) -> Verdict:
    facts = {k: v for k, v in error.facts.items() if k != "transcript"}
    said = " ".join(str(facts.get("said") or "").split())[:300]
    words = f"{error.message} The provider said: {said}" if said and said not in error.message else error.message
    return _verdict(run, step, VerdictState.FAILED, words, error.fix, error.code, **facts)
