"""Records to publish, and the forms people and tools want them in.

One :class:`ZoneRecord` is the truth; everything else is made from it: the fields of a DNS panel (with and without the
domain appended, because most panels append it and some do not), a zone-file line, OctoDNS YAML, Terraform for three
kinds of provider. Long TXT values are cut into character-strings of at most 255 octets by construction.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .answer import quote_strings
from .names import is_below, normalise


@dataclass(frozen=True, slots=True)
class ZoneRecord:
    """One record. ``name`` is full, without final dot; ``value`` as a person reads it: TXT without quotation marks,
    names in CNAME and MX without final dot, MX as ``10 mx.example.com``. ``raw`` holds the octets of a TXT record that
    stands in the zone and that no text can stand for."""

    name: str
    type: str
    value: str
    ttl: int = 3600
    raw: bytes = b""

    @property
    def strings(self) -> tuple[bytes, ...]:
        """A TXT value as character-strings of at most 255 octets (RFC 1035 section 3.3.14)."""
        octets = self.raw or text_octets(self.value)
        return tuple(octets[at : at + 255] for at in range(0, len(octets), 255)) or (b"",)

    @property
    def rdata(self) -> str:
        """The value in zone-file form."""
        match self.type:
            case "TXT" | "SPF":
                return quote_strings(self.strings)
            case "CNAME" | "NS" | "PTR":
                return dotted(self.value)
            case "MX":
                preference, _, host = self.value.partition(" ")
                return f"{preference} {dotted(host)}"
            case _:
                return self.value


@dataclass(frozen=True, slots=True)
class Change:
    """What to do in the zone: take away, then publish. ``why`` is one sentence.

    ``loses`` names what of the owner's is gone afterwards (to be confirmed by the owner), ``choices`` other values for
    the first record among which only the owner can choose, ``named`` SPF records as they were meant, whose senders must
    pass.
    """

    why: str
    publish: tuple[ZoneRecord, ...] = ()
    remove: tuple[ZoneRecord, ...] = ()
    loses: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    named: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PanelFields:
    """What to type into a DNS panel. ``host_short`` for panels that append the domain, ``host_full`` for the others."""

    type: str
    host_short: str
    host_full: str
    value: str
    value_quoted: str
    ttl: int

    def host(self, appends_domain: bool | None) -> str:
        """The name to show first: most panels append the domain, so the short one unless this panel is known not to."""
        return self.host_full if appends_domain is False else self.host_short


def dotted(name: str) -> str:
    """A name with its final dot."""
    return name if name.endswith(".") else name + "."


def text_octets(value: str) -> bytes:
    """A TXT value as octets: ASCII as it is, other characters as UTF-8."""
    return value.encode("utf-8")


def short_name(name: str, zone: str) -> str:
    """The name without the zone: ``odoo._domainkey`` in ``example.com``, ``@`` for the zone itself."""
    name, zone = normalise(name), normalise(zone)
    if name == zone:
        return "@"
    return name[: -len(zone) - 1] if is_below(name, zone) else dotted(name)


def panel(record: ZoneRecord, zone: str) -> PanelFields:
    """The fields of a DNS panel for a record of ``zone``."""
    value = record.value
    if record.type in ("CNAME", "NS", "PTR"):
        value = dotted(value)
    quoted = quote_strings(record.strings) if record.type == "TXT" else value
    return PanelFields(record.type, short_name(record.name, zone), record.name, value, quoted, record.ttl)


def panel_forms(record: ZoneRecord, zone: str, appends_domain: bool | None = None) -> tuple[tuple[str, str], ...]:
    """Label and text of each field a DNS panel may want; the cut form only where it differs from the plain one. The
    name this panel wants comes first (DKIM-06); both are there."""
    fields = panel(record, zone)
    names = [
        ("Name, where the panel appends the domain", fields.host_short),
        ("Name, where it does not", fields.host_full),
    ]
    names = sorted(names, key=lambda one: one[1] != fields.host(appends_domain))
    forms = [("Type", fields.type), *names, ("Value", fields.value)]
    if len(record.strings) > 1 and record.type == "TXT":
        forms.append(("Value, cut into strings of at most 255 octets", fields.value_quoted))
    return tuple(forms)


def names_to_type(record: ZoneRecord, zone: str, appends_domain: bool | None = None) -> str:
    """Both names of a record in a sentence: the one this panel wants first, and when the other is right."""
    fields = panel(record, zone)
    short, full = fields.host_short, fields.host_full
    if appends_domain is False:
        return f"{full} (in a panel that appends the domain: {short})"
    return f"{short} (in a panel that does not append the domain: {full})"


def zone_line(record: ZoneRecord, zone: str) -> str:
    """One line of a zone file, relative to the zone: ``odoo._domainkey IN CNAME odoo._domainkey.odoo.com.``"""
    return f"{short_name(record.name, zone)} IN {record.type} {record.rdata}"


def zone_file(records: Iterable[ZoneRecord], zone: str, *, ttl: int = 3600) -> str:
    """A file to import: origin, TTL, one line a record."""
    lines = [f"$ORIGIN {dotted(zone)}", f"$TTL {ttl}"]
    lines += [zone_line(record, zone) for record in records]
    return "\n".join(lines) + "\n"


def octodns(records: Iterable[ZoneRecord], zone: str) -> str:
    """OctoDNS YAML, loaded by its YamlProvider with its defaults (keys in order). Semicolons are escaped the way
    OctoDNS wants them; long values are left whole, it cuts them."""
    by_name: dict[str, dict[str, list[ZoneRecord]]] = {}
    for record in records:
        name = short_name(record.name, zone)
        by_name.setdefault("" if name == "@" else name, {}).setdefault(record.type, []).append(record)
    lines = ["---"] if by_name else ["--- {}"]
    for name in sorted(by_name, key=_natural):
        lines.append(f"{_yaml(name)}:")
        for rdtype, group in sorted(by_name[name].items()):
            lines += [f"  - ttl: {min(record.ttl for record in group)}", f"    type: {rdtype}"]
            values = [_octodns_value(record) for record in group]
            if rdtype == "CNAME":
                lines.append(f"    value: {values[0]}")
            else:
                lines.append("    values:")
                lines += [f"      - {value}" for value in values]
    return "\n".join(lines) + "\n"


def _natural(name: str) -> list[tuple[int, int, str]]:
    """The order OctoDNS wants keys in: numbers by their value (``s2`` before ``s10``)."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"([0-9]+)", name)]


def _octodns_value(record: ZoneRecord) -> str:
    if record.type == "TXT":
        return _yaml(record.value.replace(";", "\\;"))
    if record.type == "MX":
        preference, _, host = record.value.partition(" ")
        return f"{{exchange: {_yaml(dotted(host))}, preference: {int(preference)}}}"
    return _yaml(record.rdata)


def _yaml(text: str) -> str:
    """A YAML string: JSON strings are YAML strings."""
    return json.dumps(text, ensure_ascii=False)


def terraform(records: Sequence[ZoneRecord], zone: str, provider: str = "generic") -> str:
    """Terraform resources: ``generic`` (hashicorp/dns), ``cloudflare`` or ``route53``."""
    makers = {"generic": _tf_generic, "cloudflare": _tf_cloudflare, "route53": _tf_route53}
    if provider not in makers:
        raise ValueError(f"no Terraform output for {provider!r}; known: {', '.join(makers)}")
    groups: dict[tuple[str, str], list[ZoneRecord]] = {}
    for record in records:
        groups.setdefault((record.name, record.type), []).append(record)
    labels = _tf_labels(groups)
    return "\n".join(makers[provider](labels[key], key, group, zone) for key, group in groups.items())


def _tf_labels(keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """A resource name each: it begins with a letter or ``_``, and no two are the same (``a-b``, ``a.b``)."""
    out: dict[tuple[str, str], str] = {}
    for name, rdtype in keys:
        plain = re.sub(r"[^A-Za-z0-9]+", "_", f"{name}_{rdtype}").strip("_").lower()
        label = wanted = f"_{plain}" if plain[:1].isdigit() else plain
        number = 2
        while label in out.values():
            label, number = f"{wanted}_{number}", number + 1
        out[name, rdtype] = label
    return out


def _hcl(text: str) -> str:
    """A quoted HCL string: JSON escapes, and template openers doubled."""
    return json.dumps(text, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")


def _list(values: Iterable[str]) -> str:
    return "[" + ", ".join(_hcl(value) for value in values) + "]"


def _tf_generic(label: str, key: tuple[str, str], group: Sequence[ZoneRecord], zone: str) -> str:
    name, rdtype = key
    short = short_name(name, zone)
    head = [f"  zone = {_hcl(dotted(zone))}"]
    if short != "@":
        head.append(f"  name = {_hcl(short)}")
    ttl = f"  ttl  = {group[0].ttl}"
    label = _hcl(label)
    if rdtype == "CNAME":
        return "\n".join([f'resource "dns_cname_record" {label} {{', *head, f"  cname = {_hcl(dotted(group[0].value))}",
                          ttl, "}", ""])  # fmt: skip
    if rdtype == "MX":
        body = []
        for record in group:
            preference, _, host = record.value.partition(" ")
            body += ["  mx {", f"    preference = {int(preference)}", f"    exchange   = {_hcl(dotted(host))}", "  }"]
        return "\n".join([f'resource "dns_mx_record_set" {label} {{', *head, *body, ttl, "}", ""])
    kind = "dns_txt_record_set" if rdtype == "TXT" else f"dns_{rdtype.lower()}_record_set"
    field = "txt" if rdtype == "TXT" else "addresses"
    values = _list(record.value for record in group)
    return "\n".join([f'resource "{kind}" {label} {{', *head, f"  {field} = {values}", ttl, "}", ""])


def _tf_cloudflare(label: str, key: tuple[str, str], group: Sequence[ZoneRecord], zone: str) -> str:
    name, rdtype = key
    out = []
    for number, record in enumerate(group):
        one = f"{label}__{number + 1}" if len(group) > 1 else label
        content, extra = record.value, []
        if rdtype == "MX":
            preference, _, content = record.value.partition(" ")
            extra = [f"  priority = {int(preference)}"]
        elif rdtype == "TXT":
            content = record.rdata
        out += [f"resource \"cloudflare_dns_record\" {_hcl(one)} {{", "  zone_id  = var.zone_id",
                f"  name     = {_hcl(name)}", f"  type     = {_hcl(rdtype)}", f"  content  = {_hcl(content)}", *extra,
                f"  ttl      = {record.ttl}", "  proxied  = false", "}", ""]  # fmt: skip
    return "\n".join(out)


def _octal(part: bytes) -> str:
    """A character-string the way Route 53 wants it: quotes and backslashes escaped, other octets in octal."""
    shown = (f"\\{chr(o)}" if o in (0x22, 0x5C) else chr(o) if 0x20 <= o < 0x7F else f"\\{o:03o}" for o in part)
    return "".join(shown)


def _tf_route53(label: str, key: tuple[str, str], group: Sequence[ZoneRecord], zone: str) -> str:
    name, rdtype = key
    values = []
    for record in group:
        if rdtype == "TXT":
            # the provider adds the outer quotation marks; the inner ones part the character-strings
            values.append('\\"\\"'.join(_hcl(_octal(part))[1:-1] for part in record.strings))
        else:
            values.append(_hcl(record.rdata)[1:-1])
    listed = "[" + ", ".join(f'"{value}"' for value in values) + "]"
    return "\n".join([f'resource "aws_route53_record" {_hcl(label)} {{', "  zone_id = var.zone_id",
                      f"  name    = {_hcl(name)}", f"  type    = {_hcl(rdtype)}", f"  ttl     = {group[0].ttl}",
                      f"  records = {listed}", "}", ""])  # fmt: skip
