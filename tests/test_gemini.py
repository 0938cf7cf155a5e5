"""Gemini: what each request is answered with, streamed both ways and whole, compared with recordings where they are."""

from __future__ import annotations

import csv
import gzip
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from mockprovider.dialects.gemini import Gemini
from mockprovider.dialects.gemini_errors import not_found
from mockprovider.errors import MockProviderError
from mockprovider.faults.grammar import to_segment
from mockprovider.framing.json_array import JsonArrayEncoder
from mockprovider.provider import MockProvider
from mockprovider.reply import Part, Reasoning, Refusal, Reply, ToolCall
from tests.asking import Answer
from tests.asking import request as ask_for
from tests.test_fidelity import shape

pytestmark = pytest.mark.mockprovider(seed=1)

RECORDINGS = Path(__file__).resolve().parents[2] / "shared" / "streams"
WITHOUT = not (RECORDINGS / "manifest.tsv").is_file()
needs_recordings = pytest.mark.skipif(WITHOUT, reason="the folder of recordings, ../shared/streams, is not here")

SSE, ARRAY, WHOLE = ":streamGenerateContent?alt=sse", ":streamGenerateContent", ":generateContent"
CALL = ToolCall("look", {"up": "é"})
TOOLS = [{"functionDeclarations": [{"name": "look", "parameters": {"type": "OBJECT"}}]}]


def request(**fields: Any) -> dict[str, Any]:
    """The document of a request that is accepted, with these fields besides."""
    return {"contents": [{"role": "user", "parts": [{"text": "Say it."}]}], **fields}


def post(provider: MockProvider, method: str, model: str = "gemini-2.5-flash", **fields: Any) -> Answer:
    """The answer to such a request."""
    url = f"{provider.gemini_url}/v1beta/models/{model}{method}"
    return ask_for("POST", url, json.dumps(request(**fields)), {"content-type": "application/json"})


def documents(body: bytes) -> list[dict[str, Any]]:
    """The documents of a stream of events with CRLF, of an array, or of a whole reply."""
    if body.startswith(b"data: "):
        blocks = body.decode().split("\r\n\r\n")
        assert blocks.pop() == ""
        return [json.loads(block.removeprefix("data: ")) for block in blocks]
    found = json.loads(body)
    return found if isinstance(found, list) else [found]


def parts(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All parts of the first candidates."""
    return [part for one in found for part in one["candidates"][0].get("content", {}).get("parts", [])]


def said(found: list[dict[str, Any]], *, thought: bool = False) -> str:
    """The text, or the thoughts."""
    return "".join(part.get("text", "") for part in parts(found) if part.get("thought", False) == thought)


# ------------------------------------------------------------------------------------------------ replies

TEXT = "Grüße, 世界 👩🏽‍🔬! This is a text of rather more than twelve tokens, so it comes in several chunks.\n"


@pytest.mark.parametrize("method", [SSE, ARRAY, WHOLE])
@pytest.mark.parametrize("model", ["gemini-2.0-flash", "gemini-2.5-flash", "gemini-3-pro-preview"])
def test_a_reply_is_the_same_in_all_three_forms(mock_provider: MockProvider, method: str, model: str) -> None:
    """Thoughts, text and calls arrive as they were scripted, with one account of the tokens and one finish."""
    mock_provider.on().reply(
        Reasoning("Let me see, it may be this or that. "), TEXT, CALL, ToolCall("go", {}, id="mine")
    )
    found = documents(post(mock_provider, method, model).body)
    assert said(found) == TEXT
    assert said(found, thought=True) == "Let me see, it may be this or that. "
    calls = [part["functionCall"] for part in parts(found) if "functionCall" in part]
    assert calls == [{"name": "look", "args": {"up": "é"}}, {"id": "mine", "name": "go", "args": {}}]
    reasons = [one["candidates"][0].get("finishReason") for one in found]
    assert reasons == [None] * (len(found) - 1) + ["STOP"]
    assert len({one["responseId"] for one in found}) == 1
    assert {one["modelVersion"] for one in found} == {model}
    usage = found[-1]["usageMetadata"]
    assert usage["totalTokenCount"] == sum(usage[f"{what}TokenCount"] for what in ("prompt", "candidates", "thoughts"))
    totals = [one["usageMetadata"]["totalTokenCount"] for one in found]
    assert totals == sorted(totals)


def test_the_end_is_told_with_the_last_text_or_after_it(mock_provider: MockProvider) -> None:
    """Gemini 2.5 ends its stream with a chunk that has text, Gemini 3 with one that has a signature at most."""
    mock_provider.on().reply(Reasoning("Hm."), "One two three.")
    second = documents(post(mock_provider, SSE).body)[-1]["candidates"][0]
    assert second["content"]["parts"] == [{"text": "One two three."}]
    third = documents(post(mock_provider, SSE, "gemini-3-flash-preview").body)[-1]["candidates"][0]
    (part,) = third["content"]["parts"]
    assert part["text"] == ""
    assert re.fullmatch(r"[A-Za-z0-9+/]+={0,2}", part["thoughtSignature"])
    assert second["finishReason"] == third["finishReason"] == "STOP"


def test_how_a_stream_is_framed(mock_provider: MockProvider) -> None:
    """Events have CRLF and a space after each colon; an array is indented, its elements parted by a comma and CRLF."""
    mock_provider.on().reply(TEXT)
    events = post(mock_provider, SSE)
    assert events.headers["content-type"] == "text/event-stream"
    assert events.headers["content-disposition"] == "attachment"
    for block in events.body.decode().removesuffix("\r\n\r\n").split("\r\n\r\n"):
        data = block.removeprefix("data: ")
        assert data == json.dumps(json.loads(data), ensure_ascii=False, separators=(",", ": "))
    array = post(mock_provider, ARRAY)
    assert array.headers["content-type"] == "application/json; charset=UTF-8"
    assert array.headers["content-disposition"] is None
    elements = array.body.decode().removeprefix("[").removesuffix("]").split(",\r\n")
    assert len(elements) == len(documents(events.body)) > 1
    for element in elements:
        assert element == json.dumps(json.loads(element), ensure_ascii=False, indent=2) + "\n"


def test_chunks_are_few_and_large_unless_it_is_told_otherwise(mock_provider: MockProvider) -> None:
    """A chunk carries twelve tokens, or as many as the chunking says, one too."""
    mock_provider.on(model="large").reply("a b c d e f g h i j k l m n")
    mock_provider.on(model="small").reply("a b c d", chunking="tokens_per_payload=1")
    large, small = (documents(post(mock_provider, SSE, model).body) for model in ("large", "small"))
    assert [said([one]) for one in large] == ["a b c d e f g h i j k l", " m n"]
    assert [said([one]) for one in small] == ["a", " b", " c", " d"]


@pytest.mark.parametrize("method", [SSE, ARRAY, WHOLE])
def test_limits_end_a_reply(mock_provider: MockProvider, method: str) -> None:
    """maxOutputTokens and stopSequences cut the text, each with its reason; candidates are as many as are asked for."""
    mock_provider.on().reply("One two three four five.")
    found = documents(post(mock_provider, method, generationConfig={"maxOutputTokens": 2}).body)
    assert (said(found), found[-1]["candidates"][0]["finishReason"]) == ("One two", "MAX_TOKENS")
    assert found[-1]["usageMetadata"]["candidatesTokenCount"] == 2
    found = documents(post(mock_provider, method, generationConfig={"stopSequences": [" four"]}).body)
    assert (said(found), found[-1]["candidates"][0]["finishReason"]) == ("One two three", "STOP")
    found = documents(post(mock_provider, method, generationConfig={"candidateCount": 3}).body)
    ends = [one["index"] for document in found for one in document["candidates"] if "finishReason" in one]
    assert ends == [0, 1, 2]


@pytest.mark.parametrize("method", [SSE, WHOLE])
def test_what_is_declined_or_filtered(mock_provider: MockProvider, method: str) -> None:
    """A refusal is SAFETY with its text as the message, without content; what is filtered at once blocks the prompt."""
    mock_provider.on(model="refused").reply(Refusal("No, never."))
    mock_provider.on(model="filtered").reply("Well, ", finish="content_filter")
    mock_provider.on(model="blocked").reply(Reply((), finish="content_filter"))
    mock_provider.on(model="recited").reply("Once upon", finish="recitation")
    found = {
        name: documents(post(mock_provider, method, name).body)[-1]
        for name in ("refused", "filtered", "blocked", "recited")
    }
    (refused,) = found["refused"]["candidates"]
    assert refused == {"finishReason": "SAFETY", "finishMessage": "No, never.", "index": 0}
    assert found["filtered"]["candidates"][0]["finishReason"] == "SAFETY"
    assert "candidates" not in found["blocked"]
    assert found["blocked"]["promptFeedback"] == {"blockReason": "PROHIBITED_CONTENT"}
    assert found["recited"]["candidates"][0]["finishReason"] == "RECITATION"


def test_thoughts_are_hidden_where_that_is_asked_for(mock_provider: MockProvider) -> None:
    """With includeThoughts false they are counted and not shown; where it is not said, they are shown as scripted."""
    mock_provider.on().reply(Reasoning("Hidden or not."), "Answer.")
    for config, shown in (({}, "Hidden or not."), ({"thinkingConfig": {"includeThoughts": False}}, "")):
        found = documents(post(mock_provider, SSE, generationConfig=config).body)
        assert said(found, thought=True) == shown
        assert found[-1]["usageMetadata"]["thoughtsTokenCount"] == 4


@pytest.mark.parametrize("method", [SSE, ARRAY, WHOLE])
def test_arguments_that_are_no_object_are_refused_with_the_reason(mock_provider: MockProvider, method: str) -> None:
    """A tool call that Gemini cannot say fails the test, with the reason; one that a limit cuts off is left out."""
    mock_provider.on(model="broken").reply(ToolCall("look", '{"up": '))
    mock_provider.on(model="cut").reply(ToolCall("look", {"up": "a long text of many tokens"}))
    assert post(mock_provider, method, "broken").status == 500
    with pytest.raises(MockProviderError, match="Gemini has the arguments of a function call as a JSON object"):
        mock_provider.check()
    found = documents(post(mock_provider, method, "cut", generationConfig={"maxOutputTokens": 3}).body)
    assert [part for part in parts(found) if "functionCall" in part] == []
    assert found[-1]["candidates"][0]["finishReason"] == "MAX_TOKENS"


def test_structured_answers_and_required_calls(mock_provider: MockProvider) -> None:
    """Generated answers satisfy responseSchema and responseJsonSchema, and a function that must be called is called."""
    own = {"type": "OBJECT", "properties": {"n": {"type": "INTEGER"}, "s": {"type": "STRING", "nullable": True}},
           "required": ["n", "s"]}  # fmt: skip
    plain = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    for schema in ({"responseSchema": own}, {"responseJsonSchema": plain}):
        config = {"responseMimeType": "application/json", **schema}
        made = json.loads(said(documents(post(mock_provider, SSE, generationConfig=config).body)))
        assert isinstance(made["n"], int)
    config = {"response_mime_type": "application/json"}
    made = json.loads(said(documents(post(mock_provider, WHOLE, generationConfig=config).body)))
    assert isinstance(made, dict)
    found = documents(
        post(mock_provider, WHOLE, tools=TOOLS, toolConfig={"functionCallingConfig": {"mode": "ANY"}}).body
    )
    assert [part["functionCall"]["name"] for part in parts(found)] == ["look"]


def test_tokens_are_counted(mock_provider: MockProvider) -> None:
    """countTokens counts what the usage of a reply counts, of contents or of a whole request."""
    mock_provider.on().reply("Yes.")
    inner = request(systemInstruction={"parts": [{"text": "Be brief."}]}, tools=TOOLS)
    counted = post(mock_provider, ":countTokens", contents=None, generateContentRequest=inner)
    prompt = documents(post(mock_provider, WHOLE, **inner).body)[0]["usageMetadata"]["promptTokenCount"]
    assert counted.json == {
        "totalTokens": prompt,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
    }
    assert post(mock_provider, ":countTokens").json["totalTokens"] == 3


def test_the_conversation_is_read(mock_provider: MockProvider) -> None:
    """Roles, the system's text in either spelling, and the results of functions reach the rules."""
    mock_provider.on(tool_result=True).reply("Thanks.")
    contents = [
        {"parts": [{"text": "Look it up."}]},
        {"role": "model", "parts": [{"functionCall": {"name": "look", "args": {}}, "thoughtSignature": "c2ln"}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "look", "response": {"result": 3}}}]},
    ]
    found = documents(
        post(mock_provider, WHOLE, contents=contents, system_instruction={"parts": [{"text": "Do."}]}).body
    )
    assert said(found) == "Thanks."
    ask = mock_provider.exchanges[0].ask
    assert ask is not None
    assert ask.messages == (("system", "Do."), ("user", "Look it up."), ("assistant", ""), ("tool", '{"result":3}'))


# ------------------------------------------------------------------------------------------------ refusals

USER = {"role": "user", "parts": [{"text": "Hi"}]}
TWO = [{"functionCall": {"name": "f"}}, {"functionCall": {"name": "g"}}]
RESULT = {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]}
TYPES = "type.googleapis.com/google.ai.generativelanguage.v1beta."


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"contents": []}, "* GenerateContentRequest.contents: contents is not specified\n"),
        ({"contents": None}, "* GenerateContentRequest.contents: contents is not specified\n"),
        ({"contents": [{"role": "system", "parts": [{"text": "x"}]}]}, "Please use a valid role: user, model."),
        ({"contents": [{"role": "user", "parts": []}]},
         "* GenerateContentRequest.contents[0].parts: contents.parts must not be empty.\n"),
        ({"contents": [{"role": "user", "parts": [{}]}]},
         ("* GenerateContentRequest.contents[0].parts[0].data: required oneof field 'data' must have one initialized"
          " field\n")),
        ({"contents": [USER, {"role": "model", "parts": [TWO[0], TWO[1]]}, RESULT]},
         ("Please ensure that the number of function response parts is equal to the number of function call parts of"
          " the function call turn.")),
        ({"contents": [RESULT]},
         "Please ensure that function response turn comes immediately after a function call turn."),
        ({"generationConfig": {"temperature": 2.5}},
         "* GenerateContentRequest.generation_config.temperature: temperature must be in the range [0.0, 2.0].\n"),
        ({"generationConfig": {"maxOutputTokens": 0}},
         "* GenerateContentRequest.generation_config.max_output_tokens: max_output_tokens must be positive.\n"),
        ({"generationConfig": {"stopSequences": list("abcdef")}},
         "* GenerateContentRequest.generation_config.stop_sequences: stop_sequences must have at most 5 elements.\n"),
        ({"generationConfig": {"responseMimeType": "image/png"}},
         ("* GenerateContentRequest.generation_config.response_mime_type: allowed mimetypes are `text/plain`,"
         " `application/json`, `application/xml`, `application/yaml` and `text/x.enum`.\n")),
        ({"tools": TOOLS, "generationConfig": {"responseMimeType": "application/json"}},
         "Function calling with a response mime type: 'application/json' is unsupported"),
        ({"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}},
         "Function calling config is set without function_declarations."),
        ({"tools": [*TOOLS, *TOOLS]}, "Duplicate function declaration found: look"),
        ({"tools": [{"functionDeclarations": [{"name": "1st"}]}]},
         ("* GenerateContentRequest.tools[0].function_declarations[0].name: Invalid function name. Must start with a"
          " letter or an underscore. Must be alphanumeric (a-z, A-Z, 0-9), underscores (_), dots (.), colons (:), or"
          " dashes (-), with a maximum length of 64.\n")),
    ],
)  # fmt: skip
def test_what_means_nothing_is_refused(mock_provider: MockProvider, fields: dict[str, Any], message: str) -> None:
    """A well-formed request that Google would refuse gets its 400 in its words, without details."""
    answer = post(mock_provider, WHOLE, **fields)
    assert answer.status == 400
    assert answer.json == {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}
    assert answer.body == json.dumps(answer.json, indent=2).encode() + b"\n"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"content": 1}, [(None, 'Invalid JSON payload received. Unknown name "content": Cannot find field.')]),
        ({"generation_config": {"max_tokens": 5, "top_p": "0.5"}},
         [("generation_config",
           "Invalid JSON payload received. Unknown name \"max_tokens\" at 'generation_config': Cannot find field.")]),
        ({"contents": [{"parts": [{"txt": "x"}], "rol": "user"}]},
         [("contents[0].parts[0]",
           "Invalid JSON payload received. Unknown name \"txt\" at 'contents[0].parts[0]': Cannot find field."),
          ("contents[0]", "Invalid JSON payload received. Unknown name \"rol\" at 'contents[0]': Cannot find field.")]),
        ({"contents": ["Hi"]},
         [("contents[0]",
           f"Invalid value at 'contents[0]' ({TYPES}Content), \"Hi\"")]),
        ({"generationConfig": {"temperature": "warm", "maxOutputTokens": 1.5, "responseLogprobs": "yes"}},
         [("generation_config.temperature", "Invalid value at 'generation_config.temperature' (TYPE_FLOAT), \"warm\""),
          ("generation_config.max_output_tokens",
           "Invalid value at 'generation_config.max_output_tokens' (TYPE_INT32), 1.5"),
          ("generation_config.response_logprobs",
           "Invalid value at 'generation_config.response_logprobs' (TYPE_BOOL), \"yes\"")]),
        ({"systemInstruction": [{"parts": []}]},
         [(None, ("Invalid JSON payload received. Unknown name \"systemInstruction\": Proto field is not repeating,"
                  " cannot start list."))]),
        ({"tools": [{"functionDeclarations": [
            {"name": "f", "parameters": {"type": "thing", "properties": {"a": {"const": 1}}}}]}]},
         [("tools[0].function_declarations[0].parameters.type",
           ("Invalid value at 'tools[0].function_declarations[0].parameters.type'"
           " (type.googleapis.com/google.ai.generativelanguage.v1beta.Type), \"thing\"")),
          ("tools[0].function_declarations[0].parameters.properties[0].value",
           ("Invalid JSON payload received. Unknown name \"const\" at"
           " 'tools[0].function_declarations[0].parameters.properties[0].value': Cannot find field."))]),
    ],
)  # fmt: skip
def test_what_fits_no_field_is_refused(
    mock_provider: MockProvider, fields: dict[str, Any], told: list[tuple[str | None, str]]
) -> None:
    """Unknown names and values of wrong types are told all at once, with their paths as protobuf names them."""
    error = post(mock_provider, WHOLE, **fields).json["error"]
    violations = [
        {"description": text} if path is None else {"field": path, "description": text} for path, text in told
    ]
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    assert error["message"] == "\n".join(text for _, text in told)
    assert error["details"] == [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations}]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"contents": NaN}', b"\xff", b"[" * 100_000])
def test_what_is_no_message_is_refused(mock_provider: MockProvider, body: bytes) -> None:
    """A body that is no JSON object is a 400 in Google's shape, whatever it is."""
    answer = ask_for("POST", f"{mock_provider.url}/v1beta/models/m:generateContent", body)
    assert (answer.status, answer.json["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_a_stream_without_events_wraps_its_errors_in_an_array(mock_provider: MockProvider) -> None:
    """An error is the only element of the array that would have been; with alt=sse it is an object."""
    array, event = (post(mock_provider, method, contents=[]).json for method in (ARRAY, SSE))
    assert array == [event]


@pytest.mark.mockprovider(seed=1, api_keys=["AIzaGood"], models=["gemini-2.5-pro"])
def test_keys_and_models(mock_provider: MockProvider) -> None:
    """A key may be in one of three places; a wrong one is Google's 400, none its 403, an unknown model its 404."""
    url = mock_provider.url + "/v1beta/models/gemini-2.5-pro:generateContent"
    body = json.dumps(request())
    for query, headers in (
        ("", {"x-goog-api-key": "AIzaGood"}),
        ("?key=AIzaGood", {}),
        ("", {"Authorization": "Bearer AIzaGood"}),
    ):
        assert ask_for("POST", url + query, body, headers).status == 200
    wrong = ask_for("POST", url, body, {"x-goog-api-key": "AIzaBad"})
    assert wrong.status == 400
    assert wrong.json["error"]["message"] == "API key not valid. Please pass a valid API key."
    assert wrong.json["error"]["details"][0]["reason"] == "API_KEY_INVALID"
    none = ask_for("POST", url, body)
    assert (none.status, none.json["error"]["status"]) == (403, "PERMISSION_DENIED")
    headers = {"x-goog-api-key": "AIzaGood"}
    for method, named in ((":generateContent", "generateContent"), (":countTokens", "countTokens")):
        unknown = ask_for("POST", f"{mock_provider.url}/v1beta/models/other{method}", body, headers)
        assert unknown.status == 404
        assert unknown.json["error"]["message"] == (
            f"models/other is not found for API version v1beta, or is not supported for {named}. Call ListModels to see"
            " the list of available models and their supported methods."
        )
    listed = ask_for("GET", mock_provider.url + "/v1/models", headers=headers)
    assert [model["name"] for model in listed.json["models"]] == ["models/gemini-2.5-pro"]
    shown = ask_for("GET", mock_provider.url + "/v1/models/gemini-2.5-pro", headers=headers)
    assert shown.json["supportedGenerationMethods"] == ["generateContent", "countTokens"]
    theirs = ask_for("GET", mock_provider.url + "/v1/models", headers={"Authorization": "Bearer AIzaGood"})
    assert theirs.json["object"] == "list"


def test_unknown_paths_have_errors_of_googles_shape(mock_provider: MockProvider) -> None:
    """Below /v1beta/ there is a 404 in Google's shape, and so it is for a method that is not answered."""
    paths = (("POST", "/v1beta/none"), ("POST", "/v1beta/models/m:embed"), ("DELETE", "/v1beta/models"))
    for method, path in paths:
        answer = ask_for(method, mock_provider.url + path)
        assert (answer.status, answer.json["error"]["status"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize(("wait", "told"), [(2, "2s"), (0.5, "1s"), (None, None)])
def test_a_scripted_429_has_googles_details(mock_provider: MockProvider, wait: float | None, told: str | None) -> None:
    """A 429 of a script keeps its message, names the quota and the tier, and the wait where there is one."""
    mock_provider.on().rate_limit(retry_after=wait, message="Slow down.")
    answer = post(mock_provider, WHOLE)
    error = answer.json["error"]
    details = {detail["@type"].rpartition(".")[2]: detail for detail in error["details"]}
    assert details["QuotaFailure"]["violations"][0]["quotaDimensions"]["model"] == "gemini-2.5-flash"
    assert details.get("RetryInfo", {}).get("retryDelay") == told
    assert error["message"] == "Slow down."
    assert answer.headers["X-Gemini-Service-Tier"] == "standard"


@pytest.mark.mockprovider(seed=1, limits="rpm=1")
def test_a_limit_says_in_its_details_when_to_come_again(mock_provider: MockProvider) -> None:
    """A 429 has RetryInfo and no header of other providers; neither has what passes."""
    passed, limited = post(mock_provider, WHOLE), post(mock_provider, WHOLE)
    assert (passed.status, limited.status) == (200, 429)
    details = {detail["@type"].rpartition(".")[2]: detail for detail in limited.json["error"]["details"]}
    assert re.fullmatch(r"[1-9][0-9]?s", details["RetryInfo"]["retryDelay"])
    assert limited.json["error"]["status"] == "RESOURCE_EXHAUSTED"
    for answer in (passed, limited):
        assert [name for name in answer.headers if "ratelimit" in name.lower() or "retry" in name.lower()] == []


# ------------------------------------------------------------------------------------------------ faults


def faulty(provider: MockProvider, chain: str, method: str) -> Answer:
    """The answer with these faults."""
    url = f"{provider.url}/with/{to_segment(chain)}/v1beta/models/gemini-2.5-flash{method}"
    return ask_for("POST", url, json.dumps(request()))


def test_an_array_of_nothing_is_empty() -> None:
    """A stream whose every chunk a fault has taken is still an array."""
    assert list(JsonArrayEncoder().flush()) == [(0.0, b"[]", (0, -1))]


def test_faults_of_streams_act_on_both_framings(mock_provider: MockProvider) -> None:
    """Text is torn or grown in events and in elements; what is about fields of events is refused for an array."""
    mock_provider.on().reply("One two three.")
    for method in (SSE, ARRAY):
        assert b'three.\xff"' in faulty(mock_provider, 'stray-bytes(hex="ff")', method).body
        grown = documents(faulty(mock_provider, "giant(bytes=3000)", method).body)
        assert len(said(grown)) > 2000
        assert faulty(mock_provider, "bom", method).body.startswith(b"\xef\xbb\xbf")
        dropped = faulty(mock_provider, "drop-payloads(at=finish)", method).body
        assert dropped == (b"" if method == SSE else b"[]")
    assert faulty(mock_provider, "line-ends(end=lf)", SSE).body.count(b"\r") == 0
    assert faulty(mock_provider, "comment", SSE).body.startswith(b": keep-alive\n\ndata: ")
    refused = faulty(mock_provider, "comment", ARRAY)
    assert refused.status == 400
    assert "the streams of gemini are json-array" in refused.json[0]["error"]["message"]


def test_a_stream_may_fail_in_its_midst(mock_provider: MockProvider) -> None:
    """The error is a chunk of Google's shape, in events and as an element, and the last one."""
    mock_provider.on().reply(TEXT)
    for method in (SSE, ARRAY):
        found = documents(
            faulty(mock_provider, 'error-payload(after=12,kind="overloaded",message="Busy.")', method).body
        )
        assert len(found) == 2
        assert found[1] == {"error": {"code": 503, "message": "Busy.", "status": "UNAVAILABLE"}}


@pytest.mark.parametrize("method", [SSE, ARRAY, WHOLE])
def test_documents_are_rewritten_as_they_were_written(mock_provider: MockProvider, method: str) -> None:
    """A field that a fault sets leaves the spacing of events and the indentation of arrays as they are."""
    mock_provider.on().reply("One.")
    body = faulty(mock_provider, 'set(path=modelVersion,value="other")', method).body
    (document,) = documents(body)
    assert document["modelVersion"] == "other"
    indented = json.dumps(document, indent=2)
    assert (
        body.decode()
        == {
            SSE: f"data: {json.dumps(document, separators=(',', ': '))}\r\n\r\n",
            ARRAY: f"[{indented}\n]",
            WHOLE: f"{indented}\n",
        }[method]
    )


# ------------------------------------------------------------------------------------------------ recordings


@dataclass(frozen=True)
class Recording:
    """A recorded stream of Gemini's own endpoint."""

    model: str
    body: bytes
    headers: dict[str, list[str]] = field(default_factory=dict)

    @property
    def documents(self) -> list[dict[str, Any]]:
        """Its documents."""
        return documents(self.body)


def recordings() -> dict[str, Recording]:
    """Every recorded stream of generativelanguage.googleapis.com that was kept with its request, by name."""
    if WITHOUT:
        return {}
    with (RECORDINGS / "manifest.tsv").open(encoding="utf-8", newline="") as manifest:
        rows = [
            row
            for row in csv.DictReader(manifest, delimiter="\t")
            if row["provider"] == "gemini" and row["dialect"] in ("gemini-sse", "gemini-json-array")
        ]
    found = {}
    for row in rows:
        path = RECORDINGS / row["path"]
        if path.suffix != ".yaml":
            continue
        for at, one in enumerate(yaml.safe_load(path.read_text(encoding="utf-8"))["interactions"]):
            uri = one["request"].get("uri") or one["request"].get("url")
            body = one["response"]["body"]
            body = body["string"] if isinstance(body, dict) else body
            body = body.encode() if isinstance(body, str) else body
            body = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
            match = re.search(r"models/([^:/]+):stream", uri)
            if match is not None:
                found[f"{path.stem}-{at}"] = Recording(match[1], body, one["response"].get("headers") or {})
    return found


REAL = recordings()


def kind(document: dict[str, Any]) -> str:
    """What a chunk is for, such that all of a kind have one shape."""
    (candidate,) = document["candidates"]
    held = [next(word for word in ("functionCall", "text") if word in part) for part in candidate["content"]["parts"]]
    held += ["thought" for part in candidate["content"]["parts"] if part.get("thought")]
    held += ["signed" for part in candidate["content"]["parts"] if "thoughtSignature" in part]
    return " ".join([*held, "end" if "finishReason" in candidate else ""]).strip()


def told(found: list[dict[str, Any]]) -> dict[str, list[str]]:
    """The paths and types of each kind of chunk, in order, as its last one has them; arguments are the model's own."""
    lines = {kind(document): shape(document) for document in found}
    return {each: [line for line in made if ".args" not in line] for each, made in lines.items()}


def again(recording: Recording, provider: MockProvider) -> Answer:
    """What is answered where the same is said."""
    script: list[Part | str] = []
    for part in parts(recording.documents):
        if "functionCall" in part:
            script.append(ToolCall(part["functionCall"]["name"], part["functionCall"]["args"]))
        elif part.get("text"):
            script.append(Reasoning(part["text"]) if part.get("thought") else part["text"])
    thoughts = recording.documents[-1]["usageMetadata"].get("thoughtsTokenCount")
    hidden = bool(thoughts) and not any(part.get("thought") for part in parts(recording.documents))
    if hidden:
        script.insert(0, Reasoning("I think, and nobody sees it."))
    provider.on().reply(*script)
    method = SSE if recording.body.startswith(b"data") else ARRAY
    config = {"thinkingConfig": {"includeThoughts": not hidden}}
    return post(provider, method, recording.model, generationConfig=config)


EXTRA = {".usageMetadata.serviceTier str": "newer than the recordings of 2025"}
MISSING = {
    ".usageMetadata.promptTokensDetails[1] object": "the prompt had an image, whose tokens are not counted",
    ".usageMetadata.promptTokensDetails[1].modality str": "the same",
    ".usageMetadata.promptTokensDetails[1].tokenCount int": "the same",
}
"""What may differ from some recording, and why."""


@needs_recordings
def test_there_is_something_to_compare() -> None:
    """Both framings, thoughts, signatures and function calls were recorded."""
    kinds = {kind(document) for recording in REAL.values() for document in recording.documents}
    assert kinds >= {"text", "text end", "text thought", "text signed end", "functionCall signed"}
    assert {recording.body[:1] for recording in REAL.values()} == {b"[", b"d"}


@needs_recordings
@pytest.mark.parametrize("name", REAL)
def test_chunks_are_as_recorded(mock_provider: MockProvider, name: str) -> None:
    """Each kind of chunk has the recorded paths and types, in the recorded order, and none besides but newer ones."""
    real, made = told(REAL[name].documents), told(documents(again(REAL[name], mock_provider).body))
    assert set(made) >= {each for each in real if each.endswith("end")}
    for each, lines in real.items():
        own = made.get(each)
        if own is None:  # a text that came in one chunk comes in another number of them
            assert each == "text"
            continue
        assert [line for line in lines if line not in own and line not in MISSING] == []
        assert [line for line in own if line not in lines and line not in EXTRA] == []
        assert [line for line in own if line in lines] == [line for line in lines if line in own]


@needs_recordings
@pytest.mark.parametrize("name", [name for name, recording in REAL.items() if len(recording.headers) > 6])
def test_headers_are_as_recorded(mock_provider: MockProvider, name: str) -> None:
    """The names are those recorded, but for what belongs to the connection; the values are of the same form."""
    foreign = {"date", "transfer-encoding", "connection", "alt-svc", "content-encoding", "content-length"}
    answer = again(REAL[name], mock_provider)
    real = {key.lower(): values for key, values in REAL[name].headers.items() if key.lower() not in foreign}
    own = {key.lower() for key in answer.headers} - foreign
    assert own == set(real)
    for key, values in real.items():
        forms = [re.sub("[0-9]+", "0", ", ".join(found)) for found in (values, answer.headers.get_all(key) or [])]
        assert forms[0] == forms[1], key


@needs_recordings
def test_errors_are_as_recorded() -> None:
    """The bodies of a refused key and of an unknown model are those that were recorded."""
    found = {}
    for path in RECORDINGS.glob("*/_errors/gemini/**/*.yaml"):
        for one in yaml.safe_load(path.read_text(encoding="utf-8"))["interactions"]:
            answer = one["response"]
            parsed = json.dumps(answer.get("parsed_body")).encode()
            body = answer["body"].get("string", b"{}") if "body" in answer else parsed
            body = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
            error = json.loads(body).get("error")
            if error is not None:
                found[error["status"]] = (body, error)
    _, refused = Gemini().error(Gemini().refused_key("x"), "")
    assert refused == found["INVALID_ARGUMENT"][0]
    _, unknown = Gemini().error(not_found("nonexistent-model", "countTokens"), "")
    assert json.loads(unknown)["error"] == found["NOT_FOUND"][1]
