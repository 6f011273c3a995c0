"""What the payload of an update means: the state of a host, a change to it, and the checks P1 to P5."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from refusals import Refused
from values import a_list, an_id, demand, nested, strict_json

Record = dict[str, Any]
Check = Callable[[Any], object]

KINDS = ("env", "profiles", "resources", "runs")
ENTRY_SIZE = 131_071
RESOURCE_KINDS = ("sandbox", "computer", "agent")
TARGETS = ("all", *RESOURCE_KINDS)
DELIVERIES = ("env", "file", "fd")
RUNTIMES = ("osa", "codex", "claude-code", "claude_code", "claude", "pi", "hermes", "hermes-agent", "custom")
NESTED = 32
RESERVED = "$serde_json::private::"
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class State:
    """The records of a host, by kind and id."""

    records: dict[str, dict[str, Record]] = field(default_factory=lambda: {kind: {} for kind in KINDS})


@dataclass(frozen=True)
class Change:
    """A payload: records to put and ids to delete, by kind."""

    put: dict[str, list[Record]]
    delete: dict[str, list[str]]


def read_change(text: str) -> Change:
    """A payload on its own."""
    change = p1_payload(text)
    p2_no_entry_too_long(change)
    p3_no_record_twice(change)
    return change


def apply(change: Change, before: State, kind: str) -> State:
    """The state that a change makes: a full one of nothing, an incremental one of what is held."""
    if kind == "full":
        p4_deletes_nothing(change)
        before = State()
    after = {}
    for records in KINDS:
        kept = {id: record for id, record in before.records[records].items() if id not in change.delete[records]}
        after[records] = kept | {record["id"]: record for record in change.put[records]}
    state = State(after)
    p5_every_run_has_its_resource(state)
    return state


def tenants_of(state: State) -> set[str]:
    """The tenants of all records; a run is its resource's."""
    kinds = ("env", "profiles", "resources")
    return {record["tenant_id"] for kind in kinds for record in state.records[kind].values()}


def p1_payload(text: str) -> Change:
    try:
        payload = strict_json(text)
        members(put=members(**RECORDS), delete=members(**{kind: each(an_id) for kind in KINDS}))(payload)
    except (ValueError, RecursionError):
        raise Refused("P1") from None
    variables = [{"deliver": "env"} | record for record in payload["put"]["env"]]
    return Change(payload["put"] | {"env": variables}, payload["delete"])


def p2_no_entry_too_long(change: Change) -> None:
    for name, value in variables(change):
        if len(f"{name}={value}".encode()) > ENTRY_SIZE:
            raise Refused("P2")


def p3_no_record_twice(change: Change) -> None:
    for records in change.put.values():
        if len({record["id"] for record in records}) != len(records):
            raise Refused("P3")


def p4_deletes_nothing(change: Change) -> None:
    if any(change.delete.values()):
        raise Refused("P4")


def p5_every_run_has_its_resource(state: State) -> None:
    for run in state.records["runs"].values():
        if run["resource_id"] not in state.records["resources"]:
            raise Refused("P5")


def variables(change: Change) -> list[tuple[str, str]]:
    found = [(record["name"], record["value"]) for record in change.put["env"]]
    for records in ("profiles", "resources", "runs"):
        for record in change.put[records]:
            found.extend(record["env"].items())
    return found


# The form of a record: a check for each member. A check raises ValueError where it finds something else.


def members(may: dict[str, Check] | None = None, **checks: Check) -> Check:
    """An object with exactly these members, and those that it may have besides."""
    every = checks | (may or {})

    def check(value: Any) -> None:
        demand(isinstance(value, dict) and set(checks) <= set(value) <= set(every))
        for name, member in value.items():
            every[name](member)

    return check


def each(check: Check) -> Check:
    return lambda value: [check(item) for item in a_list(value)]


def null_or(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def one_of(words: tuple[str, ...]) -> Check:
    return lambda value: demand(isinstance(value, str) and value in words)


def text(value: Any) -> None:
    demand(isinstance(value, str))


def without_nul(value: Any) -> None:
    demand(isinstance(value, str) and "\0" not in value)


def boolean(value: Any) -> None:
    demand(isinstance(value, bool))


def an_object(value: Any) -> None:
    demand(isinstance(value, dict))


def variable_name(value: Any) -> None:
    demand(isinstance(value, str) and NAME.fullmatch(value) is not None)
    demand(len(value) < ENTRY_SIZE)


def resource_id(value: Any) -> None:
    demand(an_id(value) == value.lower())


def environment(value: Any) -> None:
    an_object(value)
    for name, content in value.items():
        variable_name(name)
        without_nul(content)


def scope(value: Any) -> None:
    if value != "tenant":
        demand(isinstance(value, dict) and len(value) == 1 and set(value) <= {"workspace", "project"})
        an_id(*value.values())


def listed(value: Any) -> None:
    """What stands in a list between commas."""
    demand(isinstance(value, str) and value != "")
    demand(not any(letter == "," or unicodedata.category(letter) == "Cc" for letter in value))


def connector(value: Any) -> None:
    as_sent(value)
    if isinstance(value, dict):
        value = next((value[name] for name in ("uid", "id", "name") if isinstance(value.get(name), str)), None)
    listed(value)


def command(value: Any) -> None:
    if isinstance(value, list):
        each(without_nul)(value)
        demand(value != [] and value[0] != "")
    else:
        without_nul(value)
        demand(value.strip() != "")


def policy(value: Any) -> None:
    an_object(value)
    as_sent(value)


def as_sent(value: Any) -> None:
    """JSON that is kept as it was sent."""
    demand(nested(value) <= NESTED)
    demand(not any(name.startswith(RESERVED) for name in names_in(value)))


def names_in(value: Any) -> Iterator[str]:
    """The names of all members, at any depth."""
    if isinstance(value, dict):
        yield from value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from names_in(inner)


SELECTION = members(skip=boolean, profile_id=null_or(an_id))
RECORDS = {
    "env": each(
        members(
            id=an_id,
            tenant_id=an_id,
            scope=scope,
            target=one_of(TARGETS),
            name=variable_name,
            value=without_nul,
            enabled=boolean,
            may={"deliver": one_of(DELIVERIES)},
        )
    ),
    "profiles": each(
        members(
            id=an_id,
            tenant_id=an_id,
            workspace_id=null_or(an_id),
            project_id=null_or(an_id),
            name=text,
            runtime=one_of(RUNTIMES),
            applies_to=each(one_of(RESOURCE_KINDS)),
            tools=null_or(each(listed)),
            connectors=each(connector),
            env=environment,
            policy=policy,
            is_default=boolean,
        )
    ),
    "resources": each(
        members(
            id=resource_id,
            tenant_id=an_id,
            workspace_id=null_or(an_id),
            project_id=null_or(an_id),
            kind=one_of(RESOURCE_KINDS),
            env=environment,
            selection=SELECTION,
        )
    ),
    "runs": each(
        members(
            id=an_id,
            resource_id=resource_id,
            env=environment,
            selection=SELECTION,
            instruction=null_or(without_nul),
            cwd=null_or(without_nul),
            command=null_or(command),
            runtime_command=null_or(command),
            model=null_or(without_nul),
            provider=null_or(without_nul),
            approval_policy=as_sent,
        )
    ),
}
