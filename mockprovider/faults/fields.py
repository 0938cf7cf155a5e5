"""Payloads: what is wrong with the fields of their JSON documents.

`path` says which field, `at` in which payloads. A field that a document does not have is left alone, and so is a
payload that is no JSON (any more): what makes it so comes last in a chain.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mockprovider.errors import SettingError
from mockprovider.faults.base import JSON, NATURAL, TEXT, Context, Fault, Level, fault, setting
from mockprovider.faults.documents import PATH, RAW, Path, fill, fill_raw, is_object, rewritten
from mockprovider.faults.selection import ALL, WHICH, Matcher, Struck, Which, needs, needs_stream
from mockprovider.jsontext import dumps
from mockprovider.payload import Payload
from mockprovider.timeline import Stage, Timed

__all__ = ["AddFields", "CarryField", "DropField", "MoveField", "RenameField", "SetField", "SplitField"]

Place = tuple[Any, Any]
"""An object or list, and a key of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edit(Fault):
    """The base of faults that change documents in place."""

    path: Path | None = setting(PATH, None, "which field")
    at: Which = setting(WHICH, ALL, "which payloads")

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        needs(self, "path")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Edits each payload that is meant."""
        return _EditStage(self, context)

    def edit(self, payload: Payload, document: Any, stage: _EditStage) -> Payload | None:
        """The payload with its document edited; None where there is nothing to edit."""
        raise NotImplementedError


class _EditStage(Struck):
    """Has a fault edit each payload that is meant."""

    def __init__(self, fault: _Edit, context: Context) -> None:
        super().__init__(Matcher(fault.at, context, f"{fault.name}: at"))
        self._fault = fault
        self._context = context

    def change(self, timed: Timed[Payload], document: Any) -> Iterator[Timed[Any]]:
        gap, item, origin = timed
        made = None if document is None else self._fault.edit(item, document, self)
        yield gap, item if made is None else made, origin

    def places(self, document: Any, path: Path | None, *, absent: bool = False) -> list[Place]:
        """Where a path leads; to fields that the document does not have, too, if `absent`."""
        assert path is not None, "checked when the fault was made"
        found = path.within(self._context).places(document)
        return [(place, key) for place, key, _ in found if absent or isinstance(place, list) or key in place]


def _needs_one_place(fault: Fault, *names: str) -> None:
    for name in names:
        path = getattr(fault, name)
        if path is not None and None in path.steps:
            raise SettingError(
                f"{fault.name}: {name}: expected one place, the number of an item instead of [*]: {path}"
            )


# ---------------------------------------------------------------------------------------------- values


@fault("set", Level.PAYLOAD)
@dataclass(frozen=True, slots=True, kw_only=True)
class SetField(_Edit):
    """A field has another value, or is there where it would not be.

    In a text, `$old` stands for the value that was there, `$decoded` for the JSON in it, `$n` for 1, 2, 3 and so on,
    `$text` for the answer text so far, `$tokens` for its number of tokens; `$n+196` adds.
    """

    value: Any = setting(JSON, None, "the value; null unless it is given")
    raw: str | None = setting(RAW, None, "instead of a value: what stands there, such as NaN or two fields")

    def __post_init__(self) -> None:
        _Edit.__post_init__(self)
        if self.raw is not None and self.value is not None:
            raise SettingError("set: expected either value or raw")

    def edit(self, payload: Payload, document: Any, stage: _EditStage) -> Payload | None:
        """Sets the value in every place that the path leads to."""
        raws: dict[bytes, bytes] = {}
        places = stage.places(document, self.path, absent=True)
        for place, key in places:
            known = stage.known(place[key] if isinstance(place, list) else place.get(key), document)
            if self.raw is None:
                place[key] = fill(self.value, known)
            else:
                # It stands in the document as a text that no reply has, until that has been written.
                place[key] = mark = f"\uf8ff\uf8fe{len(raws)}\uf8fe\uf8ff"
                raws[dumps(mark)] = fill_raw(self.raw, known)
        if not places:
            return None
        made = rewritten(payload, document)
        for written, raw in raws.items():
            made.data = made.data.replace(written, raw)
        return made


@fault("add", Level.PAYLOAD)
@dataclass(frozen=True, slots=True, kw_only=True)
class AddFields(_Edit):
    """An object has more fields; those that it has already stay as they are."""

    path: Path | None = setting(PATH, None, "which object; the document itself unless it is given")
    fields: Any = setting(JSON, None, "the fields, as a JSON object; their texts are templates as those of `set`")

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        needs(self, "fields")
        if not is_object(self.fields):
            raise SettingError(f"add: fields: expected a JSON object, got {self.fields!r}")

    def edit(self, payload: Payload, document: Any, stage: _EditStage) -> Payload | None:
        """Adds the fields to every object that the path leads to."""
        found = stage.places(document, self.path) if self.path else [([document], 0)]
        targets = [place[key] for place, key in found if is_object(place[key])]
        for target in targets:
            known = stage.known(None, document)
            target.update({name: fill(value, known) for name, value in self.fields.items() if name not in target})
        return rewritten(payload, document) if targets else None


@fault("drop", Level.PAYLOAD)
@dataclass(frozen=True, slots=True, kw_only=True)
class DropField(_Edit):
    """A field is absent."""

    def edit(self, payload: Payload, document: Any, stage: _EditStage) -> Payload | None:
        """Takes the field out of every object; from the back, so that the numbers of a list's items stay right."""
        places = stage.places(document, self.path)
        for place, key in reversed(places):
            del place[key]
        return rewritten(payload, document) if places else None


# ---------------------------------------------------------------------------------------------- names and places


@fault("rename", Level.PAYLOAD)
@dataclass(frozen=True, slots=True, kw_only=True)
class RenameField(_Edit):
    """A field has another name, at the same place of its object."""

    to: str | None = setting(TEXT, None, "the new name")

    def __post_init__(self) -> None:
        _Edit.__post_init__(self)
        needs(self, "to")
        if self.path is not None and not isinstance(self.path.steps[-1], str):
            raise SettingError(f"rename: path: expected one that ends in the name of a field, got {self.path}")

    def edit(self, payload: Payload, document: Any, stage: _EditStage) -> Payload | None:
        """Writes each object anew, in its order."""
        places = stage.places(document, self.path)
        for place, key in places:
            items = [(self.to if name == key else name, value) for name, value in place.items()]
            place.clear()
            place.update(items)
        return rewritten(payload, document) if places else None


@fault("move", Level.PAYLOAD)
@dataclass(frozen=True, slots=True, kw_only=True)
class MoveField(_Edit):
    """A field is at another place of the document, in another object."""

    to: Path | None = setting(PATH, None, "the new place, the field's name included; its object must be there")

    def __post_init__(self) -> None:
        _Edit.__post_init__(self)
        needs(self, "to")
        _needs_one_place(self, "path", "to")

    def edit(self, payload: Payload, document: Any, stage: _EditStage) -> Payload | None:
        """Takes the field out and sets it at its new place."""
        sources, targets = stage.places(document, self.path), stage.places(document, self.to, absent=True)
        if not sources or not targets:
            return None
        (source, name), (target, new) = sources[0], targets[0]
        value = source.pop(name)
        target[new] = value
        return rewritten(payload, document)


@fault("carry", Level.PAYLOAD)
@dataclass(frozen=True, slots=True, kw_only=True)
class CarryField(_Edit):
    """A field that came once comes again in every later payload of its choice, or fragment of its tool call."""

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Remembers the field's value and fills it in where it is absent or null."""
        needs_stream(self, context)
        return _CarryStage(self, context)


class _CarryStage(_EditStage):
    def __init__(self, fault: CarryField, context: Context) -> None:
        super().__init__(fault, context)
        self._path = fault.path
        self._values: dict[tuple[int, ...], Any] = {}

    def watch(self, payload: Payload, document: Any) -> None:
        assert self._path is not None, "checked when the fault was made"
        for place, key, identity in self._path.places(document):
            value = place[key] if isinstance(place, list) else place.get(key)
            if value is not None:
                self._values[identity] = value

    def change(self, timed: Timed[Payload], document: Any) -> Iterator[Timed[Any]]:
        assert self._path is not None, "checked when the fault was made"
        gap, item, origin = timed
        missing = [
            (place, key, self._values[identity])
            for place, key, identity in self._path.places(document)
            if is_object(place) and place.get(key) is None and identity in self._values
        ]
        for place, key, value in missing:
            place[key] = value
        yield gap, rewritten(item, document) if missing else item, origin


@fault("split-field", Level.PAYLOAD)
@dataclass(frozen=True, slots=True, kw_only=True)
class SplitField(_Edit):
    """A text of one payload comes in two: its front in the first, its rest in a second one that has nothing else.

    The second repeats the envelope and the choice; below the choice it has the field and each `index` on the way.
    """

    characters: int | None = setting(NATURAL, None, "how many characters are in the first")
    after: str | None = setting(TEXT, None, "or the text with which the first ends")

    def __post_init__(self) -> None:
        _Edit.__post_init__(self)
        needs(self, "characters", "after")
        _needs_one_place(self, "path")

    def stage(self, context: Context) -> Stage[Any, Any]:
        """Makes two payloads of each that is meant and has such a text."""
        needs_stream(self, context)
        return _SplitStage(self, context)

    def cut(self, text: str) -> int:
        """Where to cut; 0 or the text's length where one part would be empty."""
        if self.after is None:
            return min(self.characters or 0, len(text))
        found = text.find(self.after)
        return found + len(self.after) if found >= 0 else 0


class _SplitStage(_EditStage):
    def __init__(self, fault: SplitField, context: Context) -> None:
        super().__init__(fault, context)
        self._split = fault

    def change(self, timed: Timed[Payload], document: Any) -> Iterator[Timed[Any]]:
        path = self._split.path
        assert path is not None, "checked when the fault was made"
        gap, item, origin = timed
        for place, key in self.places(document, path):
            text = place[key]
            at = self._split.cut(text) if isinstance(text, str) else 0
            if isinstance(text, str) and 0 < at < len(text):
                place[key] = text[:at]
                yield gap, rewritten(item, document), origin
                place[key] = text[at:]
                yield 0.0, rewritten(item, _alone(document, path.steps)), origin
                return
        yield timed


def _alone(value: Any, steps: tuple[str | int | None, ...], depth: int = 0) -> Any:
    """A document with the field at the end of the path; below the choice, with nothing else but `index`."""
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    if isinstance(value, list):
        assert isinstance(step, int), "it leads to one place"
        return [_alone(value[step], rest, depth + 1)]
    # The document, the list of choices and the choice are at depths 0, 1 and 2; what is below them is the delta.
    return {
        name: _alone(inner, rest, depth + 1) if name == step else inner
        for name, inner in value.items()
        if name in (step, "index") or depth < 3
    }
