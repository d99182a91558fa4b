"""What moto and botocore work out again and again, worked out once a process or in a shorter way.

A run of the tests makes some hundred thousand calls to moto, and for each it parses the same update expressions,
lists the same class's methods and spells the same names anew; every session of botocore reads the same model files.
What is remembered depends on nothing but the question, and what goes a shorter way ends where moto's own would: the
service's own code answers, on the same tables and queues.
"""

from __future__ import annotations

import json
import pickle
from collections import deque
from copy import deepcopy
from email.utils import formatdate
from functools import cache, wraps
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import botocore.session
import moto.core.responses
import moto.dynamodb.models
import moto.dynamodb.parsing.validators
import moto.sqs.models
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, HeadersDict, _HeaderKey
from botocore.regions import EndpointRulesetResolver
from botocore.useragent import UserAgentString
from moto.cloudformation.models import Stack
from moto.core.botocore_stubber import BotocoreStubber
from moto.core.exceptions import HTTPException
from moto.core.responses import ActionResult, BaseResponse
from moto.core.serialize import JSONSerializer
from moto.dynamodb.comparisons import ConditionExpressionParser
from moto.dynamodb.models import DynamoDBBackend, DynamoType, Table
from moto.dynamodb.models.dynamo_type import LimitedSizeDict
from moto.dynamodb.parsing.ast_nodes import (
    DepthFirstTraverser,
    Expression,
    Node,
    UpdateExpression,
    UpdateExpressionFunction,
)
from moto.dynamodb.parsing.expressions import UpdateExpressionParser
from moto.dynamodb.parsing.validators import (
    ActionCountValidator,
    OverlappingPathsValidator,
    UpdateExpressionValidator,
)
from moto.dynamodb.responses import DynamoHandler
from moto.dynamodbstreams.responses import DynamoDBStreamsHandler
from moto.sqs.responses import SQSResponse

from chalicelib.lean.signing import Signer

NO_NODE = object()
BINARY = ('"B"', '"BS"', '"BinaryValue"')  # what JSON carries in another form than Python has it
OF_ITEMS = {"BatchGetItem", "DeleteItem", "GetItem", "PutItem", "Query", "TransactWriteItems", "UpdateItem"}
HEADERS = ("Authorization", "Content-Type", "X-Amz-Target")
SURELY_SMALL = 200_000  # half of what an item may hold, as growth within an attribute is not noticed


def install() -> None:
    """From now on, until the process ends."""
    for owner, name in (
        (botocore.session, "create_loader"),  # by the path of the models; a loader keeps what it has read
        (moto.core.responses, "camelcase_to_underscores"),
        (moto.sqs.models, "camelcase_to_underscores"),
        (moto.core.responses, "method_names_from_class"),
    ):
        patch.object(owner, name, cache(getattr(owner, name))).start()
    for owner, name, shorter in (
        (UserAgentString, "to_string", lambda _: "botocore"),
        (
            moto.core.responses,
            "gen_amzn_requestid_long",
            lambda headers: headers.setdefault("x-amzn-requestid", "none"),
        ),
        (HeadersDict, "__getitem__", lambda headers, name: headers._dict[_header(name)]),
        (HeadersDict, "__setitem__", lambda headers, name, value: headers._dict.__setitem__(_header(name), value)),
        (HeadersDict, "__contains__", lambda headers, name: _header(name) in headers._dict),
        (SigV4Auth, "add_auth", _signing_for_aws()),
        (Signer, "signed", _signing_leanly_for_aws()),
        (EndpointRulesetResolver, "construct_endpoint", _one_endpoint_a_client()),
        (BotocoreStubber, "process_request", _answering_at_once()),
        (JSONSerializer, "_serialize_type_structure", _plain_structures()),
        (DynamoDBBackend, "transact_write_items", _undoing_little()),
        (moto.dynamodb.models, "copy", SimpleNamespace(deepcopy=_tables_stay)),
        (Table, "query", _looking_at_one_part()),
        (LimitedSizeDict, "__setitem__", _weighing_what_may_be_large()),
        (ConditionExpressionParser, "_lex_condition_expression", _remembering_words()),
        (Node, "find_clauses", _find_clauses),
        (DepthFirstTraverser, "traverse", _traverse),
        (OverlappingPathsValidator, "traverse", OverlappingPathsValidator.check_for_overlapping_paths),  # root and all
        (UpdateExpressionParser, "make", staticmethod(cache(_expressions()))),
        (UpdateExpressionValidator, "get_ast_processors", _processors_of_values()),
        (moto.dynamodb.parsing.validators, "deepcopy", _copy),
        (Stack, "parse_template", staticmethod(_parsing_json())),
    ):
        patch.object(owner, name, shorter).start()


_header = cache(_HeaderKey)  # each request asks fifty times for one of the same dozen names


def _signing_for_aws() -> Any:
    """Moto reads whose request it is, and for where; the signature counts only where a role's rights are enforced."""
    sign = SigV4Auth.add_auth

    @wraps(sign)
    def add_auth(signer: Any, request: Any) -> None:
        if ".amazonaws.com" not in request.url or signer.credentials is None or signer.credentials.token:
            return sign(signer, request)
        request.context["timestamp"] = "20000101T000000Z"
        request.headers["Authorization"] = f"AWS4-HMAC-SHA256 Credential={signer.scope(request)}, Signature=none"
        return None

    return add_auth


def _signing_leanly_for_aws() -> Any:
    """The same, by the way that the hot path takes."""
    sign = Signer.signed

    @wraps(sign)
    def signed(signer: Signer, headers: Any, body: bytes, credentials: Any, now_ms: int) -> Any:
        if not signer.host.endswith(".amazonaws.com") or credentials.token:
            return sign(signer, headers, body, credentials, now_ms)
        scope = f"20000101/{signer._region}/{signer._service}/aws4_request"
        authorization = f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, Signature=none"
        return {**headers, "Authorization": authorization}

    return signed


@cache
def _access_key(authorization: str) -> str:
    return authorization.partition("Credential=")[2].partition("/")[0]


class _Direct(BaseResponse):
    """A service's handler of one request of a JSON protocol; moto looks for forms, files and queries in each, too."""

    def setup_class(self, request: Any, *_: Any) -> None:
        """What the handlers of ``QUICK`` and moto's access control ask for."""
        self.normalized_request, self.headers, self.method = request, request.headers, request.method
        self.uri, self.path, self.raw_path = request.raw_url, request.path, request.path
        self.raw_body, self.body, self.form_data = request.data, _text(request.data), {}
        self.querystring = self.data = self.uri_match = {}
        self.region, self.partition = request.region, "aws"
        self.response_headers = {"server": "amazon.com", "date": formatdate(usegmt=True)}
        self.parse_parameters(request)
        self.access_key = self.get_access_key()
        self.current_account = self.get_current_account()

    def get_access_key(self) -> str:
        return _access_key(self.headers["Authorization"])

    def parse_parameters(self, request: Any) -> None:
        if any(word in self.body for word in BINARY):
            super().parse_parameters(request)
        else:
            self.params = json.loads(self.body)


class _Dynamo(_Direct, DynamoHandler):
    """Writes a result about items as it is: it consists of what JSON knows."""

    def serialized(self, action_result: ActionResult) -> Any:
        result = action_result.result
        if isinstance(result, dict) and self._get_action() in OF_ITEMS:
            body = json.dumps({name: value for name, value in result.items() if value is not None})
            if not any(word in body for word in BINARY):
                return 200, {"Content-Type": "application/x-amz-json-1.0", **self.response_headers}, body
        return super().serialized(action_result)


class _Streams(_Direct, DynamoDBStreamsHandler):
    pass


class _Sqs(_Direct, SQSResponse):
    pass


QUICK: dict[str, type[_Direct]] = {"dynamodb": _Dynamo, "streams": _Streams, "sqs": _Sqs}  # by the host's first word


def _answering_at_once() -> Any:
    """Hands a request of a JSON protocol to its service by its host; moto tries hundreds of patterns on its URL."""
    search = BotocoreStubber.process_request

    def process_request(stubber: BotocoreStubber, request: AWSPreparedRequest) -> Any:
        url = urlsplit(request.url)
        handler = QUICK.get(url.netloc.partition(".")[0])
        is_plain = "X-Amz-Target" in request.headers and "X-Amz-Security-Token" not in request.headers
        if handler is None or not is_plain or not url.netloc.endswith(".amazonaws.com"):
            return search(stubber, request)
        asked = SimpleNamespace(
            method=request.method,
            raw_url=request.url,
            path=url.path,
            region=url.netloc.split(".")[-3],
            headers=HeadersDict({name: _text(request.headers[name]) for name in HEADERS if name in request.headers}),
            content_type=_text(request.headers["Content-Type"]),
            values={},
            data=request.body,
        )
        try:
            return handler.dispatch(asked)
        except HTTPException as error:
            return error.code, error.get_headers(), error.get_body()

    return process_request


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _one_endpoint_a_client() -> Any:
    """Resolves once where a client of these services calls; only a table's ARN could lead elsewhere."""
    resolve = EndpointRulesetResolver.construct_endpoint

    def construct_endpoint(
        resolver: EndpointRulesetResolver, operation_model: Any, call_args: Any, request_context: Any
    ) -> Any:
        if resolver._service_model.service_name not in ("dynamodb", "sqs") or _names_an_arn(call_args):
            return resolve(resolver, operation_model, call_args, request_context)
        if "endpoint" not in resolver._instance_cache:
            resolver._instance_cache["endpoint"] = resolve(resolver, operation_model, call_args, request_context)
        return resolver._instance_cache["endpoint"]

    return construct_endpoint


def _names_an_arn(call_args: dict[str, Any]) -> bool:
    return any(isinstance(value, str) and value.startswith("arn:") for value in call_args.values())


def _weighing_what_may_be_large() -> Any:
    """Adds up an item's size once what was put into it may make it large; moto does so at each attribute."""
    weigh = LimitedSizeDict.__setitem__

    def set_item(item: LimitedSizeDict, key: str, value: Any) -> None:
        known = item.__dict__.get("at_most", SURELY_SMALL if item else 0)  # a copy is not known
        size = value.size() if type(value) is DynamoType else 4 * len(str(value))
        item.__dict__["at_most"] = known + 4 * len(key) + size
        if item.__dict__["at_most"] < SURELY_SMALL:
            dict.__setitem__(item, key, value)
        else:
            weigh(item, key, value)

    return set_item


def _plain_structures() -> Any:
    """Looks for the members of a structure only that a plain dictionary has by their own names."""
    serialize = JSONSerializer._serialize_type_structure

    def serialize_structure(serializer: Any, serialized: Any, value: Any, shape: Any, key: str) -> None:
        if type(value) is not dict or shape.is_document_type or not value.keys() <= shape.members.keys():
            return serialize(serializer, serialized, value, shape, key)
        wrapper = {} if key else serialized
        for name, member in value.items():
            if member is not None:
                serializer._serialize(wrapper, member, shape.members[name], name)
        if key:
            serializer._default_serialize(serialized, wrapper, shape, key)
        return None

    return serialize_structure


def _undoing_little() -> Any:
    """Undoes a failed transaction item by item; moto copies the whole table for each of its items."""
    write = DynamoDBBackend.transact_write_items

    def transact_write_items(backend: DynamoDBBackend, actions: list[dict[str, Any]]) -> None:
        touched = [place for action in actions for each in action.values() if (place := _place(backend, each))]
        before = [deepcopy(table.items.get(part, {}).get(place)) for table, part, place in touched]
        streams = {shard: len(shard.items) for table, *_ in touched if (shard := table.stream_shard)}
        try:
            write(backend, actions)
        except Exception:
            for (table, part, place), item in zip(touched, before, strict=True):
                table.items[part].pop(place, None)
                if item is not None:
                    table.items[part][place] = item
                elif not table.items[part]:
                    del table.items[part]
            for shard, length in streams.items():
                del shard.items[length:]
            raise

    return transact_write_items


def _place(backend: DynamoDBBackend, action: dict[str, Any]) -> tuple[Table, DynamoType, DynamoType] | None:
    table, key = backend.tables.get(action.get("TableName")), action.get("Key", action.get("Item", {}))
    if table is None or not {table.hash_key_attr, table.range_key_attr} <= key.keys():
        return None
    return table, DynamoType(key[table.hash_key_attr]), DynamoType(key[table.range_key_attr])


def _tables_stay(value: Any) -> Any:
    """A copy, as moto makes one of what it is going to change; a table is changed back item by item."""
    return value if isinstance(value, Table) and value.has_range_key else deepcopy(value)


def _looking_at_one_part() -> Any:
    """Asks a table about the items of one partition; moto sorts and compares all that there are."""
    query = Table.query

    def query_part(table: Table, hash_key: Any, *rest: Any, hash_key_conditions: Any, **more: Any) -> Any:
        *_, index, _, _ = rest
        part = table
        if table.has_range_key:
            part = object.__new__(Table)
            part.__dict__.update(table.__dict__)
            part.items = _at(table, hash_key_conditions) if index else _kept(table.items, hash_key)
        return query(part, hash_key, *rest, hash_key_conditions=hash_key_conditions, **more)

    return query_part


def _kept(rows: dict[Any, Any], key: Any) -> dict[Any, Any]:
    return {key: rows[key]} if key in rows else {}


def _at(table: Table, conditions: list[tuple[str, DynamoType]]) -> dict[Any, Any]:
    """The items that an index has at a place, as a table keeps them."""
    found: dict[Any, Any] = {}
    for part, rows in table.items.items():
        for place, item in rows.items():
            if all(_is(item.attrs.get(name), wanted) for name, wanted in conditions):
                found.setdefault(part, {})[place] = item
    return found


def _is(value: DynamoType | None, wanted: DynamoType) -> bool:
    if value is None or value.type != wanted.type:
        return False
    return bool(value.value == wanted.value or (value.type != "S" and value == wanted))


def _remembering_words() -> Any:
    """Splits a condition into words once."""
    split = ConditionExpressionParser._lex_condition_expression

    @cache
    def words(text: str) -> tuple[Any, ...]:
        return tuple(split(ConditionExpressionParser(text, None, None)))

    return lambda parser: deque(words(parser.condition_expression))


def _traverse(traverser: DepthFirstTraverser, root: Node) -> Node:
    """As moto does it, but asks once for each kind of node whether it is one, and who works on it."""
    processors = traverser._processing_map()
    kinds = _kinds(tuple(processors))
    before = traverser.pre_processing_of_child

    def visit(node: Any, place: int) -> Any:
        parent = node.parent
        for number, child in enumerate(node.children or ()):
            before(node, number)
            if kinds[type(child)] is not NO_NODE:
                visit(child, number)
        if (kind := kinds[type(node)]) is not None:
            node = processors[kind](node)
            node.parent = parent
            if parent:
                parent.children[place] = node
        return node

    return visit(root, -1)


class _Kinds(dict[type, Any]):
    """Of each kind of node the one of ``known`` that it counts as, if any."""

    def __init__(self, known: tuple[type, ...]) -> None:
        super().__init__()
        self._known = known

    def __missing__(self, kind: type) -> Any:
        found = next((each for each in self._known if issubclass(kind, each)), None)
        self[kind] = found if issubclass(kind, Node) else NO_NODE
        return self[kind]


_kinds = cache(_Kinds)


def _find_clauses(node: Node, kinds: Any) -> list[Any]:
    """As moto does it, but asks once for each kind of node whether there may be clauses below it."""
    found: list[Any] = []
    for child in node.children or ():
        kind = type(child)
        if kind in kinds:
            found.append(child)
        elif _may_hold_clauses(kind):
            found += _find_clauses(child, kinds)
    return found


@cache
def _may_hold_clauses(kind: type) -> bool:
    return issubclass(kind, (Expression, UpdateExpressionFunction))


def _expressions() -> Any:
    """Parses an update expression and counts its clauses, of which the text alone tells; moto works on copies of it."""
    parse = UpdateExpressionParser.make

    def make(text: str) -> Any:
        return ActionCountValidator().traverse(parse(text))

    return make


def _processors_of_values() -> Any:
    """All that moto does with a parsed expression but to count its clauses."""
    every = UpdateExpressionValidator.get_ast_processors

    def get_ast_processors(validator: UpdateExpressionValidator) -> list[Any]:
        return [each for each in every(validator) if not isinstance(each, ActionCountValidator)]

    return get_ast_processors


def _copy(value: Any) -> Any:
    """A deep copy; of a remembered expression it is made of its frozen form, which is five times as fast."""
    return pickle.loads(_frozen(value)) if isinstance(value, UpdateExpression) else deepcopy(value)  # noqa: S301


_frozen = cache(pickle.dumps)


def forget_expressions() -> None:
    """Forget those that were met: a long run meets new ones all the time."""
    UpdateExpressionParser.make.cache_clear()
    _frozen.cache_clear()


def _parsing_json() -> Any:
    """Reads a template as JSON if it is; moto reads any as YAML, which takes a hundred times as long."""
    parse = Stack.parse_template

    def parse_template(template: str) -> Any:
        try:
            return json.loads(template)
        except ValueError:
            return parse(template)

    return parse_template
