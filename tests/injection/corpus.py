"""What someone may try to pass for a value."""

from __future__ import annotations

#: Stands in the private table and the private objects, and must come out nowhere.
PRIVATE = "for-nobody-else-5f2a"

QUOTES = [
    "'", "''", "'''", '"', '"""', "`", "``", "\\", "\\\\", "\\'", "\\'; --", 'x\\"', "x\\", "a\\`b",
    "r'", "r'\\'", "b'x'", "rb'''", "\\x27", "\\u0027", "\\047", "%27", "&#39;", "$$", "$x$",
]  # fmt: skip

STATEMENTS = [
    "x'; DROP TABLE shop.canary; --",
    "x' OR '1'='1",
    "x'; DELETE FROM shop.canary WHERE true; SELECT '",
    "x\\'; DROP TABLE shop.canary; --",
    "x'''; DROP TABLE shop.canary; '''",
    'x"; DROP TABLE shop.canary; --',
    "x`; DROP TABLE shop.canary; --",
    "x` UNION ALL SELECT note FROM `shop`.`private",
    "') UNION ALL SELECT note FROM shop.private --",
    "1; DROP TABLE shop.canary",
    "1 UNION ALL SELECT note FROM shop.private",
    "(SELECT note FROM shop.private)",
    "DROP TABLE shop.canary -- ",
    "];DROP TABLE shop.canary;--",
    "EXECUTE IMMEDIATE 'DROP TABLE shop.canary'",
    "@@project_id",
    "@v0",
    "?",
]

COMMENTS = ["--", "-- x", "x -- y", "#", "# x", "/*", "*/", "/* x */", "*/ DROP TABLE shop.canary; /*", "{# x #}"]

LINES = [
    "a\nDROP TABLE shop.canary;",
    "a\r\nb",
    "a\rb",
    "'\n--",
    "-- \n; DROP TABLE shop.canary",
    "a\u2028DROP TABLE shop.canary",
    "a\u0085b",
    "\t",
    " ",
    "\u00a0",
]

UNICODE = [
    "\x00", "a\x00b", "\x00'; DROP TABLE shop.canary; --", "\x1a", "\x1b[2J", "\x7f", "\x08'",
    "\uff07; DROP TABLE shop.canary; --",  # a fullwidth apostrophe
    "\u2019 OR 1=1", "\u02bc", "\uff02", "\uff40", "\uff1b", "\u2032",
    "\u0455hop.\u0441anary",  # Cyrillic letters that look like Latin ones
    "sh\u200bop.canary", "\u200d", "\ufeffx", "\u202e'; --", "\u2066x\u2069",
    "e\u0301", "\u00e9", "\U0001f4a5'", "\uffff", "\ufdd0", "\U0010ffff",
]  # fmt: skip

TEMPLATES = [
    "{{ 7*7 }}",
    "{{7*7}}",
    "{% raw %}x{% endraw %}",
    "{% for x in range(9) %}x{% endfor %}",
    "{{ params.__class__.__mro__ }}",
    "{{ ''.__class__.__base__.__subclasses__() }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ v1 | raw }}",
    "}} x {{",
    "{{",
    "%}",
    "{project}",
    "{0.__class__}",
    "${HOME}",
    "$(touch pwned)",
    "%(dag_id)s",
    "%s%n",
]

OTHER = [
    "", "NULL", "null", "true", "0", "-1", "1e999", "NaN", "DATE '2022-01-01'", "[]", "{}", "-", "+", "../../x",
    "../" * 12 + "etc/passwd", "/etc/passwd", "C:\\x", "gs://other/x", "*", "**", "?", "[a-z]", "shop.*",
    "a" * 2_000 + "'",
]  # fmt: skip

#: Text that Unicode has.
VALUES = [*dict.fromkeys([*QUOTES, *STATEMENTS, *COMMENTS, *LINES, *UNICODE, *TEMPLATES, *OTHER])]

#: Text that Python can hold, and no service can.
SURROGATES = ["\ud800", "x\udc80'; DROP TABLE shop.canary; --", "\udfff\ud800"]
