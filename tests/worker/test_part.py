"""The worker seen from the gateway, where there is none."""

import asyncio
import time
from pathlib import Path

import msgspec
import pytest

from jevons.cli.doctor import examine
from jevons.core.ask import Stored
from jevons.core.errors import OurError
from jevons.engines import worker_link
from jevons.gateway import worker
from jevons.gateway.house import Housekeeping
from jevons.gateway.worker import MAX_KEPT_BYTES, WorkerPart, socket_path
from jevons.settings import Database, Pages, Semantic, Settings

STORED = Stored(
    status=200, body=b"{}", content_type="application/json", model="m", usage=None, cost_nano=0, operation="o", at=0.0
)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/jevons.db"


def test_without_the_extra_the_lever_is_not_offered_and_doctor_says_so(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(worker, "installed", lambda: False)
    monkeypatch.setattr(worker_link, "installed", lambda: False)
    part = WorkerPart(Semantic(), url)
    assert not part.offered
    part.wrong("tenant", "operation")  # starts nothing: there is no loop here
    found = next(finding for finding in examine(None, {}, url) if finding.what == "semantic cache")
    assert (found.state, "embed" in found.says, found.do) == ("note", True, "pip install 'jevons[embed]'")


@pytest.mark.parametrize("enabled", [True, False])
def test_the_setting_takes_the_lever_away(url: str, enabled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "installed", lambda: True)
    settings = Settings(database=Database(url=url), semantic=Semantic(enabled=enabled), pages=Pages(enabled=False))

    async def build() -> list[str]:
        housekeeping = Housekeeping(settings, {})
        names = [lever.name for lever in housekeeping.gateway.house.levers]
        await housekeeping.stop()
        return names

    names = asyncio.run(build())
    assert ("semantic" in names) == enabled
    if enabled:
        assert names.index("semantic") == names.index("exact") + 1


def test_a_worker_that_can_not_start_makes_every_look_up_a_miss_at_once(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_url: str) -> Path:
        raise OurError("no folder")

    monkeypatch.setattr(worker, "socket_path", refuse)

    async def ask() -> WorkerPart:
        part = WorkerPart(Semantic(deadline_s=60.0), url)
        for _ in range(3):
            assert await part.find(b"{}") is None
            await asyncio.sleep(0)
            part.keep(b"{}", STORED)
        await part.stop()
        return part

    began = time.monotonic()
    part = asyncio.run(ask())
    assert time.monotonic() - began < 30.0, "nobody waited for the deadline"
    assert (part.counts["away"], part.counts["dropped"]) == (3, 3)


def test_an_answer_beyond_all_bounds_is_handed_over_as_none(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    part, sent = WorkerPart(Semantic(), url), []
    monkeypatch.setattr(part, "_send", lambda message: sent.append(message) or True)
    part.keep(b"{}", STORED)
    part.keep(b"{}", msgspec.structs.replace(STORED, body=b"x" * (MAX_KEPT_BYTES + 1)))
    assert [message.stored is None for message in sent] == [False, True]
    assert (part.counts["kept"], part.counts["dropped"]) == (1, 1)


def test_a_socket_lies_in_a_folder_of_this_user_alone(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker.tempfile, "gettempdir", lambda: str(tmp_path))
    path = socket_path(url)
    assert path == socket_path(url) != socket_path(url + "2")
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.parent.chmod(0o755)
    with pytest.raises(OurError, match="mode 700"):
        socket_path(url)
