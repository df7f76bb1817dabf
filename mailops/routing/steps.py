"""The tasks a readiness report may hold, as data: texts, labels to press, values to copy. Labels are exact.

``path`` is a click path in an Odoo database, label by label; ``command`` does or shows the same in mailops; ``values``
are ``(what, value)`` pairs to copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ..errors import ConfigError, NotFound
from ..model.setup import AliasDomain, Hosting, Profile, Setup
from ..providers.outgoing import PROVIDERS, REGISTRARS, SUGGESTED
from .impact import PATH as ALIAS_DOMAINS

PARAMETERS = ("Settings", "Technical", "Parameters", "System Parameters")
OUTGOING_SERVERS = ("Settings", "Technical", "Email: Outgoing Mail Servers")
INCOMING_SERVERS = ("Settings", "Technical", "Emails: Incoming Mail Servers")
ADMIN_EMAIL = ("user icon", "My Profile (or Preferences)", "Preferences", "Email")
SERVER_FIELDS = ("Name", "FROM Filtering", "SMTP Server", "SMTP Port", "Connection Encryption", "Username", "Password",
                 "Priority", "Active")  # fmt: skip
METHODS = ("incoming mail server", "redirection", "MX record")


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to do. ``technical`` tasks need knowledge of DNS and mail protocols."""

    id: str
    title: str
    text: str
    path: tuple[str, ...] = ()
    values: tuple[tuple[str, str], ...] = ()
    technical: bool = False
    done: bool = False
    command: str = ""

    @property
    def click_path(self) -> str:
        return " → ".join(self.path)

    @property
    def where(self) -> tuple[str, ...]:
        """Where it is done, each named: in the Odoo database, and in mailops."""
        places = (("In Odoo", self.click_path), ("In mailops", self.command))
        return tuple(f"{place}: {way}" for place, way in places if way)


def own_domain(domain: str) -> Task:
    return Task(
        f"domain.owned:{domain}",
        f"Buy the domain {domain}",
        f"{domain} does not exist in DNS. Buy it from a registrar such as {' or '.join(REGISTRARS)}.",
        values=(("Domain", domain),),
    )


def _host(name: str, zone: str) -> tuple[tuple[str, str], ...]:
    """A record's name in both forms a DNS panel may want (DKIM-06)."""
    short = "@" if name == zone else name.removesuffix(f".{zone}")
    forms = (("Host, where the panel appends the domain", short), ("Host, where it does not", name))
    return forms if short != name else forms[1:]


def spf(domain: str, suffix: str, zone: str) -> Task:
    return Task(
        f"dns.spf:{domain}",
        f"SPF of {domain}",
        "At the domain's DNS provider: add this TXT record, or add its include to the SPF record that is there. "
        "There must be only one.",
        values=(*_host(domain, zone), ("TXT", f"v=spf1 include:_spf.{suffix} ~all")),
        technical=True,
        command=f"mailops domain fix {domain}",
    )


def dkim(domain: str, suffix: str, zone: str, hosting: Hosting = Hosting.SH) -> Task:
    return Task(
        f"dns.dkim:{domain}",
        f"DKIM of {domain}",
        "At the domain's DNS provider: add this CNAME record. With the hosted server it is required."
        + (
            " On online the return path is the hosted subdomain, so DMARC passes by DKIM alone."
            if hosting is Hosting.ONLINE
            else ""
        ),
        values=(*_host(f"odoo._domainkey.{domain}", zone), ("CNAME", f"odoo._domainkey.{suffix}.")),
        technical=True,
        command=f"mailops domain fix {domain}",
    )


def provider_records(domain: str, provider: str | None) -> Task:
    profile = PROVIDERS.get(provider or "")
    name = profile.name if profile else "your provider"
    page = (("Guide", profile.setup_page),) if profile and profile.setup_page else ()
    return Task(
        f"dns.provider:{domain}",
        f"SPF, DKIM and DMARC of {domain} as {name} wants them",
        f"Add the records that {name} lists in its own guide. The records of the hosted server have no effect here.",
        values=(("Domain", domain), *page),
        technical=True,
        command=f"mailops domain fix {domain}",
    )


def outgoing_server() -> list[Task]:
    """The steps for an own outgoing server, in order."""
    fields = ", ".join(SERVER_FIELDS)
    return [
        Task(
            "server.enable",
            "Allow own servers",
            "Tick the box, then press Save.",
            ("Settings", "Emails", "Use Custom Email Servers", "Save"),
        ),
        Task(
            "server.new",
            "Make the outgoing server",
            f"Fill in {fields} with the values from the provider. Common services for day-to-day mail: "
            f"{_names('transactional')}; for mass mail: {_names('mass')}.",
            ("Settings", "Emails", "Outgoing Email Servers", "New"),
            technical=True,
            command="mailops server add KEY --host HOST --filter DOMAIN",
        ),
        Task(
            "server.test",
            "Try the connection",
            "It connects, signs in, and tries sender and recipient; no mail is sent. A passed test does not prove that "
            "mail goes out: send a real test mail too.",
            ("Test Connection",),
            command="mailops server test KEY",
        ),
    ]


def _names(klass: str) -> str:
    return ", ".join(next(names for key, names in SUGGESTED.items() if key.value == klass))


def alias_domain(domain: AliasDomain, companies: Iterable[str]) -> Task:
    people = ", ".join(companies) or "the company"
    return Task(
        f"alias_domain.set:{domain.name}",
        f"Alias domain {domain.name}",
        f"Type the domain in the field Alias Domain, for {people}; the internal-link arrow beside it assigns more "
        "companies. Notifications, replies and delivery errors then use this domain.",
        ("Settings", "Alias Domain"),
        (("Alias Domain", domain.name),),
        command=f"mailops company add KEY --domain {domain.name}",
    )


def alias_names(domain: AliasDomain) -> Task:
    return Task(
        f"alias_domain.names:{domain.name}",
        "The three technical addresses",
        "In developer mode. Bounce Alias catches delivery errors and fills the red envelope; Catchall Alias "
        "centralises replies; Default From Alias is the default sender. Keep the names once mail has been sent.",
        ALIAS_DOMAINS,
        (
            ("Bounce Alias", domain.bounce_alias),
            ("Catchall Alias", domain.catchall_alias),
            ("Default From Alias", domain.default_from or ""),
        ),
        command=f"mailops company domain {domain.name}",
    )


def mailboxes(domain: str, addresses: Iterable[str]) -> Task:
    return Task(
        f"inbound.mailboxes:{domain}",
        f"Make the mailboxes of {domain}",
        "At the mail server of the domain, every alias needs a mailbox.",
        values=tuple(("Mailbox", address) for address in addresses),
        technical=True,
    )


_MX = {
    Hosting.ONLINE: " On online an MX record works with a subdomain such as mail.example.com, added in the portal.",
    Hosting.SH: " On sh an MX record works with a subdomain such as mail.example.com, added in the project settings.",
    Hosting.ON_PREMISE: " On premise redirections and MX records also need the mail gateway script.",
}


def inbound_method(hosting: Hosting) -> Task:
    return Task(
        "inbound.method",
        "Bring replies into the database",
        f"Choose one or more: {', '.join(METHODS[:-1])}, or {METHODS[-1]} (advanced). Incoming mail servers are the "
        f"usual way, for their simplicity; redirections come in without delay.{_MX[hosting]}",
        INCOMING_SERVERS,
        tuple(("Method", method) for method in METHODS),
        technical=True,
        command="mailops server readiness --method 'redirection'",
    )


def default_server_file(profile: Profile) -> Task:
    return Task(
        "server.configuration_file",
        "Set the default server",
        "On sh the default (CLI) server is set in the configuration file: smtp_server, smtp_port, smtp_user, "
        "smtp_password, smtp_ssl, from_filter, email_from.",
        values=(("from_filter", profile.hosted_domain),),
        technical=True,
    )


def hosted_filter(setup: Setup) -> Task:
    """Beside an external server the default one needs the hosted subdomain as its filter."""
    return Task(
        "server.cli_filter",
        "Filters of the default and the external server",
        "The record of the default server holds the hosted subdomain, the external server the own domain.",
        OUTGOING_SERVERS,
        (
            ("Default server", setup.profile.hosted_domain),
            *(("External server", d.name) for d in setup.alias_domains if d.name != setup.profile.hosted_domain),
        ),
        command="mailops server add KEY --filter DOMAIN",
    )


def marked(tasks: Iterable[Task], done: frozenset[str]) -> tuple[Task, ...]:
    """The tasks with their done mark."""
    return tuple(replace(task, done=task.id in done) for task in tasks)


def chosen(tasks: Sequence[Task], ids: Iterable[str]) -> frozenset[str]:
    """The ids of tasks that were named, in full or (where only one is meant) without the domain. Raises
    :class:`NotFound` for a name that no task has, or several have."""
    found = set()
    for name in ids:
        hits = [t.id for t in tasks if t.id == name] or [t.id for t in tasks if t.id.partition(":")[0] == name]
        if len(hits) != 1:
            raise NotFound(
                f"{name!r} is a task of several domains." if hits else f"There is no task {name!r} here.",
                code="readiness.task",
                facts={"task": name, "tasks": hits or [t.id for t in tasks]},
                fix="Give the whole id of a task that mailops server readiness lists.",
            )
        found.add(hits[0])
    return frozenset(found)


def method_named(text: str) -> str:
    """An inbound method by its name. Raises :class:`ConfigError` for any other word."""
    found = next((m for m in METHODS if m.lower() == text.strip().lower()), None)
    if found is None:
        raise ConfigError(
            f"There is no inbound method {text[:60]!r}.",
            code="readiness.method",
            facts={"given": text[:100], "methods": list(METHODS)},
            fix=f"Use one or more of: {', '.join(METHODS)}.",
        )
    return found
