"""Provider webhooks: proven, bounded, taken once, recorded as reports are. Own keys stand in for the providers'."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID
from furnish import furnish

from mailops import Ops
from mailops.errors import AuthError, InputRefused
from mailops.testing import SmtpServer
from mailops.webhooks import PROVIDERS, Webhooks, app, read_events
from mailops.webhooks.verify import certificate_of

TOPIC = "arn:aws:sns:eu-west-1:123456789012:bounces"
CERTIFICATE = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem"


@pytest.fixture
def ops(ops_factory: Callable[..., Ops], monkeypatch: pytest.MonkeyPatch) -> Ops:
    ops = ops_factory()
    monkeypatch.setenv("HOOK_SECRET", "user:pass-word")
    for name in ("mailjet.login", "postmark.login", "mailgun.key"):
        ops.set_parameter(f"mailops.webhook.{name}", "env:HOOK_SECRET")
    ops.set_parameter("mailops.webhook.ses.topic", TOPIC)
    return ops


@pytest.fixture(scope="module")
def signer() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def certificate(key: rsa.RSAPrivateKey, ops: Ops, *, days: int = 1) -> bytes:
    now = ops.clock.now()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.example")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(7).not_valid_before(now - timedelta(days=9)).not_valid_after(now + timedelta(days=days))
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def sns(key: rsa.RSAPrivateKey, ops: Ops, told: dict[str, Any] | None = None, **changed: Any) -> bytes:
    bounce = {
        "notificationType": "Bounce",
        "mail": {"commonHeaders": {"messageId": "<1@acme.example>"}},
        "bounce": {
            "feedbackId": "f-1",
            "bounceType": "Permanent",
            "bouncedRecipients": [
                {"emailAddress": "gone@x.example", "status": "5.1.1", "diagnosticCode": "smtp; 550 5.1.1 user unknown"}
            ],
        },
    }
    fields = {
        "Message": json.dumps(told or bounce),
        "MessageId": "m-1",
        "Timestamp": ops.clock.now().isoformat(),
        "TopicArn": TOPIC,
        "Type": "Notification",
    }
    signed = "".join(f"{k}\n{v}\n" for k, v in fields.items()).encode()
    signature = base64.b64encode(key.sign(signed, padding.PKCS1v15(), hashes.SHA256())).decode()
    return json.dumps(
        {**fields, "SignatureVersion": "2", "Signature": signature, "SigningCertURL": CERTIFICATE, **changed}
    ).encode()


def basic(login: str = "user:pass-word") -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(login.encode()).decode()}


MAILJET = json.dumps(
    [
        {
            "event": "bounce",
            "time": 1,
            "Message_GUID": "g1",
            "email": "gone@x.example",
            "hard_bounce": True,
            "error": "user unknown",
        },
        {"event": "spam", "time": 1, "Message_GUID": "g2", "email": "angry@x.example"},
        {
            "event": "bounce",
            "time": 1,
            "Message_GUID": "g3",
            "email": "full@x.example",
            "hard_bounce": True,
            "error": "mailbox full",
        },
        {"event": "open", "time": 1, "Message_GUID": "g4", "email": "fine@x.example"},
    ]
).encode()


def test_events_count_once_and_suppress(ops: Ops) -> None:
    hooks = Webhooks(ops)
    done = hooks.receive("mailjet", basic(), MAILJET)
    assert (done.events, done.repeated) == (3, 0)
    assert hooks.receive("mailjet", basic(), MAILJET).repeated == 3
    assert len(ops.bounces.recent()) == 3
    listed = {r.address: (r.source, r.hard) for r in ops.suppressions.page()[0]}
    assert listed == {"gone@x.example": ("mailjet", True), "angry@x.example": ("complaint", True)}  # full is soft
    assert ops.suppressions.diff() == []


@pytest.mark.parametrize("login", ["user:wrong", "", "ü:ü"])
def test_wrong_logins_are_refused_and_nothing_is_recorded(ops: Ops, login: str) -> None:
    for provider in ("mailjet", "postmark"):
        with pytest.raises(AuthError):
            Webhooks(ops).receive(provider, basic(login), MAILJET)
    assert len(ops.bounces.recent()) == 0


def test_a_provider_without_its_parameter_is_refused(ops: Ops) -> None:
    ops.set_parameter("mailops.webhook.postmark.login", None)
    with pytest.raises(AuthError) as refused:
        Webhooks(ops).receive("postmark", basic(""), b"{}")
    assert "is not set" in refused.value.facts["reason"]


def test_an_sns_message_is_proven_by_its_certificate(ops: Ops, signer: rsa.RSAPrivateKey) -> None:
    pem, asked = certificate(signer, ops), []

    def fetch(url: str) -> bytes:
        asked.append(url)
        return pem

    hooks = Webhooks(ops, fetch=fetch)
    assert hooks.receive("ses", {}, sns(signer, ops)).events == 1
    assert hooks.receive("ses", {}, sns(signer, ops)).repeated == 1
    assert asked == [CERTIFICATE]
    assert ops.suppressions.find("gone@x.example") is not None
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    for body in (
        sns(other, ops),
        sns(signer, ops, Message="{}"),
        sns(signer, ops, TopicArn=TOPIC + "2"),
        sns(signer, ops, Timestamp=(ops.clock.now() - timedelta(days=4)).isoformat()),
        sns(signer, ops, SignatureVersion="3"),
        sns(signer, ops, Signature="?"),
        b"[]",
        b"{" * 100_000,
    ):
        with pytest.raises(AuthError):
            hooks.receive("ses", {}, body)


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-west-1.amazonaws.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com.evil.example/a.pem",
        "https://evil.example/sns.eu-west-1.amazonaws.com/a.pem",
        "https://u:p@sns.eu-west-1.amazonaws.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com:8443/a.pem",
        "https://bucket.s3.amazonaws.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com/a.txt",
        "file:///etc/passwd.pem",
    ],
)
def test_a_certificate_is_asked_from_sns_only(ops: Ops, url: str) -> None:
    asked: list[str] = []
    with pytest.raises(AuthError):
        certificate_of(url, lambda u: asked.append(u) or b"", now=ops.clock.now())  # type: ignore[func-returns-value]
    assert asked == []


def test_an_expired_certificate_is_refused(ops: Ops, signer: rsa.RSAPrivateKey) -> None:
    pem = certificate(signer, ops, days=-1)
    with pytest.raises(AuthError):
        certificate_of(CERTIFICATE, lambda _: pem, now=ops.clock.now())


def test_sendgrid_s_signature_is_checked(ops: Ops) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    ops.set_parameter("mailops.webhook.sendgrid.key", base64.b64encode(key.public_key().public_bytes(*form)).decode())
    body = b'[{"event":"bounce","type":"bounce","email":"gone@x.example","sg_event_id":"e1","status":"5.1.1","reason":"550 user unknown"}]'

    def signed(stamp: float, data: bytes = body) -> dict[str, str]:
        text = str(int(stamp))
        proof = base64.b64encode(key.sign(text.encode() + data, ec.ECDSA(hashes.SHA256()))).decode()
        name = "x-twilio-email-event-webhook-"
        return {name + "timestamp": text, name + "signature": proof}

    now = ops.clock.now().timestamp()
    assert Webhooks(ops).receive("sendgrid", signed(now), body).events == 1
    for headers in (signed(now, b"[]"), signed(now - 4 * 86_400), {}):
        with pytest.raises(AuthError):
            Webhooks(ops).receive("sendgrid", headers, body)


def test_mailgun_s_signature_is_checked_and_a_temporary_failure_is_a_delay(ops: Ops) -> None:
    def body(severity: str, key: bytes = b"user:pass-word", age: int = 0) -> bytes:
        stamp = str(int(ops.clock.now().timestamp()) - age)
        proof = hmac.new(key, f"{stamp}{severity}".encode(), hashlib.sha256).hexdigest()
        return json.dumps(
            {
                "signature": {"timestamp": stamp, "token": severity, "signature": proof},
                "event-data": {
                    "event": "failed",
                    "id": severity,
                    "severity": severity,
                    "recipient": "gone@x.example",
                    "delivery-status": {"message": "550 5.1.1 no such user"},
                },
            }
        ).encode()

    hooks = Webhooks(ops)
    hooks.receive("mailgun", {}, body("temporary"))
    assert list(ops.bounces.recent()["kind"]) == ["delayed"]
    assert ops.suppressions.find("gone@x.example") is None
    hooks.receive("mailgun", {}, body("permanent"))
    assert ops.suppressions.find("gone@x.example") is not None
    for wrong in (body("permanent", b"other"), body("permanent", age=4 * 86_400), b"null"):
        with pytest.raises(AuthError):
            hooks.receive("mailgun", {}, wrong)


def test_postmark_s_own_words_decide() -> None:
    def one(kind: str, details: str = "") -> Any:
        body = {"RecordType": "Bounce", "ID": 4, "Type": kind, "Email": "a@x.example", "Details": details}
        return next(iter(read_events("postmark", json.dumps(body).encode())), None)

    assert (one("HardBounce", "550 user unknown").kind, one("HardBounce", "550 user unknown").hard) == ("bounce", True)
    assert one("SoftBounce", "452 mailbox full").hard is False
    assert one("HardBounce", "550 message looks like spam").hard is False
    assert one("SpamComplaint").kind == "complaint"
    assert one("AutoResponder") is None


def test_what_a_provider_holds_back_or_still_tries_is_told_apart() -> None:
    delay = {
        "eventType": "DeliveryDelay",
        "mail": {"messageId": "0102", "commonHeaders": {"messageId": "<1@acme.example>"}},
        "deliveryDelay": {
            "delayType": "MailboxFull",
            "timestamp": "2026-03-30T12:00:00Z",
            "delayedRecipients": [
                {"emailAddress": "full@x.example", "status": "4.2.2", "diagnosticCode": "smtp; 452 4.2.2 mailbox full"}
            ],
        },
    }
    notice = json.dumps({"Type": "Notification", "Message": json.dumps(delay)}).encode()
    (event,) = read_events("ses", notice)
    assert (event.kind, event.address, event.reason, event.hard) == ("delayed", "full@x.example", "mailboxfull", False)
    told = [
        {"event": "dropped", "sg_event_id": "1", "email": "a@x.example", "reason": "Bounced Address"},
        {"event": "dropped", "sg_event_id": "2", "email": "b@x.example", "reason": "Unsubscribed Address"},
        {"event": "deferred", "sg_event_id": "3", "email": "c@x.example", "response": "451 4.7.1 try again later"},
        {"event": "processed", "sg_event_id": "4", "email": "d@x.example"},
    ]
    found = read_events("sendgrid", json.dumps(told).encode())
    assert [(e.kind, e.hard) for e in found] == [("bounce", True), ("bounce", False), ("delayed", False)]


@pytest.mark.parametrize(
    ("reason", "message", "word", "hard"),
    [
        ("bounce", "", "undefined", True),
        ("suppress-bounce", "Not delivering to previously bounced address", "undefined", True),
        ("old", "", "expired", False),
        ("generic", "", "undefined", False),
        ("generic", "550 5.1.1 user unknown", "userunknown", True),
        ("suppress-complaint", "Not delivering to a user who marked your messages as spam", "filtered", False),
        ("suppress-unsubscribe", "Not delivering to unsubscribed recipient", "filtered", False),
    ],
)
def test_mailgun_gives_up_for_more_reasons_than_bad_addresses(reason: str, message: str, word: str, hard: bool) -> None:
    status = {"message": message, "code": 605}
    data = {"event": "failed", "severity": "permanent", "reason": reason, "id": "1", "recipient": "a@x.example"}
    (event,) = read_events("mailgun", json.dumps({"event-data": {**data, "delivery-status": status}}).encode())
    assert (event.reason, event.hard) == (word, hard)


@pytest.mark.parametrize(
    ("subtype", "word", "hard"),
    [("NoEmail", "userunknown", True), ("MailboxFull", "mailboxfull", False), ("General", "undefined", True)],
)
def test_amazon_s_own_words_count_where_the_server_said_nothing(subtype: str, word: str, hard: bool) -> None:
    told: dict[str, Any] = {"bounceType": "Permanent", "bounceSubType": subtype, "feedbackId": "f"}
    told["bouncedRecipients"] = [{"emailAddress": "a@x.example"}]
    message = json.dumps({"notificationType": "Bounce", "mail": {"messageId": "m"}, "bounce": told})
    (event,) = read_events("ses", json.dumps({"Type": "Notification", "Message": message}).encode())
    assert (event.reason, event.hard) == (word, hard)


def test_mailjet_s_own_words_count_where_the_server_said_nothing() -> None:
    told = {"event": "bounce", "email": "a@x.example", "hard_bounce": True, "MessageID": 1, "time": 5}
    for error, word, hard in (("quota exceeded", "mailboxfull", False), ("no mail host", "hostunknown", True)):
        (event,) = read_events("mailjet", json.dumps({**told, "error": error}).encode())
        assert (event.reason, event.hard) == (word, hard)


@pytest.mark.parametrize(("feedback", "listed"), [("abuse", True), ("not-spam", False), (None, True)])
def test_feedback_by_which_nobody_complains_suppresses_nobody(
    ops: Ops, signer: rsa.RSAPrivateKey, feedback: str | None, listed: bool
) -> None:
    told = {
        "feedbackId": "f",
        "complaintFeedbackType": feedback,
        "complainedRecipients": [{"emailAddress": "a@x.example"}],
    }
    body = sns(signer, ops, {"notificationType": "Complaint", "mail": {"messageId": "m"}, "complaint": told})
    assert Webhooks(ops, fetch=lambda url: certificate(signer, ops)).receive("ses", {}, body).events == 1
    assert (ops.suppressions.find("a@x.example") is not None) is listed


def test_a_verified_event_is_tied_to_a_mail_that_left_with_a_tag(ops: Ops) -> None:
    with SmtpServer() as smtp:
        furnish(ops, smtp)
        ops.return_paths.sign()
        number = ops.send(sender="ann@acme.example", to=["gone@x.example"], subject="Hello", text="Hi")
        ops.queue.run()
    body = {"RecordType": "Bounce", "ID": 7, "Type": "HardBounce", "Email": "gone@x.example", "Details": "550 no user"}
    got = Webhooks(ops).receive("postmark", basic(), json.dumps(body).encode())
    assert got.matched == 1
    assert ops.queue.mail(number).deliveries[0].state.label == "Bounced"


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    "body", [b"", b"null", b"[1]", b'"x"', b"[" * 50_000, b'{"Type":"Notification","Message":"["}']
)
def test_broken_bodies_are_refused_in_words(provider: str, body: bytes) -> None:
    found: list[Any] = []
    code = None
    try:
        found = read_events(provider, body)
    except InputRefused as refused:
        code = refused.code
    assert found == []
    assert code in (None, "input.webhook_body")


def call(ops: Ops, path: str, body: bytes, headers: dict[str, str] | None = None, method: str = "POST") -> int:
    """One request through the ASGI door; the body comes in two pieces."""
    pieces = [{"body": body[:5], "more_body": True}, {"body": body[5:]}]
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", **pieces.pop(0)}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "path": path,
        "method": method,
        "headers": [(k.encode(), v.encode()) for k, v in (headers or {}).items()],
    }
    asyncio.run(app(ops, max_body=4_000)(scope, receive, send))
    return int(sent[0]["status"])


def test_the_door_answers_what_happened_and_no_more(ops: Ops) -> None:
    assert call(ops, "/webhooks/mailjet", MAILJET, basic()) == 200
    assert call(ops, "/webhooks/mailjet", MAILJET, basic("a:b")) == 401
    assert call(ops, "/webhooks/mailjet", b"nonsense", basic()) == 400
    assert call(ops, "/webhooks/mailjet", b" " * 4_001, basic()) == 413
    assert call(ops, "/webhooks/mailjet", b"", basic(), method="GET") == 405
    assert call(ops, "/webhooks/nobody", b"") == 404
    assert call(ops, "/", b"") == 404
