"""Services that run for months: a small parent without business code, and a child process for each of them.

::

    parent ── binds the listening sockets, starts, hears, ends and starts again; writes ``serve.json``
      ├─ intake     SMTP and HTTP: takes mail and providers' webhooks
      ├─ queue      sends what is due
      └─ schedule   what has its time of day: Auto-Vacuum

A busy Python thread beside the queue slows it thirty times, and a hung thread can be ended by nobody: hence processes.
A child is a fork of the parent, which has read the modules and done nothing else: it is there in some milliseconds, and
its memory is shared until it writes. Sockets are the parent's, so while intake is started again its clients wait in
the backlog and are not refused.

What a child is (:mod:`.definitions`) is data; what is to be done about one (:mod:`.decide`) are pure functions. A child
says over a pipe that it is alive, once a second (:mod:`.link`); it says so only while its work moves (:mod:`.pulse`).
The other pipe, on which the parent tells it to hold mail back, ends with the parent: then the child stops as well.
"""
