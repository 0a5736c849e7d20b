"""Tokens and keys that are told by their own form, whoever holds them."""

import re
from collections.abc import Iterable

from .redaction_checks import is_jose
from .redaction_patterns import EDGE, beginning, edged, hexadecimal_as_zero, tree, words_of
from .redaction_rule import Rule

# The start of a token says whose it is. These are never anything else, so that a cut-off one is found too.
DISTINCT = words_of("""
    ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ glpat- gldt- glrt- glcbt- glptt- glft- glimt- glagent- gloas- glsoat-
    glffct- glwt- GR1348941 xoxa- xoxb- xoxc- xoxd- xoxe- xoxe. xoxo- xoxp- xoxr- xoxs- xapp- xwfp- sk_live_
    sk_test_ sk_prod_ rk_live_ rk_test_ rk_prod_ whsec_ rzp_live_ rzp_test_ sk-ant- sk-proj- sk-svcacct-
    sk-admin- sk-or- sk-lf- sk_car_ gsk_ xai- pplx- nvapi- tvly- r8_ hf_ api_org_ lsv2_ npm_ pypi-Ag pypi- AIza
    GOCSPX- ya29. AGE-SECRET-KEY- PMAK- PMAT- dop_v1_ doo_v1_ dor_v1_ shpat_ shpss_ shpca_ shppa_ shptka_
    sq0atp- sq0csp- sq0idp- EAAA rubygems_ dp.pt. dp.st. dp.ct. dp.sa. dp.scim. dp.audit. hvs. hvb. hvr. ops_eyJ
    HRKU- p8e- CLOJARS_ clojars_ duffel_live_ duffel_test_ dt0c01. dt0s01. dt0s16. fio-u- fo1_ fm1a_ fm1r_ fm2_
    lin_api_ lin_oauth_ ntn_ pnu_ pnb_ pscale_tkn_ pscale_oauth_ pscale_pw_ rdme_ sgp_ sntrys_ sntryu_ sntrya_
    squ_ sqp_ sqa_ tfp_ tk-us- tk-eu- xkeysib- xsmtpsib- sm_aat_ sm_pat_ sm_sat_ shippo_live_ shippo_test_
    dnkey- glc_ glsa_ phc_ phx_ phs_ sbp_ sb_secret_ figd_ figo_ figdr_ dckr_pat_ dckr_oat_ CCIPAT_ CCIPRJ_
    tskey- ATATT3 ATCTT3 ATBB BBDC- NRAK- NRJS- NRII- NRRA- NRSP- EZAK EZTK AKCp cmVmd FLWSECK_TEST- FLWSECK-
    FLWPUBK_TEST- SG. ABSK bedrock-api-key- LTAI A3- sha256~ access-sandbox- access-development-
    access-production- live_pub_ test_pub_ atlasv1. sl.u. sl.B AQVN CFPAT- bkua_ pat-na1- pat-eu1- ory_at_
    ory_ac_ secret-token: vercel_blob_rw_ nfp_ nfc_xau_ pk.eyJ sk.eyJ sub-c- sec-c- amzn.mws. patM_ s-s4t2ud-
    s-s4t2af- v1.0- b3BlbnNzaC1rZXk
    """)
_BODY = r"[A-Za-z0-9_\-+/.~=|]{7,8192}+"

# A short or common start needs the exact body. A letter that is also a hexadecimal digit stands as `[a0]`: the screen
# matches these against texts in which such letters are `0`.
EXACT: dict[str, str] = {
    "aws": r"A(?:[30]T[A-Z0-9]|KIA|SIA|BIA|CCA|GPA|IDA|ROA|NPA|PKA)[A-Z0-9]{12,20}(?![A-Za-z0-9])",
    "openai": r"sk-[A-Za-z0-9_\-]{20,400}",
    "openai inner": r"[A-Za-z0-9_\-](?<![A-Za-z0-9_\-](?s:.))[A-Za-z0-9_\-]{0,400}T[30]Bl[b0]kFJ[A-Za-z0-9_\-]{4,200}",
    "twilio": r"SK[0-9a-fA-F]{32}(?![A-Za-z0-9])",
    "databricks": r"[d0][a0]pi[0-9a-f]{8,32}(?:-\d)?",
    "mailgun": r"k[e0]y-[0-9a-f]{20,32}",
    "mailgun public": r"pu[b0]k[e0]y-[0-9a-f]{20,32}",
    "mailgun signing": r"[0-9a-f]{32}-[0-9a-f]{8}-[0-9a-f]{8}(?![A-Za-z0-9-])",
    "mailchimp": r"[0-9a-f]{32}-us\d{1,2}(?!\d)",
    "telegram": r"\d{5,16}:A[A-Za-z0-9_\-]{30,40}",
    "discord": r"[MNO][A-Za-z0-9]{22,28}\.[A-Za-z0-9_\-]{6}\.[A-Za-z0-9_\-]{20,40}",
    "azure": r"[A-Za-z0-9](?:[A-Za-z0-9_~.\-]{2}[0-9]Q~[A-Za-z0-9_~.\-]{20,40}"
    r"|[A-Za-z0-9_\-]{43}AzFu[A-Za-z0-9\-_]{5}[AQgw]=="
    r"|(?<![+/](?s:.))[A-Za-z0-9+/]{32,90}(?:AzC[a0]|AzS[e0]|\+ASt|\+AMC|ACD[b0]|AIoT|APIM|AzR[e0]|ARm)[A-Za-z0-9+/]{4,10}={0,2})",
    "vault legacy": r"s\.(?=[A-Za-z]{0,23}\d)[A-Za-z0-9]{24}(?![A-Za-z0-9])",
    "harness": r"[ps][a0]t\.[A-Za-z0-9_\-]{22}\.[A-Za-z0-9]{24}\.[A-Za-z0-9]{20}",
    "airtable": r"p[a0]t[A-Za-z0-9]{14}\.[0-9a-f]{64}",
    "terraform": r"[A-Za-z0-9]{14}\.[a0]tl[a0]sv[10]\.[A-Za-z0-9=_\-]{40,80}",
    "pulumi": r"pul-[0-9a-f]{40}",
    "infracost": r"i[c0]o-[A-Za-z0-9]{32}",
    "beamer": r"[b0]_[A-Za-z0-9=_\-]{44}(?![A-Za-z0-9])",
    "lob": r"liv[e0]_[0-9a-f]{35}",
    "lob test": r"t[e0]st_[0-9a-f]{35}",
    "gocardless": r"liv[e0]_[A-Za-z0-9\-_=]{40}",
    "facebook": r"EAA[MC][A-Za-z0-9]{30,400}",
    "facebook app": r"\d{15,16}(?:\||%(?:[70]C)?)[0-9A-Za-z_\-]{27,40}",
    "clickhouse": r"[40][b0][10][d0][A-Za-z0-9]{38}(?![A-Za-z0-9])",
    "maxmind": r"[A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk",
    "octopus": r"API-[A-Z0-9]{25,32}(?![A-Za-z0-9])",
    "okta": r"00[A-Za-z0-9_\-]{40}(?![A-Za-z0-9_\-])",
    "authress": r"(?:s[c0]|[e0]xt|s[c0][a0]uth|[a0]uthr[e0]ss)_[A-Za-z0-9]{5,30}\.[A-Za-z0-9]{4,6}\.[a0][c0][c0][_-]"
    r"[A-Za-z0-9-]{10,32}\.[A-Za-z0-9+/_=\-]{30,120}",
    "google refresh": r"[10]//0[A-Za-z0-9_\-]{20,120}",
    "firebase": r"AAAA[A-Za-z0-9_\-]{7}:[A-Za-z0-9_\-]{100,200}",
    "yandex": r"t[10]\.[A-Za-z0-9_\-]{10,400}={0,2}\.[A-Za-z0-9_\-]{86}={0,2}",
    "yandex aws": r"YC[A-Za-z0-9_\-]{38}(?![A-Za-z0-9_\-])",
    "twitter": r"A[A]{17,23}[A-Za-z0-9%]{40,110}",
    "notion": r"s[e0][c0]r[e0]t_[A-Za-z0-9]{43}(?![A-Za-z0-9])",
    "dropbox": r"sl\.[A-Za-z0-9\-=_]{80,200}",
    "artifactory": r"AP[0-9A-F](?=[A-Za-z]{0,40}\d)[A-Za-z0-9]{16,80}(?![A-Za-z0-9])",
    "1password": r"A[30]-[A-Z0-9]{6}-[A-Z0-9-]{20,40}",
    "bitcoin": r"[b0][c0][10][qp][a-z0-9]{30,60}(?![A-Za-z0-9])",
    # Three parts is a JWS, five a JWE; of a cut-off one the first part is enough, if it says what it is.
    "jwt": r"[e0]yJ[A-Za-z0-9_\-+/=%]{12,8192}+(?:\.[A-Za-z0-9_\-+/=]{1,16384}+){0,4}+\.?",
    "jwt like": r"[e0]y[A-Za-z0-9]{17,1024}+\.[e0]y[A-Za-z0-9/\\_\-]{17,16384}+(?:\.[A-Za-z0-9/\\_\-=]{0,8192}+)?",
    "jwt in base64": r"ZXlK[A-Za-z0-9+/=_\-]{24,16384}+",
    # The first line of a private key, but of no certificate and no public key.
    "private key in base64": r"LS0tLS[10]CRU[d0]JTi(?!BDRVJU|BQVUJM)[A-Za-z0-9+/=_\-]{12,65536}+",
}
# One of these is in a text, in lower case, that has such a token.
EXACT_HINTS = {
    "aws": "akia asia abia acca agpa aida aroa anpa apka a3t",
    "openai": "sk-",
    "openai inner": "t3blbkfj",
    "twilio": "sk",
    "databricks": "dapi",
    "mailgun": "key-",
    "mailgun public": "pubkey-",
    "mailgun signing": "-",
    "mailchimp": "-us",
    "telegram": ":a",
    "discord": ".",
    "azure": "q~ azfu azca azse +ast +amc acdb aiot apim azre arm",
    "vault legacy": "s.",
    "harness": "pat. sat.",
    "airtable": "pat",
    "terraform": ".atlasv1.",
    "pulumi": "pul-",
    "infracost": "ico-",
    "beamer": "b_",
    "lob": "live_",
    "lob test": "test_",
    "gocardless": "live_",
    "facebook": "eaam eaac",
    "facebook app": "| %",
    "clickhouse": "4b1d",
    "maxmind": "_mmk",
    "octopus": "api-",
    "okta": "00",
    "authress": ".acc_ .acc-",
    "google refresh": "1//0",
    "firebase": "aaaa",
    "yandex": "t1.",
    "yandex aws": "yc",
    "twitter": "aaaaaaaaaaaaaaaaaa",
    "notion": "secret_",
    "dropbox": "sl.",
    "artifactory": "ap",
    "1password": "a3-",
    "bitcoin": "bc1q bc1p",
    "jwt": "eyj",
    "jwt like": ".ey",
    "jwt in base64": "zxlk",
    "private key in base64": "ls0tls1crudjti",
}
_ONE_OR_ZERO = re.compile(r"\[([1-9a-f])0\]")
_CHECKS = {"jwt": is_jose, "okta": lambda token: not token.islower() and not token.isupper()}


_DIGIT = re.compile("[0-9]")


def _is_token(value: str) -> bool:
    """Return whether what follows a token's start is no plain word, as in `npm_config_cache`."""
    body = value[4:]
    mixed = _DIGIT.search(body) is not None or not (body.islower() or body.isupper())
    return mixed or max(len(part) for part in re.split(r"\W|_", body)) > 23


TOKENS = (
    Rule("token", beginning(DISTINCT) + _BODY, gate="token", check=_is_token),
    *(
        Rule(
            name,
            edged(_ONE_OR_ZERO.sub(r"\1", regex)),
            words_of(EXACT_HINTS[name]),
            gate="token",
            check=_CHECKS.get(name),
        )
        for name, regex in EXACT.items()
    ),
    # What a password is stored as: crypt(3) and its successors, Django's, Werkzeug's, LDAP's.
    Rule(
        "password hash",
        r"\$(?:1|2[aby]|5|6|y|apr1|scrypt|argon2(?:id|i|d)|bcrypt-sha256|pbkdf2(?:-sha\d{1,3})?)\$"
        r"(?P<s>[A-Za-z0-9./+=,$_\-]{12,512}+)",
        ("$1$", "$2a$", "$2b$", "$2y$", "$5$", "$6$", "$y$", "$apr1$", "$argon2", "$scrypt$", "$pbkdf2", "$bcrypt-"),
    ),
    Rule(
        "password hash by name",
        r"(?:pbkdf2[_:]sha\d{1,3}|scrypt|bcrypt(?:_sha256)?|argon2|salted_sha1)[$:][\d:]{0,24}+\$?"
        r"(?P<s>[A-Za-z0-9./+=,$_\-]{20,512}+)",
        ("pbkdf2", "scrypt", "bcrypt", "argon2", "salted_sha1"),
        lower=True,
    ),
    Rule(
        "password hash of ldap",
        r"\{(?:s?sha(?:256|384|512)?|s?md5|crypt)\}(?P<s>[a-z0-9./+=$]{16,512}+)",
        ("{sha", "{ssha", "{smd5", "{md5", "{crypt"),
        lower=True,
    ),
)


def _token_start(words: Iterable[str]) -> str:
    exact = "|".join(EXACT.values())
    return EDGE + r"(?=[A-Za-z0-9][\w\-.:/+~%|=\\]{9})(?:" + tree(words) + _BODY + "|" + exact + ")"


# What is in every text with a token; and the same, for a text in which hexadecimal digits are zeros.
TOKEN = _token_start(DISTINCT)
TOKEN_SHAPE = _token_start(hexadecimal_as_zero(word) for word in DISTINCT)
