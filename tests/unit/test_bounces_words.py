"""Words and codes of refusals, one row for each rule: every sentence is our own, with the surroundings real replies have."""

from __future__ import annotations

import pytest

from mailops.bounces import classify
from mailops.bounces.reading.classify import match_text, prepare

WORDS: list[tuple[str, str]] = [
    # our server, its name, its network
    ("554 5.7.1 <out7.mailops.example>: Helo command rejected: Host not found", "blocked"),
    ("501 Bad HELO: out7 is no name", "blocked"),
    ("550 EHLO/HELO argument refused here", "blocked"),
    ("550 5.7.510 dest.example takes no mail over IPv6", "blocked"),
    ("554 gmx.example Nemesis ESMTP Service not available No SMTP service IP address is block listed", "blocked"),
    ("550 You are sending spam, go and look at your queue", "blocked"),
    ("451 Currently sending spam, see our page", "blocked"),
    ("550 Too many spams from your IP (192.0.2.9)", "blocked"),
    ("554 192.0.2.9 looks suspiciously like a spammer's host", "blocked"),
    ("451 Excessive unknown recipients seen, is this an open relay?", "blocked"),
    ("554 IP=192.0.2.9 - A problem occurred. (Ask your postmaster for help) (BL)", "blocked"),
    ("550 permanent failure for one or more recipients (ann@dest.example:blocked)", "blocked"),
    ("550 Mail from 192.0.2.9 refused, see our list", "blocked"),
    ("550 Server IP 192.0.2.9 listed as abusive", "blocked"),
    ("554 Connection refused due to abuse of this service", "blocked"),
    ("550 Requested mail action not taken: Invalid IP", "blocked"),
    ("550 Sender IP address rejected", "blocked"),
    ("554 mx2 ESMTP not accepting connections", "blocked"),
    ("554 rejected on geographical grounds: your country is not served", "blocked"),
    ("550 You must register your IP with us first", "blocked"),
    ("421 Messages from 192.0.2.9 temporarily deferred due to user complaints", "blocked"),
    ("550 5.7.1 the forward DNS entry of your host does not lead back to it", "requireptr"),
    ("550 Unresolvable relay host name", "requireptr"),
    ("451 DNS lookup failure: 192.0.2.9 please try again in an hour", "requireptr"),
    # our sender address
    ("550 5.7.134 RESOLVER.RST.SenderNotAuthenticatedForMailbox; sender was not authenticated", "rejected"),
    ("554 Message rejected: Email address is not verified in this region", "rejected"),
    ("550 BATV validation failure for your return path", "rejected"),
    ("550 This server does not accept mail from mailops.example", "rejected"),
    ("553 Sender Domain Resolve Fail", "rejected"),
    ("553 5.1.8 Sender address is not a valid RFC 5321 address", "rejected"),
    ("550 5.7.0 Mail Sending denied for this account", "rejected"),
    ("554 Access denied (sender blacklisted)", "rejected"),
    ("553 Sorry, your email address has been blocked by our customer", "rejected"),
    ("553 Sorry, your domain has been blacklisted", "rejected"),
    ("550 Envelope blocked - user entry", "rejected"),
    ("550 The sender isn't on the recipient's list of people to hear from", "rejected"),
    ("554 5.7.105 ANTISPAM; SenderFilterConfig", "rejected"),
    ("553 MX records for mailops.example point to a private network", "rejected"),
    ("550 Recursive CNAME records for mailops.example", "rejected"),
    ("550 Your access to submit messages to this system has been rejected", "rejected"),
    ("550 Callout verification failed: 550 no such box", "rejected"),
    ("550 Sender <news@mailops.example> has no A, AAAA, or MX DNS records", "rejected"),
    ("553 host denies the sender", "rejected"),
    ("552 mail from invalid", "rejected"),
    ("553 mailbox ann is restricted", "rejected"),
    ("550 server not accepting messages from this sender", "rejected"),
    ("550 From: domain is invalid, give a better one", "rejected"),
    # rates and connections
    ("454 Throttling failure: maximum sending rate exceeded", "toomanyconn"),
    ("452 4.3.2 Connection rate limit exceeded", "toomanyconn"),
    ("452 192.0.2.9 went over its emails per hour", "toomanyconn"),
    ("432 4.3.2 STOREDRV.Deliver; recipient thread limit exceeded", "toomanyconn"),
    ("421 Trop de connexions, veuillez ralentir", "toomanyconn"),
    ("450 We made numerous attempts to deliver this already", "toomanyconn"),
    ("421 Max message per connection reached", "toomanyconn"),
    ("421 4.7.0 mx2 Error: too many errors", "toomanyconn"),
    ("452 Too many recipients received this hour", "toomanyconn"),
    ("550 5.2.2 Submission quota exceeded", "speeding"),
    ("450 Peak SMTP relay limit exceeded for this customer", "speeding"),
    ("451 4.7.1 Client host rejected: Please try again slower", "speeding"),
    ("421 4.3.1 You send too many messages", "speeding"),
    ("550 5.7.1 You sent too many letters, wait 24 hours", "speeding"),
    # the mailbox
    ("552 recipient has a full mailbox", "mailboxfull"),
    ("552 mailbox would exceed maximum allowed storage", "mailboxfull"),
    ("452 not sufficient disk space for ann", "mailboxfull"),
    ("550 ann does not have enough space for this", "mailboxfull"),
    ("552 too much mail data waiting", "mailboxfull"),
    ("550 all of this user's space has been used up", "mailboxfull"),
    ("550 mailbox for ann has exceeded the limit", "mailboxfull"),
    ("550 letter would be over the allowed quota", "mailboxfull"),
    ("550 mail file size exceeds the maximum size allowed for mail delivery", "mailboxfull"),
    ("550 account stopped for exceeding receiving limits", "mailboxfull"),
    ("552 recipient storage full", "mailboxfull"),
    ("551 the mailbox <ann@dest.example> is full", "mailboxfull"),
    ("552 Mailbox size exceeded", "mailboxfull"),
    ("550 Speichervolumen erreicht", "mailboxfull"),
    ("550 too many messages on this mailbox", "mailboxfull"),
    ("550 user is over the maximum allowed number of letters", "mailboxfull"),
    ("550 account of ann is currently suspended", "suspend"),
    ("554 this account has been temporarily suspended", "suspend"),
    ("550 Archived recipient", "suspend"),
    ("550 User account not activated", "suspend"),
    ("550 <ann> is now disabled with our service", "suspend"),
    ("550 <ann@dest.example>: User status is locked", "suspend"),
    ("550 Mailbox Locked or Suspended", "suspend"),
    ("550 mailbox has been blocked due to inactivity", "suspend"),
    ("550 konto zablokowane", "suspend"),
    ("550 indirizzo bloccato", "suspend"),
    ("550 5.1.1 Inactive mbox", "suspend"),
    ("550 5.1.1 Suspended user", "suspend"),
    ("550 5.2.1 <ann@dest.example> is an expired account", "suspend"),
    ("550 Recipient mailbox was disabled", "suspend"),
    ("550 El usuario esta en estado: inactivo", "suspend"),
    ("550 user not active", "suspend"),
    ("550 User hasn't entered for a year", "suspend"),
    ("550 the mailbox you wrote to was disabled", "suspend"),
    ("550 ann is not accepting any mail", "filtered"),
    ("550 user has restricted SMS e-mail", "filtered"),
    ("554 the recipient is only accepting mail from specific email addresses", "filtered"),
    ("550 You have been blocked by the recipient", "filtered"),
    ("553 User refused to receive this mail", "filtered"),
    ("550 5.7.1 Recipient doesn't want your mail", "filtered"),
    ("550 you are on this user's reject list", "filtered"),
    ("550 User in blacklist", "filtered"),
    # authentication of mail
    ("550 5.7.0 [SPF] 192.0.2.9 may not send for mailops.example", "authfailure"),
    ("550 please inspect your SPF settings", "authfailure"),
    ("550 DKIM Sender Invalid - envelope rejected", "authfailure"),
    ("554 letter does not pass DomainKeys", "authfailure"),
    ("571 5.7.1 Message refused, DMARC in trouble", "authfailure"),
    ("554 refused for unexpected volume or user complaints", "badreputation"),
    # size
    ("552 exceeded the maximum incoming message size", "mesgtoobig"),
    ("552 line limit exceeded", "mesgtoobig"),
    ("552 Taille limite atteinte", "mesgtoobig"),
    ("552 message is too long", "mesgtoobig"),
    ("554 attachment is too long", "mesgtoobig"),
    ("554 Maximum email size exceeded", "mesgtoobig"),
    # content
    ("550 header size exceeds maximum permitted", "contenterror"),
    ("550 improperly-formatted binary content", "contenterror"),
    ("550 text uses unnecessary base64 encoding", "contenterror"),
    ("553 Stray linefeeds in message", "contenterror"),
    ("552 over the attachment count limit", "contenterror"),
    ("554 Message Denied: Restricted attachment", "contenterror"),
    ("554 5.7.0 Reject, id=8 - BANNED: .exe", "contenterror"),
    ("554 5.5.2 Invalid data in message", "contenterror"),
    ("552 MIME/REJECT: Invalid structure", "contenterror"),
    ("550 5.4.11 Agent generated message depth exceeded", "contenterror"),
    ("500 5.6.1 Message content rejected", "contenterror"),
    ("554 it has a potentially executable attachment", "virusdetected"),
    ("554 prohibited virus or spam content", "virusdetected"),
    ("554 malicious link found", "virusdetected"),
    ("554 5.7.0 Reject, id=8 - INFECTED: Eicar", "virusdetected"),
    ("550 messages with multiple Subject: header lines", "notcompliantrfc"),
    ("550 Message headers fail syntax check", "notcompliantrfc"),
    ("550 maximum allowed line length is 998 octets", "notcompliantrfc"),
    ("550 5.7.1 unicode character in a disallowed header", "notcompliantrfc"),
    ("550 5.7.1 Encoded-word syntax is not permitted there", "notcompliantrfc"),
    ("550 5.7.1 Message content rejected", "spamdetected"),
    ("554 content filter rejection", "spamdetected"),
    ("550 Mail content denied", "spamdetected"),
    ("554 refused because of unacceptable content", "spamdetected"),
    ("554 this matches what people may consider spam", "spamdetected"),
    ("554 high probability of being unwanted", "spamdetected"),
    ("550 blocked by policy: no spam please", "spamdetected"),
    ("550 temporarily blocked by our filter", "spamdetected"),
    ("550 Content reject. FA81", "spamdetected"),
    ("553 SpamTrap=reject mode, Message blocked by a box", "spamdetected"),
    ("550 a URL in this email is listed on a list", "spamdetected"),
    ("550 sender domain listed at multi.lists.example", "spamdetected"),
    ("550 REJECT spam", "spamdetected"),
    ("554 5.7.0 Reject, id=04423-11", "spamdetected"),
    # policy
    ("550 closed mailing list", "policyviolation"),
    ("550 post by non-member to a members-only list", "policyviolation"),
    ("550 sorry, you're using a mass mailer", "policyviolation"),
    ("550 Reject due to policy restrictions", "policyviolation"),
    ("550 Rejected - Content Policy", "policyviolation"),
    ("550 5.7.1 your domain has a policy that prohibited this", "policyviolation"),
    ("554 rejecting password protected file", "policyviolation"),
    ("552 executable files are not allowed in archives", "policyviolation"),
    ("552 attachment extension is forbidden", "policyviolation"),
    ("554 this breaks a policy", "policyviolation"),
    # relaying
    ("550 192.0.2.9 isn't allowed to relay", "norelaying"),
    ("550 not permitted to relay here without a password", "norelaying"),
    ("500 Unauthorized relay, letter rejected", "norelaying"),
    ("550 not local host dest.example, not a gateway", "norelaying"),
    ("553 host denies relay", "norelaying"),
    ("550 we don't handle mail for dest.example", "norelaying"),
    ("553 Specified domain is not allowed", "norelaying"),
    ("550 Local user only", "norelaying"),
    # encryption and passwords
    ("553 sorry, you don't authenticate or the domain isn't in my list", "securityerror"),
    ("454 4.7.0 Too many login attempts, please try again later", "securityerror"),
    ("553 AUTH FAILED - ann", "securityerror"),
    ("535 5.7.9 Application-specific password required", "securityerror"),
    ("535 Username and Password not accepted", "securityerror"),
    ("503 5.7.0 No identity changes permitted", "securityerror"),
    ("534 5.7.14 Please log in through your web browser", "securityerror"),
    ("553 This route requires encryption", "securityerror"),
    ("550 5.4.8 MX hosts failed MTA-STS validation", "securityerror"),
    ("450 4.7.323 tlsa-invalid: the domain failed DANE", "securityerror"),
    ("450 4.7.324 dnssec-invalid: bad records", "securityerror"),
    ("550 5.7.322 certificate-expired: ask the other side", "securityerror"),
    ("451 a TLS connection is what we want", "securityerror"),
    # their side, the network
    ("450 Unrouteable mail domain dest.example", "networkerror"),
    ("450 Malformed or unexpected name server reply", "networkerror"),
    ("550 host unreachable", "networkerror"),
    ("450 4.4.312 DNS query failed", "networkerror"),
    ("450 lookup of dest.example had no relevant answers", "networkerror"),
    ("554 MailLoop", "networkerror"),
    ("550 message is looping", "networkerror"),
    ("550 5.4.316 Message expired, connection refused", "expired"),
    ("450 all hosts have been failing for a long time", "expired"),
    ("450 aliasing/forwarding loop broken", "systemerror"),
    ("450 it would create a mail loop", "systemerror"),
    ("451 timeout waiting for input from a program", "systemerror"),
    ("451 unable to connect to milter daemon", "systemerror"),
    ("451 interrupted system call", "systemerror"),
    ("553 5.3.5 system config error", "systemerror"),
    ("421 Server too busy", "systemerror"),
    ("451 System(u) busy, try again later", "systemerror"),
    ("451 system load is too high", "systemerror"),
    ("451 Message failed to be replicated", "systemerror"),
    ("451 Upstream error", "systemerror"),
    ("451 Temporary lookup failure", "systemerror"),
    ("452 4.3.1 Mail system storage is full", "systemfull"),
    ("450 4.2.0 Greylisted, see our spam page", "onhold"),
]

GONE: list[tuple[str, str]] = [
    ("550 The account or domain may not exist", "hostunknown"),
    ("550 mail domain mentioned in email address is unknown", "hostunknown"),
    ("550 5.4.310 DNS domain dest.example does not exist", "hostunknown"),
    ("553 5.1.2 we could not find the recipient domain", "hostunknown"),
    ("550 mail receiving disabled", "notaccept"),
    ("554 no MX record found for domain=dest.example", "notaccept"),
    ("550 an MX record indicated no SMTP service", "notaccept"),
    ("550 not an active address at this host", "userunknown"),
    ("550 nessun utente simile", "userunknown"),
    ("550 no existe ese usuario", "userunknown"),
    ("554 Recipient address rejected: userunknown", "userunknown"),
    ("554 Recipient address rejected: invalid-recipient", "userunknown"),
    ("550 recipient not ok", "userunknown"),
    ("550 Command RCPT User <ann@dest.example> not OK", "userunknown"),
    ("553 sorry, badrcptto", "userunknown"),
    ("550 this recipient is in my badrecipientto list", "userunknown"),
    ("550 this recipient is not in my validrcptto list", "userunknown"),
    ("550 sorry, your envelope recipient has been denied", "userunknown"),
    ("550 the following recipients was undeliverable", "userunknown"),
    ("550 user missing home directory", "userunknown"),
    ("550 vdeliver: invalid or unknown virtual user", "userunknown"),
    ("550 badrecipient", "userunknown"),
    ("550 no ann in name directory", "userunknown"),
    ("550 ann was not found in LDAP server", "userunknown"),
    ("550 Unknown e-mail address", "userunknown"),
    ("550 User (ann@dest.example) unknown", "userunknown"),
    ("550 No such ID ann", "userunknown"),
    ("553 sorry, no mail-box here by that name", "userunknown"),
    ("553 Requested action not taken: mailbox name not allowed", "userunknown"),
    ("550 recipient ann@dest.example denied", "userunknown"),
    ("550 recipient unrecognized", "userunknown"),
    ("550 I cannot deliver mail for ann", "userunknown"),
    ("550 User not a member of domain: <ann@dest.example>", "userunknown"),
    ("550 The recipient cannot be verified", "userunknown"),
    ("540 Error: Wrong recipients", "userunknown"),
    ("550 ADDRESS_NOT_FOUND", "userunknown"),
    ("550 destin. sconosciuto", "userunknown"),
    ("550 Destinatario errato", "userunknown"),
    ("550 Email Address was not found", "userunknown"),
    ("550 Invalid account", "userunknown"),
    ("550 No one with that email address here", "userunknown"),
    ("553 Recipient mailbox is not allowed", "userunknown"),
    ("550 server doesn't handle mail for that user", "userunknown"),
    ("550 user invalid", "userunknown"),
    ("550 the account you want does no exists", "userunknown"),
    ("550 #217 unavailable mail user", "userunknown"),
    ("550 local server don't exists that user", "userunknown"),
    ("550 not user of this server", "userunknown"),
    ("550 Recipient verification problem", "userunknown"),
    ("550 No correct recipients", "userunknown"),
    ("550 Adressat unbekannt", "userunknown"),
    ("550 Benutzer nicht bekannt", "userunknown"),
    ("550 Mailbox ( ann@dest.example ) not found or inactivated", "userunknown"),
    ("550 5.7.1 Requested action not taken: mailbox not available", "userunknown"),
    ("550 mailbox is unavailable", "userunknown"),
    ("550 the person you name does not exist.", "userunknown"),
    ("550 5.4.1 Recipient address rejected: Access denied", "userunknown"),
]


def wrapped(text: str, stage: str) -> str:
    """The reply as Postfix quotes it, from a server whose name is full of telling words."""
    code, _, rest = text.partition(" ")
    return f"host antispam-relay.quota.blacklist.example[192.0.2.7] said: {code} {rest} (in reply to {stage} command)"


@pytest.mark.req("ERR-01")
@pytest.mark.parametrize(("text", "reason"), WORDS, ids=[row[0][:50] for row in WORDS])
def test_words_give_the_reason_and_suppress_nobody(text: str, reason: str) -> None:
    for reply in (text, wrapped(text, "end of DATA")):
        answer = classify(text=reply)
        assert (answer.reason, answer.hard) == (reason, False), (reply, answer)


def test_a_temporary_answer_suppresses_nobody() -> None:
    answer = classify(text="498 No MX for dest.example")
    assert (answer.reason, answer.hard, answer.unconfirmed) == ("hostunknown", False, False)


@pytest.mark.req("ERR-01")
@pytest.mark.parametrize(("text", "reason"), GONE, ids=[row[0][:50] for row in GONE])
def test_words_say_that_an_address_is_gone(text: str, reason: str) -> None:
    for reply in (text, wrapped(text, "RCPT TO")):
        answer = classify(text=reply)
        assert (answer.reason, answer.hard) == (reason, True), (reply, answer)


@pytest.mark.req("ERR-01")
@pytest.mark.parametrize(
    "text",
    [
        "550 because the recipient is not accepting mail with pictures",
        "554 Message rejected: Email address is not verified",
        "501 5.5.4 Invalid domain name",
        "554 mx.gmx.example Nemesis ESMTP Service not available No SMTP service IP address is black listed",
        "553 5.1.7 Invalid address",
        "550 5.7.27 Sender address has null MX",
        "521 refused",
        "550 5.7.510 Access denied, dest.example does not accept email over IPv6",
        "host mx2.dest.example[192.0.2.7] said: 550 null sender is not allowed (in reply to MAIL FROM command)",
    ],
)
def test_no_address_is_suppressed_for_a_fault_of_ours(text: str) -> None:
    assert not classify(text=text).hard


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("5.1.90", "speeding"),
        ("5.2.121", "speeding"),
        ("5.3.190", "systemerror"),
        ("4.4.99", "networkerror"),
        ("5.5.6", "syntaxerror"),
        ("5.6.11", "contenterror"),
        ("5.7.9", "securityerror"),
        ("5.7.27", "rejected"),
        ("5.7.30", "securityerror"),
        ("5.7.51", "securityerror"),
        ("5.7.705", "speeding"),
        ("5.7.708", "blocked"),
        ("5.7.750", "rejected"),
        ("5.7.955", "policyviolation"),
    ],
)
def test_codes_alone(code: str, reason: str) -> None:
    assert classify(550 if code[0] == "5" else 450, code, "").reason == reason
    assert classify(550 if code[0] == "5" else 450, code, "no").reason == reason


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (501, "syntaxerror"),
        (525, "suspend"),
        (535, "securityerror"),
        (552, "mailboxfull"),
        (556, "notaccept"),
        (554, "onhold"),
        (451, "onhold"),
    ],
)
def test_reply_codes_when_nothing_else_is_understood(code: int, reason: str) -> None:
    assert classify(code, None, "mmmm").reason == reason


def test_single_words_yield_to_a_code_that_knows_more() -> None:
    assert classify(550, "5.7.26", "this mail is unauthenticated, says our policy").reason == "authfailure"
    assert classify(550, "5.3.4", "against our policy").reason == "mesgtoobig"
    assert classify(550, "5.7.1", "against our policy").reason == "policyviolation"


GOOGLE, MICROSOFT, YAHOO = "mx.l.google.com", "dest.mail.protection.outlook.com", "mta5.am0.yahoodns.net"
MIMECAST, LABS = "eu-smtp-inbound-1.mimecast.com", "cluster1.eu.messagelabs.com"


@pytest.mark.parametrize(
    ("host", "text", "reason"),
    [
        (GOOGLE, "421 4.7.28 too many with the same Message-ID:", "policyviolation"),
        (GOOGLE, "552 5.7.0 an illegal attachment was seen", "policyviolation"),
        (GOOGLE, "550 5.7.1 the domain has a policy that prohibited it", "policyviolation"),
        (GOOGLE, "550 5.7.0 Mail Sending denied", "rejected"),
        (GOOGLE, "550 5.7.1 your IP is not authorized to send email directly to us", "blocked"),
        (GOOGLE, "454 4.7.0 Too many login attempts", "securityerror"),
        (GOOGLE, "421 4.7.0 suspicious due to the nature of the content", "spamdetected"),
        (GOOGLE, "550 5.4.5 Daily SMTP relay limit exceeded", "speeding"),
        (GOOGLE, "421 4.7.0 Connection expired, try reconnecting", "expired"),
        (GOOGLE, "451 4.4.2 Timeout - closing connection", "expired"),
        (GOOGLE, "451 4.5.0 SMTP protocol violation", "syntaxerror"),
        (GOOGLE, "535 5.5.4 Optional Argument not permitted", "syntaxerror"),
        (GOOGLE, "504 5.7.4 Unrecognized Authentication Type", "syntaxerror"),
        (GOOGLE, "554 5.7.0 Too Many Unauthenticated commands", "syntaxerror"),
        (GOOGLE, "501 5.5.4 Empty HELO/EHLO argument not allowed", "blocked"),
        (GOOGLE, "554 5.6.0 Mail message is malformed", "notcompliantrfc"),
        (GOOGLE, "552 5.2.3 beyond Google's message size limits", "exceedlimit"),
        (GOOGLE, "552 5.3.4 the number of attachments is too great", "exceedlimit"),
        (GOOGLE, "552 5.3.4 a header size limit was passed", "exceedlimit"),
        (MICROSOFT, "550 5.7.504 Recipient address rejected: Access denied", "suspend"),
        (MICROSOFT, "550 5.7.505 Access denied, banned recipient", "suspend"),
        (MICROSOFT, "550 5.7.507 Access denied, rejected by recipient", "blocked"),
        (MICROSOFT, "550 5.7.136 sender was not known", "rejected"),
        (MICROSOFT, "550 5.7.502 Access denied, banned sender", "rejected"),
        (MICROSOFT, "550 5.7.750 unregistered domains", "rejected"),
        (MICROSOFT, "451 4.7.500 Server busy. Please try again later from [192.0.2.9]", "speeding"),
        (MICROSOFT, "450 4.4.318 Connection was closed abruptly (SuspiciousRemoteServerError)", "systemerror"),
        (MICROSOFT, "550 5.7.921 Delivery not authorized, message refused", "policyviolation"),
        (MICROSOFT, "550 5.4.300 Message expired", "expired"),
        (MICROSOFT, "501 5.5.4 Invalid domain name", "blocked"),
        (MICROSOFT, "550 5.2.1 Content Filter agent quarantined this", "spamdetected"),
        (MICROSOFT, "550 5.2.1 Mailbox cannot be accessed", "suspend"),
        (MICROSOFT, "451 4.4.4 a tenant with no mail-enabled subscriptions", "notaccept"),
        (MICROSOFT, "550 5.0.350 x-dg-ref header is too long", "policyviolation"),
        (MICROSOFT, "432 4.3.2 Service not active", "systemerror"),
        (MICROSOFT, "550 5.5.6 Invalid content", "contenterror"),
        (MICROSOFT, "550 5.1.6 single label domains are not taken", "userunknown"),
        ("mx1.hotmail.com", "421 RP-002 rate of this connection", "badreputation"),
        ("mx1.hotmail.com", "550 SC-001 refused", "badreputation"),
        ("mx1.hotmail.com", "550 SC-002 namespace mining", "policyviolation"),
        ("mx1.hotmail.com", "550 OU-002 refused", "badreputation"),
        (YAHOO, "554 5.7.5 (AU01) not accepted for policy reasons", "authfailure"),
        (YAHOO, "451 deferred due to unresolvable RFC.5321 domain", "rejected"),
        (YAHOO, "554 (RTR:RD) refused", "requireptr"),
        (YAHOO, "554 dd ann@dest.example is no longer valid", "suspend"),
        (YAHOO, "553 5.7.1 [BL21] not taken because the ip is in a list", "blocked"),
        (YAHOO, "451 4.3.2 Internal server error", "systemerror"),
        ("smtp-in.orange.fr", "421 Emetteur invalide, verifiez la configuration SPF/DNS", "authfailure"),
        (MIMECAST, "550 SPF Sender Invalid - envelope rejected", "authfailure"),
        (MIMECAST, "550 Rejected by header-based Anti-Spoofing policy", "policyviolation"),
        (MIMECAST, "550 Message bounced due to Content Examination Policy", "policyviolation"),
        (MIMECAST, "550 Rejected by header-based Blocked Senders - block policy", "rejected"),
        (MIMECAST, "421 Sender address blocked", "blocked"),
        (MIMECAST, "451 IP temporarily blacklisted", "blocked"),
        (MIMECAST, "451 Internal resources are temporarily unavailable", "badreputation"),
        (MIMECAST, "451 Account inbounds disabled", "notaccept"),
        (MIMECAST, "451 Account outbounds disabled", "onhold"),
        (MIMECAST, "451 Hostname is not authorized", "onhold"),
        (MIMECAST, "554 Email rejected due to security policies", "virusdetected"),
        (MIMECAST, "451 Unable to process connection at this time", "systemerror"),
        (MIMECAST, "451 Account service is temporarily unavailable", "toomanyconn"),
        (MIMECAST, "550 The incorrect hostname used for Inbounds", "networkerror"),
        (LABS, "501 Connection rejected by policy [7.7]", "badreputation"),
        (LABS, "553 DMARC domain authentication fail", "authfailure"),
        (LABS, "553 rejected because your IP is in the PBL", "blocked"),
        (LABS, "451 TLS/SSLv3 Connection required", "securityerror"),
        (LABS, "550 Requested action aborted [4] 21905", "notcompliantrfc"),
        (LABS, "550 sender envelope domain not allowed for sender IP", "rejected"),
        (LABS, "553 Message filtered", "spamdetected"),
        (LABS, "460 too many messages", "toomanyconn"),
        ("mx.facebook.com", "550 5.7.1 POL-P2", "blocked"),
        ("mx.facebook.com", "550 5.7.1 POL-P6", "spamdetected"),
        ("mx.facebook.com", "550 5.7.1 MSG-P3", "notcompliantrfc"),
        ("mx.facebook.com", "451 4.7.1 MSG-T1", "toomanyconn"),
        ("mx.facebook.com", "451 4.7.1 DNS-T2", "requireptr"),
        ("mail.email.ua", "550 see https://mail.i.ua/err/1/", "norelaying"),
        ("mail.email.ua", "550 see https://mail.i.ua/err/2/", "userunknown"),
        ("mail.email.ua", "550 see https://mail.i.ua/err/3/", "suspend"),
        ("mail.email.ua", "550 see https://mail.i.ua/err/4/", "mailboxfull"),
        ("mail.email.ua", "550 see https://mail.i.ua/err/5/", "toomanyconn"),
        ("mail.email.ua", "550 see https://mail.i.ua/err/7/", "blocked"),
        ("mail.email.ua", "550 see https://mail.i.ua/err/8/", "rejected"),
        ("mail.email.ua", "550 see https://mail.i.ua/err/10/", "filtered"),
        ("mx.zoho.com", "552 5.1.1 Mailbox delivery restricted by policy error", "policyviolation"),
        ("mx.zoho.com", "452 4.3.1 Temporary System Error", "systemerror"),
        ("mx.zoho.com", "552 5.7.1 virus found and detected by Zoho Mail", "virusdetected"),
    ],
)
def test_providers_own_answers(host: str, text: str, reason: str) -> None:
    assert classify(text=text, remote_host=host).reason == reason


def test_single_words_in_prose_prove_nothing() -> None:
    prose = "We take great care that no spam leaves this house, as our policy does not exist for nothing. " * 6
    assert match_text(prepare(prose)) is None
    assert classify(text=prose).reason == "undefined"


def test_words_that_nobody_knows_suppress_nobody() -> None:
    answer = classify(550, None, "550 zzz mmm hhh", "rcpt", "mx.dest.example")
    assert (answer.reason, answer.hard) == ("onhold", False)


def test_the_name_of_a_server_is_no_reason() -> None:
    prepared = prepare("host antispam.quota.example[2001:db8::7] said: 550 no such user")
    assert prepared == "host host[2001:db8::7] said: 550 no such user"
    assert classify(text="host antispam.dest.example[192.0.2.7] said: 550 5.1.1 no such user").reason == "userunknown"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("421-4.7.32 Your email has been rate limited because the From: header (RFC5322) in this message isn't aligned "
         "with either the authenticated SPF or DKIM organizational domain.", "authfailure"),
        ("421-4.7.30 Your email has been rate limited because DKIM authentication didn't pass.", "authfailure"),
        ("421-4.7.40 Your email has been rate limited because the domain doesn't have a DMARC record.", "authfailure"),
        ("421-4.7.29 Your email has been rate limited because it isn't sent over a TLS connection.", "securityerror"),
        ("421-4.7.28 Your email has been rate limited to protect our users.", "speeding"),
    ],
)  # fmt: skip
def test_mail_that_is_slowed_down_for_a_reason_has_that_reason(text: str, reason: str) -> None:
    assert classify(text=text).reason == reason
