"""What a campaign costs: queued, and left; beside composing each mail with the library in the same run.

usage: python benchmarks/campaigns.py [--recipients 100000] [--composed 5000] [--sink kit]

CPU seconds are this process's; ``composed`` is how many mails are composed by the library for the comparison, taken
times what is missing to all. The store's growth counts all its files, before and after the run. The sink is the
queue benchmark's.
"""

from __future__ import annotations

import sys

sys.path.pop(0)  # this file's folder: its names would hide the standard library's

import argparse
import resource
import tempfile
import time
from datetime import UTC, datetime
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from mailops import Ops
from mailops.campaigns.compiled import Compiled
from mailops.campaigns.listing import rows_of
from mailops.campaigns.template import Template
from mailops.campaigns.values import Place, message_id
from mailops.model.mail import Submission
from mailops.model.setup import AliasDomain, Company, Encryption, Server
from mailops.queue.compose import compose
from mailops.workspace import init

SUBJECT = "News for {{ name }}"
TEXT = "Dear {{ name }},\n\n" + "what is new in {{ city }} is told here in a line of text.\n" * 20
HTML = "<p>Dear {{ name }},</p>\n" + "<p>what is new in {{ city }} is told here.</p>\n" * 20


def sink(kind: str) -> Any:
    spec = spec_from_file_location("bench_queue", Path(__file__).with_name("queue.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.path.insert(0, "")
    spec.loader.exec_module(module)
    return module.sink(kind)


def made(rows: Path, number: int) -> tuple[float, float]:
    """CPU seconds for so many mails: by the slots (rendering with it), and by the library."""
    template, now = Template(SUBJECT, TEXT, HTML), datetime.now(UTC)
    base = Submission(sender="Ann <ann@acme.example>", subject=SUBJECT, text=TEXT, html=HTML)
    compiled = Compiled(base, now=now, return_path="bounce@acme.example")
    some = [row for row, _ in zip(rows_of(rows), range(number), strict=False)]
    began = time.process_time()
    for at, row in enumerate(some, 1):
        compiled.mail(row["email"], message_id(Place(1, at, "0" * 12), "acme.example"), template.render(row), now=now)
    slots, began = time.process_time() - began, time.process_time()
    for row in some:
        texts = template.render(row)
        mail = Submission(
            sender=base.sender, to=(row["email"],), subject=texts.subject, text=texts.text, html=texts.html
        )
        compose(mail, now=now, return_path="bounce@acme.example")
    return slots, time.process_time() - began


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--recipients", type=int, default=100_000)
    options.add_argument("--composed", type=int, default=5_000)
    options.add_argument("--sink", default="postfix")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, sink(given.sink) as (port, name):
        ops = Ops.open(init(Path(folder) / "workspace").path)
        ops.save_alias_domain(AliasDomain("acme.example"))
        ops.save_company(Company("acme", "Acme", "info@acme.example"))
        ops.save_server(Server("main", "Main", "127.0.0.1", port, Encryption.NONE, max_sessions=3))
        rows = Path(folder) / "list.csv"
        with rows.open("w", encoding="utf-8") as file:
            file.write("email,name,city\n")
            file.writelines(f"u{n}@x{n % 200}.example,Name {n},Town {n % 90}\n" for n in range(given.recipients))
        store = Path(ops.workspace.database)

        def size() -> float:
            return sum(file.stat().st_size for file in store.parent.glob(f"{store.name}*")) / 1e6

        slots, library = made(rows, given.composed)
        times = given.recipients / given.composed
        each = [seconds / given.composed * 1e6 for seconds in (slots, library)]
        print(f"a mail by the slots {each[0]:.0f} µs, by the library {each[1]:.0f} µs: {each[1] / each[0]:.1f} ×")
        empty, began = size(), time.process_time()
        ops.campaigns.create(
            "one", sender="Ann <ann@acme.example>", subject=SUBJECT, text=TEXT, html=HTML, recipients=rows
        )
        ops.campaigns.send("one")
        queued = time.process_time() - began
        every = library * times
        print(f"{given.recipients:,} recipients queued in {queued:.1f} CPU seconds, composing each takes {every:.0f}:")
        print(f"{every / queued:.1f} ×; the store grew by {size() - empty:.0f} MB")
        memory, began, wall = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time(), time.monotonic()
        report = ops.queue.run()
        cpu, wall = time.process_time() - began, time.monotonic() - wall
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024
        print(f"{report.sent:,} sent to {name} in {wall:.0f} s ({report.sent / wall:,.0f}/s), {cpu:.0f} CPU seconds;")
        print(f"memory + {grown:.0f} MB; the store grew by {size() - empty:.0f} MB")
        print({str(state): n for state, n in ops.campaigns.status("one").counts.items() if n})
        ops.close()


if __name__ == "__main__":
    main()
