"""Signatures and the JSON that they are over, against what Node.js 20 computes.

The vectors were computed by Node's crypto and JSON; where ``node`` is there, it is asked about random values, too.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.core.errors import InvalidInput
from chalicelib.core.signature import javascript_json, secret_in, sign, verify
from tests.support.programs import program

# What the documentation of fastify-task signs, and its signature.
NEXT_RESULT = '{"code":0,"data":{"output":"done"}}'
LOG = {"data": {"key": "value"}, "message": "日志消息"}
CALLBACK = {"code": 0, "data": {"result": "done"}, "message": "成功"}
SIGNED = (
    ("your-secret", "task-1", NEXT_RESULT, "27982882319cad81154132f6fcb8edd947d0dd1a21821f4adba149f025be29e6"),
    ("your-secret", "task-1", LOG, "4d669655d2628d1f5ae8bfff12d092fba003d2ce69dbf27fb144e47a64a7ae37"),
    ("your-secret", "task-1", CALLBACK, "c0ceda054e8deff7849175933e7476d2a1b70ffb654504cebe1b62641ba28e1d"),
    ("s", 1024, {"message": ""}, "77e211b5c0a790c19486511e78b9af5a3a72f88fea8751f770514756cec88e51"),
    # Lone surrogates in a secret and in text are hashed as U+FFFD, two halves of a pair as one character.
    (
        "ключ\ud800",
        "1024",
        "text \ud83d and \ud83d\ude00",
        "7feb08c76d88b9a545bbf32ed952866ba99e7a6a59cde919b22df41d230d988b",
    ),
)
# A JSON text, and what JSON.stringify(JSON.parse(text)) writes.
WRITTEN = (
    (
        '{"a":1.0,"b":-0,"c":[1e21,1e-7,123456789012345680000,0.000001,1E3,-1.50]}',
        '{"a":1,"b":0,"c":[1e+21,1e-7,123456789012345680000,0.000001,1000,-1.5]}',
    ),
    (
        '{"b":1,"10":2,"2":3,"a":4,"01":5,"4294967294":6,"4294967295":7,"-1":8,"1.5":9,"0":10}',
        '{"0":10,"2":3,"10":2,"4294967294":6,"b":1,"a":4,"01":5,"4294967295":7,"-1":8,"1.5":9}',
    ),
    (
        '{"n":9007199254740993,"m":123456789012345678901234567890,"k":5e-324,"l":1.7976931348623157e308}',
        '{"n":9007199254740992,"m":1.2345678901234568e+29,"k":5e-324,"l":1.7976931348623157e+308}',
    ),
    ('{"a":1,"b":2,"a":3,"__proto__":{"x":1},"toJSON":"no"}', '{"a":3,"b":2,"__proto__":{"x":1},"toJSON":"no"}'),
    (
        '"\\ud83d\\ude00 \\ud83d \\ude00x \u043a\u043b\u044e\u0447 \\u2028\\u007f\\/"',
        '"\U0001f600 \\ud83d \\ude00x \u043a\u043b\u044e\u0447 \u2028\x7f/"',
    ),
    (
        '"\\b\\t\\n\\f\\r\\u0000\\u001f\\"\\\\ \xe9"',
        '"\\b\\t\\n\\f\\r\\u0000\\u001f\\"\\\\ \xe9"',
    ),
    ("[]", "[]"),
    ('{ "" : { } }', '{"":{}}'),
    ("[null, true, false, 0.1, 4.35]", "[null,true,false,0.1,4.35]"),
    ("100000000000000000000", "100000000000000000000"),
    ("-0.0", "0"),
    ("1e400", "null"),
    (f"-1{'0' * 400}", "null"),
    ("1.0000000000000002", "1.0000000000000002"),
)
NODE = """
const {createHmac} = require('node:crypto');
require('node:readline').createInterface({input: process.stdin}).on('line', line => {
  const text = JSON.stringify(JSON.parse(line));
  process.stdout.write(createHmac('sha256', 'your-secret').update(`1024|${text}`).digest('hex') + text + '\\n');
});
"""

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(codec=None, categories=None), max_size=8)
keys = texts | st.integers(min_value=-2, max_value=2**33).map(str)
values = st.recursive(
    scalars | texts, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5), max_leaves=8
)


@pytest.mark.parametrize(("secret", "job_id", "data", "signature"), SIGNED)
def test_a_signature_is_nodes(secret: str, job_id: Any, data: Any, signature: str) -> None:
    assert sign(secret, job_id, data) == signature
    assert verify(signature, secret, job_id, data)
    wrong = (None, "", signature[:-1], signature.upper(), f"{signature}0", f"{signature[:-1]}é", "\ud800")
    assert not any(verify(other, secret, job_id, data) for other in wrong)
    assert not verify(signature, f"{secret}x", job_id, data)
    assert not verify(signature, secret, "1025", data)


def test_text_is_signed_as_it_is_and_an_object_as_its_json() -> None:
    assert sign("s", "1", NEXT_RESULT) == sign("s", "1", json.loads(NEXT_RESULT))
    assert sign("s", "1", '{"code": 0}') != sign("s", "1", {"code": 0})


@pytest.mark.parametrize(("text", "written"), WRITTEN)
def test_json_is_written_as_javascript_writes_it(text: str, written: str) -> None:
    assert javascript_json(json.loads(text)) == written


@pytest.mark.parametrize("value", [{1: 2}, {"a": object()}, {"b": b"bytes"}, {1, 2}])
def test_what_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput):
        javascript_json(value)


@pytest.mark.parametrize(
    ("context", "secret"),
    [
        (None, None),
        ({}, None),
        ({"secret": None}, None),
        ({"secret": ""}, None),
        ({"secret": "s"}, "s"),
        ({"secret": 12}, "12"),  # whatever a handler has put there, the task does not stand open
        ({"secret": False}, "false"),
    ],
)
def test_a_task_has_a_secret_unless_it_is_absent_or_empty(context: Any, secret: str | None) -> None:
    assert secret_in(context) == secret


@pytest.fixture(scope="module")
def node() -> Iterator[Callable[[str], tuple[str, str]]]:
    """Asks one Node.js process for the signature of a JSON text and for the text that it signs."""
    with subprocess.Popen(
        [program("node"), "-e", NODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        reader, writer = process.stdout, process.stdin
        assert reader is not None
        assert writer is not None

        def ask(text: str) -> tuple[str, str]:
            writer.write(f"{text}\n")
            writer.flush()
            answer = reader.readline().removesuffix("\n")
            return answer[:64], answer[64:]

        yield ask
        writer.close()


@settings(max_examples=100, deadline=None)
@given(values)
def test_random_values_are_signed_as_node_signs_them(node: Callable[[str], tuple[str, str]], value: Any) -> None:
    text = json.dumps(value)
    as_parsed = json.loads(text)
    written = javascript_json(as_parsed)
    assert node(text) == (sign("your-secret", 1024, written), written)
