"""What a secret looks like in a text: the patterns as data.

Each pattern is linear: it starts at a literal or at the edge of a bounded run, and no repetition is within another that
can take the same characters. `hints` are lower-case literals; without one of them in the text a rule is not tried.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from .redaction_checks import (
    Check,
    has_digit_and_letter,
    hexadecimal_as_zero,
    is_aadhaar,
    is_card,
    is_cpf,
    is_fiscal_code,
    is_iban,
    is_insee,
    is_us_number,
    looks_random,
    tree,
    words_of,
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One shape of a secret.

    Args:
        name: What it is called; a rule is switched off by it.
        regex: Matches the secret, or more than it with the secret as the group `s`.
        hints: Lower-case literals, one of which is in every text that matches; none, and no gate: always tried.
        gate: The shape, by its name in `GATES`, that is in every text that matches.
        check: Whether what was matched is a secret; all of them when left out.
        lower: Whether it is matched against the text in lower case.
        replacement: What stands there instead; may name groups.

    """

    name: str
    regex: str
    hints: tuple[str, ...] = ()
    gate: str = ""
    check: Check | None = None
    lower: bool = False
    replacement: str | None = None

    @property
    def pattern(self) -> re.Pattern[str]:
        """The compiled regex; compiled when first needed, so that importing costs nothing."""
        return _compiled(self.regex)


@cache
def _compiled(regex: str) -> re.Pattern[str]:
    return re.compile(regex, re.ASCII)


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
    "aws": r"(?:A[30]T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA|AGPA|AIDA|AROA|ANPA|APKA)[A-Z0-9]{12,20}(?![A-Za-z0-9])",
    "openai": r"sk-[A-Za-z0-9_\-]{20,400}",
    "openai inner": r"[A-Za-z0-9][A-Za-z0-9_\-]{0,400}T[30]Bl[b0]kFJ[A-Za-z0-9_\-]{4,200}",
    "twilio": r"SK[0-9a-fA-F]{32}(?![A-Za-z0-9])",
    "databricks": r"[d0][a0]pi[0-9a-f]{8,32}(?:-\d)?",
    "mailgun": r"(?:pu[b0])?k[e0]y-[0-9a-f]{20,32}",
    "mailgun signing": r"[0-9a-f]{32}-[0-9a-f]{8}-[0-9a-f]{8}(?![A-Za-z0-9-])",
    "mailchimp": r"[0-9a-f]{32}-us\d{1,2}(?!\d)",
    "telegram": r"\d{8,16}:A[A-Za-z0-9_\-]{30,40}",
    "discord": r"[MNO][A-Za-z0-9]{22,28}\.[A-Za-z0-9_\-]{6}\.[A-Za-z0-9_\-]{20,40}",
    "azure": r"[A-Za-z0-9][A-Za-z0-9_~.\-]{2}[0-9]Q~[A-Za-z0-9_~.\-]{20,40}",
    "azure functions": r"[A-Za-z0-9][A-Za-z0-9_\-]{43}AzFu[A-Za-z0-9\-_]{5}[AQgw]==",
    "azure keys": r"[A-Za-z0-9][A-Za-z0-9+/]{32,90}(?:AzC[a0]|AzS[e0]|\+ASt|\+AMC|ACD[b0]|AIoT|APIM|AzR[e0]"
    r"|ARm)[A-Za-z0-9+/]{4,10}={0,2}",
    "vault legacy": r"s\.(?=[A-Za-z]{0,23}\d)[A-Za-z0-9]{24}(?![A-Za-z0-9])",
    "harness": r"[ps][a0]t\.[A-Za-z0-9_\-]{22}\.[A-Za-z0-9]{24}\.[A-Za-z0-9]{20}",
    "airtable": r"p[a0]t[A-Za-z0-9]{14}\.[0-9a-f]{64}",
    "terraform": r"[A-Za-z0-9]{14}\.[a0]tl[a0]sv[10]\.[A-Za-z0-9=_\-]{40,80}",
    "pulumi": r"pul-[0-9a-f]{40}",
    "infracost": r"i[c0]o-[A-Za-z0-9]{32}",
    "beamer": r"[b0]_[A-Za-z0-9=_\-]{44}(?![A-Za-z0-9])",
    "lob": r"(?:liv[e0]|t[e0]st)_[0-9a-f]{35}",
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
    "twitter": r"A{18,24}[A-Za-z0-9%]{40,110}",
    "notion": r"s[e0][c0]r[e0]t_[A-Za-z0-9]{43}(?![A-Za-z0-9])",
    "dropbox": r"sl\.[A-Za-z0-9\-=_]{80,200}",
    "artifactory": r"AP[0-9A-F](?=[A-Za-z]{0,40}\d)[A-Za-z0-9]{16,80}(?![A-Za-z0-9])",
    "1password": r"A[30]-[A-Z0-9]{6}-[A-Z0-9-]{20,40}",
    "bitcoin": r"[b0][c0][10][qp][a-z0-9]{30,60}(?![A-Za-z0-9])",
    # Three parts is a JWS, five a JWE; of a cut-off one the first part is enough.
    "jwt": r"[e0]yJ[A-Za-z0-9_\-]{12,1024}+(?:\.[A-Za-z0-9_\-+/=]{1,16384}+){1,4}+\.?",
    "jwt like": r"[e0]y[A-Za-z0-9]{17,1024}+\.[e0]y[A-Za-z0-9/\\_\-]{17,16384}+(?:\.[A-Za-z0-9/\\_\-=]{0,8192}+)?",
    "jwt cut off": r"[e0]yJ[A-Za-z0-9_\-+/=%]{28,8192}+",
    "jwt in base64": r"ZXlK[A-Za-z0-9+/=_\-]{24,16384}+",
}

# Those that start with any letter or digit are tried only if this is in the text.
EXACT_HINTS = {
    "openai inner": "t3blbkfj",
    "mailgun signing": "-",
    "mailchimp": "-us",
    "telegram": ":a",
    "azure": "q~",
    "azure functions": "azfu",
    "azure keys": "azca azse +ast +amc acdb aiot apim azre arm",
    "terraform": ".atlasv1",
    "facebook app": "| %",
    "maxmind": "_mmk",
    "okta": "00",
    "clickhouse": "4b1d",
}

_EDGE = r"(?<![A-Za-z0-9])"
_END = r"(?![A-Za-z0-9])"

KEY_MATERIAL = (
    Rule(
        "private key",
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:[^-]|-(?!----)){0,65536}+"
        r"(?:-----END [A-Z0-9 ]{0,60}-----)?",
        ("private key",),
    ),
    Rule(
        "private key ssh2",
        r"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----(?:[^-]|-(?!---)){0,65536}+",
        ("private key",),
    ),
    # The body of a key that lost its first line: the lines before the last.
    Rule(
        "private key end",
        r"(?<![A-Za-z0-9+/=\\])(?P<s>(?:[A-Za-z0-9+/=]{16,128}+(?:\s|\\[nr])*+){1,80}+"
        r"(?:[A-Za-z0-9+/=]{1,128}+(?:\s|\\[nr])*+)?)-----END [A-Z0-9 ]{0,40}PRIVATE KEY",
        ("-----end",),
    ),
    Rule("private key body", r"(?<![A-Za-z0-9+/])MII[A-Za-z0-9+/][A-Za-z0-9+/=\s\\]{40,65536}+", ("mii",)),
    Rule(
        "putty key",
        r"private-(?:lines|mac|hash): ?\w{1,128}(?:\s|\\[nr])*+[a-z0-9+/=\s\\]{0,65536}+",
        ("private-",),
        lower=True,
    ),
    Rule("json web key", r'\\?"(?:d|p|q|dp|dq|qi|k)\\?"\s?:\s?\\?"(?P<s>[A-Za-z0-9_\-]{16,8192})', ("kty",)),
    Rule("xml key", r"<(?:D|P|Q|DP|DQ|InverseQ)>(?P<s>[A-Za-z0-9+/=\s]{8,8192})</", ("rsakeyvalue",)),
)

URLS = (
    Rule(
        "url user",
        r"://(?P<s>[^\s/?#@\"'`<>\\]{1,1024}+)@",
        ("@",),
        check=lambda user: user not in ("git", "user"),
    ),
    # A password with an unescaped slash: everything up to the last `@`, unless what stands there is a port.
    Rule(
        "url password",
        r"://[^\s/?#@:\"'`<>]{0,256}+:(?!\d{1,5}[/?#])(?P<s>[^\s\"'`<>@]{1,256}+"
        r"(?:@[^\s\"'`<>@/]{1,256}+){0,4})@[\w.\-]{1,255}",
        ("@",),
    ),
    Rule("jdbc user", r"jdbc:oracle:\w{1,16}:(?P<s>[^/@\s]{1,128}/[^@\s]{1,256})@", ("jdbc:",)),
    Rule(
        "slack webhook", r"hooks\.slack\.com/(?:services|workflows|triggers)/(?P<s>[\w/+\-]{6,200})", ("hooks.slack",)
    ),
    Rule("discord webhook", r"/api/(?:v\d{1,2}/)?webhooks/(?P<s>\d{5,24}/[\w\-]{10,100})", ("webhooks/",)),
    Rule("teams webhook", r"/(?:webhookb2|webhook)/(?P<s>[\w@/\-]{20,400})", ("/webhook",)),
    Rule("incoming webhook", r"incomingwebhook/(?P<s>[\w/\-]{16,300})", ("incomingwebhook",), lower=True),
    Rule("zapier webhook", r"hooks\.zapier\.com/hooks/(?:catch|standard)/(?P<s>[\w/]{6,100})", ("hooks.zapier",)),
    Rule("telegram bot", r"/bot(?P<s>\d{5,16}:[\w\-]{10,60})", ("/bot",)),
    Rule(
        "other webhook",
        r"(?:maker\.ifttt\.com/\S{1,100}/key|events\.pagerduty\.com/integration|softlayer\.com/soap/v3(?:\.1)?)"
        r"/(?P<s>[\w\-]{12,100})",
        ("ifttt", "pagerduty", "softlayer"),
    ),
    Rule("sidekiq", r"(?P<s>[0-9a-f]{8}:[0-9a-f]{8})@(?:gems|enterprise)\.contribsys", ("contribsys",)),
)

_SCHEME_VALUE = r"(?P<s>[A-Za-z0-9._~+/=\-]{6,8192}+)"
HEADERS = (
    Rule(
        "bearer",
        _EDGE + r"(?:bearer|negotiate|ntlm|apikey|api-token)\s{1,4}" + _SCHEME_VALUE,
        ("bearer", "negotiate", "ntlm", "apikey", "api-token"),
        check=lambda value: not (value.isalpha() and len(value) < 16),
        lower=True,
    ),
    Rule(
        "basic",
        _EDGE + r"basic\s{1,4}" + _SCHEME_VALUE,
        ("basic",),
        check=lambda value: not (value.isalpha() and len(value) < 16) and "." not in value.rstrip("."),
        lower=True,
    ),
    Rule("digest", _EDGE + r"digest\s{1,4}(?P<s>[a-z]{1,20}=\"?[^\n]{1,4096})", ("digest",), lower=True),
)

COMMANDS = (
    Rule(
        "oauth code",
        r"[?&](?:code|ticket|samlresponse)=(?P<s>[^&\s\"']{10,4096}+)",
        ("code=", "ticket=", "samlresponse="),
        lower=True,
    ),
    Rule(
        "compared value",
        r"[\"'](?P<s>[^\"'\s]{4,256})[\"']\s?[!=]==?\s?[\w.]{0,64}?(?:password|passwd|secret|token|api_?key)",
        ("==", "!="),
        lower=True,
    ),
    Rule(
        "curl user",
        _EDGE + r"curl\b[^\n]{0,200}?\s(?:-u|--user)[ =]{0,3}[\"']?(?P<s>[^\s\"']{3,256})",
        (" -u", "--user"),
        lower=True,
    ),
    Rule("mysql password", r"\s-p(?P<s>[^\s\-\"'][^\s\"']{2,128})", ("mysql", "mariadb", "sshpass")),
    Rule("login password", r"\slogin\s{1,4}\S{1,128}\s{1,4}password\s{1,4}(?P<s>\S{1,256})", ("password",)),
    Rule(
        "password file",
        r"(?<![\w.\-])[\w.\-*]{1,128}:\d{2,5}:[^:\s]{1,64}:[^:\s]{1,64}:(?P<s>\S{1,128})",
        (":5432:", ":1521:", ":3306:"),
    ),
    Rule(
        "command option",
        r"\s--?[a-z][\w\-]{0,32}?(?:password|passwd|passphrase|pass|secret|token|api-?key|secret-?key|access-?key)"
        r"(?:\s{1,4}|=)[\"']?(?P<s>[^\s\"'\-][^\s\"']{0,1024})",
        (" --", " -pass"),
        lower=True,
    ),
    Rule(
        "kubernetes secret",
        r"[\n\r]\s{1,16}[\w.\-]{1,64}:\s{1,4}(?P<s>[A-Za-z0-9+/]{10,4096}={0,3})(?=\s|$)",
        ("kind: secret",),
        check=lambda value: value.endswith("=") or not value.islower(),
    ),
    Rule(
        "nuget password", r"key=\"(?:cleartext)?password\"\s{1,4}value=\"(?P<s>[^\"]{1,256})", ("value=",), lower=True
    ),
)

# What follows these words within a few characters is the number that they announce.
_ID_WORDS = words_of("""
    ssn ssns abn acn uen npi voter itin tin sin nino nhs mbi medicare aadhaar aadhar uidai pesel nif nie dni cif
    cpf cnpj bsn curp rfc clabe passport reisepass passeport pasaporte paspoort passaporto licence license
    fuhrerschein ausweis personalausweis steuer-id steueridentifikationsnummer steuernummer
    sozialversicherungsnummer rentenversicherungsnummer idnr burgerservicenummer personnummer henkilotunnus hetu
    insee nir siren egn oib jmbg emso cnp amka nric fin rrn tckn cedula cuil cuit rut ahv avs pps ppsn tfn iban
    swift dob birthdate
    """)
_ID_PHRASES = (
    r"social[ _-]?security|national[ _-]?(?:insurance|id|identity|identification)|tax(?:payer)?[ _-]?(?:id"
    r"|number|file)"
    r"|driv(?:er|ing)\W?s?[ _-]?(?:licen[cs]e|permit)|dl[ _-]?(?:no|number)|codice[ _-]?fiscale|partita[ _-]?iva"
    r"|s.curit. sociale|num.ro de s.cu|health[ _-]?(?:card|insurance|number)|account[ _-]?(?:number|no|nr)"
    r"|sort[ _-]?code"
    r"|routing[ _-]?(?:number|no)|identity[ _-]?(?:card|number)|id[ _-]?card|voter[ _-]?id"
    r"|medical[ _-]?record|patient[ _-]?id"
    r"|date of birth|born(?: on)?|credit[ _-]?card|debit[ _-]?card|card[ _-]?(?:number|no)|carta d'identit."
    r"|permanent account"
    r"|bank[ _-]?account|routing|dl"
    r"|(?:verification|confirmation|security|login|one[ -]?time|sms|backup|recovery)[ _-]?code"
)
_ID_VALUE = (
    r"(?:[ _-]?(?:number|numbers|num|no|nr|id|code))?\.?[\"']?(?:\s(?:is|was|of))?[\s:=#(\"']{1,4}"
    r"(?P<s>[a-z0-9](?:[ ./\-]?[a-z0-9]){3,26}+)"
)
_PHONE_WORDS = words_of("""
    call called calling phone telephone tel mobile cell sms fax whatsapp msisdn dial dialed texted handy gsm
    """)
# The length of an IBAN by country (the IBAN registry of ISO 13616).
_IBAN_LENGTHS = words_of("""
    ad24 ae23 al28 at20 az28 ba20 be16 bg22 bh22 bi27 br29 by28 ch21 cr22 cy28 cz24 de22 dj27 dk18 do28 ee20
    eg29 es24 fi18 fk18 fo18 fr27 gb22 ge22 gi23 gl18 gr27 gt28 hr21 hu28 ie22 il23 iq23 is26 it27 jo30 kw30
    kz20 lb28 lc32 li21 lt20 lu20 lv21 ly25 mc27 md24 me22 mk19 mn20 mr27 mt31 mu30 ni28 nl18 no15 om23 pk24
    pl28 ps29 pt25 qa29 ro24 rs22 ru33 sa24 sc31 sd18 se24 si19 sk24 sm27 so23 st25 sv28 tl23 tn24 tr26 ua29
    va22 vg24 xk20
    """)


def _iban_regex() -> str:
    """Return a regex of each country's letters and length, so that the words after an IBAN are left alone."""
    bodies = []
    for size in sorted({one[2:] for one in _IBAN_LENGTHS}):
        countries = "|".join(one[:2].upper() for one in _IBAN_LENGTHS if one.endswith(size))
        bodies.append(r"(?<=(?:" + countries + r")\d\d)(?:[ \-]?[A-Z0-9]){" + str(int(size) - 4) + "}")
    return r"[A-Z](?<![A-Za-z0-9](?s:.))[A-Z]\d\d(?:" + "|".join(bodies) + ")" + _END


PERSONAL = (
    Rule(
        "e-mail",
        r"(?<![A-Za-z0-9._%+\-])[A-Za-z0-9._%+\-!#$*^~][A-Za-z0-9._%+'\-!#$*^~]{0,63}@"
        r"(?:[A-Za-z0-9\-]{1,63}\.){1,8}[A-Za-z][A-Za-z0-9\-]{1,62}",
        ("@",),
        check=lambda mail: not mail.startswith(("git@", "celery@")),
    ),
    Rule(
        "e-mail quoted",
        r"(?<!\w)[^\s@\"'<>()\[\],;:\\\x00-\x7f][^\s@\"'<>()\[\],;:\\]{0,63}@(?:[^\s@.,;:\"'<>()]{1,63}\.){1"
        r",8}[^\W\d_]{2,24}",
        ("@",),
    ),
    Rule(
        "card",
        r"(?<![\w.\-])(?<!\d )(?:\d{14,19}|\d{4}([ \-])\d{4}\1\d{4}\1\d{2,4}(?:\1\d{1,3})?|\d{4}"
        r"([ \-])\d{6}\2\d{4,5})(?![\w\-])",
        gate="number",
        check=is_card,
    ),
    Rule("iban", _iban_regex(), gate="number", check=is_iban),
    Rule("us number", r"(?<![\w.\-/])\d{3}([ \-])\d{2}\1\d{4}(?![\w\-])", gate="number", check=is_us_number),
    Rule("aadhaar", r"(?<![\w.\-])[2-9]\d{3}([ \-])\d{4}\1\d{4}(?![\w\-])(?! ?\d)", gate="number", check=is_aadhaar),
    Rule("cpf", r"(?<![\w.\-])\d{3}\.\d{3}\.\d{3}-\d{2}(?![\w\-])", gate="number", check=is_cpf),
    Rule(
        "insee",
        r"(?<![\w.\-])[12](?:\d{2}(?:0[1-9]|1[0-2]|[2-9]\d)\d{8} ?\d{2}|(?: \d\d){3} \d{3} \d{3} \d{2})(?![\w\-])",
        gate="number",
        check=is_insee,
    ),
    Rule(
        "fiscal code",
        _EDGE + r"[A-Z]{6}\d{2}[A-EHLMPR-T]\d{2}[A-Z]\d{3}[A-Z]" + _END,
        gate="number",
        check=is_fiscal_code,
    ),
    Rule("indian pan", r"[A-Z](?<![A-Za-z0-9](?s:.))[A-Z]{2}[ABCFGHJLPT][A-Z]\d{4}[A-Z]" + _END, gate="number"),
    Rule("curp", _EDGE + r"[A-Z]{4}\d{6}[HM][A-Z]{5}[A-Z0-9]\d" + _END, gate="number"),
    Rule(
        "national id",
        r"(?<![a-z0-9])(?:" + tree(_ID_WORDS) + "|" + _ID_PHRASES + ")" + _ID_VALUE,
        gate="word",
        check=lambda value: sum(char.isdigit() for char in value) > 3,
        lower=True,
    ),
    Rule("phone", r"(?<![\w+])\+[1-9](?:[ ().\-/]{0,2}\d){6,14}(?!\w)", ("+",)),
    Rule("phone us", r"(?<![\w)])\([2-9]\d{2}\)[ \-]?\d{3}[ \-]\d{4}(?!\w)", ("(",)),
    Rule("phone us plain", r"(?<![\w.\-+/])[2-9]\d{2}-[2-9]\d{2}-\d{4}(?![\w\-])", gate="number"),
    Rule(
        "phone by word",
        r"(?<![a-z0-9])(?:"
        + tree(_PHONE_WORDS)
        + r")(?:[ _-]?(?:number|no|nr))?\.?\W{1,4}(?:to |at |is |was )?(?P<s>\(?\d(?:[ ().\-/]{0,2}\d){5,14})(?!\w)",
        gate="word",
        lower=True,
    ),
    Rule(
        "wallet",
        r"(?:wallet|bitcoin|btc|withdraw\w{0,4}|deposit\w{0,3}|payout|address|transfer\w{0,4})\W{1,3}(?:to "
        r"|address |at |is )?[\"']?"
        r"(?P<s>(?:[13]|bc1|tb1|ltc1|0x|T|r)[A-Za-z0-9]{24,62})" + _END,
        ("wallet", "bitcoin", "btc ", "btc:", "btc=", "withdraw", "deposit", "payout", "address", "transfer"),
        check=has_digit_and_letter,
    ),
)

# A secret's word and, right after it, something that a machine made.
PROSE = (
    Rule(
        "named value",
        r"(?:credentials?|authenticat\w{1,5}|api[ _-]?key|access[ _-]?key|secret[ _-]?key|private[ _-]?key"
        r"|signing[ _-]?key|secret|token"
        r"|password|passwd|passphrase|pwd)(?: (?:is|was|using|with|of|value|id)){0,2}\s{1,3}"
        r"(?P<s>[a-z0-9+/_\-=.~%$]{16,4096}+)",
        ("credential", "authenticat", "key", "secret", "token", "passw", "passphrase", "pwd"),
        check=looks_random,
        lower=True,
    ),
    Rule(
        "spoken password",
        r"(?<![a-z0-9])(?:password|passwd|passphrase|passcode|pwd|pin|otp|cvv|cvc)(?: (?:is|was|code"
        r"|to))?\s{1,3}(?P<s>(?:[^\s\"'`,;:]{6,256}+|\d{3,8}))(?!\w)",
        ("passw", "passphrase", "passcode", "pwd", "pin", "otp", "cvv", "cvc"),
        check=lambda value: any(char.isdigit() for char in value) and not value.endswith("()"),
        lower=True,
    ),
)


def _is_token(value: str) -> bool:
    """Return whether what follows a token's start is no plain word, as in `npm_config_cache`."""
    body = value[4:]
    mixed = any(char.isdigit() for char in body) or not (body.islower() or body.isupper())
    return mixed or max(len(part) for part in re.split(r"\W|_", body)) > 23


def _edged(regex: str) -> str:
    """Return a regex that matches only at the start of a word; a literal stays first, for it is found much faster."""
    first = re.match(r"(\[\w+\]|\w)(?![{?*+])", regex)
    if first is None:
        return _EDGE + regex
    return first.group() + r"(?<![A-Za-z0-9](?s:.))" + regex[first.end() :]


TOKENS = (
    Rule("token", _EDGE + tree(list(DISTINCT)) + _BODY, gate="token", check=_is_token),
    *(Rule(name, _edged(regex), words_of(EXACT_HINTS.get(name, "")), gate="token") for name, regex in EXACT.items()),
)


def _token_start(words: Iterable[str]) -> str:
    return (
        _EDGE
        + r"(?=[A-Za-z0-9][\w\-.:/+~%|=\\]{9})(?:"
        + tree(list(words))
        + _BODY
        + "|"
        + "|".join(EXACT.values())
        + ")"
    )


# What is in every text with a token; and the same, for a text in which hexadecimal digits are zeros.
TOKEN = _token_start(DISTINCT)
TOKEN_SHAPE = _token_start(hexadecimal_as_zero(word) for word in DISTINCT)
# Numbers in groups, and letters with numbers, as the rules for cards, accounts, phones and national ids have them.
NUMBER_SHAPE = (
    r"(?<![A-Za-z0-9_.\-])(?:000[ -]00[ -]0000|0{4}[ -]0{4}[ -]0{4}|0{4}[ -]0{6}[ -]0{4}|000\.000\.000-00"
    r"|000-000-0000"
    r"|0 00 00 00 000)|\(000\)|\+0|(?<![A-Za-z0-9])(?:[A-Z]{2}00[ -]?[A-Z0-9](?:[ -]?[A-Z0-9]){10}"
    r"|[A-Z]{6}00|[A-Z]{4}0{6}|[A-Z]{5}0{4}[A-Z])"
)
_WORD = r"(?<![a-z0-9])(?:" + tree((*_ID_WORDS, *_PHONE_WORDS)) + "|" + _ID_PHRASES + ")"
WORD = _WORD + r"(?![a-z])"
WORD_SHAPE = hexadecimal_as_zero(_WORD + r"(?![g-z])")
# Long numbers; looked for in the text itself, for in one with zeros every id is one.
LONG_NUMBER = r"(?<![\w.\-])\d{14,19}(?![\w\-])|(?<![A-Za-z0-9])\d{15,16}[|%]"

# What must be in a text, its digits (of tokens and words: its hexadecimal digits) being zeros, before rules are tried.
GATES = {
    "token": re.compile(TOKEN_SHAPE, re.ASCII),
    "number": re.compile(NUMBER_SHAPE + r"|(?<![\w.\-])0{14,19}(?![\w\-])", re.ASCII),
    "word": re.compile(WORD_SHAPE, re.ASCII),
}

RULES = (*KEY_MATERIAL, *URLS, *HEADERS, *TOKENS, *COMMANDS, *PROSE, *PERSONAL)
