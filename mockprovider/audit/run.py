"""The audit itself: a control run, probes, then every case on a server of its own, and doubtful ones again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from urllib.parse import quote

import mockprovider
from mockprovider.audit.clients import Client
from mockprovider.audit.expected import Due, capabilities, due, skipped
from mockprovider.audit.model import AuditError, Class, Content, Ending, Heard, Report, Result, Run, Task
from mockprovider.audit.rules import judge
from mockprovider.audit.text import compare, difference
from mockprovider.audit.wirelog import logged
from mockprovider.cases import TEXT, Case, cases
from mockprovider.dialects import DIALECTS
from mockprovider.errors import SettingError, nearest
from mockprovider.exchange import Exchange
from mockprovider.provider import MockProvider

__all__ = ["Audit", "Options", "Progress"]

Progress = Callable[[int, int, "Result | None", float], None]
"""Called with how many cases are done, of how many, the newest result, and the seconds that are left, roughly."""

_PACE = "itl=0.002"
"""As providers have it, an event is a write; at once, a whole answer would be one, and hardly ever be cut."""

_LATE = 0.25
"""Seconds that a write may be behind its time before the run is doubted."""

_DEADLINE = 3.0
_LONG = 60.0
"""Seconds that a whole answer may take, in the cases that are about that, and in all others."""

_RELEASE = 0.6
"""Seconds after its end in which a client's connections must be gone."""

_PROBES = {"retry": "status(code=503,attempt=1)", "redirects": "redirect(code=307)"}
"""What shows whether a client can do it, by doing it to a request that is otherwise answered well."""

_LACKS = {
    "retry": "it asks only once: it was seen not to repeat a request that was answered 503",
    "redirects": "it was seen not to follow a redirect",
    "gzip": "it does not ask for compressed answers",
}


@dataclass(frozen=True, slots=True)
class Options:
    """How an audit is made.

    cases: globs of names, with commas between them; jobs: cases at a time; timeout: seconds of silence that the client
    is told to bear;
    patience: seconds that it has beyond the case's own and its time-out, such as for backing off; startup: seconds
    until its first request; runs: how often a case that is not passed is run, at most; reproduce: the command that
    runs one case again, with `{case}` in it. SettingError for what cannot be.
    """

    cases: str = "*"
    dialect: str = "openai-chat"
    jobs: int = 2
    seed: int = 1
    timeout: float = 1.5
    patience: float = 6.0
    startup: float = 60.0
    runs: int = 2
    can: tuple[str, ...] = ()
    cannot: tuple[str, ...] = ()
    reproduce: str = ""

    def __post_init__(self) -> None:
        known = [dialect.name for dialect in DIALECTS]
        if self.dialect not in known:
            raise SettingError(f"unknown dialect {self.dialect!r}{nearest(self.dialect, known)}")
        for name in ("jobs", "runs"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name}: expected at least 1, got {getattr(self, name)}")
        for name in ("timeout", "patience", "startup"):
            if not getattr(self, name) > 0:
                raise SettingError(f"{name}: expected seconds > 0, got {getattr(self, name)!r}")
        capabilities(self.can, self.cannot)

    def selected(self) -> list[Case]:
        """The cases that the globs name. SettingError for one that names none."""
        globs = [glob.strip() for glob in self.cases.split(",")]
        for glob in globs:
            if not any(fnmatchcase(name, glob) for name in cases()):
                raise SettingError(f"no case is named {glob!r}{nearest(glob, tuple(cases()))}")
        return [case for case in cases().values() if any(fnmatchcase(case.name, glob) for glob in globs)]


class Audit:
    """The audit of one client. AuditError where it fails in the control run; SettingError for impossible options."""

    def __init__(self, client: Client, options: Options | None = None) -> None:
        self._client = client
        self._options = options or Options()
        self._can = capabilities(self._options.can, self._options.cannot)
        self._lacks: dict[str, str] = {}
        self._startup = 0.0

    def run(self, progress: Progress | None = None) -> Report:
        """Make the audit. progress: called from this thread after each case."""
        began = time.monotonic()
        chosen = self._options.selected()
        self._control()
        results: dict[str, Result] = {}
        runnable: list[Case] = []
        for case in chosen:
            reason = skipped(case, self._options.dialect, self._can)
            if reason is None and "gzip" in case.needs:
                reason = self._lacks.get("gzip")  # what a client did not ask for is no fault of its own
            if reason is None:
                runnable.append(case)
            else:
                results[case.name] = Result(case.name, skipped=reason)
        estimate = _Estimate([due(case).seconds for case in runnable], self._options.jobs)
        with ThreadPoolExecutor(self._options.jobs, thread_name_prefix="audit") as pool:
            # The long ones first, so that none is waited for alone at the end.
            ordered = sorted(runnable, key=lambda case: -due(case).seconds)
            asked = {pool.submit(self._case, case): case for case in ordered}
            for done, future in enumerate(as_completed(asked), 1):
                case = asked[future]
                results[case.name] = future.result()
                left = estimate.left(due(case).seconds)
                if progress is not None:
                    progress(done, len(runnable), results[case.name], left)
        return self._report(tuple(results[case.name] for case in chosen), time.monotonic() - began)

    def _report(self, results: tuple[Result, ...], seconds: float, refused: str | None = None) -> Report:
        options = self._options
        return Report(
            client=self._client.name,
            dialect=options.dialect,
            seed=options.seed,
            version=mockprovider.__version__,
            date=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            seconds=round(seconds, 1),
            startup=round(self._startup, 3),
            reproduce=options.reproduce,
            can=tuple(name for name in self._can if name not in self._lacks),
            results=results,
            refused=refused,
        )

    def refusal(self, error: AuditError) -> Report:
        """A report that says why there is none: for a matrix in which the client must not be missing."""
        return self._report((), 0.0, str(error))

    # ------------------------------------------------------------------------------------------ before the cases

    def _control(self) -> None:
        """Ask for a perfect stream; then see what the client is able to do."""
        heard, exchanges = self._ask("", None)
        self._startup = heard.startup
        content = compare(TEXT, heard.text)
        if heard.ending is not Ending.COMPLETE or content is not Content.FULL:
            raise AuditError(_unfit(self._client.name, heard, exchanges))
        if "gzip" not in self._can or "gzip" not in exchanges[-1].headers.get("Accept-Encoding", "").lower():
            self._lacks["gzip"] = _LACKS["gzip"]
        for name, chain in _PROBES.items():
            if not any(name in case.needs for case in self._options.selected()):
                continue
            _, seen = self._ask(chain, None)
            if len(seen) < 2:
                self._lacks[name] = _LACKS[name]

    # ------------------------------------------------------------------------------------------ one case

    def _case(self, case: Case) -> Result:
        made, refused = self._once(case)
        if refused is not None:
            return Result(case.name, skipped=refused)
        others: list[Run] = []
        if _doubtful(made):
            others.extend(self._once(case)[0] for _ in range(self._options.runs - 1))
        # The worst counts: a client that loses text every other time loses text.
        every = sorted([made, *others], key=lambda run: (run.late, -run.verdict.kind.rank))
        return Result(case.name, every[0], others=tuple(run.verdict.key for run in every[1:]))

    def _once(self, case: Case) -> tuple[Run, str | None]:
        """One run, and why the server could not do the case to this request, if so."""
        wanted = due(case)
        heard, exchanges = self._ask(case.name, wanted, case)
        lacks = {need: self._lacks[need] for need in case.needs if need in self._lacks}
        verdict = judge(wanted, heard, exchanges, can=self._can, lacks=lacks)
        first = exchanges[0].started if exchanges else 0.0
        log = tuple(logged(exchange, first) for exchange in exchanges[:6])
        refused = next((exchange.error for exchange in exchanges if exchange.status == 400 and exchange.error), None)
        if refused is not None:
            refused = f"cannot be done to a request of {self._options.dialect}: {refused}"
        # A stream that has not ended has not been found late yet.
        late = any(exchange.late or exchange.sent.worst > _LATE for exchange in exchanges)
        return Run(verdict, heard, log, late), refused

    def _ask(self, chain: str, wanted: Due | None, case: Case | None = None) -> tuple[Heard, list[Exchange]]:
        """One task on a server of its own, so that no connection, key or count is shared with another."""
        options = self._options
        # A reply of the server's own would take the place of the case's.
        reply = TEXT if case is None or case.listener is not None else None
        with MockProvider(seed=options.seed, reply=reply, pace=_PACE, late_warning=_LATE) as provider:
            if case is not None:
                url = provider.case_url(case.name, seconds=wanted.listens if wanted else None)
            else:
                url = f"{provider.url}/with/{quote(chain)}/v1" if chain else provider.openai_url
            task = Task(
                case=case.name if case else "control",
                dialect=options.dialect,
                base_url=url if options.dialect.startswith("openai") else url.removesuffix("/v1"),
                api_key="sk-mockprovider",
                model="mock-model",
                prompt="Say what you were told to say.",
                timeout=options.timeout,
                deadline=_DEADLINE if case is not None and "deadline" in case.needs else _LONG,
                stream=case is None or "non-streaming" not in case.needs,
                requests=2 if case is not None and "keep-alive" in case.needs else 1,
            )
            limit = (wanted.seconds if wanted else 0.0) + options.timeout + options.patience
            watch = _Watch(provider, limit, options.startup)
            heard = self._client.ask(task, watch)
            exchanges = _settled(provider, heard)
        return heard, exchanges


class _Watch:
    def __init__(self, provider: MockProvider, limit: float, startup: float) -> None:
        self._provider = provider
        self._first: float | None = None
        self.limit = limit
        self.startup_limit = startup

    def first_request(self) -> float | None:
        """See `clients.Watch`."""
        if self._first is None:
            seen = _requests(self._provider)
            self._first = seen[0].started if seen else None
        return self._first

    def abandon(self) -> None:
        """See `clients.Watch`."""
        self._provider.close()


def _requests(provider: MockProvider) -> list[Exchange]:
    """The requests that were made; what a browser asks for leave with is none."""
    return [exchange for exchange in provider.exchanges if exchange.method != "OPTIONS"]


def _settled(provider: MockProvider, heard: Heard) -> list[Exchange]:
    """The exchanges, after what the client has let go of has had the time to be noticed."""
    until = time.monotonic() + _RELEASE
    while True:
        seen = _requests(provider)
        if heard.ending is Ending.HUNG or all(exchange.outcome for exchange in seen) or time.monotonic() > until:
            return seen
        threading.Event().wait(0.01)


def _doubtful(run: Run) -> bool:
    """Whether another run may say something else."""
    return run.late or run.verdict.kind.rank >= Class.FAILED.rank


def _differ(run: Run, others: Sequence[Run]) -> bool:
    return any(other.verdict.key != run.verdict.key for other in others)


def _unfit(name: str, heard: Heard, exchanges: Sequence[Exchange]) -> str:
    """Why an audit of this client would say nothing."""
    lines = [f"the client {name!r} does not get a perfect stream right, so an audit of it would say nothing."]
    said = f"It {'reported success' if heard.ending is Ending.COMPLETE else heard.ending}"
    lines.append(f"{said}{f' ({heard.error})' if heard.error else ''} after {heard.seconds:.1f} s.")
    if not exchanges:
        lines.append("It made no request at all: does it use BASE_URL (or {base_url}, or OPENAI_BASE_URL)?")
    elif exchanges[-1].status != 200:
        last = exchanges[-1]
        lines.append(f"Its last request, {last.method} {last.path}, was answered {last.status}: {last.error}")
    elif compare(TEXT, heard.text) is Content.FULL:
        lines.append("The text is full, so it is its ending that is wrong.")
    else:
        lines.append(f"The text: {difference(TEXT, heard.text)}.")
    if heard.output.strip():
        lines.append(f"It wrote on stderr: {heard.output.strip()[-500:]}")
    return "\n".join(lines)


class _Estimate:
    """How long the rest will take: each case its own seconds and what cases have cost besides, on average."""

    def __init__(self, seconds: Sequence[float], jobs: int) -> None:
        self._began = time.monotonic()
        self._jobs = min(jobs, max(1, len(seconds)))
        self._own = sum(seconds)
        self._number = len(seconds)
        self._done = 0
        self._done_own = 0.0

    def left(self, own: float) -> float:
        """Seconds, after one more case with so many of its own is done."""
        self._done += 1
        self._done_own += own
        spent = (time.monotonic() - self._began) * self._jobs
        besides = max(0.0, spent - self._done_own) / self._done
        return ((self._number - self._done) * besides + self._own - self._done_own) / self._jobs
