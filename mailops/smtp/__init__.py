"""Sending over SMTP: the transport, the checks before it, kept sessions, and Test Connection."""

from .pool import SessionPool
from .probe import ConnectionStep, ConnectionTest, test_connection
from .session import SmtpSession
from .transport import SmtpTransport

__all__ = ["ConnectionStep", "ConnectionTest", "SessionPool", "SmtpSession", "SmtpTransport", "test_connection"]
