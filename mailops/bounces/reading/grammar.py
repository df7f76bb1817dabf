# ruff: noqa: E501 - rows of alternatives are data, read best as they are
"""What a refusal says when no table knows its wording: a subject and a predicate that stand near each other.

Servers word the same few statements in thousands of ways, so a table never holds them all. Most are a noun (recipient,
quota, sender, address of a client) with a verdict about it, in either order: "we have nobody called gone here", "the
quota of this box is used up". A row of ``STATEMENTS`` is such a pair, with words that must not be there, because they
turn the sentence into another one. Asked last, of short texts only, and never of prose. English; other languages have
their phrases in :mod:`~mailops.bounces.reading.patterns`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

NEAR = 6
"""Words that may stand between subject and predicate."""
MAX_TEXT = 400
"""Characters: what is longer is prose, in which some noun is near some verdict always."""

_MISSING = (
    r"unknown|not (?:be )?found|not known|not exist|doesn.?t exist|no longer exists?|non-?existing|non-?existent|invalid|"
    r"not valid|no longer valid|no such|unrecogni[sz]ed|not recogni[sz]ed|not listed|not registered|not defined|not present|"
    r"not on (?:this|our)|not in (?:our|the|this|recipient|user|address)|not here|isn.?t here|no (?:one|body)|nobody|cannot be found|can.?t find|"
    r"cannot find|could ?n.?t find|could not find|unable to find|unable to locate|could not locate|wrong|incorrect|misspell?ed|"
    r"does not belong|has left|left the company|no longer (?:with|works|employed|available|here|active at)|unavailable here|"
    r"never heard of|never (?:existed|created|was)|was never|do not have|removed|deleted|not on file|not in (?:the )?directory|not a (?:known|valid|local)|no valid|no account|no mailbox|no user|has no|don.?t have|does not have|doesn.?t have"
)
_DOMAINS = r"domains?|hosts?|host ?names?|mail server for|mx records?|a records?|dns"


@dataclass(frozen=True, slots=True)
class Statement:
    """``reason`` when ``subject`` and ``predicate`` stand within :data:`NEAR` words, in any order, without ``unless``."""

    reason: str
    subject: str
    predicate: str
    unless: str = ""


STATEMENTS: tuple[Statement, ...] = (
    Statement(
        "networkerror",
        r"hops?|hop count|(?:mail|routing|forwarding) loop|received (?:headers|lines)",
        r"too many|exceed\w*|maximum|detected|possible|limit|suspected",
    ),
    Statement(
        "mailererror",
        r"program|command|pipe|script|mailer|procmail|child process|filter program|local delivery agent",
        r"exit(?:ed)?|exit (?:code|status)|died|returned|killed|crash\w*|could not (?:be )?(?:run|started)",
        unless=r"smtp command|unknown command|bad command|command (?:not|un)\w*|rcpt command|data command|mail command|in reply",
    ),
    Statement(
        "mailboxfull",
        r"quota|mail ?box|in ?box|mailfolder|storage|disk space|mail store|user.?s box|allotment",
        r"full|exceed\w*|over|overflow\w*|overdrawn|used up|exhausted|no (?:more )?(?:room|space)|not enough|insufficient|"
        r"too (?:full|many messages)|reached (?:its|the) (?:limit|maximum)|above (?:its|the) limit|limit reached",
        unless=r"sending|send limit|hourly|daily|per (?:hour|day|minute)|outgoing|outbound|message size|size of|submission|"
        r"recipients|connections?",
    ),
    Statement(
        "mesgtoobig",
        r"message|mail|e-?mail|attachments?|size",
        r"too (?:big|large)|oversized?|larger than|bigger than|exceed\w* (?:the |our |a |its )?(?:\w+ ){0,3}(?:size|bytes|limit of)"
        r"|size (?:limit )?exceed\w*|size limit",
        unless=r"recipients|connections?|per (?:hour|day)",
    ),
    Statement(
        "authfailure",
        r"spf|dkim|dmarc|domainkeys?|sender policy framework|unauthenticated (?:e-?mail|mail|messages?)|authentication information",
        r"bad|not accepted|does not have|fail\w*|invalid|reject\w*|not aligned|misaligned|missing|required|violat\w*|not pass\w*|unauthori[sz]ed|not permitted|softfail|"
        r"not verif\w*|no key|no \w+ key|key not|mismatch\w*|unsigned|must|not match\w*",
        unless=r"score",
    ),
    Statement(
        "requireptr",
        r"ip name lookup|name lookup of (?:your|the client)|client hostname|your hostname",
        r"fail\w*|mismatch\w*|cannot|could not|not found|unverif\w*|does not",
    ),
    Statement(
        "requireptr",
        r"reverse dns|reverse lookup|rdns|ptr|fcrdns|reverse name|reverse hostname|reverse record",
        r"missing|no|not|without|invalid|fail\w*|required|generic|mismatch\w*|does ?n.?t match|lacks?",
    ),
    Statement(
        "notcompliantrfc",
        r"headers?|header field|subject|from header|message-id|date|lines?",
        r"duplicated?|more than one|multiple|missing|malformed|8-?bit|too long|illegal|not ascii",
        unless=r"recipients?|connections?|size",
    ),
    Statement(
        "policyviolation",
        r"attachments?|archives?|executables?|\.?exe|zip|macros?|file ?types?|extensions?|documents?",
        r"forbidden|not allowed|refused|reject\w*|not permitted|prohibited|block\w*|not accepted|encrypted|macro-enabled|password-protected|banned|stripped",
        unless=r"infected|virus",
    ),
    Statement(
        "policyviolation",
        r"members?|subscribers?|moderators?",
        r"only|may post|can post|allowed to post|post(?:ing)? to",
    ),
    Statement(
        "policyviolation",
        r"accounts?|mail ?box(?:es)?|recipients?|users?|students?|pupils?|groups?|members?|staff",
        r"only (?:exchange|receive|accept|get|be reached|be written to|write|correspond)\w*|(?:exchange|accept|receive)s? (?:e-?mail|mail|messages?) only",
    ),
    Statement(
        "contenterror",
        r"charset|encoding|base64|mime|uuencode\w*|body|language of",
        r"undecodable|invalid|malformed|broken|unsupported|not supported|not accepted|too long|unreadable|corrupt\w*",
    ),
    Statement(
        "virusdetected",
        r"virus\w*|malware|trojan|worm|infect\w*|ransomware",
        r"found|detected|contain\w*|rejected|blocked|infected|identified|caught|carries",
        unless=r"scanner|unavailable|timed? ?out|could not scan|unable to scan",
    ),
    Statement(
        "norelaying",
        r"relay\w*|forward\w* (?:mail )?(?:for|to) (?:that|this) domain|transit|third.party mail|outside (?:domains?|destinations?|addresses)|relaying to|"
        r"(?:domain|destination|host)(?: [\w.-]+)? (?:is ?n.?t|is not) local",
        r"not|no|isn.?t|unable to|can.?t|closed|disabled|denied|refused|disallowed|forbidden|prohibited|unauthori[sz]ed|reject\w*|won.?t|cannot|never",
        unless=r"relay_\w+",
    ),
    Statement(
        "badreputation",
        r"reputation|trust ?score|senderscore|sender score",
        r"bad|poor|low|negative|insufficient|suspicious|bad|below|damaged|due to",
    ),
    Statement(
        "spamdetected",
        r"spam|junk|phish\w*|bulk|scam|unsolicited|ube|uce|unwanted|blackmail|spamtraps?|traps|content (?:score|scan|filter)|fingerprint|razor|pyzor",
        r"message|content|mail|body|text|notice|listed|score\w*|match\w*|pattern|verdict|believes|high|declined|count|detected|rejected|looks|considered|classified|likely|suspect\w*|filter\w*|refused|identified|tagged",
        unless=r"black ?list\w*|block ?list\w*|dnsbl|rbl|your (?:ip|host|server|network)|client host|listed|ip address",
    ),
    Statement(
        "blocked",
        r"(?:your |the |sending |source |client |connecting |from )?(?:ip(?: address)?|host|server|network|client|connection)|[\d.]{7,15}",
        r"black ?listed|block ?listed|block\w*|banned|denylisted|listed (?:in|on|by|at)|on (?:a|our|the) (?:block|black|deny)|"
        r"dnsbl|rbl|access denied|not welcome|refuse\w* (?:your )?connections?|denied",
        unless=r"recipient address|users?|mail ?box|account",
    ),
    Statement(
        "speeding",
        r"rate|messages?|mails?|e-?mails?|sending|recipients|volume|quota",
        r"too (?:fast|quickly|often|frequent\w*)|per (?:hour|minute|day|second)|rate limit\w*|throttl\w*|slow(?:er| down)|hourly|daily|"
        r"frequency|in a short (?:time|period)",
    ),
    Statement(
        "speeding",
        r"l[ií]mit\w*|quota|máximo|massimo|maximum|höchst(?:zahl|grenze)|contingent|kontingent\w*",
        r"giornalier\w*|orari[oa]|al giorno|all.ora|diari[oa]s?|diári[oa]s?|por (?:hora|día|dia)|quotidien\w*|journali\w*|horaire|par (?:heure|jour)|"
        r"täglich\w*|stündlich\w*|pro (?:tag|stunde)|tages\w*|dagelijks\w*|per (?:dag|uur|dygn|time)|dzienn\w*|denní\w*|napi|günlük|zilnic\w*",
    ),
    Statement(
        "toomanyconn",
        r"connections?|sessions?|recipients",
        r"too many|only \d+|over|quota|maximum (?:number )?of|limit (?:reached|exceeded)|concurrent|simultaneous\w*|max(?:imum)? \w+ reached",
    ),
    Statement(
        "rejected",
        r"senders?|from address|from:|return[- ]path|envelope[- ]from|mail from|reply-to|originator|sender.?s (?:address|domain)",
        _MISSING
        + r"|reject\w*|refused|denied|blocked|not allowed|not permitted|not accepted|black ?listed|unverified|not verified|"
        r"unverifiable|banned|verify|verification",
    ),
    Statement(
        "suspend",
        r"accounts?|mail ?box|user|recipient|address|subscriber|customer|addressee|mail service|subscription|mail delivery|incoming mail|box",
        r"turned off|shut ?down|stopped|barred|revoked|banned|abandoned|quarantine\w*|not yet activated|lapsed|put to sleep|disabled|suspended|inactive|deactivated|not (?:yet )?active|locked|closed|frozen|terminated|cancel\w*ed|expired|blocked|"
        r"discontinued|dormant|on hold|archived|switched off|no longer (?:active|in use|in service|monitored)",
        unless=r"sender|your (?:\w+ )?(?:account|ip|host)|sending|from",
    ),
    Statement(
        "hostunknown",
        _DOMAINS,
        _MISSING
        + r"|not in (?:the )?dns|unresolvable|cannot be resolved|could not be resolved|does not resolve|not resolv\w*|nxdomain|no mx|unroutable",
        unless=r"sender|from|helo|ehlo|your|user|recipient|mail ?box|temporar\w*|try again|relay\w*|in domain|at (?:this|that) (?:domain|host)",
    ),
    Statement(
        "hasmoved",
        r"user|recipient|mail ?box|account|address|person|employee",
        r"has moved|moved to|new address|changed (?:his|her|their|its) address|address (?:has )?changed|relocated",
    ),
    Statement(
        "userunknown",
        r"no(?: such)?(?: local)? (?:mail ?box|box|user|recipient|account|person|addressee|subscriber|customer)",
        r"available|here|there|known|listed|found|called|named|name|at this|on this|with (?:this|that)|by (?:this|that)",
        unless=r"senders?|from|domain|your|relay\w*|policy",
    ),
    Statement(
        "userunknown",
        r"users?|user ?names?|recipients?|mail ?box(?:es)?|addresse?e?s?|account|subscriber|customer|person|people|addressee|alias|"
        r"login|local part|mail ?drop|employee|member|name|inbox|rcpt",
        _MISSING,
        unless=r"senders?|from|domain|host|helo|ehlo|relay\w*|your (?:account|address|mailbox|domain|ip)|spam|policy|permission|"
        r"authenticat\w*|credentials?|password|command|syntax|header|attachment|certificate|temporar\w*|reply-to|service",
    ),
    Statement(
        "networkerror",
        r"connect\w*|network|route|routing|dns|name ?server|socket|link|peer",
        r"fail\w*|refused|reset|lost|closed|idle|missing|unreachable|no route|broken|dropped|down|no response|not respond\w*|loop\w*|interrupted|aborted",
    ),
    Statement(
        "networkerror",
        r"remote|far end|line|called (?:party|number|station)",
        r"no answer|no carrier|did not answer|does not answer|is busy|engaged",
    ),
    Statement(
        "expired",
        r"message|mail|delivery|queue|retry|retries|attempts?|no answer|no reply|no response",
        r"expired|used up|timed? ?out|too (?:old|long)|gave up|given up|giving up|lifetime|maximum time|time limit|exhausted|for \d+ (?:days|hours)",
    ),
    Statement(
        "systemfull",
        r"disk|file ?system|spool|partition|system storage|server storage",
        r"full|no space|not enough|insufficient|exhausted|out of",
    ),
    Statement(
        "systemerror",
        r"system|server|service|daemon|shutting down|internal|database|configuration|config|backend|ldap|process\w*|software",
        r"error|fail\w*|unavailable|not available|overload\w*|busy|problem|trouble|broken|crash\w*|maintenance|not running|down|misconfigur\w*",
        unless=r"error from|remote (?:mail )?(?:server|host)|returned|said|in reply",
    ),
)


_Rule = tuple[str, re.Pattern[str], re.Pattern[str], re.Pattern[str] | None]


def _compiled(statement: Statement) -> _Rule:
    gap = rf"(?:\W+\w+){{0,{NEAR}}}?\W+"  # no character is both: the pattern cannot run away
    one, two = rf"\b(?:{statement.subject})\b", rf"\b(?:{statement.predicate})\b"
    near = re.compile(f"{one}{gap}{two}|{two}{gap}{one}")
    return (
        statement.reason,
        re.compile(one),
        near,
        re.compile(rf"\b(?:{statement.unless})\b") if statement.unless else None,
    )


_RULES = tuple(_compiled(statement) for statement in STATEMENTS)


def understand(prepared: str) -> tuple[str, str] | None:
    """(reason, the words) of a short prepared text, or None.

    >>> understand("550 we never heard of this subscriber")
    ('userunknown', 'never heard of this subscriber')
    """
    if len(prepared) > MAX_TEXT:
        return None
    for reason, subject, near, unless in _RULES:
        found = near.search(prepared) if subject.search(prepared) else None
        if found is not None and not (unless is not None and unless.search(prepared)):
            return reason, found.group(0)[:80]
    return None
