"""What tells of a person is found by its check digits, its form or the word before it; other numbers stay."""

import pytest

from app.core.redaction import REDACTED, may_hold_secret, redact, redact_text

from ..fakes import CARD, EMAIL, card, grouped, iban

BRANDS = [
    ("4", 16),
    ("4", 19),
    ("51", 16),
    ("2221", 16),
    ("34", 15),
    ("37", 15),
    ("36", 14),
    ("6011", 16),
    ("3528", 16),
    ("62", 16),
    ("65", 16),
    ("5019", 16),
]


@pytest.mark.parametrize(("start", "size"), BRANDS)
def test_cards(start: str, size: int) -> None:
    """A card's number is hidden as text and as a number; one with a wrong check digit is no card."""
    number = card(start, size)
    wrong = number[:-1] + str((int(number[-1]) + 1) % 10)
    for text in ("card {} declined", "pan={}", "'{}'", '{"n":{}}', "({}).", "/cards/{}/charge", "card_{}"):
        assert redact_text(text.replace("{}", number)) == text.replace("{}", REDACTED)
    assert redact_text(f"order {wrong} placed") == f"order {wrong} placed"
    assert redact(int(number)) == REDACTED


@pytest.mark.parametrize("separator", [" ", "-", ".", "_", "  ", " - ", "\u00a0", "\u2013"])
def test_cards_in_groups(separator: str) -> None:
    """A card's number is hidden however its groups are set apart."""
    for size in (16, 19):
        assert redact_text(f"card {grouped(card('4', size), separator)} declined") == f"card {REDACTED} declined"
    amex = card("37", 15)
    if separator in " -":
        assert redact_text(separator.join([amex[:4], amex[4:10], amex[10:]])) == REDACTED


ACCOUNTS = [("DE", 22, ""), ("NL", 18, "ABNA"), ("GB", 22, "NWBK"), ("FR", 27, ""), ("BE", 16, ""), ("MT", 31, "MALT")]


@pytest.mark.parametrize(("country", "length", "bank"), ACCOUNTS)
@pytest.mark.parametrize("separator", ["", " ", "-"])
def test_ibans(country: str, length: int, bank: str, separator: str) -> None:
    """An account number is told by its check digits, and the words after it stay."""
    number = iban(country, length, bank)
    assert redact_text(f"payout to {grouped(number, separator)} for order 7") == f"payout to {REDACTED} for order 7"
    wrong = number[:-1] + str((int(number[-1]) + 1) % 10)
    assert redact_text(f"parcel {wrong} sent") == f"parcel {wrong} sent"


PERSONAL = [
    ("ssn {}", "078-05-1123"),
    ("{}", "219-09-9998"),
    ("itin={}", "911-70-1234"),
    ("nino: {}", "AA 12 34 56 B"),
    ("NI number: {}", "AA 12 34 56 B"),
    ("NHS number {}", "401-023-2137"),
    ("patient MBI {}", "1EG4-TE5-MK73"),
    ("aadhaar {}", "3123 4567 8909"),
    ("nif={}", "55555555K"),
    ("pesel={}", "44051401458"),
    ("cpf {}", "529.982.247-25"),
    ("paid by {} today", "529.982.247-25"),
    ("paid by {} today", "11.222.333/0001-81"),
    ("insured {}", "756.1234.5678.97"),
    ("insured {}", "1 85 05 78 006 084 91"),
    ("insured {}", "1850578006084 91"),
    ("resident {}", "11010519491231002X"),
    ("EIN: {}", "12-3456789"),
    ("Steuer-ID: {}", "12345678911"),
    ("codice fiscale {}", "RSSMRA85T10A562S"),
    ("numero {} ok", "RSSMRA85T10A562S"),
    ("personnummer {}", "811228-9874"),
    ("f\u00f8dselsnummer {}", "01017012345"),
    ("bsn {}", "111222333"),
    ("passport number: {}", "912803456"),
    ("driving licence {}", "MORGA753116SM9IJ"),
    ("driver's license no. {}", "D1234562"),
    ("sms to {}", "+55 11 98456 5666"),
    ("call {}", "(415) 555-0132"),
    ("contact {}", "415-555-0132"),
    ("contact {}", "415.555.0132"),
    ("contact {}", "1-800-555-0199"),
    ("phone: {}", "030 1234567"),
    ("called {}", "0170 1234567"),
    ("reach me at {}", "+491701234567"),
    ("your code: {}", "292971"),
]


@pytest.mark.parametrize(("text", "secret"), PERSONAL)
def test_personal_data(text: str, secret: str) -> None:
    """A number of a person is hidden, told by its form or by the word before it."""
    shown = redact_text(text.replace("{}", secret))
    assert secret not in shown
    assert REDACTED in shown
    assert may_hold_secret(text.replace("{}", secret))


def test_words_after_a_number_stay() -> None:
    """What follows the number that a word announces is more of the sentence."""
    assert redact_text("passport 912803456 for order 7 of 12") == f"passport {REDACTED} for order 7 of 12"
    assert redact_text("ssn 078-05-1123 belongs to nobody") == f"ssn {REDACTED} belongs to nobody"


@pytest.mark.parametrize(
    "address",
    [
        EMAIL,
        EMAIL.upper(),
        "@".join(["a.b+c", "sub.example.co.uk"]),
        "@".join(["o'brien", "example.ie"]),
        "@".join(["m\u00fcller", "ex\u00e4mple.de"]),
        "@".join(["\u7528\u6237", "\u4f8b\u5b50.\u516c\u53f8"]),
        "@".join(["very.long." + "x" * 90, "example.com"]),
        "@".join(["ada", "[192.0.2.1]"]),
        "%40".join(["ada", "example.com"]),
        "%2540".join(["ada", "example.com"]),
        "@".join(["user", "xn--80ak6aa92e.com"]),
    ],
)
@pytest.mark.parametrize(
    "text", ["mail to {} bounced", "<{}>", "user={}", "'{}'", '{"to":["{}"]}', "q={}&x=1", "user:{}:profile", "/u/{}/x"]
)
def test_addresses(address: str, text: str) -> None:
    """An address is hidden in any script and encoding, whatever stands around it."""
    shown = redact_text(text.replace("{}", address))
    assert shown == text.replace("{}", REDACTED)


@pytest.mark.parametrize(
    "text",
    [
        "isbn 978-3-16-148410-0",
        "parcel 1Z999AA10123456784 delivered",
        "imei 490154203237518",
        "ean 4006381333931",
        "ts_ns=1763669520123456789",
        "ts_us=1763669520123456",
        "took 0:00:01.203944 at 12:34:56",
        "between 2024-11-21 and 2024-12-31",
        "client 192.168.100.200",
        "client 2001:db8:85a3::8a2e:370",
        "10.0.0.1:5432",
        "lat=52.520006 lon=13.404954",
        "$1,234,567.89",
        "bytes=0-1023/146515",
        "called 1000000 times",
        "call 2024-11-21 missed",
        "responses: 200-404-5000",
        "phone: unknown, phone_verified=true",
        "card ending in 4242",
        "tax rate 19%",
        "as in RFC 9110 and RFC 1413 Ident Server",
        "License: Apache-2.0-with-GPL2-LGPL2-Exception",
        "passport check passed",
        "git@github.com:org/repo.git",
        "celery@worker1.local ready",
        "@app.get('/items/{id}')",
        "@scope/pkg@1.2.3",
        "my email is info@example.",
        "0000000000000000",
    ],
)
def test_other_numbers_and_names(text: str) -> None:
    """Times, places, versions, order numbers and programs are no personal data."""
    assert redact_text(text) == text


def test_numbers_of_a_kind() -> None:
    """A number too small, or no whole one, is no card's."""
    assert redact([7, -7, 1.5, int(CARD[:-1] + "2")]) == [7, -7, 1.5, int(CARD[:-1] + "2")]
    assert redact([int(CARD), -int(CARD)]) == [REDACTED, REDACTED]
