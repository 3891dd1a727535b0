"""Rules that stand in two rooms.

What is found of a rule is its refusal: a call of `Problem` or `invalid` whose field and code can be read. A field that
is a parameter is whatever the callers give. Two refusals in different modules that name one field and one code are a
rule that stands twice. So may be each field of a request, or of its generation, about which the engine refuses
something: what needs no engine could have been judged before the request got there.

What is not found: refusals about a field that is only known as they are made (they are counted as unread), rules that
stand twice in one module, and rules that refuse nothing, as a list of statuses. What is found may be two rules about
one field, as one bound by the model and one by the settings, or one that only the moment can judge, as room in the
cache; the JSON names the places.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from benchmarks.house.sources import Source
from benchmarks.house.texts import Call, read_calls

MAKERS = ("Problem", "invalid")
UNREAD = "?"


@dataclass(frozen=True, slots=True)
class Refusal:
    """field: its last name. Field and code are UNREAD where they cannot be read. place: path and line."""

    field: str
    code: str
    module: str
    place: str

    @property
    def is_read(self) -> bool:
        return UNREAD not in (self.field, self.code)

    @property
    def is_engine(self) -> bool:
        return self.module.startswith("engine.")


def refusals(sources: Sequence[Source]) -> list[Refusal]:
    """Each refusal once for each field that it is made about."""
    every = read_calls(sources)
    by_name: defaultdict[str, list[Call]] = defaultdict(list)
    for call in every:
        by_name[call.name].append(call)
    found = {
        Refusal(field, call.text(1, "code") or UNREAD, call.source.module, f"{call.source.path}:{call.node.lineno}")
        for maker in MAKERS
        for call in by_name[maker]
        if call.inside is None or call.inside.name not in MAKERS
        for field in fields_of(call, by_name)
    }
    return sorted(found, key=lambda refusal: (refusal.place, refusal.field))


def fields_of(call: Call, by_name: dict[str, list[Call]]) -> set[str]:
    """The last names of the fields that a refusal is about, as far as they can be read."""
    text = call.text(0, "field")
    texts = {text} if text else set(given(call, by_name))
    return {text.split(".")[-1] for text in texts} or {UNREAD}


def given(call: Call, by_name: dict[str, list[Call]]) -> Iterator[str]:
    """What callers give where the field is a parameter of the function around."""
    first, around = call.node.args[0] if call.node.args else None, call.inside
    if around is None or not isinstance(first, ast.Name):
        return
    names = [one.arg for one in around.args.posonlyargs + around.args.args if one.arg not in ("self", "cls")]
    if first.id in names:
        texts = (caller.text(names.index(first.id), first.id) for caller in by_name.get(around.name, ()))
        yield from (text for text in texts if text)


def standing_twice(found: Sequence[Refusal]) -> dict[str, list[str]]:
    """For each rule that more than one module has, the places."""
    rules: defaultdict[str, list[Refusal]] = defaultdict(list)
    for refusal in found:
        if refusal.is_read:
            rules[f"{refusal.field} {refusal.code}"].append(refusal)
    several = {rule: same for rule, same in rules.items() if len({refusal.module for refusal in same}) > 1}
    return {rule: [refusal.place for refusal in same] for rule, same in sorted(several.items())}


def refused_by_engine(found: Sequence[Refusal], declared: AbstractSet[str]) -> dict[str, list[str]]:
    """For each of the declared fields about which the engine refuses something, the places."""
    fields: defaultdict[str, list[str]] = defaultdict(list)
    for refusal in found:
        if refusal.is_engine and refusal.field in declared:
            fields[refusal.field].append(refusal.place)
    return dict(sorted(fields.items()))
