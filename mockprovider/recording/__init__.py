"""The recording file: an exchange as it came over a connection, byte for byte, read for read, with its times and end.

Lines of JSON in UTF-8. The first is the header with the request; each further one is `[gap, kind, value, notes?]`. The
gap is the seconds since the line before, or, for the first, since the request was complete:

    {"mockprovider": 1, "recorded": "…Z", "request": {"method": …, "target": …, "headers": […], "body": …}}
    [0.412, "head", {"version": "1.1", "status": 200, "reason": "OK", "headers": [["Content-Type", …], …]}]
    [0.003, "write", "data: {…}\n\n", {"chunks": [82]}]    content; chunks: the HTTP chunks it came in, 0 the last
    [0.02, "write64", "4pyTCg==", {"chunks": [4]}]         the same where it is not UTF-8
    [0.01, "wire", "5\r\nhel"]                             as on the connection, where framing is not canonical
    [0.0, "end"]                                           or another of `ENDINGS`; none: it was cut off

The request's body is its JSON as `body`, or a `text`, or `body64`. A line is one read of the recorder, or, with
`"joined": true`, goes on with the read of the line before. Lines are written whole, with one `write(2)`, before their
bytes are forwarded: a recorder that is killed loses nothing that a client has. Only the last line can be incomplete
then; damage elsewhere is an error, and so is what this version does not know.
"""

from __future__ import annotations

from mockprovider.recording.files import RecordingWriter, load, load_folder, samples
from mockprovider.recording.lifting import RecordedHead
from mockprovider.recording.making import made
from mockprovider.recording.model import ENDINGS, Read, RecordedRequest, Recording
from mockprovider.recording.reading import loads
from mockprovider.recording.writing import dumps

__all__ = [
    "ENDINGS",
    "Read",
    "RecordedHead",
    "RecordedRequest",
    "Recording",
    "RecordingWriter",
    "dumps",
    "load",
    "load_folder",
    "loads",
    "made",
    "samples",
]
