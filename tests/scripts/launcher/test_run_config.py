import tomllib

from scripts.launcher.options import Value, as_toml


def test_toml_round_trips_any_text() -> None:
    values: dict[str, Value] = {
        "a": 'quote " \\ \n\t\x7f é 🌸',
        "b": True,
        "c": -3,
        "d": 1e-05,
        "e": 2.0,
    }

    assert tomllib.loads(as_toml(values)) == values
