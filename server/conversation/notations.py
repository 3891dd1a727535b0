"""Arguments of calls as grammars, in the notations of the families, held to the schema of the tool.

Families that write JSON hold them to all that llguidance knows of JSON Schema. In the other notations a few keywords
can be obeyed, and any other is refused by its name.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from beamhouse.engine.link.errors import InvalidRequest, invalid
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.conversation.lark import Rules, either
from beamhouse.server.conversation.tools import Tool, properties_of

Schema = Mapping[str, Any]

NO_PARAMETERS: Schema = {"type": "object", "properties": {}, "additionalProperties": False}
_WORDS = "title description default examples example deprecated readOnly writeOnly $comment $schema $id strict"
_SAYING_NOTHING = frozenset(_WORDS.split())
_KINDS = {"properties": Mapping, "required": list, "enum": list, "anyOf": list, "items": Mapping}
_PLAIN_NAME = re.compile(r"[\w.$@/-]+")
_OBJECT = ("type", "properties", "required", "additionalProperties")
_NUMBER = ("type", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")


def schema_of(tool: Tool) -> Schema:
    """What the arguments of a tool are held to, the schema of an object. Raises InvalidRequest."""
    schema = NO_PARAMETERS if tool.parameters is None else {"type": "object", **tool.parameters}
    if schema["type"] != "object":
        raise refused(tool, "parameters", f"arguments are an object, not {json.dumps(schema['type'])}")
    return schema


def refused(tool: Tool, path: str, message: str) -> InvalidRequest:
    return invalid("tools", ProblemCode.NOT_SUPPORTED, f"{path} of the tool {tool.name}: {message}")


def plain_name(tool: Tool, name: str) -> str:
    """A name that stands without quotes around it. Raises InvalidRequest where it could be taken for more than that."""
    if not _PLAIN_NAME.fullmatch(name):
        raise refused(tool, "parameters", f"{name!r} is no name that can be written without quotes")
    return name


def json_arguments(rules: Rules, tool: Tool) -> str:
    """An object in JSON."""
    return rules.value(schema_of(tool))


def tagged_arguments(rules: Rules, tool: Tool, begin: tuple[str, str], end: tuple[str, str, str]) -> str:
    """Parameters in tags, in the order of the schema: strings as plain text, all other values as JSON.

    begin: what stands before and behind the name of a parameter; end: the tag behind its value, which no text can
    hold, between what stands before it and behind it.
    """
    schema = schema_of(tool)
    _check(tool, schema, "parameters", (*_OBJECT, "$defs", "definitions"))
    _check_required(tool, schema, "parameters")
    shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    written = []
    for name, inner in properties_of(schema).items():
        value = _tagged_value(rules, tool, name, inner, shared, end)
        member = f"{rules.text(begin[0] + plain_name(tool, name) + begin[1])} {value}"
        written.append(member if name in schema.get("required", ()) else f"({member})?")
    return " ".join(written)


def _tagged_value(
    rules: Rules, tool: Tool, name: str, schema: Schema, shared: Schema, end: tuple[str, str, str]
) -> str:
    choices, path, (before, tag, behind) = choices_of(schema), f"parameters/properties/{name}", end
    if choices and all(isinstance(choice, str) for choice in choices):
        for choice in choices:
            if tag in choice or choice.endswith("\r"):
                raise refused(tool, path, f"{choice!r} cannot be told from what stands around it")
        return f"{either([rules.text(choice) for choice in choices])} {rules.text(before + tag + behind)}"
    if schema.get("type") == "string":
        _check(tool, schema, path, ("type",))
        return f"{rules.until(tag)} {rules.text(behind)}"
    return f"{rules.value({**schema, **shared})} {rules.text(before + tag + behind)}"


@dataclass(frozen=True, slots=True)
class Notation:
    """Values that are written nearly as in JSON.

    quote: on both sides of a string, in which it cannot stand; None: as Python writes strings, in double quotes. key:
    what stands around a name in an object; assign: the same around that of an argument. words: true, false and null.
    """

    quote: str | None
    key: tuple[str, str]
    assign: tuple[str, str]
    comma: str
    words: tuple[str, str, str]

    def arguments(self, rules: Rules, tool: Tool) -> str:
        """The members of the object of arguments, without its brackets."""
        return self._members(rules, tool, schema_of(tool), "parameters", self.assign)

    def _value(self, rules: Rules, tool: Tool, schema: Schema, path: str) -> str:
        if choices := choices_of(schema):
            return either([rules.text(self._literal(tool, path, choice)) for choice in choices])
        if "anyOf" in schema:
            _check(tool, schema, path, ("anyOf",))
            return either([self._value(rules, tool, one, path) for one in schema["anyOf"]])
        kind = schema.get("type")
        if isinstance(kind, list):
            return either([self._value(rules, tool, {**schema, "type": one}, path) for one in kind])
        match kind:
            case "string":
                _check(tool, schema, path, ("type",))
                return self._string(rules)
            case "integer" | "number":
                _check(tool, schema, path, _NUMBER)
                return rules.value(schema)
            case "boolean":
                return either([rules.text(word) for word in self.words[:2]])
            case "null":
                return rules.text(self.words[2])
            case "array":
                _check(tool, schema, path, ("type", "items"))
                item = rules.add(self._value(rules, tool, schema.get("items", {}), f"{path}/items"))
                return f'"[" ({item} ({rules.text(self.comma)} {item})*)? "]"'
            case "object":
                return f'"{{" {self._members(rules, tool, schema, path, self.key)} "}}"'
        raise refused(tool, path, "needs a type, an enum or anyOf")

    def _string(self, rules: Rules) -> str:
        if self.quote is None:
            return r'/"([^"\\\n\r\x00]|\\["\\n])*"/'
        return f"{rules.text(self.quote)} {rules.until(self.quote)}"

    def _members(self, rules: Rules, tool: Tool, schema: Schema, path: str, around: tuple[str, str]) -> str:
        """The properties in their order, parted by commas, those that are not required perhaps left out."""
        _check(tool, schema, path, _OBJECT)
        _check_required(tool, schema, path)
        properties, required = properties_of(schema), schema.get("required", ())
        # What follows a property, at the beginning of the object and behind another one.
        first, later = "", ""
        for name, inner in reversed(list(properties.items())):
            value = self._value(rules, tool, inner, f"{path}/properties/{name}")
            member = rules.add(f"{rules.text(around[0] + plain_name(tool, name) + around[1])} {value}")
            first, later = (
                self._next(rules, f"{begin} {member} {later}", skipped, name in required)
                for begin, skipped in (("", first), (rules.text(self.comma), later))
            )
        return first

    def _next(self, rules: Rules, taken: str, skipped: str, is_required: bool) -> str:
        if is_required:
            return rules.add(taken)
        return rules.add(f"({taken})?" if not skipped else f"{taken} | {skipped}")

    def _literal(self, tool: Tool, path: str, value: Any) -> str:
        """A value as it is written. Raises InvalidRequest where it would not be read again as it is."""
        match value:
            case True | False | None:
                return self.words[(True, False, None).index(value)]
            case str():
                return self._quoted(tool, path, value)
            case list():
                return f"[{self.comma.join(self._literal(tool, path, one) for one in value)}]"
            case dict():
                pairs = (
                    f"{self.key[0]}{plain_name(tool, key)}{self.key[1]}{self._literal(tool, path, one)}"
                    for key, one in value.items()
                )
                return f"{{{self.comma.join(pairs)}}}"
        return json.dumps(value)

    def _quoted(self, tool: Tool, path: str, text: str) -> str:
        if self.quote is None:
            return json.dumps(text, ensure_ascii=False)
        if self.quote in text:
            raise refused(tool, path, f"{text!r} holds {self.quote!r}, which ends strings in calls of this model")
        return self.quote + text + self.quote


def choices_of(schema: Schema) -> list[Any]:
    """The values that a schema lists; empty where it lists none."""
    listed = schema.get("enum", [schema["const"]] if "const" in schema else [])
    return list(listed) if isinstance(listed, list) else []


def _check_required(tool: Tool, schema: Schema, path: str) -> None:
    """Raises InvalidRequest for a name that is required and of which nothing else is said: it would not be written."""
    for name in schema.get("required", ()):
        if name not in properties_of(schema):
            raise refused(tool, path, f"{name!r} is required, and not among the properties")


def _check(tool: Tool, schema: Schema, path: str, obeyed: Collection[str]) -> None:
    """Raises InvalidRequest for a keyword that would not be obeyed."""
    for keyword, value in schema.items():
        is_schemas = keyword != "anyOf" or (value and all(isinstance(one, Mapping) for one in value))
        if not (isinstance(value, _KINDS.get(keyword, object)) and is_schemas):
            raise refused(tool, path, f"{keyword!r} is not what JSON Schema says of it")
        if keyword not in obeyed and keyword not in _SAYING_NOTHING:
            raise refused(tool, path, f"{keyword!r} cannot be obeyed in the notation in which this model writes calls")
