"""What tells of a person: cards, accounts, national ids, phone numbers, addresses.

A number with check digits is told by them, one without by its form or by the word before it.
"""

import re

from .redaction_checks import (
    digits_of,
    has_digit_and_letter,
    is_aadhaar,
    is_ahv,
    is_card,
    is_chinese_id,
    is_cnpj,
    is_cpf,
    is_fiscal_code,
    is_iban,
    is_insee,
    is_us_number,
)
from .redaction_patterns import END, beginning, edged, words_of
from .redaction_rule import Rule

# What follows these words within a few characters is the number that they announce.
ID_WORDS = words_of("""
    ssn ssns abn acn uen npi voter itin tin sin nino nhs mbi medicare aadhaar aadhar uidai pesel nif nie dni cif
    cpf cnpj bsn curp clabe passport reisepass passeport pasaporte paspoort passaporto licence license
    fuhrerschein ausweis personalausweis steuer-id steueridentifikationsnummer steuernummer
    sozialversicherungsnummer rentenversicherungsnummer idnr burgerservicenummer personnummer henkilotunnus hetu
    insee nir siren egn oib jmbg emso cnp amka nric fin rrn tckn cedula cuil cuit rut ahv avs pps ppsn tfn iban
    swift dob birthdate cpr fodselsnummer hkid
    """)
ID_PHRASES = (
    r"social[ _-]?security",
    r"national[ _-]?(?:insurance|id|identity|identification)",
    r"tax(?:payer)?[ _-]?(?:id|number|file)",
    r"vat[ _-]?(?:id|number|no|nr|reg)",
    r"ein[ _-]?(?:number|no)",
    r"ni[ _-](?:number|no)",
    r"my[ _-]number",
    r"driv(?:er|ing)\W?s?[ _-]?(?:licen[cs]e|permit)",
    r"dl[ _-]?(?:no|number)",
    r"dl",
    r"codice[ _-]?fiscale",
    r"partita[ _-]?iva",
    r"s..?curit..? sociale",
    r"num..?ro de s..?cu",
    r"f..?dselsnummer",
    r"health[ _-]?(?:card|insurance|number)",
    r"account[ _-]?(?:number|no|nr)",
    r"sort[ _-]?code",
    r"routing(?:[ _-]?(?:number|no))?",
    r"identity[ _-]?(?:card|number)",
    r"id[ _-]?card",
    r"voter[ _-]?id",
    r"medical[ _-]?record",
    r"patient[ _-]?id",
    r"date of birth",
    r"born(?: on)?",
    r"c(?:redit|ard)[ _-]?(?:card|number|no)",
    r"debit[ _-]?card",
    r"carta d'identit..?",
    r"permanent account",
    r"bank[ _-]?account",
    r"verification[ _-]?code",
    r"confirmation[ _-]?code",
    r"security[ _-]?code",
    r"login[ _-]?code",
    r"one[ -]?time[ _-]?(?:code|password|pin)",
    r"sms[ _-]?code",
    r"backup[ _-]?code",
    r"recovery[ _-]?code",
    r"access[ _-]?code",
    r"mfa[ _-]?code",
    r"2fa[ _-]?code",
    r"auth(?:entication|orization)?[ _-]code",
    r"your code",
)
# The characters beyond ASCII are one here and several bytes to the screen: `..?` stands for both.
_GROUP = r"[a-z]{0,8}[./\-]?\d[a-z0-9]{0,24}(?:[./\-][a-z0-9]{1,24}){0,6}+"
_ID_VALUE = (
    r"(?:[ _-]?(?:number|numbers|num|no|nr|id|code))?\.?[\"']?(?:\s(?:is|was|of))?[\s:=#(\"']{1,4}"
    # Groups with a digit each, but for one or two letters before or behind: what follows is more of the sentence.
    r"(?P<s>(?:[a-z]{1,2}[ \-])?" + _GROUP + r"(?: (?:[a-z]{1,2}[ \-])?" + _GROUP + r"){0,7}+(?:[ \-][a-z](?!\w))?"
    r"(?:\([0-9a]\))?)"
)
PHONE_WORDS = words_of("phone telephone tel mobile cell sms fax whatsapp msisdn")
# These are not about a phone often enough: the number must be long, or in groups.
CALL_WORDS = words_of("call called calling dial dialed texted handy gsm")
_PHONE_VALUE = (
    r"(?:[ _-]?(?:number|no|nr))?\.?\W{1,4}(?:to |at |is |was )?(?P<s>\(?\d(?:[ ().\-/]{0,2}\d){5,14}+)(?!\w)"
)

# The length of an IBAN by country (the IBAN registry of ISO 13616).
_IBAN_LENGTHS = words_of("""
    AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20
    EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30
    KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24
    PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29
    VA22 VG24 XK20
    """)


def _iban_regex() -> str:
    """Return a regex of each country's letters and length, so that the words after an IBAN are left alone."""
    countries = [one[:2] + r"\d\d(?:[ \-]?[A-Z0-9]){" + str(int(one[2:]) - 4) + "}" for one in _IBAN_LENGTHS]
    return beginning((), *countries) + END


# What separates the groups of a card's number; a typographer's dash and fixed space count too.
_GAPS = (" ", "-", ".", "_", " - ", "  ", "\u00a0", "\u2013")
_GAP = "(" + "|".join(map(re.escape, _GAPS)) + ")"
_CARD_SHAPES = (*(f"0000{gap}0000{gap}0000" for gap in _GAPS), "0000 000000 0000", "0000-000000-0000", "0" * 14)
_CARD_REGEX = (
    r"\d(?<![A-Za-z0-9.\-](?s:.))(?<!\d (?s:.))(?:\d{13,18}|\d{3}" + _GAP + r"\d{4}\1\d{4}\1\d{2,4}(?:\1\d{1,3})?"
    r"|\d{3}([ \-])\d{6}\2\d{4,5})(?![A-Za-z0-9\-])"
)

# The characters of a local part (RFC 5322, section 3.2.3), but the quote; letters with accents are as good.
_LOCAL = r"A-Za-z0-9._%+\-!#$*^~\u00c0-\u052f"
_DOMAIN = (
    r"(?:(?:[A-Za-z0-9\-\u00a1-\uffff]{1,63}\.){1,8}(?:[A-Za-z][A-Za-z0-9\-]{1,62}|[\u00a1-\uffff]{2,24})"
    r"|\[(?:\d{1,3}\.){3}\d{1,3}\])"
)


def _is_address(address: str) -> bool:
    """Return whether an address is a person's: `git@host` and `celery@host` are programs."""
    return not address.startswith(("git@", "celery@"))


MAIL = (
    Rule(
        "e-mail",
        f"[{_LOCAL}](?<![{_LOCAL}](?s:.))[{_LOCAL}]*+(?:'[{_LOCAL}]+)" + "{0,2}+@" + _DOMAIN,
        ("@",),
        check=_is_address,
    ),
    Rule("e-mail quoted", r"\"[^\"\\\n@]{1,64}+\"@" + _DOMAIN, ('"@',)),
    Rule(
        "e-mail in other scripts",
        r"[\u0530-\U0010ffff](?<![\u0530-\U0010ffff](?s:.))[\u0530-\U0010ffff]*+@" + _DOMAIN,
        ("@",),
    ),
    Rule(
        "e-mail encoded",
        r"[A-Za-z0-9._+\-](?<![A-Za-z0-9._+\-](?s:.))[A-Za-z0-9._+\-]*+%(?:25)?40" + _DOMAIN,
        ("%40", "%2540"),
    ),
)


def _in_groups(number: str) -> bool:
    """Return whether a number is long, or in groups as phone numbers are, and no date."""
    groups = [group for group in re.split(r"\D+", number) if group]
    return (len(groups) > 1 or len(number) > 8) and not _DATE.match(number)


_DATE = re.compile(r"(?:19|20)\d\d-\d\d-\d\d")
_NO_NUMBER = r"(?<![\w.\-](?s:.))"
NUMBERS = (
    Rule("card", _CARD_REGEX, shapes=_CARD_SHAPES, check=is_card),
    Rule("iban", _iban_regex(), shapes=("00",), check=is_iban),
    Rule(
        "us number",
        r"\d(?<![\w.\-/](?s:.))\d{2}([ \-])\d{2}\1\d{4}(?![\w\-])",
        shapes=("000-00-0000", "000 00 0000"),
        check=is_us_number,
    ),
    Rule(
        "aadhaar",
        r"[2-9]" + _NO_NUMBER + r"(?<!\d (?s:.))\d{3}([ \-])\d{4}\1\d{4}(?![\w\-])(?! ?\d)",
        shapes=("0000 0000 0000", "0000-0000-0000"),
        check=is_aadhaar,
    ),
    Rule("cpf", r"\d" + _NO_NUMBER + r"\d{2}\.\d{3}\.\d{3}-\d{2}(?![\w\-])", shapes=("000.000.000-00",), check=is_cpf),
    Rule(
        "cnpj",
        r"\d" + _NO_NUMBER + r"\d\.\d{3}\.\d{3}/\d{4}-\d{2}(?![\w\-])",
        shapes=("00.000.000/0000-00",),
        check=is_cnpj,
    ),
    Rule("ahv", r"7" + _NO_NUMBER + r"56\.\d{4}\.\d{4}\.\d{2}(?![\w\-])", shapes=("000.0000.0000.00",), check=is_ahv),
    Rule(
        "insee",
        r"[12]"
        + _NO_NUMBER
        + r"(?:\d{2}(?:0[1-9]|1[0-2]|[2-9]\d)\d{8} ?\d{2}|(?: \d\d){3} \d{3} \d{3} \d{2})(?![\w\-])",
        shapes=("0 00 00 00 000 000 00", "0000000000000 00", "0" * 15),
        check=is_insee,
    ),
    Rule(
        "chinese id",
        r"[1-9]" + _NO_NUMBER + r"\d{5}(?:19|20)\d{2}[01]\d[0-3]\d{4}[\dXx](?![\w\-])",
        shapes=("0" * 17,),
        check=is_chinese_id,
    ),
    Rule(
        "fiscal code",
        edged(r"[A-Z][A-Z]{5}\d{2}[A-EHLMPR-T]\d{2}[A-Z]\d{3}[A-Z]") + END,
        shapes=("000",),
        check=is_fiscal_code,
    ),
    Rule("indian pan", edged(r"[A-Z][A-Z]{2}[ABCFGHJLPT][A-Z]\d{4}[A-Z]") + END, shapes=("0000",)),
    Rule("curp", edged(r"[A-Z][A-Z]{3}\d{6}[HM][A-Z]{5}[A-Z0-9]\d") + END, shapes=("000000",)),
)
PHONES = (
    Rule("phone", r"\+(?<![\w+](?s:.))[1-9](?:[ ().\-/]{0,2}\d){6,14}+(?!\w)", shapes=("+0",)),
    Rule("phone us", r"\((?<![\w)](?s:.))[2-9]\d{2}\)[ \-]?\d{3}[ \-]\d{4}(?!\w)", shapes=("(000)",)),
    Rule(
        "phone us plain",
        r"[1-9](?<![\w.\-+/](?s:.))(?:(?<=1)([ .\-])[2-9]\d{2}\1[2-9]\d{2}\1|(?<=[2-9])(?!00)\d{2}([.\-])[2-9]\d{2}\2)"
        r"\d{4}(?![\w\-])",
        shapes=("000-000-0000", "000.000.0000", "0-000-000-0000", "0.000.000.0000", "0 000 000 0000"),
    ),
    Rule("phone by word", beginning(PHONE_WORDS) + _PHONE_VALUE, gate="word", lower=True),
    Rule("phone by call", beginning(CALL_WORDS) + _PHONE_VALUE, gate="word", check=_in_groups, lower=True),
)


def _is_number(value: str) -> bool:
    """Return whether digits are enough of a value to make it a number, and not a word as in `Apache-2.0-with-GPL2`."""
    digits = len(digits_of(value))
    return digits > 3 and 3 * digits > sum(char.isalnum() for char in value)


BY_WORD = (
    Rule(
        "national id",
        beginning(ID_WORDS, *ID_PHRASES) + _ID_VALUE,
        gate="word",
        check=_is_number,
        lower=True,
    ),
    Rule("mexican rfc", r"rfc\W{1,3}(?P<s>[a-z&]{3,4}\d{6}[a-z0-9]{3})" + END, shapes=("000000",), lower=True),
    Rule("ein", r"ein(?<![a-z0-9](?s:...))\W{1,3}(?P<s>\d{2}-\d{7})(?!\d)", shapes=("00-0000000",), lower=True),
    Rule(
        "wallet",
        r"(?:wallet|bitcoin|btc|withdraw|deposit|payout|address|transfer)\w{0,4}\W{1,3}(?:to |address |at |is )?[\"']?"
        r"(?P<s>(?:[13]|bc1|tb1|ltc1|0x|T|r)[A-Za-z0-9]{24,62})" + END,
        ("wallet", "bitcoin", "btc ", "btc:", "btc=", "withdraw", "deposit", "payout", "address", "transfer"),
        check=has_digit_and_letter,
    ),
)
PERSONAL = (*MAIL, *NUMBERS, *PHONES, *BY_WORD)
