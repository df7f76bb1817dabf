"""What becomes of a received mail: one pure function, rules in a fixed order, each noted in the trace.

::

    1 known Message-ID ────────────▶ duplicate          6 all of To is catchall ──▶ notice, refused
    2 answers one of our notices ──▶ dropped            7 aliases ────────────────▶ create / update / policy notice
    3 a report ────────────────────▶ bounce service     8 the server's own model ─▶ create
    4 (sender's counters to 0)                          9 catchall beside others ─▶ notice, refused
    5 a reply ─────────────────────▶ posted            10 nothing fits ───────────▶ no route
   5b answers a mail sent without a                    11 routes that create pass the loop check
      record ─────────────────────▶ to its author

Whether a mail is a report, and what it says, is :mod:`mailops.bounces.addressed`. ``to`` (Delivered-To and To) decides
about catchall and forwards; ``recipients`` (with Cc and Resent-*) about aliases. Nothing here reads a clock, a database
or the network.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache

from ..bounces.addressed import REPORTS, foreseen, sign, understood
from ..bounces.reading.report import Report
from ..model.address import ascii_domain, parse_first
from ..model.alias import Alias, AliasStatus, Key, Policy
from ..model.setup import AliasDomain
from ..model.text import counted
from ..threads.alias_names import matching
from . import notices
from .loops import is_marked, likeness
from .values import Decision, GatewayView, InboundMail, Kind, MessageFacts, Notice, Route, SentFacts, Step

MAX_REFERENCES = 32
MAX_BLOCKS = 32  # of a report, told in the trace
NOT_BY_ITSELF = ("list-id", "list-unsubscribe", "x-auto-response-suppress")
"""What a person may have written, and nobody answers all the same."""


def route_inbound(mail: InboundMail, view: GatewayView) -> Decision:
    """Decide about one mail. The view answers questions about the store; nothing is changed."""
    return _Run(in_our_spelling(mail, view), view).decide()


def in_our_spelling(mail: InboundMail, view: GatewayView) -> InboundMail:
    """The mail with our domains written as we write them: an A-label and its U-label are one domain (RFC 5890 §2.3)."""
    ours = {d.name.lower() for d in view.domains} | {a.domain.lower() for a in view.aliases if a.domain}
    ours |= view.allowed_domains
    written = {address.rpartition("@")[2] for address in (*mail.recipients, *mail.to, *mail.heading.to)}
    if all(name.isascii() and "xn--" not in name for name in ours):
        return mail
    forms = {ascii_domain(name): name for name in ours}
    spelt = {name: forms[form] for name in written - ours if (form := ascii_domain(name)) in forms}
    if not spelt:
        return mail

    def ours_of(addresses: tuple[str, ...]) -> tuple[str, ...]:
        parts = (address.rpartition("@") for address in addresses)
        return tuple(dict.fromkeys(f"{local}@{spelt.get(domain, domain)}" for local, _, domain in parts))

    heading = replace(mail.heading, to=ours_of(mail.heading.to))
    return replace(mail, to=ours_of(mail.to), recipients=ours_of(mail.recipients), heading=heading)


class _Run:
    """One decision in the making; holds the trace."""

    def __init__(self, mail: InboundMail, view: GatewayView) -> None:
        self.mail, self.view = mail, view
        self.trace: list[Step] = []
        self.notices: list[Notice] = []
        self.statuses: list[tuple[Key, AliasStatus]] = []
        self.refusals: list[tuple[str, str]] = []
        self.author: Key | None = None

    def note(self, rule: str, found: str) -> None:
        self.trace.append(Step(rule, found))

    def end(self, kind: Kind, code: str, reason: str, **more: object) -> Decision:
        plain = Decision(
            kind,
            code,
            reason,
            self.mail.message_id,
            notices=tuple(self.notices),
            author=self.author,
            statuses=tuple(self.statuses),
            trace=tuple(self.trace),
        )
        return replace(plain, **more)  # type: ignore[arg-type]  # the names are Decision's own fields

    # --- the order ----------------------------------------------------------------------------------------------------

    def decide(self) -> Decision:
        mail, view = self.mail, self.view
        why = sign(mail.heading, mail.report, view.ours(mail.heading))
        # a report may bear the Message-ID of its original, or answer a notice: it is taken all the same
        read = mail.report if why and mail.report.kind in REPORTS else None
        if view.handled(mail):
            self.note("duplicate", f"{mail.message_id} was taken before")
            words = "This mail was taken before; nothing is done twice."
            bears_ours = view.message(mail.message_id) is not None
            return self.end(Kind.DUPLICATE, "duplicate", words, report=read if bears_ours else None)
        self.note("duplicate", "the mail is new: its Message-ID, or what stands under it")
        if is_marked((*mail.references, *mail.in_reply_to)):
            self.note("loop-reply", "it answers one of our own notices")
            words = "It answers a notice of the gateway; dropped to end a loop."
            return self.end(Kind.LOOP_REPLY, "loop_reply", words, report=read)
        if why:
            self.note("bounce", why)
            return self.reported(understood(mail.report, mail.heading, why), why)
        self.note("bounce", "no sign of a report")
        return replace(self.ordinary(), reset=mail.sender_address or None)

    def ordinary(self) -> Decision:
        mail, view = self.mail, self.view
        found = self.answered()
        named = technical_addresses(view.domains)
        # with a tag it is the same address: who makes one up gets no further than who leaves it out
        technical = named | {a for a in (*mail.to, *mail.recipients) if _without_tag(a) in named}
        people = [a for a in mail.recipients if a not in technical]
        aliases: tuple[Alias, ...] = tuple(
            a
            for a in matching(view.aliases, mail.recipients, view.allowed_domains)
            if (a.address or "").lower() in mail.recipients or matching([a], people, view.allowed_domains)
        )
        if found is not None and found.record is not None:
            others = self.other_models(found)
            if others:
                self.note("forward", f"To names {_names(others)}, of another kind than the answered record")
                aliases = others
            else:
                decision = self.reply(found, aliases)
                if decision:
                    return decision
        catchalls = {d.catchall_address.lower() for d in view.domains if d.catchall_address}
        catchalls |= {a for a in mail.to if _without_tag(a) in catchalls}
        only_technical = bool(mail.to or mail.recipients) and technical.issuperset(mail.to or mail.recipients)
        sent = None if aliases or found or (view.fallback_model and not only_technical) else self.sent_mail()
        if sent is not None:
            return self.to_author(sent, technical)
        if mail.to and all(address in catchalls for address in mail.to):
            self.note("catchall", "every address in To is a catchall and no known mail is answered")
            return self.catchall()
        self.note("catchall", "To is not the catchall alone")
        if aliases:
            self.note("aliases", f"addressed: {_names(aliases)}")
            return self.by_aliases(aliases)
        self.note("aliases", "no alias has one of these addresses")
        decision = self.fallback(only_technical)
        if decision:
            return decision
        if any(address in catchalls for address in mail.to):
            self.note("catchall-beside", "a catchall stands beside addresses nobody has")
            return self.catchall()
        self.note("no-route", "nothing fits")
        who = ", ".join(mail.recipients) or "no address at all"
        return self.end(
            Kind.NO_ROUTE, "no_route", f"Nobody here has this address ({who}), and no known mail is answered."
        )

    def reported(self, report: Report, why: str) -> Decision:
        """The bounce service takes it; what each block says decides what that changes."""
        blocks = foreseen(report)
        for block in blocks[:MAX_BLOCKS]:
            self.note("report", f"{block.recipient or 'nobody is named'}: {block.kind}, {block.words}")
        about = ", ".join(f"{block.recipient or 'nobody it names'} ({block.kind})" for block in blocks[:5])
        words = f"A report about {about}: {why}."
        return self.end(Kind.BOUNCE, "bounce", words, report=report, blocks=blocks)

    # --- replies ------------------------------------------------------------------------------------------------------

    def answered(self) -> MessageFacts | None:
        """What a signed token names; else the newest known message among the references (the last 32); else that of
        In-Reply-To."""
        if self.mail.answers is not None:
            self.note("token", f"the address carries our signed token of record {self.mail.answers.record}")
            return self.mail.answers
        for name, ids in (("References", self.mail.references), ("In-Reply-To", self.mail.in_reply_to)):
            known = [m for i in ids[-MAX_REFERENCES:] if (m := self.view.message(i)) is not None and not m.force_new]
            if known:
                newest = max(known, key=lambda m: m.order)
                self.note("reply", f"{name} names {newest.message_id}")
                return newest
        self.note("reply", "no known message is referenced")
        return None

    def parent(self, found: MessageFacts) -> MessageFacts:
        """The message that is answered: the one In-Reply-To names, else the newest known reference."""
        known = (self.view.message(i) for i in self.mail.in_reply_to)
        return next((m for m in known if m is not None and not m.force_new and m.record == found.record), found)

    def other_models(self, found: MessageFacts) -> tuple[Alias, ...]:
        """Aliases of another model in To: then the mail is a forward, not a reply."""
        model = self.model_of(found)
        if model is None:
            return ()
        hits = matching(self.view.aliases, self.mail.to, self.view.allowed_domains)
        return tuple(a for a in hits if a.model != model)

    def model_of(self, found: MessageFacts) -> str | None:
        record = self.view.record(found.record) if found.record is not None else None
        return record.model if record else found.model

    def reply(self, found: MessageFacts, aliases: tuple[Alias, ...]) -> Decision | None:
        """Post on the answered record. An alias of the same model that is addressed too applies its policy."""
        model = self.model_of(found)
        alias = next((a for a in aliases if a.model == model), None)
        facts = self.view.model(model) if model else None
        if model is None or facts is None or not facts.accepts_mail:
            self.note("reply", f"records of kind {model or 'unknown'} take no mail")
            return None
        record = self.view.record(found.record) if found.record is not None else None
        self.author = self.find_author(record.key if record else None)
        if alias and not self.permitted(alias, record.key if record else alias.parent):
            return self.refused()
        if record is None:
            if alias and self.unwanted(alias):
                return self.refused()
            self.note("reply", "the answered record is gone: a new one is made")
            return self.checked((Route(model, None, alias),))
        if self.too_many_on(record.key):
            words = f"Automatic mail on record {record.key} has reached its limit; dropped to end a loop."
            return self.end(Kind.LOOP_BLOCKED, "loop_thread", words)
        parent = self.parent(found)
        if found is self.mail.answers and found.internal and not parent.internal:
            parent = found  # whatever else the header says, a note is answered: nobody outside hears of it
        route = Route(model, record.key, alias)
        words = f"It answers {parent.message_id or 'an entry that is gone'}."
        return self.end(Kind.REPLY, "reply", words, routes=(route,), parent=parent, internal=parent.internal)

    # --- answers to mail without a record -----------------------------------------------------------------------------

    def sent_mail(self) -> SentFacts | None:
        """The mail of ours that is answered, where no record knows it."""
        ids = dict.fromkeys((*self.mail.in_reply_to, *reversed(self.mail.references[-MAX_REFERENCES:])))
        found = next((sent for i in ids if (sent := self.view.sent(i)) is not None), None)
        if found is not None:
            self.note("sent", f"it answers {found.message_id}, a mail without a record")
        return found

    def to_author(self, sent: SentFacts, technical: frozenset[str]) -> Decision:
        """Pass an answer on to who sent the mail; where nobody did (a mail without From), say where to write."""
        author, mail = parse_first(sent.sender), self.mail
        own = technical | {a.address.lower() for a in self.view.aliases if a.address}
        if author is None or author.normalised in own or (sent.by_gateway and mail.automatic):
            notice = notices.catchall_notice(mail, self.view)
            self.notices = [notice] if notice else []
            words = f"It answers {sent.message_id}, which no person sent; the sender is told where to write."
            return self.end(Kind.REFUSED, "no_author", words)
        if author.normalised in (*mail.recipients, mail.sender_address):
            words = f"It answers {sent.message_id}, and {author.spec} has it already."
            return self.end(Kind.FORWARDED, "author_has_it", words)
        words = f"It answers {sent.message_id}, which belongs to no record; it is passed on to {author.spec}."
        return self.end(Kind.FORWARDED, "forwarded", words, forward_to=author.spec)

    # --- aliases ------------------------------------------------------------------------------------------------------

    def by_aliases(self, aliases: tuple[Alias, ...]) -> Decision:
        routes: list[Route] = []
        for alias in aliases:
            bound = self.view.record(alias.record) if alias.record is not None else None
            facts = self.view.model(alias.model)
            if facts is None or not facts.accepts_mail:
                self.note("alias", f"{alias.local}: records of kind {alias.model} take no mail")
                continue
            reference = bound.key if bound else alias.parent
            author = self.find_author(reference)
            self.author = self.author if self.author is not None else author
            if bound is None and self.unwanted(alias):
                continue
            if self.permitted(alias, reference, author):
                routes.append(Route(alias.model, bound.key if bound else None, alias))
        if routes:
            return self.checked(tuple(routes))
        if self.refusals:
            return self.refused()
        return self.end(Kind.NO_ROUTE, "model_refuses", f"{_names(aliases)} lead to records that take no mail.")

    def fallback(self, only_technical: bool) -> Decision | None:
        """The target model of the incoming server; technical addresses alone never make a record."""
        name = self.view.fallback_model
        if not name:
            return None
        if only_technical:
            self.note("server-model", "only technical addresses are written to")
            return None
        facts = self.view.model(name)
        if facts is None or not facts.accepts_mail:
            self.note("server-model", f"records of kind {name} take no mail")
            return None
        self.note("server-model", f"the incoming server makes records of kind {name}")
        self.author = self.find_author(None)
        return self.checked((Route(name, None, None),))

    def checked(self, routes: tuple[Route, ...]) -> Decision:
        """Routes that create pass the loop check; one block refuses the mail whole."""
        view, sender = self.view, self.mail.sender_address
        creating = [r for r in routes if r.creates]
        bound = next((r.record for r in routes if r.record is not None and self.too_many_on(r.record)), None)
        if bound is not None:
            words = f"Automatic mail on record {bound} has reached its limit; dropped to end a loop."
            return self.end(Kind.LOOP_BLOCKED, "loop_thread", words)
        if creating and sender and not self.is_allowed():
            count = view.created_by(sender, view.now - timedelta(minutes=view.limits.minutes))
            limit = f"{count} of {counted(view.limits.threshold, 'record')} in {counted(view.limits.minutes, 'minute')}"
            self.note("loop", f"{sender} made {limit}")
            if count >= view.limits.threshold:
                notice = notices.loop_notice(self.mail, view, creating[0].alias)
                self.notices = [notice] if notice else []
                return self.end(Kind.LOOP_BLOCKED, "loop", f"{sender} has reached its limit: {limit}.")
            alike = self.alike()
            if alike >= view.limits.threshold:
                notice = notices.loop_notice(self.mail, view, creating[0].alias) if self.answered_still(alike) else None
                self.notices = [notice] if notice else []
                within = counted(view.limits.minutes, "minute")
                words = f"Mails alike came from {alike} addresses of its domain in {within}."
                return self.end(Kind.LOOP_BLOCKED, "loop_alike", words)
        elif creating:
            self.note("loop", "the sender is on the allow-list" if sender else "the mail names no sender")
        self.statuses += [(r.alias.key, AliasStatus.VALID) for r in routes if r.alias]
        kind = Kind.CREATE if creating else Kind.UPDATE
        made = ", ".join(f"{r.model} by {r.alias.local if r.alias else 'the incoming server'}" for r in routes)
        return self.end(
            kind, kind.value, f"{'New record' if creating else 'Posted on the bound record'}: {made}.", routes=routes
        )

    def is_allowed(self) -> bool:
        """Whether the sender is on the allow-list, by address or by domain."""
        sender = self.mail.sender_address
        return bool(sender) and not {sender, f"@{sender.rpartition('@')[2]}"}.isdisjoint(self.view.allowed_senders)

    def alike(self) -> int:
        """From how many addresses of the sender's domain mails alike came within the window: a robot may change its
        own each time."""
        limits, domain = self.view.limits, self.mail.sender_address.rpartition("@")[2]
        if not domain:
            return 0
        count = self.view.alike(domain, likeness(self.mail), self.view.now - timedelta(minutes=limits.minutes))
        if count:
            self.note(
                "loop-alike",
                f"mails alike from {count} of {limits.threshold} addresses in {counted(limits.minutes, 'minute')}",
            )
        return count

    def answered_still(self, alike: int) -> bool:
        """Whether mails alike are still answered: the second round of them is, so that no person is left without a
        word; then there is silence, so that two robots end."""
        return alike < 2 * self.view.limits.threshold

    def too_many_on(self, record: Key) -> bool:
        """Whether an automatic mail is one too many on a record. What people write there is never counted."""
        why = sent_automatically(self.mail)
        if why is None or self.is_allowed():
            return False
        limits = self.view.limits
        count = self.view.automatic_on(record, self.view.now - timedelta(minutes=limits.minutes))
        self.note("loop-thread", f"{count} of {limits.threshold} automatic mails on record {record}: {why}")
        return count >= limits.threshold

    # --- who may write ------------------------------------------------------------------------------------------------

    def find_author(self, record: Key | None) -> Key | None:
        """The contact with the sender's address: followers of the record first, then users, then others.

        A sender that is the address of an alias is nobody: robots must not be taken for people.
        """
        address = self.mail.sender_address
        if not address or any(a.address and a.address.lower() == address for a in self.view.aliases):
            return None
        facts = self.view.record(record) if record is not None else None
        followers = facts.followers if facts else frozenset()
        people = self.view.contacts(address)
        best = min(people, key=lambda c: (c.key not in followers, not c.is_user), default=None)
        return best.key if best else None

    def unwanted(self, alias: Alias) -> bool:
        """Whether the mail was sent by a machine and the alias makes no records from such; nobody is answered."""
        why = None if alias.automatic else sent_automatically(self.mail)
        if why is None:
            return False
        name = alias.address or alias.local
        self.note("automatic", f"{name} makes no records from automatic mail, and {why}")
        self.refusals.append(("alias_automatic", f"{name} makes no records from automatic mail, and {why}."))
        return True

    def permitted(self, alias: Alias, reference: Key | None, author: Key | None = None) -> bool:
        """Whether the alias's policy lets this author in; a refusal is noted and answered."""
        author = author if author is not None else self.author
        code = None
        if alias.policy is Policy.PARTNERS and author is None:
            code = "alias_partners"
        elif alias.policy is Policy.FOLLOWERS:
            record = self.view.record(reference) if reference is not None else None
            if record is None:
                code = "alias_config_error"
                self.statuses.append((alias.key, AliasStatus.INVALID))
            elif author is None or author not in record.followers:
                code = "alias_followers"
        if code is None:
            self.note("policy", f"{alias.local} takes mail from {alias.policy.value}")
            return True
        words = {
            "alias_partners": "only known contacts may write to it",
            "alias_followers": "only followers of its record may write to it",
            "alias_config_error": "it is for followers only, yet has no record that could be followed",
        }[code]
        self.note("policy", f"{alias.local}: {words}")
        self.refusals.append((code, f"{alias.address or alias.local}: {words}."))
        notice = notices.policy_notice(self.mail, self.view, alias, code)
        if notice:
            self.notices.append(notice)
        return False

    def refused(self) -> Decision:
        code, reason = self.refusals[0]
        return self.end(Kind.REFUSED, code, reason)

    def catchall(self) -> Decision:
        answered = self.is_allowed() or self.answered_still(self.alike())
        notice = notices.catchall_notice(self.mail, self.view) if answered else None
        self.notices = [notice] if notice else []
        return self.end(Kind.REFUSED, "catchall", "It is written to the catchall and answers no known mail.")


def technical_addresses(domains: Iterable[AliasDomain]) -> frozenset[str]:
    """Catchall, bounce and notification addresses: mail to them never makes a record (OUT-06)."""
    return _technical(tuple(domains))


@lru_cache(maxsize=32)
def _technical(domains: tuple[AliasDomain, ...]) -> frozenset[str]:
    found = (a for d in domains for a in (d.catchall_address, d.bounce_address, d.notification_address))
    return frozenset(a.lower() for a in found if a)


def sent_automatically(mail: InboundMail) -> str | None:
    """How a mail shows that no person sent it (RFC 3834 §5, RFC 5321 §4.5.5), in words; None when nothing says so."""
    if mail.automatic:
        return "the mail says it was sent automatically"
    if mail.robot and mail.robot not in NOT_BY_ITSELF:
        return f"the mail says it was sent automatically ({mail.robot})"
    if mail.return_path == "":
        return "the mail has the null return path"
    if mail.report.kind != "ordinary":
        return f"the mail reads as {'an automatic reply' if mail.report.kind == 'autoreply' else 'a report'}"
    return None


def _without_tag(address: str) -> str:
    local, _, domain = address.rpartition("@")
    return f"{local.partition('+')[0]}@{domain}"


def _names(aliases: tuple[Alias, ...]) -> str:
    return ", ".join(a.address or a.local for a in aliases)
