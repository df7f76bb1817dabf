"""DNS as it was asked, and the judgements made of it and of servers' words: made again from a bundle alone.

A look keeps every answer that the check of a domain asked for. :class:`Recorded` stands where the resolver stood, so
the very same evaluation runs over what was kept; what was not asked then is unknown, never missing.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ..bounces.explainer import explain_answer, explain_report
from ..dns.answer import Answer, Status
from ..dns.domain import check_domain
from ..dns.domain_model import DomainReport, SendingSetup, SigningKey
from ..errors import InputRefused, MailopsError

if TYPE_CHECKING:
    from ..dns.resolver import Resolver
    from ..ops import Ops

T = TypeVar("T")
SECONDS = 20.0


def look(ops: Ops, domain: str, *, seconds: float = SECONDS) -> dict[str, Any]:
    """The DNS of a domain with every answer; at most ``seconds``, and never an error: it says why there is none."""
    found: list[dict[str, Any]] = []

    def ask() -> None:
        try:
            setup = ops.domains.of(ops.setup, domain)

            async def question(asker: Any) -> dict[str, Any]:
                report = await check_domain(cast("Resolver", asker), setup)
                return {
                    "domain": domain,
                    "asked_of": report.asked_of,
                    "setup": asdict(setup),
                    "results": results(report),
                    "answers": [_kept(answer) for answer in asker.evidence],
                }

            found.append(ops.domains.ask(question))
        except MailopsError as error:
            found.append({"domain": domain, "trouble": error.message})

    worker = threading.Thread(target=ask, daemon=True)
    worker.start()
    worker.join(seconds)
    return found[0] if found else {"domain": domain, "trouble": f"no answer within {seconds:.0f} seconds"}


def results(report: DomainReport) -> list[dict[str, str]]:
    """What a check says, one line each."""
    return [
        {"check": one.verdict.check, "subject": one.verdict.subject, "state": str(one.state), "code": one.code,
         "title": one.verdict.title, "fix": one.verdict.fix}
        for one in report.results
    ]  # fmt: skip


def _kept(answer: Answer) -> dict[str, Any]:
    values: list[Any] = [
        [part.decode("latin-1") for part in cast("tuple[bytes, ...]", value)]
        if answer.type in ("TXT", "SPF")
        else list(value)
        if isinstance(value, tuple)
        else value
        for value in answer.values
    ]
    return {
        "name": answer.name, "type": answer.type, "status": str(answer.status), "values": values,
        "chain": list(answer.chain), "ttl": answer.ttl, "rcode": answer.rcode, "server": answer.server,
        "at": answer.at, "detail": answer.detail,
    }  # fmt: skip


def public_words(kept: Iterable[Mapping[str, Any]]) -> set[str]:
    """Words of published keys: they look random, and are for all to read."""
    found: set[str] = set()
    for one in kept:
        for answer in one.get("answers") or ():
            for value in answer["values"] if answer["type"] == "TXT" else ():
                if "p=" in "".join(value):
                    found.update(word for part in value for word in part.replace(";", " ").replace("p=", " ").split())
        for key in (one.get("setup") or {}).get("own_keys") or ():
            found.add(str(key.get("public_key") or ""))
    return {piece for word in found for piece in (word, word.rstrip("="), *_pieces(word)) if len(piece) >= 8}


def _pieces(word: str) -> list[str]:
    return word.replace("/", " ").replace("+", " ").replace("=", " ").split()


class Recorded:
    """Answers out of a bundle, where the resolver stands."""

    def __init__(self, kept: Iterable[Mapping[str, Any]], asked_of: str) -> None:
        self.asked_of = asked_of
        self._answers = {(str(one["name"]), str(one["type"])): _answer(one) for one in kept}

    def ask(self, name: str, rdtype: str) -> Awaitable[Answer]:
        """The answer that was kept; what nobody asked then nobody knows."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        unknown = Answer(name, rdtype, Status.TIMEOUT, detail="this was not asked when the bundle was made")
        future.set_result(self._answers.get((name, rdtype), unknown))
        return future


def _answer(one: Mapping[str, Any]) -> Answer:
    rdtype = str(one["type"])
    values: list[object] = []
    for value in one["values"]:
        if rdtype in ("TXT", "SPF"):
            values.append(tuple(str(part).encode("latin-1", "replace") for part in value))
        elif isinstance(value, list):
            values.append(tuple(value))
        else:
            values.append(value)
    return Answer(
        str(one["name"]), rdtype, Status(one["status"]), tuple(values), tuple(one["chain"]), int(one["ttl"]),
        str(one["server"]), str(one["rcode"]), at=float(one["at"]), detail=str(one["detail"]),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Judged:
    """One judgement, as the bundle has it and as it is made again. ``what`` is its kind and subject."""

    what: str
    before: str
    again: str

    @property
    def same(self) -> bool:
        return self.before == self.again


def domain_again(kept: Mapping[str, Any]) -> list[Judged]:
    """The checks of one domain, made again from its answers."""
    if kept.get("trouble"):
        return []
    with _readable():
        told = dict(kept["setup"])
        told["own_keys"] = tuple(SigningKey(**key) for key in told.get("own_keys") or ())
        given: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in told.items()}
        setup = SendingSetup(**given)
        recorded = Recorded(kept["answers"], str(kept.get("asked_of") or ""))
        report = _run(lambda: check_domain(cast("Resolver", recorded), setup))
        now = {(one["check"], one["subject"], number): one for number, one in enumerate(results(report))}
        out = []
        for number, one in enumerate(kept["results"]):
            other = now.get((one["check"], one["subject"], number), {"state": "not made", "code": ""})
            words = [f"{it['state']} {it['code']}".rstrip() for it in (one, other)]
            out.append(Judged(f"{one['check']} of {one['subject']}", *words))
        return out


def cause_again(one: Mapping[str, Any]) -> Judged:
    """What a server's words mean, read again."""
    with _readable():
        said, code, reason = str(one["said"]), str(one["code"]), str(one["reason"]) or None
        if one["kind"] == "bounced":
            told = explain_report(said, reason)
        else:
            number, enhanced = (None, code) if "." in code else (int(code or 0), None)
            told = explain_answer(
                said, host=one["host"] or None, provider=one["provider"] or None, code=number, enhanced=enhanced,
                reason=reason, facts={"row": one["row"]} if one["own"] else None,
            )  # fmt: skip
        before = " ".join(filter(None, (one["class"], one["row"])))
        return Judged(f"cause of {one['recipient']}", before, " ".join(filter(None, (told.kind, told.row or ""))))


class _readable:
    """A bundle may have been written by anybody."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KeyError | TypeError | ValueError | AttributeError) and not isinstance(
            error, MailopsError
        ):
            raise InputRefused(
                "This bundle cannot be read.",
                code="support.bundle",
                facts={"reason": f"{type(error).__name__}: {error}"[:200]},
                fix="Take the zip as `mailops support bundle` wrote it.",
            ) from error


def _run(work: Callable[[], Any]) -> Any:
    """The result of asynchronous work, also where a loop runs already (notebooks)."""
    done: list[Any] = []

    def go() -> None:
        try:
            done.append(asyncio.run(work()))
        except Exception as error:
            done.append(error)

    worker = threading.Thread(target=go, daemon=True)
    worker.start()
    worker.join()
    if isinstance(done[0], Exception):
        raise done[0]
    return done[0]
