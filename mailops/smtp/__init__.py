"""Sending over SMTP: the transport, the checks before it, and Test Connection."""
