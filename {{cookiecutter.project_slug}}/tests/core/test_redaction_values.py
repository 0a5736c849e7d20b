"""A value is hidden wherever a secret's name stands beside it, in whatever it is written; what is no value stays."""

import json
import urllib.parse

import pytest

from app.core.redaction import REDACTED, may_hold_secret, redact_text

from ..fakes import PASSWORD, made, part, survives

NAMES = [
    "password",
    "DB_PASSWORD",
    "newPassword",
    "api_key",
    "X-Api-Key",
    "accessToken",
    "client_secret",
    "SECRET_KEY",
    "private_key",
    "sessionid",
    "csrf_token",
    "storepass",
    "wpa_psk",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "template",
    [
        "login failed NAME={} host=db",
        "NAME: {}",
        '{"a": 1, "NAME": "{}", "b": [1]}',
        r'{"raw": "{\"a\": 1, \"NAME\": \"{}\"}"}',
        r'{"raw": "{\"a\": \"{\\\"NAME\\\": \\\"{}\\\"}\"}"}',
        "{'a': 1, 'NAME': '{}'}",
        "[('a', '1'), ('NAME', '{}')]",
        "[(b'host', b'x'), (b'NAME', b'{}')]",
        "['run', '--NAME', '{}', '-v']",
        "run --NAME {} --verbose",
        "run --NAME={} --verbose",
        "export NAME='{}'",
        '[db]\nNAME = "{}"\nport = 1',
        "db:\n  NAME: {}\n  port: 1",
        "GET /cb?a=1&NAME={}&z=2 HTTP/1.1",
        "GET /cb?a=1#NAME={}",
        "<NAME>{}</NAME>",
        "<NAME><![CDATA[{}]]></NAME>",
        '<conn NAME="{}" />',
        "&quot;NAME&quot;:&quot;{}&quot;",
        "%22NAME%22%3A%22{}%22%2C",
        "user%3Dbob%26NAME%3D{}%26next",
        "a%253D1%2526NAME%253D{}%2526next",
        "connect(host='x', NAME='{}', port=1)",
        '["NAME"] => "{}"',
        'environ["NAME"] = "{}"',
        "NAME := `{}`",
        "NAME\uff1a{}",
        "NAME\u200b={}",
        "Config(NAME=Hidden('{}'))",
        '{"name": "NAME", "value": "{}"}',
        'form-data; name="NAME"\r\n\r\n{}\r\n--end',
        r"form-data; name=\"NAME\"\r\n\r\n{}\r\n--end",
        "1 validation error\nNAME\n  Value error, too short [type=value_error, input_value='{}', input_type=str]",
    ],
)
def test_carriers(name: str, template: str) -> None:
    """A value beside a name is cut out of whatever it is written in; the name stays."""
    secret = made(20)
    text = template.replace("NAME", name).replace("{}", secret)
    shown = redact_text(text)
    assert not survives(secret, shown), shown
    assert name in shown
    assert may_hold_secret(text)


@pytest.mark.parametrize(
    "template",
    [
        'db_pass="{}"',
        "mySecretString={}",
        "api key: {}",
        'getenv("API_TOKEN", "{}")',
        "Settings(debug=False, db_password='{}', port=8000)",
        "body=b'user=bob&password={}&next=%2F'",
        '{"passwords": ["{}", "x"]}',
        '{"credentials": {"user": "bob", "key": "{}"}}',
        "mysql -u root --password={} app",
        "mysql -u root -p{} app",
        "sshpass -p {} ssh root@x",
        "docker login -u bob -p {} registry.example.com",
        "redis-cli -h x -a {} ping",
        "mongosh --host x -u app -p {} --quiet",
        "keytool -list -storepass {} -keystore x",
        "PGPASSWORD={} psql -h x",
        part("curl ", "-u bob:{} https://example.com"),
        part("curl ", "-sS --user 'bob:{}' https://example.com"),
        part("http ", "-a bob:{} GET https://example.com"),
        "net use x: /user:corp\\bob {}",
        "ConvertTo-SecureString '{}' -AsPlainText",
        "CREATE USER app IDENTIFIED BY '{}'",
        "CREATE USER app IDENTIFIED WITH mysql_native_password BY '{}'",
        "ALTER ROLE app WITH PASSWORD '{}'",
        "CREATE LOGIN app WITH PASSWORD = N'{}'",
        "INSERT INTO users (name, password) VALUES ('bob', '{}')",
        "host=localhost user=app password='{}' sslmode=require",
        "postgresql+psycopg://app:{}@db/app?sslmode=require",
        "postgresql://app:p@ss/{}#1@db/app",
        "redis://:{}@cache:6379/0",
        "amqp://svc:{}@mq:5672/%2Fprod",
        "https://{}@o450.ingest.example.io/55",
        "jdbc:mysql://h:3306/db?user=root&password={}&useSSL=false",
        "jdbc:oracle:thin:scott/{}@h:1521/x",
        "Server=db;User Id=sa;Pwd={};Encrypt=true",
        "DefaultEndpointsProtocol=https;AccountKey={};EndpointSuffix=x",
        "Cookie: theme=dark; sessionid={}; csrftoken=1",
        "Set-Cookie: sid={}; HttpOnly",
        "Authorization: Bearer {}",
        "authorization=Token {}",
        r"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nAccept: */*",
        "curl -H 'X-Api-Key: {}' https://example.com",
        'Authorization: Digest username="a", response="{}"',
        "proxy-authorization: Basic {}",
        "https://a.blob.example.net/c?sv=2022&sig=a1{}b2c3d4%3D",
        "https://api.example.com/v1?key={}",
        "https://example.com/reset-password/{}",
        "https://example.com/cb?code={}&state=1",
        "https://hooks.slack.com/services/T0000/B000/{}",
        "https://discord.com/api/webhooks/123456789/{}",
        "machine example.com login bob password {}",
        "db.example.com:5432:orders:app:{}",
        "the password is {}",
        "password set to {}",
        "Password for bob: {}",
        "mot de passe : {}",
        "contrase\u00f1a={}",
        "Kennwort: {}",
        "\u043f\u0430\u0440\u043e\u043b\u044c: {}",
        "\u5bc6\u7801\uff1a{}",
        "credential {} rejected",
        "could not authenticate using '{}'",
        "session {} closed",
    ],
)
def test_commands_headers_and_sentences(template: str) -> None:
    """A value is cut out where only the words or the command around it say what it is."""
    secret = made(24)
    text = template.replace("{}", secret)
    shown = redact_text(text)
    assert not survives(secret, shown), shown
    assert REDACTED in shown
    assert may_hold_secret(text)


@pytest.mark.parametrize(
    "secret",
    ["hunter2", "Tr0ub4dor&3", "p\u00e4ssw\u00f6rd1", "correct horse battery", "it's", 'a"b\\c1', "x\ny9", " "],
)
def test_passwords_that_people_choose(secret: str) -> None:
    """A password is hidden whole, whatever its characters, where JSON says where it ends."""
    for text in (json.dumps({"password": secret, "a": 1}), json.dumps({"raw": json.dumps({"password": secret})})):
        assert secret.strip() == "" or json.dumps(secret)[1:-1] not in redact_text(text)
    quoted = urllib.parse.quote(json.dumps({"password": secret}))
    assert secret.strip() == "" or urllib.parse.quote(secret) not in redact_text(quoted)


@pytest.mark.parametrize("size", [4_000, 20_000, 90_000])
def test_long_values(size: int) -> None:
    """A secret is hidden to its end, however long it is."""
    secret = made(size)
    for text in (
        f"token={secret} x",
        json.dumps({"token": secret}),
        json.dumps({"raw": json.dumps({"token": secret})}),
    ):
        shown = redact_text(text)
        assert len(shown) < 100
        assert secret[-20:] not in shown


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        (f"postgresql://app:{PASSWORD}@db/app", "postgresql://[redacted]@db/app"),
        (f"https://x/cb?state=7&access_token={PASSWORD}&a=1", "https://x/cb?state=7&access_token=[redacted]&a=1"),
        (f"Authorization: Bearer {PASSWORD}", "Authorization: Bearer [redacted]"),
        (f"sent Basic {PASSWORD}", "sent Basic [redacted]"),
        ('{"password": "' + PASSWORD + '"}', '{"password": "[redacted]"}'),
        (f"password='{PASSWORD} x'", "password='[redacted]'"),
        (f"DB_PASSWORD={PASSWORD}, retries=3", "DB_PASSWORD=[redacted], retries=3"),
        (f"%22password%22%3A%22{PASSWORD}%22%7D", "%22password%22%3A%22[redacted]%22%7D"),
        (f"run --api-token {PASSWORD} now", "run --api-token [redacted] now"),
    ],
)
def test_what_is_around_stays(text: str, redacted: str) -> None:
    """Only the secret is cut out."""
    assert redact_text(text) == redacted


HARMLESS = """
    password reset requested
    password must contain at least 12 characters
    password: must not be empty
    passwordless login enabled
    password=None
    password=********
    password=${DB_PASSWORD}
    password={password}
    password=%(password)s
    UPDATE users SET password = :password WHERE id = :id
    INSERT INTO users (email, password) VALUES (?, ?)
    INSERT INTO users (email, password) VALUES (%s, %s)
    column users.password does not exist
    password = settings.db_password
    password=getenv("DB_PASSWORD")
    3 passed, pass=3 fail=1
    pass: 12, fail: 0
    secret_name=db-main
    kubernetes secret 'db-creds' not found
    loaded 3 secrets from vault path kv/app
    secretary=jane
    {"field": "password", "error": "too short"}
    max_tokens=4096
    prompt_tokens=12 completion_tokens=34
    token_type=bearer
    unexpected token '<' in JSON
    syntax error near unexpected token `('
    primary_key=17
    cache_key=user:42:profile
    key (id)=(42) already exists
    KeyError: 'user_id'
    monkeys-audio:mx64-uwp=fail
    authorization failed for role viewer
    auth_method=oidc auth=enabled
    WWW-Authenticate: Bearer realm="api", error="invalid_token"
    www-authenticate: Basic realm="x"
    author=jane
    session 5 of 12 complete
    session 66c73035-825d-4b6e-82cf-dd140051f1de started
    the bearer of good news
    basic HTTP-based authentication
    among other basic utilities.
    accesskey="p"
    hide = ['cookie', 'csrf', 'api_key', ...]
    identified as "derived from the data"
    Basic plan activated
    spinner stopped
    otp_enabled=true cvv_check=pass
    card_type=visa last4=4242
    docker run -p 8080:80 nginx
    redis-cli -p 6379 ping
    amqp://guest@localhost//
    https://github.com/@user/repo
    https://url:8000/ @something else
    access_token_url='https://example.com/login/oauth/access_token',
    SELECT id, name FROM users WHERE id = $1 AND token IS NULL
    File "/usr/lib/python3.12/site-packages/redis/connection.py", line 699, in connect
"""


@pytest.mark.parametrize("text", [line.strip() for line in HARMLESS.strip().splitlines()])
def test_words_that_are_no_values(text: str) -> None:
    """A sentence about secrets, a placeholder and a status stay as they are."""
    assert redact_text(text) == text


def test_text_of_names_is_no_message() -> None:
    """Of a text that names more secrets than any message does, the rest is not shown."""
    text = "".join(f"token={made(8)} " for _ in range(3000))
    shown = redact_text(text)
    assert shown.count(REDACTED) == 1001
    assert shown.endswith(REDACTED)
    assert redact_text('{"key":"ab","value":"cd"},' * 3000).endswith('"cd"},')
