"""The file of served models: what is written is read again, and what can't be served is refused with its place."""

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jevons.core.errors import SettingsError
from jevons.engines import served
from jevons.engines.served import Served

paths = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=30)


@settings(max_examples=25)
@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9.-]{2,9}", fullmatch=True).filter(lambda n: n not in served.RESERVED),
        paths,
        max_size=4,
    )
)
def test_what_is_written_is_read_again(tmp_path_factory, names):
    file = tmp_path_factory.mktemp("served") / "models.toml"
    models = {name: Served(path=path, usd_per_mtok_in=0.25) for name, path in names.items()}
    served.write(models, file)
    assert served.read(file) == models
    assert set(tomllib.loads(file.read_text(encoding="utf-8")).get("models", {})) == set(names)
    assert [path.name for path in file.parent.iterdir()] == ["models.toml"]


def test_no_file_means_no_models(tmp_path):
    assert served.read(tmp_path / "none.toml") == {}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("models = 3", "object"),
        ("[models.Small]\npath='x'", "no name"),
        ("[models.local]\npath='x'", "no name"),
        ("[models.a]\npath='x'\nkv_type='q9'", "kv_type"),
        ("[models.a]\npath='x'\nslots=0", "slots"),
        ("[models.a]\npath='x'\nusd_per_mtok_in=-1.0", "below 0"),
        ("[models.a]\npath='x'\nspeed=1", "speed"),
        ("[models.a", "read"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(tmp_path, text, what):
    file = tmp_path / "models.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=what) as raised:
        served.read(file)
    assert str(file) in raised.value.message
