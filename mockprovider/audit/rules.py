"""From what was due, what the client told and what the server saw, to the two verdicts and a class. Pure.

Two verdicts, content and ending, are found first and by themselves. The class then says whether they meet the
catalogue's expectation: the first reading (OK), an accepted second one (NON-STRICT), or none (FAILED). Above all
stands a veto: text that is missing, and success reported, is SILENT LOSS.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mockprovider.audit.expected import Due, carries_text, sent_text
from mockprovider.audit.model import Class, Content, Ending, Heard, Verdict
from mockprovider.audit.text import compare, difference
from mockprovider.exchange import Exchange
from mockprovider.resilience import findings
from mockprovider.verdict import Told

__all__ = ["judge"]

_CUT_REASONS = frozenset(
    {"length", "content_filter", "max_tokens", "refusal", "pause_turn", "model_context_window_exceeded", "error"}
)
"""Finish reasons that tell the caller that the answer is not all there is."""

_OF_TEXT = ("lost-text", "wrong-text", "swallowed-error", "no-retry")
"""Rules of resilience that the readings of a case decide here, with what the catalogue says of it."""

_OF_CONNECTIONS = ("left-open", "streaming-after-cancel")

_LOST = (Content.PARTIAL, Content.EMPTY)

_COMPRESSED = b"\r\ncontent-encoding: gzip\r\n"


def judge(
    due: Due,
    heard: Heard,
    exchanges: Sequence[Exchange],
    *,
    can: Sequence[str] = (),
    lacks: Mapping[str, str] | None = None,
) -> Verdict:
    """The verdicts and the class of one run.

    exchanges: what the server saw, oldest first; can: capabilities of the client; lacks: capabilities that the case
    needs and the client was seen to lack, each in words.
    """
    data = b"".join(exchanges[-1].sent.data) if exchanges else b""
    text = sent_text(data) if due.truth_in_bytes and exchanges else due.sent
    came = carries_text(data) or (_COMPRESSED in data.lower() and bool(text))
    judged = _Judged(due, heard, len(exchanges), text, came=came, tools="tools" in can)
    verdict = judged.verdict(lacks or {})
    return _with_findings(verdict, due, heard, exchanges)


class _Judged:
    """One run, with the questions that the readings ask. text: that is due; came: whether any of it was sent."""

    def __init__(self, due: Due, heard: Heard, requests: int, text: str, *, came: bool, tools: bool) -> None:
        self.due = due
        self.heard = heard
        self.requests = requests
        self.text = text
        self.came = came
        self.tools = tools and bool(due.calls)
        cut = heard.report.get("complete") is False or heard.report.get("finish") in _CUT_REASONS
        self.told = heard.ending in (Ending.RAISED, Ending.CRASHED) or cut
        self.succeeded = heard.ending is Ending.COMPLETE

    def content(self, text: str) -> Content:
        """What became of this text, and of the calls and the refusal with it."""
        said = self.heard.text
        if self.due.refusal and not text and said == self.due.refusal:
            said = ""
        found = compare(text, said)
        if self.tools and found is Content.FULL:
            return _calls(self.due.calls, self.heard.report.get("tool_calls"))
        if self.due.refusal and found is Content.FULL and not self._shows_refusal():
            return Content.EMPTY
        return found

    def _shows_refusal(self) -> bool:
        report = self.heard.report
        return (
            self.due.refusal in (self.heard.text, report.get("refusal"))
            or report.get("finish") in _CUT_REASONS
            or self.told
        )

    # ------------------------------------------------------------------------------------------ readings

    def meets(self, reading: str, *, first: bool) -> tuple[Class, str] | None:
        """The class under this reading, and why; None where it is not met."""
        best = Class.OK if first else Class.NON_STRICT
        if reading in ("deliver", "ignore"):
            return self._delivers(best, first=first)
        if reading == "retry":
            return self._retries(best, first=first)
        if reading == "raise":
            return self._raises(best, first=first)
        return self._keeps(best, first=first)

    def _delivers(self, best: Class, *, first: bool) -> tuple[Class, str] | None:
        if self.due.refusal and self.heard.ending is Ending.RAISED and not first:
            return best, "It raised an error for the refusal."
        if not self.succeeded:
            return None
        if self.content(self.text) is Content.FULL:
            return best, "It delivered the full text and reported it as complete."
        if not first and self.due.kept is not None and compare(self.due.kept, self.heard.text) is Content.FULL:
            return best, "It delivered a text that the second reading accepts."
        return None

    def _retries(self, best: Class, *, first: bool) -> tuple[Class, str] | None:
        full = self.succeeded and self.content(self.due.whole) is Content.FULL
        if full and (self.requests > 1 or self.due.listens is not None):
            return best, "It asked again and delivered the full text."
        if not first and self.requests > 1 and self.heard.ending is Ending.RAISED:
            return best, f"It raised an error after {self.requests} requests."
        return None

    def _raises(self, best: Class, *, first: bool) -> tuple[Class, str] | None:
        if self.content(self.text) in (Content.ALTERED, Content.EXTRA):
            return None
        if self.heard.ending is Ending.RAISED:
            if first and "retry" in self.due.readings and self.requests > 1:
                return Class.NON_STRICT, f"It raised an error, but only after {self.requests} requests."
            return best, "It raised its own error."
        if self.heard.ending is Ending.CRASHED and first:
            return Class.NON_STRICT, f"The caller is told, but by a foreign exception: {self.heard.error}."
        return None

    def _keeps(self, best: Class, *, first: bool) -> tuple[Class, str] | None:
        wrong = (Content.ALTERED, Content.EXTRA)
        content = self.content(self.due.whole)
        # A reply that faults have lengthened is more than the whole.
        if not self.told or (content in wrong and self.content(self.text) in wrong):
            return None
        if content is Content.EMPTY and self.came:
            return (Class.NON_STRICT, "The caller is told, but the text that had come is gone.") if first else None
        if self.heard.ending is Ending.CRASHED:
            if not first:
                return None
            return (
                Class.NON_STRICT,
                f"The text is kept and the caller told, by a foreign exception: {self.heard.error}.",
            )
        return best, "It kept the text that had come and told the caller that it is not complete."

    # ------------------------------------------------------------------------------------------ the class

    def verdict(self, lacks: Mapping[str, str]) -> Verdict:
        """The class by the readings in order, or by what went wrong."""
        met: tuple[str, Class, str] | None = None
        for index, reading in enumerate(self.due.readings):
            found = self.meets(reading, first=index == 0)
            if found is not None and (met is None or found[0].rank < met[1].rank):
                met = (reading, *found)
        whole = self.due.sent if met is not None and met[0] in ("deliver", "ignore") else self.due.whole
        content = self.content(self.text if self.due.truth_in_bytes else whole)
        ending = self.heard.ending
        if self.due.informational:
            return Verdict(
                Class.INFORMATIONAL, content, ending, None, f"Nothing obliges it to anything: {self._seen()}."
            )
        if met is not None:
            return Verdict(met[1], content, ending, met[0], met[2])
        return self._unmet(content, ending, lacks)

    def _unmet(self, content: Content, ending: Ending, lacks: Mapping[str, str]) -> Verdict:
        if ending is Ending.HUNG:
            return Verdict(Class.FAILED, content, ending, None, f"It hung: no end within {self.heard.seconds:.1f} s.")
        if self.succeeded and not self.told and content in _LOST:
            return Verdict(
                Class.SILENT_LOSS, content, ending, None, f"{self._missing(content)}, and success was reported."
            )
        if lacks and ending is not Ending.COMPLETE:
            return Verdict(Class.SKIPPED, content, ending, None, f"{', '.join(lacks.values())}; it told the caller.")
        lenient = self.due.readings[0] in ("raise", "keep") and self.due.whole and content is Content.FULL
        if lenient and self.succeeded:
            return Verdict(
                Class.NON_STRICT, content, ending, None, "It delivered the full text where it need not, or should not."
            )
        expected = " or ".join(self.due.readings)
        return Verdict(Class.FAILED, content, ending, None, f"Expected: {expected}. Seen: {self._seen()}.")

    def _missing(self, content: Content) -> str:
        if content is Content.EMPTY:
            return "There is no text at all" if not self.tools else "The calls are missing"
        if compare(self.due.whole, self.heard.text) is Content.FULL:
            return f"Calls are cut or missing: {self.heard.report.get('tool_calls')!r}"
        return f"Text is missing: {difference(self.due.whole, self.heard.text)}"

    def _seen(self) -> str:
        said = {
            Ending.COMPLETE: "it reported success",
            Ending.RAISED: f"it raised {self.heard.error}",
            Ending.CRASHED: f"a foreign exception: {self.heard.error}",
            Ending.HUNG: "it hung",
        }[self.heard.ending]
        text = self.text if self.due.truth_in_bytes else self.due.whole
        content = self.content(text)
        if content is Content.FULL:
            return f"{said}, with the full text"
        if content is Content.EMPTY:
            return f"{said}, without text"
        if compare(text, self.heard.text) is Content.FULL:
            return f"{said}, with other calls: {self.heard.report.get('tool_calls')!r}"
        return f"{said}; the text: {difference(text, self.heard.text)}"


def _calls(due: Sequence[tuple[str, str]], told: Any) -> Content:
    """What became of the calls of tools."""
    if not told:
        return Content.EMPTY
    if not isinstance(told, list) or not all(isinstance(call, Mapping) for call in told):
        return Content.ALTERED
    found = [_call(name, arguments, call) for (name, arguments), call in zip(due, told, strict=False)]
    if Content.ALTERED in found:
        return Content.ALTERED
    if len(told) > len(due):
        return Content.EXTRA
    return Content.PARTIAL if len(told) < len(due) or Content.PARTIAL in found else Content.FULL


def _call(name: str, arguments: str, told: Mapping[str, Any]) -> Content:
    given = told.get("arguments")
    if told.get("name") != name:
        return Content.ALTERED
    if given == arguments or _parsed(given) == _parsed(arguments):
        return Content.FULL
    if isinstance(given, str) and _parsed(given) is None and arguments.startswith(given):
        return Content.PARTIAL
    return Content.ALTERED


def _parsed(arguments: Any) -> Any:
    """Arguments as a value; no text at all is no arguments, None is no JSON."""
    if not isinstance(arguments, str):
        return arguments if arguments is not None else {}
    try:
        return json.loads(arguments) if arguments.strip() else {}
    except ValueError:
        return None


# ------------------------------------------------------------------------------------------------ requests


def _with_findings(verdict: Verdict, due: Due, heard: Heard, exchanges: Sequence[Exchange]) -> Verdict:
    """The verdict with what the requests show besides: waits, repetitions, connections."""
    error = None if heard.ending is Ending.COMPLETE else heard.error or str(heard.ending)
    told = Told(text=heard.text, error=error, at=heard.at or None)
    kind, notes = verdict.kind, []
    for finding in findings(exchanges, told, ignore=_OF_TEXT):
        if finding.rule in _OF_CONNECTIONS and heard.ending is Ending.HUNG:
            continue
        notes.append(str(finding))
        kind = max(kind, _worth(finding.rule, due), key=lambda one: one.rank)
    if due.requests is not None and len(exchanges) > due.requests:
        notes.append(f"requests: {len(exchanges)} were made, and {due.requests} is all that can help")
        kind = max(kind, Class.FAILED, key=lambda one: one.rank)
    if verdict.kind in (Class.SKIPPED, Class.INFORMATIONAL):
        kind = verdict.kind
    why = verdict.why if kind is verdict.kind else f"{verdict.why} But: {notes[-1]}."
    return Verdict(kind, verdict.content, verdict.ending, verdict.reading, why, tuple(notes))


def _worth(rule: str, due: Due) -> Class:
    """How bad it is to break a rule in this case."""
    if rule in _OF_CONNECTIONS or (rule == "retried-hopeless" and "retry" in due.readings):
        return Class.NON_STRICT
    return Class.FAILED
