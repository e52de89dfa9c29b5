"""The local engine for real: a child process, a socket, the official SDKs."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import anthropic
import openai
import pytest

from jevons.engines import local_gguf
from jevons.engines.local import KEY_VARIABLE, LocalEngine, check_memory
from jevons.engines.local_gguf import ModelError

pytestmark = pytest.mark.local


@pytest.fixture
def client(local_engine):
    base = local_engine.provider().base_url
    with openai.OpenAI(api_key=local_engine.key, base_url=base, max_retries=0, timeout=30) as made:
        yield made


def ask(client, text="Name one colour.", **more):
    more = {"max_tokens": 8, "temperature": 0} | more
    return client.chat.completions.create(model="local", messages=[{"role": "user", "content": text}], **more)


def test_chat_answers_with_usage_and_reads_a_repeated_prompt_from_its_cache(client):
    text = "Count the words in this sentence about a steam engine, please. " * 8
    first, second = ask(client, text), ask(client, text)
    assert first.choices[0].message.content == second.choices[0].message.content
    assert second.usage.prompt_tokens == first.usage.prompt_tokens > 80
    assert second.usage.prompt_tokens_details.cached_tokens >= first.usage.prompt_tokens - 1


def test_a_stream_ends_with_usage(client):
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == ask(client).choices[0].message.content
    assert chunks[-1].usage.completion_tokens <= 8


def test_a_json_schema_binds_the_answer_and_logprobs_come_when_asked(client):
    schema = {"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}}, "required": ["colour"]}
    form = {"type": "json_schema", "json_schema": {"name": "c", "schema": schema}}
    reply = ask(client, max_tokens=40, response_format=form)
    assert json.loads(reply.choices[0].message.content)["colour"] in ("red", "blue")
    logprobs = ask(client, max_tokens=2, logprobs=True, top_logprobs=3).choices[0].logprobs
    assert all(len(token.top_logprobs) == 3 and token.logprob <= 0 for token in logprobs.content)


def test_several_sequences_run_at_once(local_engine, loop):
    async def many():
        base = local_engine.provider().base_url
        async with openai.AsyncOpenAI(api_key=local_engine.key, base_url=base, max_retries=0) as client:
            calls = [
                client.chat.completions.create(
                    model="local", max_tokens=4, messages=[{"role": "user", "content": f"Number {number}?"}]
                )
                for number in range(6)
            ]
            return await asyncio.gather(*calls)

    assert all(reply.usage.completion_tokens >= 1 for reply in loop.run(many()))


def test_the_messages_surface_answers_the_anthropic_sdk(local_engine):
    base = local_engine.provider(dialect="anthropic").base_url
    with anthropic.Anthropic(api_key=local_engine.key, base_url=base, max_retries=0, timeout=30) as client:
        given = {"model": "local", "max_tokens": 5, "messages": [{"role": "user", "content": "Name one colour."}]}
        reply = client.messages.create(**given)
        assert reply.stop_reason in ("max_tokens", "end_turn")
        with client.messages.stream(**given) as stream:
            assert stream.get_final_message().usage.output_tokens <= 5
        counted = client.messages.count_tokens(model="local", messages=given["messages"]).input_tokens
        usage = reply.usage
        assert counted == usage.input_tokens + usage.cache_read_input_tokens


def test_a_stranger_on_the_same_machine_gets_nothing(client):
    stranger = client.with_options(api_key="guess")
    with pytest.raises(openai.AuthenticationError):
        ask(stranger)


def test_a_prompt_beyond_the_context_is_the_callers_error(client):
    with pytest.raises(openai.BadRequestError, match="context"):
        ask(client, "word " * 3000)


def test_the_provider_says_what_is_answered_natively(local_engine):
    provider = local_engine.provider()
    assert (provider.dialect, provider.surfaces, provider.local, provider.key_env) == (
        "openai",
        ("chat",),
        True,
        KEY_VARIABLE,
    )
    assert local_engine.key not in repr(provider)


def test_a_killed_child_is_started_again_on_the_same_port_and_stop_leaves_nothing(loop, model_path):
    async def life():
        engine = LocalEngine(model_path, threads=1, slots=1, ctx=256, cache_ram_mib=0)
        await engine.start()
        url, first = engine.url, engine.pid
        os.kill(first, signal.SIGKILL)
        await asyncio.to_thread(wait_until, lambda: engine.pid != first)
        assert await engine.wait_ready(20)
        health = await engine.health()
        assert (health.ready, health.restarts, engine.url) == (True, 1, url)
        assert health.pid not in (0, first)
        await engine.stop()
        assert not engine.ready
        return health.pid

    assert not running(loop.run(life()))


def test_a_killed_parent_leaves_no_orphan(model_path):
    script = textwrap.dedent(f"""
        import asyncio
        from jevons.engines.local import LocalEngine
        async def main():
            engine = LocalEngine({str(model_path)!r}, threads=1, slots=1, ctx=256, cache_ram_mib=0)
            await engine.start()
            print(engine.pid, flush=True)
            await asyncio.sleep(60)
        asyncio.run(main())
    """)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        parent.kill()
    wait_until(lambda: not running(child))
    assert not running(child)


def wait_until(true):
    deadline = time.monotonic() + 10
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_foreign_architecture_gives_llama_cpps_own_reason(loop, model_path, tmp_path):
    data = bytearray(model_path.read_bytes())
    at = data.find(b"llama")
    data[at : at + 5] = b"lloma"
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(data)
    with pytest.raises(ModelError, match=r"lloma|did not start"):
        loop.run(LocalEngine(broken, threads=1, log_path=tmp_path / "log").start())


def test_too_little_time_and_too_little_memory_are_named(loop, model_path):
    with pytest.raises(ModelError, match=r"within 0\.01 s"):
        loop.run(LocalEngine(model_path, threads=1, start_timeout_s=0.01).start())
    model = local_gguf.read(model_path)
    with pytest.raises(ModelError, match=r"needs about 563 MiB .* and 100 MiB are free"):
        check_memory(model, kv_type="f16", ctx=4096, slots=3, free=100 * 1024 * 1024)


def test_an_unknown_cache_type_is_refused(model_path):
    with pytest.raises(ModelError, match="q9"):
        LocalEngine(model_path, kv_type="q9")
