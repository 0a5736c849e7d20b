"""Secrets and personal data that are nobody's, put together when a test runs, so that no scanner finds one here."""

import random
import string

DICE = random.Random(20261121)
ALNUM = string.ascii_letters + string.digits
EMAIL = "@".join(["ada", "example.com"])
PASSWORD = "-".join(["Correct", "horse7", "battery"])
CARD = "4" + "1" * 15


def made(size: int, alphabet: str = ALNUM) -> str:
    """Return random characters that look like no word.

    Args:
        size: How many.
        alphabet: What they are taken from.

    """
    return "Z9" + "".join(DICE.choice(alphabet) for _ in range(size - 2))


def digits(size: int) -> str:
    """Return random digits, none of them zero."""
    return "".join(DICE.choice("123456789") for _ in range(size))


def hexes(size: int) -> str:
    """Return random hexadecimal digits."""
    return "".join(DICE.choice("0123456789abcdef") for _ in range(size))


def part(*parts: str) -> str:
    """Return parts put together."""
    return "".join(parts)


def grouped(text: str, separator: str) -> str:
    """Return a text in groups of four."""
    return separator.join(text[place : place + 4] for place in range(0, len(text), 4))


def pem(kind: str, join: str) -> str:
    """Return a made-up private key.

    Args:
        kind: What stands before the words in its first line, such as `RSA `.
        join: What its lines are joined by.

    """
    first, last = part("-----BEGIN ", kind, "PRIVATE KEY-----"), part("-----END ", kind, "PRIVATE KEY-----")
    return join.join([first, made(64), made(64), last])


def is_luhn(number: str) -> bool:
    """Return whether digits are valid by Luhn, computed here once more."""
    places = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(number))]
    return sum(place // 10 + place % 10 for place in places) % 10 == 0


def card(start: str, size: int) -> str:
    """Return the number of a card that begins as a brand's do."""
    number = start + digits(size - 1 - len(start))
    return next(number + last for last in string.digits if is_luhn(number + last))


def iban(country: str, length: int, bank: str = "") -> str:
    """Return an account's number with check digits (ISO 13616)."""
    body = bank + digits(length - 4 - len(bank))
    number = int("".join(str(int(char, 36)) for char in body + country + "00"))
    return f"{country}{98 - number % 97:02}{body}"


def survives(secret: str, text: str) -> bool:
    """Return whether half of a secret can still be read in a text."""
    run = max(min(6, len(secret)), (len(secret) + 1) // 2)
    return any(secret[start : start + run] in text for start in range(len(secret) - run + 1))
