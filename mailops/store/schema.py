"""The tables, spoken in SQLAlchemy Core so that SQLite and PostgreSQL share them.

Message bytes live apart from the mail rows (``contents``), so that a look at a million rows reads no body. Events and
``counts`` (by hour) outlive the mails they speak of: auto-delete and Auto-Vacuum never change a figure.
Changes go through a migration in ``store/migrations``; a test compares the two.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.types import TypeDecorator

from ..mime import storable


class Utc(TypeDecorator[datetime]):
    """A moment in UTC; naive values are refused on the way in, zone is attached on the way out."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without zone cannot be stored")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def bind_processor(self, dialect: Dialect) -> Any:
        return _sqlite_moment if dialect.name == "sqlite" else super().bind_processor(dialect)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _sqlite_moment(value: datetime | None) -> str | None:
    """A moment as SQLAlchemy writes it into SQLite, in one step: it is done several times for each mail."""
    if value is None:
        return None
    if value.tzinfo is None:
        raise ValueError("a time without zone cannot be stored")
    return value.astimezone(UTC).isoformat(" ", "microseconds")[:26]


def _words(value: Any) -> Any:
    if not isinstance(value, str) or (value.isascii() and "\x00" not in value):
        return value
    return storable(value)


class Words(TypeDecorator[str]):
    """Text that both databases take: PostgreSQL refuses NUL, and no encoding writes half a surrogate."""

    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return storable(value) if isinstance(value, str) else value

    def bind_processor(self, dialect: Dialect) -> Any:
        return _words


class LongWords(Words):
    """The same without a length."""

    impl = sa.Text
    cache_ok = True


BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_N_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id() -> sa.Column[int]:
    return sa.Column("id", BigId, primary_key=True, autoincrement=True)


# --- set-up -----------------------------------------------------------------------------------------------------------

parameters = sa.Table(
    "parameters",
    metadata,
    sa.Column("key", sa.String(200), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

alias_domains = sa.Table(
    "alias_domains",
    metadata,
    _id(),
    sa.Column("name", sa.String(253), nullable=False),
    sa.Column("bounce_alias", sa.String(64), nullable=False),
    sa.Column("catchall_alias", sa.String(64), nullable=False),
    sa.Column("default_from", sa.String(320)),
    sa.Column("sequence", sa.Integer, nullable=False, server_default="10"),
    sa.UniqueConstraint("name", "bounce_alias"),
    sa.UniqueConstraint("name", "catchall_alias"),
)

companies = sa.Table(
    "companies",
    metadata,
    _id(),
    sa.Column("key", sa.String(100), nullable=False, unique=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("email", sa.String(320)),
    sa.Column("alias_domain_id", sa.ForeignKey("alias_domains.id")),
)

servers = sa.Table(
    "servers",
    metadata,
    _id(),
    sa.Column("key", sa.String(100), nullable=False, unique=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("host", sa.String(253), nullable=False, server_default=""),
    sa.Column("port", sa.Integer, nullable=False),
    sa.Column("encryption", sa.String(20), nullable=False),
    sa.Column("authentication", sa.String(20), nullable=False),
    sa.Column("login", sa.String(320)),
    sa.Column("password", sa.String(500)),  # a reference, never a value
    sa.Column("client_cert", sa.String(500)),
    sa.Column("client_key", sa.String(500)),
    sa.Column("ca_file", sa.String(500)),
    sa.Column("from_filter", sa.Text),
    sa.Column("priority", sa.Integer, nullable=False, server_default="10"),
    sa.Column("active", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("provider", sa.String(50)),
    sa.Column("mail_class", sa.String(20)),
    sa.Column("max_size", sa.BigInteger),
    sa.Column("max_sessions", sa.Integer, nullable=False, server_default="1"),
    sa.Column("timeout", sa.Float, nullable=False, server_default="60"),
    sa.Column("retry_first", sa.Integer, nullable=False, server_default="300"),
    sa.Column("retry_cap", sa.Integer, nullable=False, server_default="14400"),
    sa.Column("retry_give_up", sa.Integer, nullable=False, server_default="172800"),
)

dkim_keys = sa.Table(
    "dkim_keys",
    metadata,
    sa.Column("domain", sa.String(253), primary_key=True),
    sa.Column("selector", sa.String(63), primary_key=True),
    sa.Column("reference", sa.String(500), nullable=False),  # a reference to the private key, never the key
    sa.Column("state", sa.String(20), nullable=False),  # published later: next; signs: active; still published: former
    sa.Column("public_key", sa.Text, nullable=False),  # base64, as p= holds it
    sa.Column("created_at", Utc, nullable=False),
    sa.Column("changed_at", Utc, nullable=False),
)

logins = sa.Table(
    "logins",
    metadata,
    sa.Column("login", sa.String(320), primary_key=True),
    sa.Column("password", sa.String(500), nullable=False),  # a hash or a reference
    sa.Column("company", sa.String(100)),
    sa.Column("senders", sa.JSON, nullable=False),  # addresses and @domains; empty = any
    sa.Column("bounces", sa.String(10)),
    sa.Column("reports", sa.Boolean, nullable=False),
    sa.Column("messages_per_minute", sa.Integer),
    sa.Column("created_at", Utc, nullable=False),
    sa.Column("changed_at", Utc, nullable=False),
)

# --- the queue --------------------------------------------------------------------------------------------------------

mails = sa.Table(
    "mails",
    metadata,
    _id(),
    sa.Column("message_id", sa.String(998), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("mail_class", sa.String(20), nullable=False),
    sa.Column("header_from", sa.Text),  # as submitted; the route decides what goes on the wire
    sa.Column("sender_domain", sa.String(253)),
    sa.Column("subject", sa.Text),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("company_id", sa.ForeignKey("companies.id")),
    sa.Column("forced_server", sa.String(100)),
    sa.Column("return_path", sa.String(320)),
    sa.Column("origin", sa.String(20), nullable=False, server_default="api"),  # api, cli, smtp, thread, campaign
    sa.Column("thread_message_id", BigId),
    sa.Column("auto_delete", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("created_at", Utc, nullable=False),
    sa.Column("scheduled_at", Utc),
    sa.Column("queued_at", Utc, nullable=False),  # when it last became Outgoing: giving up counts from here
    sa.Column("due_at", Utc, nullable=False),  # when the next attempt may start
    sa.Column("finished_at", Utc),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("server_key", sa.String(100)),  # the server of the last attempt
    sa.Column("sent_from", sa.Text),  # From on the wire, where it differs
    sa.Column("sent_envelope", sa.String(320)),  # <> is the null path
    sa.Column("failure_type", sa.String(30)),
    sa.Column("failure_reason", sa.Text),
    sa.Column("lease_owner", sa.String(100)),
    sa.Column("lease_until", Utc),
    sa.Column("bounces", sa.String(10)),  # keep, ours, both: relayed for a program; null = composed here
    sa.Column("login", sa.String(320)),  # who handed it over, where a program signed in
    sa.Column("peer", sa.String(64)),
    sa.Column("sent_signature", sa.Text),  # what became of signatures on the way out
    sa.Column("lane", sa.String(100), nullable=False, server_default=""),  # a hint: the server it waits for
    sa.Column("rank", sa.SmallInteger, nullable=False, server_default="1"),  # model.states.Rank: who goes first
    sa.Index(
        "ix_mails_lane",
        "lane",
        "rank",
        "due_at",
        "id",
        sqlite_where=sa.text("state = 'outgoing'"),
        postgresql_where=sa.text("state = 'outgoing'"),
    ),
    sa.Index(
        "ix_mails_login",
        "login",
        sqlite_where=sa.text("login IS NOT NULL"),
        postgresql_where=sa.text("login IS NOT NULL"),
    ),
    sa.Index("ix_mails_state", "state"),
    sa.Index("ix_mails_message_id", "message_id"),
    sa.Index(
        "ix_mails_lease",
        "lease_owner",
        sqlite_where=sa.text("lease_owner IS NOT NULL"),
        postgresql_where=sa.text("lease_owner IS NOT NULL"),
    ),
    sa.Index("ix_mails_created_at", "created_at"),
    sqlite_autoincrement=True,  # the history speaks of mails that are gone: no number is given away twice
)

contents = sa.Table(
    "contents",
    metadata,
    sa.Column("mail_id", BigId, sa.ForeignKey("mails.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("raw", sa.LargeBinary, nullable=False),  # RFC 5322 bytes, CRLF, complete but for a rewritten From
    sa.Column("from_start", sa.Integer, nullable=False),  # slice of the From field in raw (empty when there is none)
    sa.Column("from_end", sa.Integer, nullable=False),
    sa.Column("smtputf8", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("eightbit", sa.Boolean, nullable=False, server_default=sa.false()),
)

holds = sa.Table(
    "holds",
    metadata,
    sa.Column("domain", sa.String(253), primary_key=True),  # of recipients; what is to it is not leased
    sa.Column("until", Utc, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("actor", sa.String(100)),
    sa.Column("created_at", Utc, nullable=False),
)

job_times = sa.Table(
    "job_times",
    metadata,
    sa.Column("job", sa.String(40), primary_key=True),
    sa.Column("last_at", Utc, nullable=False),
)

REFUSED = "state IN ('failed', 'bounced')"
deliveries = sa.Table(
    "deliveries",
    metadata,
    _id(),
    sa.Column("mail_id", BigId, sa.ForeignKey("mails.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("recipient", sa.String(320), nullable=False),  # on the wire
    sa.Column("normalised", sa.String(320), nullable=False, index=True),
    sa.Column("domain", sa.String(253), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("stage", sa.String(20)),
    sa.Column("code", sa.Integer),
    sa.Column("enhanced", sa.String(20)),
    sa.Column("reply", sa.Text),
    sa.Column("failure_type", sa.String(30)),
    sa.Column("reason", sa.String(40)),  # the classifier's word
    sa.Column("updated_at", Utc, nullable=False),
    sa.Column("bounce_id", BigId),
    sa.Index("ix_deliveries_refused", "mail_id", sqlite_where=sa.text(REFUSED), postgresql_where=sa.text(REFUSED)),
)

attempts = sa.Table(
    "attempts",
    metadata,
    _id(),
    sa.Column("mail_id", BigId, nullable=False, index=True),  # no foreign key: attempts outlive mails
    sa.Column("worker", sa.String(100), nullable=False),
    sa.Column("server_key", sa.String(100)),
    sa.Column("started_at", Utc, nullable=False),
    sa.Column("finished_at", Utc),
    sa.Column("outcome", sa.String(20)),  # sent, partial, deferred, failed, unknown; null = open
    sa.Column("transcript", sa.Text),
    sa.Index(
        "ix_attempts_open",
        "worker",
        sqlite_where=sa.text("outcome IS NULL"),
        postgresql_where=sa.text("outcome IS NULL"),
    ),
    sqlite_autoincrement=True,
)

events = sa.Table(
    "events",
    metadata,
    _id(),
    sa.Column("at", Utc, nullable=False),
    sa.Column(
        "kind", sa.String(40), nullable=False
    ),  # submitted, sent, deferred, failed, bounced, retried, cancelled …
    sa.Column("mail_id", BigId),  # no foreign key: events outlive mails
    sa.Column("message_id", sa.String(998)),
    sa.Column("recipient", sa.String(320)),
    sa.Column("server_key", sa.String(100)),
    sa.Column("actor", sa.String(100)),
    sa.Column("data", sa.JSON),
    sa.Column("key", sa.String(64)),  # the same fact told again has the same key; null where nothing is told twice
    sa.Column("undoes", BigId),  # the event that this one takes back
    sa.Column("left_at", Utc),  # of what came back: when its mail was first handed over
    sa.Column("xid", BigId, nullable=False, server_default="0"),  # PostgreSQL: the transaction that wrote it
    sa.Index("ix_events_mail", "mail_id"),
    sa.Index("ix_events_xid", "xid", "id", sqlite_where=sa.text("xid > 0")),  # empty on SQLite
    sa.Index(
        "ix_events_message_id",
        "message_id",
        sqlite_where=sa.text("recipient IS NOT NULL"),
        postgresql_where=sa.text("recipient IS NOT NULL"),
    ),
    sa.Index("ix_events_at", "at"),
    sa.Index(
        "ix_events_key",
        "key",
        unique=True,
        sqlite_where=sa.text("key IS NOT NULL"),
        postgresql_where=sa.text("key IS NOT NULL"),
    ),
    sa.Index(
        "ix_events_undoes",
        "undoes",
        sqlite_where=sa.text("undoes IS NOT NULL"),
        postgresql_where=sa.text("undoes IS NOT NULL"),
    ),
    sa.Index(
        "ix_events_recipient",
        sa.text("lower(recipient)"),
        "at",
        sqlite_where=sa.text("recipient IS NOT NULL"),
        postgresql_where=sa.text("recipient IS NOT NULL"),
    ),
)

owed = sa.Table(
    "owed",
    metadata,
    sa.Column("event_id", BigId, sa.ForeignKey("events.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("listener", sa.String(40), primary_key=True),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("due_at", Utc, nullable=False),
)

follows = sa.Table(
    "follows",
    metadata,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("xid", BigId, nullable=False),
    sa.Column("event_id", BigId, nullable=False),
    sa.Column("at", Utc, nullable=False),
)

forgotten = sa.Table(
    "forgotten",
    metadata,
    sa.Column("pseudonym", sa.String(320), primary_key=True),
    sa.Column("at", Utc, nullable=False),
    sqlite_with_rowid=False,
)

counts = sa.Table(
    "counts",
    metadata,
    sa.Column("hour", sa.String(13), primary_key=True),  # UTC, YYYY-MM-DDTHH: when the sending left
    sa.Column("server_key", sa.String(100), primary_key=True),
    sa.Column("sender_domain", sa.String(253), primary_key=True),
    sa.Column("recipient_domain", sa.String(253), primary_key=True),
    sa.Column("mail_class", sa.String(20), primary_key=True),
    sa.Column("outcome", sa.String(20), primary_key=True),  # of sendings; beside them deferred, complained
    sa.Column("count", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

bounces = sa.Table(
    "bounces",
    metadata,
    _id(),
    sa.Column("received_at", Utc, nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("recipient", sa.String(320)),
    sa.Column("status", sa.String(20)),
    sa.Column("reason", sa.String(40)),
    sa.Column("hard", sa.Boolean),
    sa.Column("diagnostic", sa.Text),
    sa.Column("original_message_id", sa.String(998)),
    sa.Column("mail_id", BigId),
    sa.Column("delivery_id", BigId),
    sa.Column("matched_by", sa.String(40)),
    sa.Column("confidence", sa.Float),
    sa.Column("digest", sa.String(64), nullable=False, unique=True),  # sha-256 of raw: the same report counts once
    sa.Column("raw", sa.LargeBinary, nullable=False),
    sa.Column("normalised", sa.String(320)),
    sa.Column("source", sa.String(40)),  # report, or the provider whose webhook told it
    sa.Column("rule", sa.String(200)),  # the reader's rule at that time
    sa.Index("ix_bounces_received_at", "received_at"),
    sa.Index("ix_bounces_normalised", "normalised"),
)

suppressions = sa.Table(
    "suppressions",
    metadata,
    _id(),
    sa.Column("address", sa.String(320), nullable=False),  # normalised
    sa.Column("scope", sa.String(20), nullable=False),  # campaigns, all
    sa.Column("state", sa.String(20), nullable=False),  # active, proposed, undone
    sa.Column("source", sa.String(40), nullable=False),  # report, reply, complaint, import, person, a provider's name
    sa.Column("reason", sa.String(40), nullable=False),  # the classifier's word
    sa.Column("why", sa.Text, nullable=False),  # the decision in words
    sa.Column("hard", sa.Boolean, nullable=False),
    sa.Column("since", Utc, nullable=False),
    sa.Column("until", Utc),  # null = until undone
    sa.Column("bounce_id", BigId),  # the report, kept also after an undo
    sa.Column("actor", sa.String(100), nullable=False),
    sa.Column("changed_at", Utc, nullable=False),
    sa.Index("ix_suppressions_address_state", "address", "state"),
)

EVENT_KEY = 200
"""Characters of a webhook event's id; a longer one is kept as its digest."""
webhook_events = sa.Table(
    "webhook_events",
    metadata,
    sa.Column("provider", sa.String(40), primary_key=True),
    sa.Column("event_id", sa.String(EVENT_KEY), primary_key=True),
    sa.Column("at", Utc, nullable=False),
    sa.Column("kind", sa.String(40), nullable=False),
)

# --- campaigns --------------------------------------------------------------------------------------------------------

campaigns = sa.Table(
    "campaigns",
    metadata,
    _id(),
    sa.Column("key", sa.String(100), nullable=False, unique=True),
    sa.Column("state", sa.String(20), nullable=False),  # draft, queued, sending, done, cancelled
    sa.Column("paused", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("sender", Words(320), nullable=False),
    sa.Column("subject", LongWords, nullable=False),  # templates, as the bodies are
    sa.Column("text", LongWords),
    sa.Column("html", LongWords),
    sa.Column("server", sa.String(100)),
    sa.Column("company", sa.String(100)),
    sa.Column("token", sa.String(32), nullable=False),  # random: proves links to unsubscribe
    sa.Column("created_at", Utc, nullable=False),  # the order: oldest first
    sa.Column("scheduled_at", Utc),
    sa.Column("started_at", Utc),
    sa.Column("progress_at", Utc),  # when one of its mails had its last answer
    sa.Column("finished_at", Utc),
    sa.Column("trouble", LongWords),  # why nothing more of it can leave
    sqlite_autoincrement=True,  # Message-IDs name the number
)

campaign_recipients = sa.Table(
    "campaign_recipients",
    metadata,
    sa.Column("campaign_id", BigId, sa.ForeignKey("campaigns.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", BigId, primary_key=True),  # as in the list, from 1; the Message-ID follows of it
    sa.Column("address", Words(320), nullable=False),  # as it goes on the wire; what cannot go anywhere as it was given
    sa.Column("normalised", sa.String(320)),  # null where it is somebody's second row, or nobody's
    sa.Column("fields", LongWords, nullable=False),  # JSON
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("reason", LongWords),
    sa.Column("mail_id", BigId),  # its one mail in the queue; no foreign key: this outlives the mail
    sa.UniqueConstraint("campaign_id", "normalised"),
    sa.Index("ix_campaign_recipients_state", "campaign_id", "state", "number"),
    sqlite_with_rowid=False,
)

# --- what submitters are told -----------------------------------------------------------------------------------------

reports = sa.Table(
    "reports",
    metadata,
    sa.Column("mail_id", BigId, primary_key=True),  # no foreign key: what was told outlives the mail
    sa.Column("recipient", sa.String(320), primary_key=True),
    sa.Column("address", sa.String(320), nullable=False),  # the submitter's envelope sender
    sa.Column("login", sa.String(320)),
    sa.Column("kind", sa.String(20), nullable=False),  # the fact: failed, barred, bounced
    sa.Column("state", sa.String(20), nullable=False),  # due, told, withheld
    sa.Column("why", sa.Text),  # why it was withheld
    sa.Column("code", sa.Integer),
    sa.Column("status", sa.String(20)),
    sa.Column("reply", sa.Text),
    sa.Column("at", Utc, nullable=False),
    sa.Column("told_at", Utc),
    sa.Column("report_id", BigId),  # the mail that told it
    sa.Index("ix_reports_state", "state", "at"),
    sa.Index("ix_reports_address_told", "address", "told_at"),
)

# --- threads and the gateway ------------------------------------------------------------------------------------------

records = sa.Table(
    "records",
    metadata,
    _id(),
    sa.Column("model", sa.String(100), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("email_from", sa.Text),
    sa.Column("email_normalised", sa.String(320), index=True),
    sa.Column("company_id", sa.ForeignKey("companies.id")),
    sa.Column("owner", sa.String(320)),
    sa.Column("values", sa.JSON, nullable=False),
    sa.Column("created_at", Utc, nullable=False),
    sa.Index("ix_records_model_created", "model", "created_at"),
)

aliases = sa.Table(
    "aliases",
    metadata,
    _id(),
    sa.Column("local", sa.String(64), nullable=False),
    sa.Column("alias_domain_id", sa.ForeignKey("alias_domains.id")),
    sa.Column("model", sa.String(100), nullable=False),
    sa.Column("settings", sa.JSON, nullable=False),  # policy, defaults, bound record, parent, owner, status …
    sa.UniqueConstraint("local", "alias_domain_id"),
)

contacts = sa.Table(
    "contacts",
    metadata,
    _id(),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("email", sa.Text),
    sa.Column("email_normalised", sa.String(320), index=True),
    sa.Column("is_user", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("notify_by", sa.String(10), nullable=False, server_default="email"),  # email, inbox
    sa.Column("active", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("bounce_count", sa.Integer, nullable=False, server_default="0"),
)

followers = sa.Table(
    "followers",
    metadata,
    _id(),
    sa.Column("record_id", BigId, sa.ForeignKey("records.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("contact_id", BigId, sa.ForeignKey("contacts.id", ondelete="CASCADE"), nullable=False),
    sa.Column("subtypes", sa.JSON, nullable=False),
    sa.UniqueConstraint("record_id", "contact_id"),
)

messages = sa.Table(
    "messages",
    metadata,
    _id(),
    sa.Column("message_id", sa.String(998), nullable=False, index=True),
    sa.Column("record_id", BigId, sa.ForeignKey("records.id", ondelete="CASCADE"), index=True),
    sa.Column("parent_id", BigId),
    sa.Column("kind", sa.String(20), nullable=False),  # comment, note, email, notification
    sa.Column("author_id", BigId),
    sa.Column("author_email", sa.Text),
    sa.Column("subject", sa.Text),
    sa.Column("body", sa.Text),
    sa.Column("created_at", Utc, nullable=False),
)

notifications = sa.Table(
    "notifications",
    metadata,
    _id(),
    sa.Column("message_id", BigId, sa.ForeignKey("messages.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("contact_id", BigId),
    sa.Column("channel", sa.String(10), nullable=False),  # email, inbox
    sa.Column("address", sa.String(320)),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("mail_id", BigId, index=True),
    sa.Column("failure_type", sa.String(30)),
    sa.Column("reason", sa.Text),
    sa.Column("is_read", sa.Boolean, nullable=False, server_default=sa.false()),
)

inbound_log = sa.Table(
    "inbound_log",
    metadata,
    _id(),
    sa.Column("at", Utc, nullable=False),
    sa.Column("message_id", sa.String(998)),
    sa.Column("sender", sa.Text),
    sa.Column("recipients", sa.Text),
    sa.Column("decision", sa.String(30), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("answer", sa.Text),
    sa.Column("data", sa.JSON),
    sa.Column("digest", sa.String(64)),  # of what its writer made of it; two mails may share a Message-ID
    sa.Index("ix_inbound_log_message_id", "message_id"),
)

# --- intake: what came in, before and after it was decided about ------------------------------------------------------

intake_accounts = sa.Table(
    "intake_accounts",
    metadata,
    sa.Column("key", sa.String(100), primary_key=True),
    sa.Column("settings", sa.JSON, nullable=False),  # protocol, host, port, login, reference of the password, folder …
    sa.Column("state", sa.String(20), nullable=False),  # draft, confirmed
    sa.Column("created_at", Utc, nullable=False),
    sa.Column("confirmed_at", Utc),
    sa.Column("checked_at", Utc),  # when a run last came to its end
    sa.Column("arrived_at", Utc),  # when it last brought a mail
    sa.Column("error", sa.Text),
    sa.Column("error_at", Utc),  # since when every run fails
)

intake_folders = sa.Table(
    "intake_folders",
    metadata,
    sa.Column("account", sa.String(100), nullable=False),
    sa.Column("folder", sa.String(500), nullable=False),
    sa.Column("uidvalidity", sa.BigInteger, nullable=False),
    sa.Column("opened_at", Utc, nullable=False),
    sa.Column("checked_at", Utc),
    sa.Column("missing", sa.JSON, nullable=False),  # UIDs that are in the folder and have no row here
    sa.PrimaryKeyConstraint("account", "folder", "uidvalidity", name="pk_intake_folders"),
)

intake = sa.Table(
    "intake",
    metadata,
    _id(),
    sa.Column("account", sa.String(100), nullable=False),
    sa.Column("folder", sa.String(500), nullable=False),
    sa.Column("uidvalidity", sa.BigInteger, nullable=False),
    sa.Column("uid", sa.String(100), nullable=False),
    sa.Column(
        "state", sa.String(20), nullable=False
    ),  # waiting, delivered, refused, shelved, skipped, doubled, unreadable
    sa.Column("decision", sa.String(30)),
    sa.Column("reason", sa.Text),  # of what was not decided; a decision's reason stands in the log
    sa.Column("message_id", sa.String(998)),
    sa.Column("digest", sa.String(64)),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("sender", sa.String(320)),  # both as long as the bytes are kept
    sa.Column("recipients", sa.Text),
    sa.Column("given", sa.JSON),  # model and delivered_to, as the way in knew them
    sa.Column("seen_at", Utc, nullable=False),
    sa.Column("done_at", Utc),
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
    sa.Column("again", sa.Integer, nullable=False, server_default="0"),  # how often the same came once more
    sa.Column("log_id", BigId),
    sa.Column("notices", sa.JSON),  # mails of the queue that answer it
    sa.UniqueConstraint("account", "folder", "uidvalidity", "uid", name="uq_intake_place"),
    sa.Index("ix_intake_digest", "digest"),
    sa.Index(
        "ix_intake_open",
        "state",
        sqlite_where=sa.text("state IN ('waiting', 'shelved')"),
        postgresql_where=sa.text("state IN ('waiting', 'shelved')"),
    ),
)

intake_raw = sa.Table(
    "intake_raw",
    metadata,
    sa.Column(
        "intake_id", BigId, sa.ForeignKey("intake.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    sa.Column("raw", sa.LargeBinary, nullable=False),
)

# --- logs of mail servers ---------------------------------------------------------------------------------------------

log_mails = sa.Table(
    "log_mails",
    metadata,
    _id(),
    sa.Column("host", sa.String(100), nullable=False),
    sa.Column("instance", sa.String(100), nullable=False),  # the syslog name up to its first slash
    sa.Column("queue_id", sa.String(100), nullable=False),
    sa.Column("first_at", Utc, nullable=False),
    sa.Column("last_at", Utc, nullable=False),
    sa.Column("done_at", Utc),  # removed from that queue
    sa.Column("began", sa.Boolean, nullable=False),  # whether the log shows its beginning
    sa.Column("mail_id", BigId, nullable=False),  # its facts: a mail of ours, or below zero
    sa.Column("message_id", sa.String(998)),
    sa.Column("sender", sa.String(320)),  # of the envelope; empty is the null path
    sa.Column("client", sa.String(300)),
    sa.Column("login", sa.String(320)),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("notice_of", sa.String(100)),  # the queue id whose report this is
    sa.Index("ix_log_mails_queue", "queue_id", "first_at", "host", "instance", unique=True),
    sa.Index("ix_log_mails_mail_id", "mail_id"),
    sa.Index("ix_log_mails_message_id", "message_id"),
    sa.Index("ix_log_mails_last_at", "last_at"),
    sa.Index(
        "ix_log_mails_sender",
        sa.text("lower(sender)"),
        "last_at",
        sqlite_where=sa.text("sender IS NOT NULL"),
        postgresql_where=sa.text("sender IS NOT NULL"),
    ),
)

log_files = sa.Table(
    "log_files",
    metadata,
    sa.Column("path", sa.String(1000), primary_key=True),
    sa.Column("device", sa.BigInteger, nullable=False),
    sa.Column("inode", sa.String(20), nullable=False),  # some systems give more than 63 bits
    sa.Column("position", sa.BigInteger, nullable=False),  # octets of whole lines that were taken
    sa.Column("at", Utc, nullable=False),
)

# --- runs and verdicts ------------------------------------------------------------------------------------------------

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("notebook", sa.String(200), nullable=False),
    sa.Column("parameters", sa.JSON, nullable=False),  # redacted
    sa.Column("started_at", Utc, nullable=False),
    sa.Column("finished_at", Utc),
    sa.Column("status", sa.String(20), nullable=False),  # running, passed, failed, error
    sa.Column("exit_code", sa.Integer),
    sa.Column("error", sa.JSON),
    sa.Column("folder", sa.Text),
    sa.Index("ix_runs_notebook_started", "notebook", "started_at"),
)

verdicts = sa.Table(
    "verdicts",
    metadata,
    _id(),
    sa.Column("run_id", sa.String(40), index=True),
    sa.Column("check", sa.String(100), nullable=False),
    sa.Column("subject", sa.String(320), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("found", sa.Text, nullable=False, server_default=""),
    sa.Column("expected", sa.Text, nullable=False, server_default=""),
    sa.Column("fix", sa.Text, nullable=False, server_default=""),
    sa.Column("code", sa.String(100), nullable=False, server_default=""),
    sa.Column("evidence", sa.JSON, nullable=False),
    sa.Column("at", Utc, nullable=False),
    sa.Index("ix_verdicts_check_subject", "check", "subject", "at"),
)

guide_answers = sa.Table(
    "guide_answers",
    metadata,
    sa.Column("guide", sa.String(100), primary_key=True),
    sa.Column("subject", sa.String(320), primary_key=True),
    sa.Column("step", sa.String(100), primary_key=True),
    sa.Column("answers", sa.JSON, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("note", sa.Text),
    sa.Column("actor", sa.String(100)),
    sa.Column("version", sa.Integer, nullable=False, server_default="1"),
    sa.Column("at", Utc, nullable=False),
)

for _table in metadata.tables.values():  # every text column, also those of tables to come
    for _column in _table.columns:
        if type(_column.type) is sa.Text:
            _column.type = LongWords()
        elif type(_column.type) is sa.String:
            _column.type = Words(_column.type.length)
