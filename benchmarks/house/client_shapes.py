"""Writes the types of the client from what the server says of itself, so that no field is written down twice.

    python -m benchmarks.house.client_shapes

Bodies and answers come from the OpenAPI document, events from the structures that are encoded. A test fails when the
files of `client/shapes/` are no longer what this writes.
"""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from keyword import iskeyword
from pathlib import Path
from typing import Any

import msgspec

from beamhouse.schemas.beamhouse.events import ProgressEvent, TokenEvent, TokensEvent
from beamhouse.server.command.openapi import document

SHAPES = Path(__file__).parents[2] / "client" / "shapes"
BODIES = {
    "GenerateRequest": ("inputs", "stream"),
    "ScoreRequest": ("pairs",),
    "TokenizeRequest": ("inputs",),
    "DetokenizeRequest": ("token_ids",),
    "DetectRequest": ("inputs",),
    "ValidateRequest": ("generation_config",),
    "TransitionScoresRequest": ("sequences", "scores"),
}
"""The bodies, and which of their fields have a place of their own in the client's calls."""

ANSWERS = (
    ["Answer", "ScoreAnswer", "TokenizeAnswer", "DetokenizeAnswer", "DetectAnswer", "TransitionScoresAnswer"],
    ["ProblemJson", "ValidateAnswer", "DefaultsAnswer", "SharedInfo", "Health"],
)
"""About what was asked, and about the server."""

EVENTS = (TokenEvent, TokensEvent, ProgressEvent)
PLAIN = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
ANYTHING = {"JsonValue"}
MADE = "Made from the server's own words by `python -m benchmarks.house.client_shapes`; not to be edited."

Schema = Mapping[str, Any]


class Shapes:
    """The definitions of one file, each behind those it names.

    known: those of the document, by their names. elsewhere: files that hold some of them.
    """

    def __init__(self, name: str, known: Mapping[str, Schema], elsewhere: Sequence["Shapes"] = ()) -> None:
        self.name = name
        self.known = known
        self.written: dict[str, str] = {}
        self.homes = {shape: other.name for other in elsewhere for shape in other.written}
        self.imported: set[str] = set()

    def type_of(self, schema: Schema) -> str:
        """The annotation of a value; what it names is written first."""
        if "$ref" in schema:
            return self.named(schema["$ref"].rpartition("/")[2])
        if parts := schema.get("anyOf") or schema.get("oneOf"):
            kinds = [kind for part in parts for kind in self.type_of(part).split(" | ")] if flat(parts) else []
            return " | ".join(dict.fromkeys(kinds or map(self.type_of, parts)))
        if "const" in schema:
            return literal([schema["const"]])
        if "enum" in schema:
            return literal(schema["enum"])
        if "prefixItems" in schema:
            return f"tuple[{', '.join(map(self.type_of, schema['prefixItems']))}]"
        match schema.get("type"):
            case "array":
                return f"list[{self.type_of(schema.get('items', {}))}]"
            case "object":
                inside = schema.get("additionalProperties")
                return f"dict[str, {self.type_of(inside) if isinstance(inside, dict) else 'Any'}]"
            case None:
                return "Any"
            case kind:
                return PLAIN[kind]

    def named(self, name: str) -> str:
        """A definition of the document by its own name, without that of a module, which tells namesakes apart."""
        own = name.rpartition("__")[2]
        if own in ANYTHING:
            return "Any"
        if own in self.homes:
            self.imported.add(own)
            return own
        schema = self.known[name]
        if own not in self.written:
            self.written[own] = ""  # a shape may hold its own kind
            self.written[own] = (
                self.shape(own, schema, is_body=schema.get("additionalProperties") is False)
                if "properties" in schema
                else f"{own} = {self.type_of(schema)}"
            )
            self.written[own] = self.written.pop(own)
        return own

    def shape(self, name: str, schema: Schema, *, is_body: bool, left_out: Sequence[str] = ()) -> str:
        """A TypedDict. Of a body most fields may be absent, of an answer most are there."""
        fields = {key: value for key, value in schema["properties"].items() if key not in left_out}
        needed = fields.keys() & set(schema.get("required", ()))
        is_free = is_body and not needed
        kinds = {key: self.type_of(value) for key, value in fields.items()}
        if not is_free:
            kinds = {key: kind if key in needed else f"NotRequired[{kind}]" for key, kind in kinds.items()}
        about, total = first_line(schema, name), ", total=False" if is_free else ""
        if any(map(iskeyword, kinds)):  # no class can have such a field
            items = ", ".join(f"{key!r}: {kind}" for key, kind in kinds.items())
            return f'{name} = TypedDict({name!r}, {{{items}}}{total})\n"""{about}"""'
        lines = [f"class {name}(TypedDict{total}):", f'    """{about}"""\n']
        return "\n".join(lines + [f"    {key}: {kind}" for key, kind in kinds.items()])

    def text(self, about: str) -> str:
        body = "\n\n".join(self.written.values())
        words = [word for word in ("Any", "Literal", "NotRequired", "TypedDict") if re.search(rf"\b{word}\b", body)]
        parts = [f'"""{about}\n\n{MADE}\n"""', f"from typing import {', '.join(words)}"]
        for home in sorted({self.homes[shape] for shape in self.imported}):
            shapes = sorted(shape for shape in self.imported if self.homes[shape] == home)
            parts.append(f"from beamhouse.client.shapes.{home} import {', '.join(shapes)}")
        return "\n\n".join([*parts, body]) + "\n"


def flat(parts: Sequence[Schema]) -> bool:
    """Whether no part is a list or the like, whose annotation may hold a bar of its own."""
    return not any({"items", "prefixItems", "additionalProperties"} & part.keys() for part in parts)


def literal(values: Sequence[Any]) -> str:
    return f"Literal[{', '.join(map(repr, values))}]"


def first_line(schema: Schema, name: str) -> str:
    return str(schema.get("description", name)).split("\n")[0]


def camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def config(known: Mapping[str, Schema]) -> Shapes:
    shapes = Shapes("config", known)
    shapes.named("GenerationConfig")
    return shapes


def bodies(known: Mapping[str, Schema], elsewhere: Shapes) -> Shapes:
    """For each body the fields that are keywords, and the types of those that are not."""
    shapes = Shapes("fields", known, [elsewhere])
    for name, leading in BODIES.items():
        schema, stem = known[name], name.removesuffix("Request")
        for field in leading:
            if field != "stream":
                own = f"{stem}{camel(field)}"
                shapes.written[own] = f"{own} = {shapes.type_of(schema['properties'][field])}"
        own = f"{stem}Fields"
        shapes.written[own] = shapes.shape(own, schema, is_body=True, left_out=leading)
    return shapes


def answers(name: str, known: Mapping[str, Schema], roots: Sequence[str]) -> Shapes:
    shapes = Shapes(name, known)
    for root in roots:
        shapes.named(root)
    return shapes


def events(elsewhere: Shapes) -> Shapes:
    """The events by the names under which they are sent, and `done` with the whole answer."""
    _, known = msgspec.json.schema_components(EVENTS, ref_template="#/{name}")
    done = {"properties": {"answer": {"$ref": "#/Answer"}}, "required": ["answer"]}
    known |= {"DoneEvent": done | {"description": "The end of a stream: the whole answer."}}
    shapes = Shapes("events", known, [elsewhere])
    names = [*(kind.__name__ for kind in EVENTS), "DoneEvent"]
    for name in names:
        schema, word = known[name], name.removesuffix("Event").lower()
        properties = {"event": {"const": word}} | schema["properties"]
        told = schema | {"properties": properties, "required": ["event", *schema.get("required", ())]}
        shapes.written[name] = shapes.shape(name, told, is_body=False)
    shapes.written["Event"] = f"Event = {' | '.join(names)}"
    return shapes


def files() -> Iterator[tuple[Path, str]]:
    """Each file of the shapes and what belongs in it."""
    known = document()["components"]["schemas"]
    fields_of_config, told = config(known), answers("answers", known, ANSWERS[0])
    for shapes, about in (
        (fields_of_config, "The fields of `generate()`, and what stands in them."),
        (bodies(known, fields_of_config), "The fields of the bodies that this client sends."),
        (told, "What a server answers to what was asked."),
        (answers("service", known, ANSWERS[1]), "What a server says of itself, and why there is no answer."),
        (events(told), "The events of a stream, each with the name it was sent under."),
    ):
        path = SHAPES / f"{shapes.name}.py"
        command = [sys.executable, "-m", "ruff", "format", "--quiet", "--stdin-filename", str(path), "-"]
        yield path, subprocess.run(command, input=shapes.text(about), capture_output=True, text=True, check=True).stdout


def main() -> None:
    for path, text in files():
        path.write_text(text, encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
