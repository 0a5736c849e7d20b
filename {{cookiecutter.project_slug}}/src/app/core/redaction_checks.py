"""Check digits and shapes that tell a card, an account or a national id from any other number."""

import base64
import re
from collections.abc import Callable
from datetime import date
from operator import mul

Check = Callable[[str], bool]

_NO_DIGIT = re.compile(r"[^0-9]+")
_ZERO = ord("0")
# What a doubled digit adds to a Luhn sum.
_DOUBLED = bytes.maketrans(b"0123456789", b"0246813579")
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
_FISCAL_ODD: dict[str, int] = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21] * 2 + [2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23],
        strict=True,
    )
)
_FISCAL_EVEN: dict[str, int] = dict(zip("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", [*range(10), *range(26)], strict=True))
# In an IBAN's sum a letter is a number of two digits, from A = 10.
_IBAN_NUMBERS = {ord(char): str(int(char, 36)) for char in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"} | {ord(" "): "", ord("-"): ""}
# First digits and lengths of the card brands; a Luhn-valid number without them is an order number, mostly.
_BRAND = re.compile(
    r"4(?:\d{15}|\d{18})|(?:5[1-5]|2[2-7])\d{14}|3[47]\d{13}|3(?:0[0-5]|095|[689]\d)\d{11}(?:\d{2,5})?"
    r"|6(?:011|4[4-9]\d|5\d\d|22\d)\d{12}(?:\d{3})?|62\d{14,17}|35\d{14}|(?:5[06-9]|6\d)\d{14,17}"
    r"|(?:1800|2131)\d{11}|1\d{14}"
    r"|220[0-4]\d{12}|9792\d{12}|81\d{14,17}"
)


def digits_of(text: str) -> str:
    """Return only the digits of a text."""
    return _NO_DIGIT.sub("", text)


def luhn(text: str) -> bool:
    """Return whether the digits satisfy the Luhn sum (ISO/IEC 7812-1)."""
    digits = digits_of(text).encode()
    return (sum(digits[-1::-2]) + sum(digits[-2::-2].translate(_DOUBLED)) - len(digits) * _ZERO) % 10 == 0


def is_card(text: str) -> bool:
    """Return whether a text is a payment card's number."""
    digits = digits_of(text)
    return _BRAND.fullmatch(digits) is not None and luhn(digits) and digits.strip(digits[0]) != ""


def is_iban(text: str) -> bool:
    """Return whether a text is an IBAN by its check digits (ISO 13616)."""
    plain = text.upper().translate(_IBAN_NUMBERS)
    # The country is two letters, so four digits of the number, and the check digits two.
    return int(plain[6:] + plain[:6]) % 97 == 1


def is_us_number(text: str) -> bool:
    """Return whether nine digits can be a social security number or an ITIN."""
    digits = digits_of(text)
    area, group, serial = int(digits[:3]), int(digits[3:5]), int(digits[5:])
    if area >= 900:
        return group in {*range(50, 66), *range(70, 89), *range(90, 93), *range(94, 100)} and serial > 0
    return area not in {0, 666} and group > 0 and serial > 0


def _dihedral(one: int, other: int) -> int:
    """Return the product of two elements of the dihedral group of order ten."""
    if one < 5:
        return (one + other) % 5 if other < 5 else 5 + (one + other) % 5
    return 5 + (one - other) % 5 if other < 5 else (one - other) % 5


_DIHEDRAL = [[_dihedral(one, other) for other in range(10)] for one in range(10)]
_VERHOEFF = [[[_DIHEDRAL[one][int(turned)] for turned in step] for one in range(10)] for step in _VERHOEFF_STEP]


def is_aadhaar(text: str) -> bool:
    """Return whether twelve digits satisfy the Verhoeff check of an Indian Aadhaar number."""
    check = 0
    for place, digit in enumerate(reversed(digits_of(text).encode())):
        check = _VERHOEFF[place % 8][check][digit - _ZERO]
    return check == 0


def _sum(digits: str, weights: tuple[int, ...]) -> int:
    """Return the sum of the digits, each times its weight."""
    return int(sum(map(mul, map(int, digits), weights)))


_CPF = ((10, 9, 8, 7, 6, 5, 4, 3, 2), (11, 10, 9, 8, 7, 6, 5, 4, 3, 2))
_CNPJ = ((5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2), (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2))


def is_cpf(text: str) -> bool:
    """Return whether eleven digits are a Brazilian CPF."""
    digits = digits_of(text)
    if digits.strip(digits[0]) == "":
        return False
    return all(_sum(digits[: len(weights)], weights) * 10 % 11 % 10 == int(digits[len(weights)]) for weights in _CPF)


def is_cnpj(text: str) -> bool:
    """Return whether fourteen digits are a Brazilian CNPJ."""
    digits = digits_of(text)
    left = [_sum(digits[: len(weights)], weights) % 11 for weights in _CNPJ]
    return [0 if rest < 2 else 11 - rest for rest in left] == [int(digits[12]), int(digits[13])]


def is_ahv(text: str) -> bool:
    """Return whether thirteen digits are a Swiss AHV number by their last one (as in EAN-13)."""
    return _sum(digits_of(text), (1, 3) * 6 + (1,)) % 10 == 0


_RESIDENT_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def is_chinese_id(text: str) -> bool:
    """Return whether a text is a Chinese resident's number: a birthday, and a check character (GB 11643)."""
    try:
        date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
    except ValueError:
        return False
    return "10X98765432"[_sum(text[:17], _RESIDENT_WEIGHTS) % 11] == text[17].upper()


def is_fiscal_code(text: str) -> bool:
    """Return whether a text is an Italian codice fiscale by its last letter."""
    plain = text.upper()
    total = sum(_FISCAL_EVEN[char] for char in plain[1:15:2]) + sum(_FISCAL_ODD[char] for char in plain[0:15:2])
    return ord(plain[15]) - ord("A") == total % 26


def is_insee(text: str) -> bool:
    """Return whether fifteen digits are a French social security number by their key."""
    digits = digits_of(text)
    return 97 - int(digits[:13]) % 97 == int(digits[13:])


_RANDOM = re.compile(r"[A-Za-z0-9+/_.=~%$!-]{16,4096}")
# Versions, file names, modules and paths: parts of letters that may end in a few digits.
_DOTTED = re.compile(
    r"(?:[A-Za-z]{2,}[\d.]*[._/-])*[A-Za-z]*[\d.]*|[a-z]+(?:[._/-](?:[a-z]{1,12}\d{0,2}|\d{1,4}))+|v?\d+(?:\.\w{1,12})+"
)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_DIGITS = str.maketrans("", "", "0123456789")


def looks_random(value: str) -> bool:
    """Return whether a value looks like a key that a machine made: long, and letters and digits mixed."""
    if not _RANDOM.fullmatch(value):
        return False
    rest = value.translate(_DIGITS)
    digits = len(value) - len(rest)
    mixed = digits > 1 or (digits == 1 and (len(value) > 31 or not (rest.islower() or rest.isupper())))
    return mixed and len(rest) > 1 and len(set(value)) > 7 and not _DOTTED.fullmatch(value)


def is_uuid(value: str) -> bool:
    """Return whether a value is a UUID in its usual form (RFC 9562)."""
    return _UUID.fullmatch(value) is not None


def has_digit_and_letter(value: str) -> bool:
    """Return whether a value is no plain word and no plain number."""
    return any(char.isdigit() for char in value) and any(char.isalpha() for char in value)


_SHORT_HEAD = 27
_JOSE_MEMBERS = (b'"alg"', b'"typ"', b'"enc"', b'"kid"', b'"cty"', b'"jku"', b'"jwk"', b'"x5')


def is_jose(value: str) -> bool:
    """Return whether a value is a JWS or JWE (RFC 7515, 7516), or the cut-off start of one, and no other JSON."""
    head, dot, _ = value.partition(".")
    if dot:
        return True
    start = base64.b64decode(head[:256].replace("-", "+").replace("_", "/") + "==")
    return len(head) > _SHORT_HEAD and (any(member in start for member in _JOSE_MEMBERS) or not start.isascii())
