"""Reading bounces, complaints and automatic replies without the store: bytes in, frozen values out.

:mod:`~mailops.bounces.reading.reader` tells what a message is, :mod:`~mailops.bounces.reading.classify` why a server
refused, :mod:`~mailops.bounces.reading.advice` what to do about it. Nothing here knows a workspace, a database or the
clock, so that one reading serves live replies, reports, webhooks and evaluations alike.
"""
