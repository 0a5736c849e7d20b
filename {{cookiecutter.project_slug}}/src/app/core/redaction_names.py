"""Which names tell that their value is a secret or personal: the words as data, and how they are read.

A name is compared word by word, whatever its case and separators: `X-Api-Key`, `apiKey` and `API_KEY` are one name.
"""

import re
from functools import lru_cache
from typing import Literal

from .redaction_checks import looks_random
from .redaction_patterns import tree, words_of

Kind = Literal["secret", "weak", ""]

# Wherever they stand in a name: `db_password_new`, `mySecretString`.
ANYWHERE = words_of("""
    password passwd passphrase passcode passwort contrasena pwd secret credential apikey apitoken accesstoken
    authtoken privatekey secretkey accesskey signingkey encryptionkey masterkey sharedkey authkey accountkey
    connectionstring mnemonic cvv securitycode securityanswer
    """)
# At the end of a name, also when it is written as one word: `useremail`, `X-Auth-Token`.
ENDINGS = words_of("""
    token cookie authorization bearer cookies csrf xsrf jwt creds email emailaddress emails mailaddress phone
    phonenumber mobilenumber faxnumber mobile msisdn telephone sessionid sessid sessionkey sessiontoken authcode
    otpcode mfacode totpcode verificationcode devicecode recoverycode backupcode authorizationcode codeverifier
    clientassertion creditcard creditcardnumber debitcard cardnumber cardno ccnumber accountnumber accountno
    bankaccount routingnumber sortcode iban taxid taxnumber nationalid nationalidnumber identitynumber idnumber
    idcard personnummer socialsecuritynumber socialsecurity insurancenumber passport passportnumber passportno
    drivinglicence drivinglicense driverlicense driverslicense licensenumber licencenumber dateofbirth birthdate
    birthday codicefiscale aadhaar pesel nhsnumber medicare connstr recoveryphrase seedphrase privkey
    sshkey dbpass userpass mypass authpass rootpass adminpass storepass keypass smtppass ftppass mailpass
    sharedaccesssignature maidenname
    """)
# As the last word of a name and no other way: `pin` is in `spinner`, `auth` in `author`.
LAST_WORDS = frozenset(
    words_of("""
    pass pw auth sid otp totp pin cvv cvc csc cvn ssn itin nino nif nie dni cpf bsn curp tfn sin nhs mbi dob dsn
    pan mail tel fax iban pat cred psk psw pswd pword
    """)
)
# Last words that may name a secret; the value must look like one too.
WEAK_LAST_WORDS = frozenset(["key", "sig", "signature", "assertion", "webhook", "seed", "session"])
# The value of these is a number, whole or in part, or an address; in a text, a word after them is no value.
NUMERIC = words_of("""
    phone phonenumber mobilenumber faxnumber mobile msisdn telephone tel fax creditcard creditcardnumber
    debitcard cardnumber cardno ccnumber accountnumber accountno routingnumber sortcode iban taxid taxnumber
    nationalid pin cvv cvc csc cvn ssn itin nino nif nie dni cpf bsn curp tfn sin nhs mbi dob pan passport
    passportnumber birthday
    """)
# What comes after these words is about a secret, not the secret.
BENIGN_LAST_WORDS = frozenset(
    words_of("""
    count length len size limit name names type types kind id ids url uri urls endpoint file path dir method
    methods enabled disabled required changed used usage expires expiry expiration expired at ttl age version
    alias policy rotation rotated created updated sent verified valid status state algorithm alg format prefix
    suffix level position index manager provider service strength rules reset attempts retries remaining source
    scheme issuer audience scope scopes last4 brand vault store ring pair board word less error errors class
    field check checked result secretary fields label present missing exists set template domain host port header
    variable var env keying
    keyboard passwordless tokens
    """)
)
# Names that end like a secret's and are none.
HARMLESS = frozenset(
    words_of("""
    key keys tokentype idempotencytoken pagetoken nextpagetoken continuationtoken synctoken cancellationtoken
    publickey publickey primarykey foreignkey cachekey sortkey partitionkey bucketkey schemakey sequencekey
    routingkey objectkey idempotencykey naturalkey hotkey idxkey rowkey hashkey rangekey dedupkey translationkey
    messagekey shardkey groupkey ratelimitkey lockkey lookupkey sequencetoken publictoken pubkey
    """)
)

# One of these is in every name that is secret or weak; in a text they are searched for, then the whole name is read.
LONG_WORDS = words_of("""
    pass cvv secret contrasena maiden credential token key conn mnemonic security cookie auth bearer csrf xsrf jwt
    credential creds mail phone mobile msisdn sess assertion credit debit cardno idcard verif device otpcode
    mfacode pwd recover backup iban number insurance licen account routing sort taxid taxnumber national
    identity personnummer social birth fiscal aadhaar pesel medicare phrase signature webhook
    """)
# These begin a name of several words; the words after them, or the phrases of the rules, make it suspicious.
_PARTS = ("tax", "card", "id_card")
SHORT_WORDS = words_of("""
    pass pw auth mail cred seed mfa sid otp totp pin cvc csc cvn ssn itin nino nif nie dni cpf bsn curp
    tfn sin nhs mbi dob dsn pan tel fax iban pat psk psw pswd pword sig cardno accountno passportno
    """)

_WORD_END = "\0"
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_ANYWHERE = re.compile("|".join(ANYWHERE))


@lru_cache(maxsize=8192)
def kind_of_name(name: str) -> Kind:
    """Return what a name says of its value: it is secret, it may be (`weak`), or nothing.

    Args:
        name: The name, in any case and with any separators.

    """
    words = [word.lower() for word in _WORDS.findall(name[:256])]
    if not words or "".join(words) in HARMLESS:
        return ""
    if words[-1] in LAST_WORDS and not (len(words) > 1 and words[-2].isdigit()):
        return "secret"
    weak = words[-1] in WEAK_LAST_WORDS
    while len(words) > 1 and words[-1].isdigit():
        words.pop()
    return _kind_of_words(words) or ("weak" if weak and not _is_harmless(words) else "")


def _kind_of_words(words: list[str]) -> Kind:
    plain = "".join(words)
    if plain.endswith("jsonwebtoken") or words[:2] == ["key", "vault"]:
        return ""
    if plain.endswith(ENDINGS):
        return "secret"
    if _is_harmless(words):
        # Counts, mostly, but they may be the tokens themselves.
        return "weak" if words[-1] == "tokens" else ""
    return "secret" if _ANYWHERE.search(plain) else "weak" if plain.endswith("key") else ""


def _is_harmless(words: list[str]) -> bool:
    return words[-1] in BENIGN_LAST_WORDS or "".join(words[-2:]) in HARMLESS


def plain_name(name: str) -> str:
    """Return a name without case and separators."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _holds_random(value: object) -> bool:
    """Return whether a value, or one of several, looks as if a machine made it."""
    if isinstance(value, list | tuple):
        return any(map(_holds_random, value))
    return isinstance(value, str) and looks_random(value)


class Names:
    """Which names are secret: the lists above, and what the owner added."""

    def __init__(self, secret: tuple[str, ...] = (), allowed: frozenset[str] = frozenset()) -> None:
        self._secret = secret
        self._allowed = allowed
        self._endings = tuple(plain_name(name) for name in secret)
        self.hints = tuple(word for name in secret for word in literals(name))
        long, short = {*self.hints, *LONG_WORDS, *_PARTS}, set(SHORT_WORDS)
        # One tree, so that the engine skips to the characters with which a word begins; a short word ends there.
        words = tree([*long, *(word + _WORD_END for word in short - long)])
        self.words = words.replace(re.escape(_WORD_END), "(?![a-z])")
        self.kind = lru_cache(maxsize=8192)(self._kind)

    def _kind(self, name: str) -> Kind:
        plain = plain_name(name)
        if plain in self._allowed:
            return ""
        if self._endings and plain.endswith(self._endings):
            return "secret"
        return kind_of_name(name)

    def hides(self, name: str, value: object) -> bool:
        """Return whether a value of this name must not be shown."""
        if value is None or isinstance(value, bool):
            return False
        kind = self.kind(name)
        # Tests pass and fail: how many do is no secret.
        if isinstance(value, int) and name.lower() == "pass":
            return False
        return kind == "secret" or (kind == "weak" and _holds_random(value))

    def with_secret(self, name: str) -> "Names":
        """Return these names and one more that is secret."""
        plain = _checked(name)
        kept = tuple(known for known in self._secret if plain_name(known) != plain)
        return Names((*kept, name), self._allowed - {plain})

    def with_allowed(self, name: str) -> "Names":
        """Return these names and one more that is harmless."""
        plain = _checked(name)
        return Names(tuple(known for known in self._secret if plain_name(known) != plain), self._allowed | {plain})


def literals(name: str) -> list[str]:
    """Return a literal that is in every spelling of a name: its longest word in lower case."""
    return [max((word.lower() for word in _WORDS.findall(name)), key=len)]


def _checked(name: str) -> str:
    plain = plain_name(name)
    if not plain:
        msg = f"a field's name needs a letter or a digit, got {name!r}"
        raise ValueError(msg)
    return plain
