"""Check digits and shapes that tell a card, an account or a national id from any other number."""

import re
from collections.abc import Callable, Iterable

_VERHOEFF_STEP = (
    "0123456789",
    "1576283094",
    "5803796142",
    "8916043527",
    "9453126870",
    "4286573901",
    "2793806415",
    "7046913258",
)
_FISCAL_ODD = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21] * 2 + [2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23],
        strict=True,
    )
)
# First digits and lengths of the card brands; a Luhn-valid number without them is an order number, mostly.
_BRAND = re.compile(
    r"4(?:\d{15}|\d{18})|(?:5[1-5]|2[2-7])\d{14}|3[47]\d{13}|3(?:0[0-5]|095|[689]\d)\d{11}(?:\d{2,5})?"
    r"|6(?:011|4[4-9]\d|5\d\d|22\d)\d{12}(?:\d{3})?|62\d{14,17}|35\d{14}|(?:5[06-9]|6\d)\d{14,17}"
    r"|(?:1800|2131)\d{11}|1\d{14}"
    r"|220[0-4]\d{12}|9792\d{12}|81\d{14,17}"
)


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of a table that is written as one text."""
    return tuple(text.split())


def digits_of(text: str) -> str:
    """Return only the digits of a text."""
    return "".join(char for char in text if "0" <= char <= "9")


def luhn(text: str) -> bool:
    """Return whether the digits satisfy the Luhn sum (ISO/IEC 7812-1)."""
    digits = [int(digit) for digit in digits_of(text)]
    doubled = [digit if place % 2 == 0 else digit * 2 - 9 * (digit > 4) for place, digit in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0


def is_card(text: str) -> bool:
    """Return whether a text is a payment card's number."""
    digits = digits_of(text)
    return len(set(digits)) > 1 and _BRAND.fullmatch(digits) is not None and luhn(digits)


def is_iban(text: str) -> bool:
    """Return whether a text is an IBAN by its check digits (ISO 13616)."""
    plain = re.sub(r"[^A-Za-z0-9]", "", text).upper()
    number = "".join(str(int(char, 36)) for char in plain[4:] + plain[:4])
    return 15 <= len(plain) <= 34 and int(number) % 97 == 1


def is_us_number(text: str) -> bool:
    """Return whether nine digits can be a social security number or an ITIN."""
    area, group, serial = (int(part) for part in (digits_of(text)[:3], digits_of(text)[3:5], digits_of(text)[5:]))
    if area >= 900:
        return group in {*range(50, 66), *range(70, 89), *range(90, 93), *range(94, 100)} and serial > 0
    return area not in {0, 666} and group > 0 and serial > 0


def is_aadhaar(text: str) -> bool:
    """Return whether twelve digits satisfy the Verhoeff check of an Indian Aadhaar number."""
    check = 0
    for place, digit in enumerate(reversed(digits_of(text))):
        turned = int(_VERHOEFF_STEP[place % 8][int(digit)])
        check = _dihedral(check, turned)
    return check == 0


def _dihedral(one: int, other: int) -> int:
    """Return the product of two elements of the dihedral group of order ten."""
    if one < 5:
        return (one + other) % 5 if other < 5 else 5 + (one + other) % 5
    return 5 + (one - other) % 5 if other < 5 else (one - other) % 5


def is_cpf(text: str) -> bool:
    """Return whether eleven digits are a Brazilian CPF."""
    digits = [int(digit) for digit in digits_of(text)]
    if len(set(digits)) == 1:
        return False
    sums = [sum(digit * (size + 1 - place) for place, digit in enumerate(digits[:size])) for size in (9, 10)]
    return [total * 10 % 11 % 10 for total in sums] == digits[9:]


def is_fiscal_code(text: str) -> bool:
    """Return whether a text is an Italian codice fiscale by its last letter."""
    plain = text.upper()
    even = sum(int(char) if char.isdigit() else ord(char) - ord("A") for char in plain[1:15:2])
    odd = sum(_FISCAL_ODD[char] for char in plain[0:15:2])
    return ord(plain[15]) - ord("A") == (even + odd) % 26


def is_insee(text: str) -> bool:
    """Return whether fifteen digits are a French social security number by their key."""
    digits = digits_of(text)
    return 97 - int(digits[:13]) % 97 == int(digits[13:])


def looks_random(value: str) -> bool:
    """Return whether a value looks like a key that a machine made: long, and letters and digits mixed."""
    if len(value) < 16 or not re.fullmatch(r"[A-Za-z0-9+/_.=~%$!-]{16,4096}", value):
        return False
    digits = sum(char.isdigit() for char in value)
    return digits > 1 and len(value) - digits > 1 and len(set(value)) > 7 and not _DOTTED.fullmatch(value)


# Versions, file names, modules and paths.
_DOTTED = re.compile(
    r"(?:[A-Za-z]{2,}[\d.]*[._/-])*[A-Za-z]*[\d.]*|[a-z]+(?:[._/-][a-z0-9]{1,12})+|v?\d+(?:\.\w{1,12})+"
)


def has_digit_and_letter(value: str) -> bool:
    """Return whether a value is no plain word and no plain number."""
    return any(char.isdigit() for char in value) and any(char.isalpha() for char in value)


def tree(words: Iterable[str]) -> str:
    """Return a regex of words that share their starts, so that few of them are compared at one place."""
    words = list(words)
    heads = sorted({word[:1] for word in words if word})
    branches = [re.escape(head) + tree([word[1:] for word in words if word[:1] == head]) for head in heads]
    if not branches:
        return ""
    return "(?:" + "|".join(branches) + ")" + ("?" if "" in words else "")


def hexadecimal_as_zero(text: str) -> str:
    """Return a text in which each lower-case hexadecimal digit is `0`."""
    return text.translate(_ZEROS)


_ZEROS = str.maketrans("123456789abcdef", "0" * 15)


Check = Callable[[str], bool]
