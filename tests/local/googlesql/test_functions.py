"""The table of functions: https://cloud.google.com/bigquery/docs/reference/standard-sql/functions-all."""

from __future__ import annotations

import re

import duckdb
import pytest

from pydag_gcp.local.googlesql import functions
from pydag_gcp.local.googlesql.syntax import InvalidQuery, Unsupported
from pydag_gcp.local.googlesql.translate import SESSION
from pydag_gcp.local.googlesql.typed import Typed, let, text, without_errors
from pydag_gcp.local.googlesql.types import FLOAT64, INT64, NULL, NUMERIC, STRING, Type, array

SIGNATURES = [
    pytest.param(name, signature, id=f"{name}({', '.join(signature.arguments)})")
    for name, signatures in functions.table().items()
    for signature in signatures
]


def argument(name: str) -> Typed:
    kind = array(Type("INT64")) if name == "ARRAY<T>" else array(STRING) if name == "ARRAY<STRING>" else Type(name)
    return Typed(f"CAST(NULL AS {kind.duckdb})", kind)


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"threads": "1"})
    for statement in SESSION:
        connection.execute(statement)
    return connection


@pytest.mark.parametrize(("name", "signature"), SIGNATURES)
def test_every_line_of_the_table_is_sql_that_duckdb_runs(
    connection: duckdb.DuckDBPyConnection, name: str, signature: functions.Signature
) -> None:
    found = functions.call(name, [argument(each) for each in signature.arguments])
    (row,) = connection.execute(f"SELECT CAST({found.sql} AS VARCHAR)").fetchall()
    if signature.arguments:
        assert row == (None,), "a function of NULLs is NULL"


@pytest.mark.parametrize(("name", "signature"), SIGNATURES)
def test_every_line_of_the_table_can_be_called_safely(
    connection: duckdb.DuckDBPyConnection, name: str, signature: functions.Signature
) -> None:
    if name in ("RAND", "GENERATE_UUID", "ARRAY_TO_STRING"):
        pytest.skip("cannot fail; DuckDB wants a constant separator")
    found = functions.call(name, [argument(each) for each in signature.arguments], safe=True)
    assert connection.execute(f"SELECT CAST({found.sql} AS VARCHAR)").fetchall()


def test_the_exact_signature_wins_over_one_that_coerces() -> None:
    assert functions.call("ABS", [Typed("x", INT64)]).type == INT64
    assert functions.call("ABS", [Typed("x", NUMERIC)]).type == NUMERIC
    assert functions.call("CEIL", [Typed("x", INT64)]).type == FLOAT64
    assert functions.call("ABS", [Typed("NULL", NULL, constant=None)]).type == INT64


def test_an_unknown_function_is_refused_by_name() -> None:
    with pytest.raises(Unsupported, match=r"function SAFE\.NOPE"):
        functions.call("NOPE", [], safe=True)


def test_wrong_types_are_refused_in_bigquerys_words() -> None:
    with pytest.raises(InvalidQuery, match=r"No matching signature for function LENGTH for argument types: INT64"):
        functions.call("LENGTH", [Typed("x", INT64)])
    with pytest.raises(Unsupported, match=r"function INSTR for argument types: STRING, STRING, INT64"):
        functions.call("INSTR", [Typed("x", STRING), Typed("y", STRING), Typed("1", INT64)])


def test_what_varies_is_evaluated_once() -> None:
    varying = Typed("random()", FLOAT64, stable=False)
    written = let([varying, Typed("y", FLOAT64)], lambda a, b: f"{a} + {a} + {b}")
    assert written.count("random()") == 1
    assert "y" in written


def test_nested_bindings_do_not_capture_each_other() -> None:
    varying = Typed("random()", FLOAT64, stable=False)
    inner = Typed(let([varying], lambda a: f"{a} - {a}"), FLOAT64, stable=False)
    outer = let([inner], lambda a: let([Typed(a, FLOAT64), varying], lambda x, y: f"{x} * {x} * {y}"))
    with duckdb.connect() as connection:
        assert connection.execute(f"SELECT {outer}").fetchall() == [(0.0,)]


def test_safe_takes_the_errors_out_of_a_template() -> None:
    template = "CASE WHEN $1 = 0 THEN error('by zero: (' || CAST($1 AS VARCHAR) || ')') ELSE error('x') END"
    assert without_errors(template) == "CASE WHEN $1 = 0 THEN NULL ELSE NULL END"


def test_letters_whose_case_is_uneven_are_refused_rather_than_mapped_wrongly(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    """Every letter that Python (full mapping) and DuckDB (one to one) put in upper or lower case differently."""
    for name, change in (("UPPER", str.upper), ("LOWER", str.lower)):
        pattern = {"UPPER": functions.UNEVEN_UPPER, "LOWER": functions.UNEVEN_LOWER}[name]
        letters = [chr(code) for code in range(1, 0x2FFF) if not 0xD800 <= code < 0xE000]
        rows = connection.execute(
            f"SELECT x, {name.lower()}(x) FROM (SELECT unnest($x) AS x)", {"x": letters}
        ).fetchall()
        uneven = [letter for letter, mapped in rows if len(change(letter)) > 1]
        assert all(re.match(pattern, letter) for letter in uneven), uneven


def test_text_quotes_whatever_it_is_given() -> None:
    with duckdb.connect() as connection:
        for value in ("", "'", "''", "\0", "a\0'b", "\\", "\n"):
            assert connection.execute(f"SELECT {text(value)}").fetchall() == [(value,)]
