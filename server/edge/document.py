"""What /openapi.json tells beyond what the framework finds by itself: events of streams, examples of bodies, and the
media type of problems. Tests hold the answers of every route to it."""

from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi import FastAPI
from pydantic import TypeAdapter

from beamhouse.schemas.beamhouse.problem_json import ProblemJson

JsonSchema = dict[str, Any]
PROBLEM_TYPE = "application/problem+json"
JSON_TYPE = "application/json"
EVENTS_TYPE = "text/event-stream"
ALL_DONE = "[DONE]"


def events(*kinds: type, **named: type) -> JsonSchema:
    """The media type object of an event stream.

    kinds: what events without a name hold as JSON. named: what those of a name hold.
    """
    each = [event_of(kind) for kind in kinds]
    each += [event_of(kind, name) for name, kind in named.items()]
    return {"itemSchema": each[0] if len(each) == 1 else {"anyOf": each}}


def closed_by_done(stream: JsonSchema) -> JsonSchema:
    """The same stream, the last event of which is the text `[DONE]`."""
    listed = stream["itemSchema"].get("anyOf", [stream["itemSchema"]])
    done = {"type": "object", "required": ["data"], "properties": {"data": {"const": ALL_DONE}}}
    return {"itemSchema": {"anyOf": [*listed, done]}}


def event_of(kind: type, name: str | None = None) -> JsonSchema:
    """An event whose data is JSON of `kind`, a pydantic model or a plain structure."""
    data = {"type": "string", "contentMediaType": JSON_TYPE, "contentSchema": schema_without_names(kind)}
    if name is None:
        return {"type": "object", "required": ["data"], "properties": {"data": data}}
    return {"type": "object", "required": ["event", "data"], "properties": {"event": {"const": name}, "data": data}}


def answers(kind: type, problem: type, stream: JsonSchema | None = None) -> dict[int | str, JsonSchema]:
    """For the `responses` of a route. kind: of its JSON. problem: of its refusals. stream: if it may be one."""
    content = {JSON_TYPE: {"schema": schema_without_names(kind)}}
    if stream is not None:
        content[EVENTS_TYPE] = stream
    failed = {
        "description": "Why there is no answer",
        "content": {JSON_TYPE: {"schema": schema_without_names(problem)}},
    }
    return {200: {"description": "The answer", "content": content}, 422: failed, "default": failed}


def schema_without_names(kind: type) -> JsonSchema:
    """The schema of a type with everything that it refers to in place, so that no name clashes with one of another
    protocol."""
    if issubclass(kind, msgspec.Struct):
        schema = with_nulls(msgspec.json.schema(kind))
    else:
        schema = TypeAdapter(kind).json_schema(mode="serialization")
    resolved: JsonSchema = resolve(schema, schema.pop("$defs", {}))
    return resolved


def with_nulls(part: Any) -> Any:
    """A part of a schema in which each number may be null, as msgspec writes those that are not finite."""
    if isinstance(part, list):
        return [with_nulls(item) for item in part]
    if not isinstance(part, dict):
        return part
    return {
        key: ["number", "null"] if (key, value) == ("type", "number") else with_nulls(value)
        for key, value in part.items()
    }


def resolve(part: Any, definitions: Mapping[str, Any]) -> Any:
    """A part of a schema with each reference replaced by what it means; `{}`, which is anything, within itself."""
    if isinstance(part, list):
        return [resolve(item, definitions) for item in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        beside = {key: value for key, value in part.items() if key != "$ref"}
        return resolve(definitions.get(name, {}), {**definitions, name: {}}) | beside
    return {key: resolve(value, definitions) for key, value in part.items() if key != "discriminator"}


def examples(**bodies: Mapping[str, Any]) -> JsonSchema:
    """For the `openapi_extra` of a route: bodies by what they show. Each is answered with success."""
    shown = {name.replace("_", " "): {"value": body} for name, body in bodies.items()}
    return {"requestBody": {"content": {JSON_TYPE: {"examples": shown}}}}


class DocumentedApp(FastAPI):
    """An application whose document tells the events of streams, for which OpenAPI has a word since 3.2, and the media
    type of problems, which the framework cannot know."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.openapi_version = "3.2.0"

    def openapi(self) -> JsonSchema:
        whole = super().openapi()
        for path in whole["paths"].values():
            for operation in path.values():
                for response in operation["responses"].values():
                    write_problem_type(response)
        return whole


def write_problem_type(response: JsonSchema) -> None:
    """Puts a problem of our own under its media type. Done again it does nothing."""
    content = response.get("content", {})
    schema = content.get(JSON_TYPE, {}).get("schema", {})
    if schema.get("$ref", "").endswith(f"/{ProblemJson.__name__}"):
        content[PROBLEM_TYPE] = content.pop(JSON_TYPE)
