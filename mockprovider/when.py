"""A rule as Python writes it: `provider.on(model="gpt-*").reply("Hello").then_error(429)`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from mockprovider.errors import RequestError, SettingError
from mockprovider.exchange import Exchange
from mockprovider.faults import Fault, chain, text_of
from mockprovider.matching import Conditions
from mockprovider.pace import Chunking, Pacing
from mockprovider.recording import Recording
from mockprovider.replay.library import reel_of
from mockprovider.replay.reel import Playback, Show, speed_of
from mockprovider.reply import Part, Reply, Tokens
from mockprovider.scenario import Answer, request_error

__all__ = ["When"]


class When:
    """A rule's conditions, waiting for its answers. Each answer is given once, the last one for ever."""

    def __init__(self, add: Callable[[Conditions, Answer], object], conditions: Conditions) -> None:
        self._add = add
        self._conditions = conditions

    def reply(
        self,
        *parts: str | Part | Reply | Callable[[Exchange], Reply | RequestError | str],
        finish: str | None = None,
        usage: Tokens | None = None,
        times: int | None = None,
        pace: str | Pacing | None = None,
        chunking: str | Chunking | None = None,
        faults: str | Fault | Iterable[Fault] = "",
        flavour: str = "",
    ) -> Self:
        """Answer with texts and parts, a `Reply`, or a function of the exchange that returns one.

        The function runs on the server's loop: it must not block. finish: instead of the reason that follows from the
        parts; usage: the tokens that are told, instead of those that are counted; times: so often before the next
        answer's turn; pace, chunking: instead of the server's; faults: what goes wrong, such as `"reset(after=3)"`, or
        the name of a case. SettingError for what is no reply and for a chain that cannot be.
        """
        says: Any
        if len(parts) == 1 and callable(parts[0]):
            if inspect.iscoroutinefunction(parts[0]) or finish is not None or usage is not None:
                raise SettingError("reply: expected a plain function, whose reply has the finish reason and the usage")
            says = parts[0]
        elif not parts:
            raise SettingError("reply: expected at least one text, part or function")
        else:
            says = Reply.of(*parts, finish=finish, usage=usage)  # type: ignore[arg-type]
        text = faults if isinstance(faults, str) else text_of(chain(faults))
        return self._then(says, times, pace, chunking, text, flavour)

    then_reply = reply

    def error(
        self,
        status: int,
        message: str | None = None,
        *,
        type: str | None = None,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, object] | None = None,
        times: int | None = None,
        flavour: str = "",
    ) -> Self:
        """Answer with an error in the provider's shape.

        status: 400 to 599; message, type: what follows from the status where they are not given; headers: further
        ones, such as `{"retry-after": 1}`; times: so often before the next answer's turn. SettingError for what
        cannot be sent so.
        """
        said = request_error(status, message, kind=type, param=param, code=code, headers=headers)
        return self._then(said, times, None, None, "", flavour)

    then_error = error

    def rate_limit(
        self, *, retry_after: float | None = None, message: str | None = None, times: int | None = None
    ) -> Self:
        """Answer with 429 and the wait that is asked for.

        retry_after: seconds, said as `Retry-After` in whole seconds, rounded up, and where it is no whole number as
        `retry-after-ms` too; None: no word of it. times: so often before the next answer's turn. SettingError for a
        wait that cannot be.
        """
        headers: dict[str, object] = {}
        if retry_after is not None:
            given: object = retry_after
            if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < 1e9:
                raise SettingError(f"retry_after: expected seconds >= 0, got {retry_after!r}")
            if retry_after != int(retry_after):
                headers["retry-after-ms"] = math.ceil(round(retry_after * 1000, 3))
            headers["Retry-After"] = math.ceil(retry_after)
        asked = "." if retry_after is None else f"; try again in {retry_after:g} s."
        said = f"Rate limit reached{asked}" if message is None else message
        return self.error(429, said, code="rate_limit_exceeded", headers=headers, times=times)

    then_rate_limit = rate_limit

    def replay(
        self,
        recording: str | Path | Recording,
        *,
        speed: float | str = 1,
        writes: str = "recorded",
        times: int | None = None,
        faults: str | Fault | Iterable[Fault] = "",
    ) -> Self:
        """Answer with a recording, whatever request it was made for.

        recording: a file, or one that was loaded; speed: what its gaps are divided by, or `instant`; writes: how its
        reads leave, one of `recorded`, `loose`, `joined`; times, faults: as for `reply`. RecordingError for a file that
        cannot be read, SettingError for what cannot be.
        """
        show = Show(reel_of(recording), Playback(speed_of(speed), writes))
        chained = faults if isinstance(faults, str) else text_of(chain(faults))
        self._add(self._conditions, Answer(None, times, faults=chained, recording=show))
        return self

    then_replay = replay

    def _then(
        self,
        says: Any,
        times: int | None,
        pace: str | Pacing | None,
        chunking: str | Chunking | None,
        faults: str,
        flavour: str,
    ) -> Self:
        answer = Answer(
            says,
            times,
            None if pace is None else Pacing.parse(pace),
            None if chunking is None else Chunking.parse(chunking),
            faults,
            flavour=flavour,
        )
        self._add(self._conditions, answer)
        return self
