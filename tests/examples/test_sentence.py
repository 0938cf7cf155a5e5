"""Rules read as sentences: conditions, then answers in order."""

from __future__ import annotations

import openai

from mockprovider import contains, tool_call


def test_the_agent_asks_for_the_weather(mock_provider):
    mock_provider.on(model="gpt-*", messages=contains("weather")).reply(
        tool_call("get_weather", city="Paris")
    ).then_reply("It is sunny", faults="stall(after=3, seconds=0.2)")

    messages = [{"role": "user", "content": "How is the weather?"}]
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]
    with openai.OpenAI(base_url=mock_provider.openai_url, api_key="any") as client:
        first = client.chat.completions.create(model="gpt-5", messages=messages, tools=tools)
        call = first.choices[0].message.tool_calls[0]
        messages += [first.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "sun"}]
        second = client.chat.completions.create(model="gpt-5", messages=messages, tools=tools)
    assert call.function.arguments == '{"city":"Paris"}'
    assert second.choices[0].message.content == "It is sunny"

    mock_provider.assert_requested(model="gpt-5", turn=2, tool_result=True)
    mock_provider.assert_requested(body={"messages[*].tool_call_id": call.id})
