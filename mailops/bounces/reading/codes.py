"""Enhanced status codes as data: RFC 3463, 5248, 7372, 7504, 7505 and what large providers made of them.

``CODES`` maps the last two numbers to a reason, with the class digit where the two classes differ. ``GENERIC`` are the
codes so often used for everything that the words beside them are worth more.
"""

from __future__ import annotations

CODES: dict[str, str] = {
    "x.1.0": "userunknown",
    "x.1.1": "userunknown",
    "x.1.2": "hostunknown",
    "x.1.3": "userunknown",
    "x.1.4": "filtered",
    "x.1.6": "hasmoved",
    "x.1.7": "rejected",
    "x.1.8": "rejected",
    "x.1.9": "systemerror",
    "x.1.10": "notaccept",
    "x.1.90": "speeding",
    "4.2.1": "suspend",
    "x.2.0": "filtered",
    "5.2.1": "filtered",
    "x.2.2": "mailboxfull",
    "x.2.3": "exceedlimit",
    "x.2.4": "filtered",
    "x.2.121": "speeding",
    "x.2.122": "speeding",
    "x.3.0": "systemerror",
    "x.3.1": "systemfull",
    "x.3.2": "notaccept",
    "x.3.3": "systemerror",
    "x.3.4": "mesgtoobig",
    "x.3.5": "systemerror",
    "x.4.0": "networkerror",
    "4.4.1": "expired",
    "5.4.1": "rejected",
    "x.4.2": "networkerror",
    "x.4.3": "systemerror",
    "4.4.4": "networkerror",
    "5.4.4": "hostunknown",
    "x.4.5": "systemerror",
    "x.4.6": "networkerror",
    "x.4.7": "expired",
    "x.4.8": "networkerror",
    "x.4.300": "expired",
    "x.4.316": "expired",
    "x.4.317": "expired",
    "x.5.0": "syntaxerror",
    "x.5.1": "syntaxerror",
    "x.5.2": "syntaxerror",
    "5.5.3": "toomanyconn",
    "4.5.3": "systemerror",
    "x.5.4": "systemerror",
    "x.5.5": "systemerror",
    "x.5.6": "syntaxerror",
    "x.6.0": "contenterror",
    "x.6.1": "contenterror",
    "x.6.2": "contenterror",
    "x.6.3": "contenterror",
    "x.6.4": "contenterror",
    "x.6.5": "contenterror",
    "x.6.6": "contenterror",
    "x.6.7": "contenterror",
    "x.6.9": "contenterror",
    "4.7.0": "blocked",
    "5.7.0": "securityerror",
    "4.7.1": "blocked",
    "5.7.1": "securityerror",
    "4.7.2": "blocked",
    "5.7.2": "securityerror",
    "x.7.3": "securityerror",
    "x.7.4": "securityerror",
    "x.7.5": "securityerror",
    "x.7.6": "securityerror",
    "x.7.7": "securityerror",
    "x.7.8": "securityerror",
    "x.7.9": "securityerror",
    "x.7.10": "securityerror",
    "x.7.11": "securityerror",
    "x.7.12": "securityerror",
    "x.7.13": "suspend",
    "x.7.14": "securityerror",
    "x.7.15": "securityerror",
    "x.7.16": "mesgtoobig",
    "x.7.17": "hasmoved",
    "x.7.18": "hasmoved",
    "x.7.20": "authfailure",
    "x.7.21": "authfailure",
    "x.7.22": "authfailure",
    "x.7.23": "authfailure",
    "x.7.24": "authfailure",
    "x.7.25": "requireptr",
    "x.7.26": "authfailure",
    "x.7.27": "rejected",
    "x.7.28": "spamdetected",
    "x.7.29": "authfailure",
    "x.7.30": "securityerror",
    "x.7.40": "authfailure",
    "x.7.232": "speeding",
    "x.7.233": "speeding",
    "x.7.235": "policyviolation",
    "x.7.236": "policyviolation",
    "x.7.500": "speeding",
    "x.7.509": "authfailure",
    "x.7.515": "authfailure",
    "x.7.606": "blocked",
    "x.7.511": "blocked",
    "x.7.512": "notcompliantrfc",
    "x.7.650": "badreputation",
    "x.7.700": "spamdetected",
    "x.7.705": "speeding",
    "x.7.708": "blocked",
    "x.7.750": "rejected",
}

GENERIC = frozenset(
    {"4.3.2", "4.5.3", "x.0.0", "x.1.0", "x.1.1", "x.2.0", "x.3.0", "x.4.0", "x.5.0", "x.6.0", "x.7.0", "x.7.1"}
)
"""Codes that say little: the text goes first."""


def reason_of(code: str) -> str | None:
    """The reason the RFCs tie to an enhanced code, or None."""
    if code in CODES:
        return CODES[code]
    key = "x" + code[1:]
    if key in CODES:
        return CODES[key]
    if code[1:5] == ".7.6" and len(code) == 7:
        return "blocked"  # Microsoft's range 5.7.600 to 5.7.699: the sending address is banned
    if code[1:5] == ".7.9" and len(code) == 7:
        return "policyviolation"  # 5.7.900 to 5.7.999: a rule of the recipient's organisation
    return _SUBJECTS.get(code[1:4])


_SUBJECTS = {".3.": "systemerror", ".4.": "networkerror", ".6.": "contenterror", ".7.": "securityerror"}
"""What the middle number says where the last one is not known."""


def is_generic(code: str) -> bool:
    """True when the words beside the code are to be asked first; so too for a code that no table names."""
    key = "x" + code[1:]
    return code in GENERIC or key in GENERIC or not (code in CODES or key in CODES)


_ABOUT_PEOPLE = frozenset({".1.1", ".1.2", ".1.3", ".1.6", ".1.10", ".4.4", ".7.17", ".7.18"})


def is_about_people(code: str) -> bool:
    """True for a permanent code that the RFCs tie to one address, its domain, or where it went (RFC 3463 section 3.2,
    7505, 7293): ground enough to stop writing there. 5.1.0, "other address status", is
    sent for anything.

    >>> is_about_people("5.1.1"), is_about_people("5.1.0"), is_about_people("4.1.1")
    (True, False, False)
    """
    return code[:1] == "5" and (code[1:] in _ABOUT_PEOPLE or code in _OF_PROVIDERS)


_OF_PROVIDERS = frozenset({"5.1.351"})  # Exchange Online: the next server knows no such recipient


EXIT_CODES: dict[str, str] = {
    "64": "mailererror",
    "65": "mailererror",
    "66": "mailererror",
    "67": "userunknown",
    "68": "hostunknown",
    "69": "mailererror",
    "70": "mailererror",
    "71": "systemerror",
    "72": "systemerror",
    "73": "mailererror",
    "74": "systemerror",
    "75": "systemerror",
    "76": "mailererror",
    "77": "mailererror",
    "78": "systemerror",
    "126": "mailererror",
    "127": "mailererror",
}
"""What programs say when they end, where a Diagnostic-Code is of the type ``x-unix``: BSD's sysexits, and a shell's 126
(not executable) and 127 (not found)."""


EXIT_WORDS: dict[str, str] = {
    "command line usage error": "64",
    "data format error": "65",
    "cannot open input": "66",
    "user unknown": "67",
    "host name unknown": "68",
    "service unavailable": "69",
    "internal software error": "70",
    "system error": "71",
    "operating system error": "71",
    "critical os file missing": "72",
    "can't create": "73",
    "input/output error": "74",
    "temporary failure": "75",
    "remote error in protocol": "76",
    "permission denied": "77",
    "configuration error": "78",
    "local configuration error": "78",
}
"""The same in the words of sysexits.h, which some systems write instead of the number."""


REPLIES: dict[str, str] = {
    "500": "syntaxerror",
    "501": "syntaxerror",
    "502": "syntaxerror",
    "503": "syntaxerror",
    "504": "syntaxerror",
    "523": "securityerror",
    "524": "securityerror",
    "525": "suspend",
    "530": "securityerror",
    "534": "securityerror",
    "535": "securityerror",
    "538": "securityerror",
    "552": "mailboxfull",
    "555": "syntaxerror",
    "556": "notaccept",
}
"""Reply codes that mean one thing in RFC 5321, 4954 and 7504, asked when nothing else of a reply is understood. 521 is
not among them: servers use it for blocked addresses, and then the recipient would be suppressed for nothing."""


CATEGORIES: dict[str, str] = {
    "bad-mailbox": "userunknown",
    "bad-domain": "hostunknown",
    "inactive-mailbox": "suspend",
    "quota-issues": "mailboxfull",
    "spam-related": "spamdetected",
    "virus-related": "virusdetected",
    "content-related": "contenterror",
    "policy-related": "policyviolation",
    "message-expired": "expired",
    "no-answer-from-host": "networkerror",
    "bad-connection": "networkerror",
    "routing-errors": "networkerror",
    "relaying-issues": "norelaying",
    "protocol-errors": "syntaxerror",
    "bad-configuration": "systemerror",
}
"""PowerMTA's own classes (X-PowerMTA-BounceCategory); ``other`` and the like say nothing."""
