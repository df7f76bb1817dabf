"""The queue: submit, send, retry, cancel, clean."""
