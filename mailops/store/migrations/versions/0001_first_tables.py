"""The first tables, as they were: later changes have revisions of their own.

Types and names are written out here and taken from no other module, so that today's schema may change and this stays.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "alias_domains",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=253), nullable=False),
        sa.Column("bounce_alias", sa.String(length=64), nullable=False),
        sa.Column("catchall_alias", sa.String(length=64), nullable=False),
        sa.Column("default_from", sa.String(length=320), nullable=True),
        sa.Column("sequence", sa.Integer(), server_default="10", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alias_domains")),
        sa.UniqueConstraint("name", "bounce_alias", name=op.f("uq_alias_domains_name_bounce_alias")),
        sa.UniqueConstraint("name", "catchall_alias", name=op.f("uq_alias_domains_name_catchall_alias")),
    )
    op.create_table(
        "bounces",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("recipient", sa.String(length=320), nullable=True),
        sa.Column("status", sa.String(length=20), nullable=True),
        sa.Column("reason", sa.String(length=40), nullable=True),
        sa.Column("hard", sa.Boolean(), nullable=True),
        sa.Column("diagnostic", sa.Text(), nullable=True),
        sa.Column("original_message_id", sa.String(length=998), nullable=True),
        sa.Column("mail_id", BIG, nullable=True),
        sa.Column("delivery_id", BIG, nullable=True),
        sa.Column("matched_by", sa.String(length=40), nullable=True),
        sa.Column("confidence", sa.Float(), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bounces")),
        sa.UniqueConstraint("digest", name=op.f("uq_bounces_digest")),
    )
    op.create_index("ix_bounces_received_at", "bounces", ["received_at"], unique=False)
    op.create_table(
        "contacts",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("email_normalised", sa.String(length=320), nullable=True),
        sa.Column("is_user", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("notify_by", sa.String(length=10), server_default="email", nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("bounce_count", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contacts")),
    )
    op.create_index(op.f("ix_contacts_email_normalised"), "contacts", ["email_normalised"], unique=False)
    op.create_table(
        "events",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("mail_id", BIG, nullable=True),
        sa.Column("message_id", sa.String(length=998), nullable=True),
        sa.Column("recipient", sa.String(length=320), nullable=True),
        sa.Column("server_key", sa.String(length=100), nullable=True),
        sa.Column("actor", sa.String(length=100), nullable=True),
        sa.Column("data", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    op.create_index("ix_events_at", "events", ["at"], unique=False)
    op.create_index("ix_events_mail", "events", ["mail_id"], unique=False)
    op.create_index("ix_events_message_id", "events", ["message_id"], unique=False)
    op.create_table(
        "guide_answers",
        sa.Column("guide", sa.String(length=100), nullable=False),
        sa.Column("subject", sa.String(length=320), nullable=False),
        sa.Column("step", sa.String(length=100), nullable=False),
        sa.Column("answers", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("actor", sa.String(length=100), nullable=True),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("guide", "subject", "step", name=op.f("pk_guide_answers")),
    )
    op.create_table(
        "inbound_log",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("message_id", sa.String(length=998), nullable=True),
        sa.Column("sender", sa.Text(), nullable=True),
        sa.Column("recipients", sa.Text(), nullable=True),
        sa.Column("decision", sa.String(length=30), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("data", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbound_log")),
    )
    op.create_table(
        "parameters",
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_parameters")),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("notebook", sa.String(length=200), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("folder", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    op.create_index("ix_runs_notebook_started", "runs", ["notebook", "started_at"], unique=False)
    op.create_table(
        "servers",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("key", sa.String(length=100), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("host", sa.String(length=253), server_default="", nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("encryption", sa.String(length=20), nullable=False),
        sa.Column("authentication", sa.String(length=20), nullable=False),
        sa.Column("login", sa.String(length=320), nullable=True),
        sa.Column("password", sa.String(length=500), nullable=True),
        sa.Column("client_cert", sa.String(length=500), nullable=True),
        sa.Column("client_key", sa.String(length=500), nullable=True),
        sa.Column("ca_file", sa.String(length=500), nullable=True),
        sa.Column("from_filter", sa.Text(), nullable=True),
        sa.Column("priority", sa.Integer(), server_default="10", nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("provider", sa.String(length=50), nullable=True),
        sa.Column("mail_class", sa.String(length=20), nullable=True),
        sa.Column("max_size", sa.BigInteger(), nullable=True),
        sa.Column("max_sessions", sa.Integer(), server_default="1", nullable=False),
        sa.Column("timeout", sa.Float(), server_default="60", nullable=False),
        sa.Column("retry_first", sa.Integer(), server_default="300", nullable=False),
        sa.Column("retry_cap", sa.Integer(), server_default="14400", nullable=False),
        sa.Column("retry_give_up", sa.Integer(), server_default="172800", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_servers")),
        sa.UniqueConstraint("key", name=op.f("uq_servers_key")),
    )
    op.create_table(
        "tallies",
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("server_key", sa.String(length=100), nullable=False),
        sa.Column("sender_domain", sa.String(length=253), nullable=False),
        sa.Column("recipient_domain", sa.String(length=253), nullable=False),
        sa.Column("mail_class", sa.String(length=20), nullable=False),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "day", "server_key", "sender_domain", "recipient_domain", "mail_class", "outcome", name=op.f("pk_tallies")
        ),
    )
    op.create_table(
        "verdicts",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=True),
        sa.Column("check", sa.String(length=100), nullable=False),
        sa.Column("subject", sa.String(length=320), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("found", sa.Text(), server_default="", nullable=False),
        sa.Column("expected", sa.Text(), server_default="", nullable=False),
        sa.Column("fix", sa.Text(), server_default="", nullable=False),
        sa.Column("code", sa.String(length=100), server_default="", nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verdicts")),
    )
    op.create_index("ix_verdicts_check_subject", "verdicts", ["check", "subject", "at"], unique=False)
    op.create_index(op.f("ix_verdicts_run_id"), "verdicts", ["run_id"], unique=False)
    op.create_table(
        "aliases",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("local", sa.String(length=64), nullable=False),
        sa.Column("alias_domain_id", BIG, nullable=True),
        sa.Column("model", sa.String(length=100), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["alias_domain_id"], ["alias_domains.id"], name=op.f("fk_aliases_alias_domain_id_alias_domains")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_aliases")),
        sa.UniqueConstraint("local", "alias_domain_id", name=op.f("uq_aliases_local_alias_domain_id")),
    )
    op.create_table(
        "companies",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("key", sa.String(length=100), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("email", sa.String(length=320), nullable=True),
        sa.Column("alias_domain_id", BIG, nullable=True),
        sa.ForeignKeyConstraint(
            ["alias_domain_id"], ["alias_domains.id"], name=op.f("fk_companies_alias_domain_id_alias_domains")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_companies")),
        sa.UniqueConstraint("key", name=op.f("uq_companies_key")),
    )
    op.create_table(
        "mails",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("message_id", sa.String(length=998), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("mail_class", sa.String(length=20), nullable=False),
        sa.Column("header_from", sa.Text(), nullable=True),
        sa.Column("sender_domain", sa.String(length=253), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("company_id", BIG, nullable=True),
        sa.Column("forced_server", sa.String(length=100), nullable=True),
        sa.Column("return_path", sa.String(length=320), nullable=True),
        sa.Column("origin", sa.String(length=20), server_default="api", nullable=False),
        sa.Column("thread_message_id", BIG, nullable=True),
        sa.Column("auto_delete", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("scheduled_at", MOMENT, nullable=True),
        sa.Column("queued_at", MOMENT, nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("server_key", sa.String(length=100), nullable=True),
        sa.Column("sent_from", sa.Text(), nullable=True),
        sa.Column("sent_envelope", sa.String(length=320), nullable=True),
        sa.Column("failure_type", sa.String(length=30), nullable=True),
        sa.Column("failure_reason", sa.Text(), nullable=True),
        sa.Column("lease_owner", sa.String(length=100), nullable=True),
        sa.Column("lease_until", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["company_id"], ["companies.id"], name=op.f("fk_mails_company_id_companies")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mails")),
    )
    op.create_index("ix_mails_created_at", "mails", ["created_at"], unique=False)
    op.create_index("ix_mails_lease", "mails", ["lease_owner"], unique=False)
    op.create_index("ix_mails_message_id", "mails", ["message_id"], unique=False)
    op.create_index("ix_mails_queue", "mails", ["state", "due_at", "id"], unique=False)
    op.create_table(
        "records",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("model", sa.String(length=100), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email_from", sa.Text(), nullable=True),
        sa.Column("email_normalised", sa.String(length=320), nullable=True),
        sa.Column("company_id", BIG, nullable=True),
        sa.Column("owner", sa.String(length=320), nullable=True),
        sa.Column("values", sa.JSON(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["company_id"], ["companies.id"], name=op.f("fk_records_company_id_companies")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_records")),
    )
    op.create_index(op.f("ix_records_email_normalised"), "records", ["email_normalised"], unique=False)
    op.create_index("ix_records_model_created", "records", ["model", "created_at"], unique=False)
    op.create_table(
        "attempts",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("mail_id", BIG, nullable=False),
        sa.Column("worker", sa.String(length=100), nullable=False),
        sa.Column("server_key", sa.String(length=100), nullable=True),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("outcome", sa.String(length=20), nullable=True),
        sa.Column("transcript", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["mail_id"], ["mails.id"], name=op.f("fk_attempts_mail_id_mails"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
    )
    op.create_index(op.f("ix_attempts_mail_id"), "attempts", ["mail_id"], unique=False)
    op.create_index("ix_attempts_open", "attempts", ["worker", "outcome"], unique=False)
    op.create_table(
        "contents",
        sa.Column("mail_id", BIG, nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("from_start", sa.Integer(), nullable=False),
        sa.Column("from_end", sa.Integer(), nullable=False),
        sa.Column("smtputf8", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("eightbit", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.ForeignKeyConstraint(["mail_id"], ["mails.id"], name=op.f("fk_contents_mail_id_mails"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("mail_id", name=op.f("pk_contents")),
    )
    op.create_table(
        "deliveries",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("mail_id", BIG, nullable=False),
        sa.Column("recipient", sa.String(length=320), nullable=False),
        sa.Column("normalised", sa.String(length=320), nullable=False),
        sa.Column("domain", sa.String(length=253), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("stage", sa.String(length=20), nullable=True),
        sa.Column("code", sa.Integer(), nullable=True),
        sa.Column("enhanced", sa.String(length=20), nullable=True),
        sa.Column("reply", sa.Text(), nullable=True),
        sa.Column("failure_type", sa.String(length=30), nullable=True),
        sa.Column("reason", sa.String(length=40), nullable=True),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("bounce_id", BIG, nullable=True),
        sa.ForeignKeyConstraint(
            ["mail_id"], ["mails.id"], name=op.f("fk_deliveries_mail_id_mails"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
    )
    op.create_index(op.f("ix_deliveries_mail_id"), "deliveries", ["mail_id"], unique=False)
    op.create_index(op.f("ix_deliveries_normalised"), "deliveries", ["normalised"], unique=False)
    op.create_table(
        "followers",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("record_id", BIG, nullable=False),
        sa.Column("contact_id", BIG, nullable=False),
        sa.Column("subtypes", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["contact_id"], ["contacts.id"], name=op.f("fk_followers_contact_id_contacts"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["record_id"], ["records.id"], name=op.f("fk_followers_record_id_records"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_followers")),
        sa.UniqueConstraint("record_id", "contact_id", name=op.f("uq_followers_record_id_contact_id")),
    )
    op.create_index(op.f("ix_followers_record_id"), "followers", ["record_id"], unique=False)
    op.create_table(
        "messages",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("message_id", sa.String(length=998), nullable=False),
        sa.Column("record_id", BIG, nullable=True),
        sa.Column("parent_id", BIG, nullable=True),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("author_id", BIG, nullable=True),
        sa.Column("author_email", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["record_id"], ["records.id"], name=op.f("fk_messages_record_id_records"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
    )
    op.create_index(op.f("ix_messages_message_id"), "messages", ["message_id"], unique=False)
    op.create_index(op.f("ix_messages_record_id"), "messages", ["record_id"], unique=False)
    op.create_table(
        "notifications",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("message_id", BIG, nullable=False),
        sa.Column("contact_id", BIG, nullable=True),
        sa.Column("channel", sa.String(length=10), nullable=False),
        sa.Column("address", sa.String(length=320), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("mail_id", BIG, nullable=True),
        sa.Column("failure_type", sa.String(length=30), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("is_read", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_notifications_message_id_messages"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notifications")),
    )
    op.create_index(op.f("ix_notifications_mail_id"), "notifications", ["mail_id"], unique=False)
    op.create_index(op.f("ix_notifications_message_id"), "notifications", ["message_id"], unique=False)
