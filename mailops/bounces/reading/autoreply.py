"""Automatic replies: vacation, out of office, ticket receipts, challenges (RFC 3834 and what is in use)."""

from __future__ import annotations

import re
import unicodedata

from ...mime import Fields

_SUBJECT = re.compile(
    r"^\s*(?:\W{0,3}(?:re|aw|sv|antw|res|rif|odp|vs|回复|回覆)\s?:\s*)?\W{0,3}(?:"
    r"auto(?:matic|mated|matische|matisk|matique)?[ \-_:]{0,3}(?:re(?:ply|sponse|sponder|spond)|antwort|svar|antwoord)"
    r"|autoreply|autoresponder|out of (?:the )?office|out-of-office|ooo\b"
    r"|away from (?:the |my )?(?:office|mail|desk|email)"
    r"|i am (?:away|out of)|on (?:vacation|holiday|leave)|vacation (?:reply|message|notice)|holiday (?:reply|notice)"
    r"|abwesen(?:d|heit)|automatische (?:antwort|abwesenheit)|eingangsbest|réponse automatique|reponse automatique"
    r"|absence du bureau|message d.absence|absent du|respuesta automática|respuesta automatica|fuera de (?:la )?oficina"
    r"|resposta automática|resposta automatica|ausência|risposta automatica|fuori ufficio|automatisch antwoord|afwezig"
    r"|automatiskt svar|automatisk svar|autosvar|frånvaro|poissa|automaattinen vastaus|odpowiedź automatyczna"
    r"|autoodpowiedź|automatická odpověď|automatikus válasz|otomatik yanıt|автоответ|автоматический ответ|нет на месте"
    r"|自動応答|自動返信|不在|自动回复|自動回覆|자동 회신|자동 응답|부재"
    r"|auto\s?:.{0,80}\b(?:out of|away|abwes|office|vacation|holiday|return)"
    r"|auto\s?-\s?reply|autoodpowied|automaticka odpoved|odpowiedz automatyczna|samodejni odgovor|automatski odgovor"
    r"|automatiska atbilde|automatinis atsakymas|automaatne vastus|automaatvastus|raspuns automat|automatikus valasz"
    r"|automaattinen vastaus|автоматичн\w+ відповідь|автоматичен отговор|sjalfvirkt svar|αυτοματη απαντηση"
    r"|otomatik yanit"
    r"|tra loi tu dong|balasan otomatis|תשובה אוטומטית|رد تلقائي|respon automatik|resposta automatica|autorespuesta"
    r"|(?:ה?מענה|תגובה) אוטומטי\w*|הודעת היעדרות|(?:ال)?رد (?:ال)?تلقائي"
    r"|پاسخ خودکار|خودکار جواب|(?:การ)?ตอบ(?:กลับ)?(?:โดย)?อัตโนมัติ"
    r"|स्वचालित (?:उत्तर|जवाब|प्रतिक्रिया)|স্বয়ংক্রিয় (?:উত্তর|জবাব)|தானியங்கி பதில்|ავტომატური პასუხი|ավտոմատ պատասխան"
    r"|(?:автоматски|аутоматски) одговор|автоматты жауап|аўтаматычны адказ|pergjigje automatike|balasan automatik"
    r"|erantzun automatikoa"
    r"|resposta automatica|ateb awtomatig|freagra uathoibrioch|automatische? antwurd"
    r"|outomatiese antwoord|avtomatik cavab|avtomatik javob"
    r"|(?:ikke (?:pa kontoret|til stede)|inte pa kontoret|er ikke tilgjengelig|niet (?:op|in het) kantoor|nicht im buro"
    r"|nicht im büro|pas au bureau|ikke på kontoret|inte på kontoret|not in the office|no estoy en la oficina"
    r"|nao estou no escritorio|nie ma mnie w biurze|nieobecn\w{1,6}|nisam u uredu|ni v pisarni"
    r"|nepritomn\w{1,6}|mimo kancelar"
    r"|nincs az irodaban|irodan kivul|nu sunt la birou|mu (?:lipsesc|absent) de la birou"
    r"|poissa toimistolta|не в офисе|нет в офисе"
    r"|tidak di kantor|ofis disinda)\s?:"
    r"|auto\s?svar|fravaer|fravar|自动答复|\[auto(?:-|matic )?reply\])",
    re.I,
)
_RECEIPT = re.compile(
    r"request received"
    r"|your (?:message|mail|e-?mail|request|ticket|enquiry|inquiry) (?:\S{1,20} ){0,2}(?:has been|was|is) received"
    r"|(?:we(?:'ve| have)|has) received your (?:message|mail|e-?mail|request|ticket|enquiry|inquiry)"
    r"|ticket.{0,30}(?:created|received)"
    r"|eingangsbestätigung|accusé de réception|acuse de recibo|受付",
    re.I,
)
_RECEIPT_MARKS = ("receiv", "ticket", "eingangs", "accusé", "acuse", "受付")
"""One of them stands in each of those sentences: most texts have none."""
_ANSWER = re.compile(r"^\s*(?:re|aw|sv|antw|res|rif|odp|vs)\s?:", re.I)
"""With a thread and without a machine's mark: a person who answers an automatic reply."""
_ABOUT = re.compile(r"\b(?:summary|digest|overview|calendar|policy|schedule|statistics)\b", re.I)
"""A letter about absences, and no absence."""
_TAIL = re.compile(r"\((?:automatic response|auto(?:matic)? reply|autoreply|out of office)\)\s*$", re.I)
_CHALLENGE = (
    "have your address added to the recipient's allowed",
    "recipient's allowed list",
    "approved senders list",
    "approved sender list",
    "list of approved senders",
    "spam arrest",
    "spamblocker",
    "boxbe",
    "challenge-response",
    "challenge/response",
)
_OWN_NAMES = ("autoresponder", "auto-responder", "autoreply", "auto-reply", "autoanswer", "-autorespond", "-vacation")
"""How a system's own field ends, that says so: ``X-Something-Autoresponder``."""
_SYSTEM = re.compile(r"mailer.?daemon|postmaster|mail.?delivery|^\s*<>\s*$", re.I)
_BODY = (
    "i am out of the office",
    "i'm out of the office",
    "i am currently out of",
    "i am on vacation",
    "i'm on vacation",
    "i am away from",
    "i will be out of the office",
    "this is an automatic reply",
    "this is an automated reply",
    "this is an automatic response",
    "this is an automated response",
    "this is an auto-generated reply",
    "click on the following link to confirm that you are",
    "to complete this verification",
)


_BRACKETS = re.compile(r"^\s*(?:\[[^\]]{1,40}\]|【[^】]{1,40}】|\([^)]{1,40}\))\s*")
_PLAIN = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ı": "i", "æ": "ae"})


def folded(text: str) -> str:
    """Lower case without accents: people and mailers leave them out."""
    marks = unicodedata.normalize("NFKD", text.lower())
    return "".join(one for one in marks if not unicodedata.combining(one)).translate(_PLAIN)


def subject_rule(subject: str) -> str:
    """The words of a subject that announce an automatic reply, or "". Accents, and a name in brackets before the words,
    change nothing.

    >>> subject_rule("[Shop] Autoodpowiedz: Zamowienie"), subject_rule("Zamowienie")
    ('Autoodpowied', '')
    """
    subject = subject[:500]
    match = _SUBJECT.match(subject) or _TAIL.search(subject)
    rest = _BRACKETS.sub("", subject)
    match = match or (_SUBJECT.match(rest) if rest != subject else None)
    if match is None and not subject.isascii():
        match = _SUBJECT.match(folded(rest))
    return match.group(0).strip()[:80] if match else ""


def _receipt(text: str) -> re.Match[str] | None:
    low = text.lower()
    return _RECEIPT.search(text) if any(mark in low for mark in _RECEIPT_MARKS) else None


def autoreply_rule(fields: Fields, subject: str, text: str) -> tuple[str, str] | None:
    """(rule, evidence) when the message is an automatic reply to a person."""
    auto = fields.first("auto-submitted").lower()
    if auto.startswith("auto-replied"):
        return "autoreply.rfc3834", "Auto-Submitted: " + auto[:60]
    for name in (
        "x-autoreply",
        "x-autorespond",
        "x-autoresponder",
        "x-autogenerated",
        "x-mail-autoreply",
        "x-vacation",
    ):
        value = fields.first(name).lower()
        if name in fields and value not in ("no", "false", "0"):
            if name == "x-autogenerated" and "reply" not in value:
                continue
            return "autoreply.header", name
    own = next((name for name in fields if name[:2] == "x-" and name.endswith(_OWN_NAMES)), "")
    if own and fields.first(own).lower() not in ("no", "false", "0", ""):
        return "autoreply.header", own
    if fields.first("precedence").lower() in ("auto_reply", "auto-reply", "autoreply"):
        return "autoreply.header", "Precedence: auto_reply"
    if fields.first("delivered-to").lower() == "autoresponder" or fields.first("x-precedence").lower() == "auto_reply":
        return "autoreply.header", "Delivered-To: Autoresponder"
    words = subject_rule(subject)
    answers = bool(_ANSWER.match(subject)) and "in-reply-to" in fields and not auto
    if words and not answers and not (_ABOUT.search(subject) and "auto-submitted" not in fields):
        return "autoreply.subject", words
    low = text[:1500].lower()
    machine = auto.startswith("auto-") or fields.first("return-path") == "<>"
    if machine or "in-reply-to" in fields or "references" in fields:
        receipt = _receipt(subject) or _receipt(low[:400]) if machine else None
        if receipt:
            return "autoreply.receipt", receipt.group(0)
        for phrase in _BODY:
            if phrase in low:
                return "autoreply.body", phrase
    answers = "in-reply-to" in fields or "references" in fields or bool(_ANSWER.match(subject))
    answers = answers or "x-auto-response-suppress" in fields
    if answers and fields.first("return-path") == "<>" and not _SYSTEM.search(fields.first("from")):
        return "autoreply.null", "an answer without a return path"  # RFC 3834 section 3.3
    flat = " ".join(low.split())
    for phrase in _CHALLENGE:
        if phrase in flat:
            return "autoreply.challenge", phrase
    return None
