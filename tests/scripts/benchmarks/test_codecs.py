import pytest

from scripts.benchmarks.codecs import (
    CODECS,
    CodecRow,
    codec_models,
    codecs_as_markdown,
    measure_codecs,
)
from strategies.registry import build_part


@pytest.mark.parametrize("name", CODECS)
def test_codecs_are_called_what_the_run_config_calls_them(name: str):
    assert build_part("codec", name) == CODECS[name]


def test_every_codec_is_measured_and_shown():
    rows = measure_codecs("a small model", [(40, 30), (7,)], repeats=1)

    assert [row.codec for row in rows] == list(CODECS)
    plain, half = rows[0], rows[1]
    assert (plain.bytes, plain.error) == (2 * 128 + 4 * 1207, 0)
    assert (half.bytes, 0 < half.error < 2**-11) == (128 + 2 * 1207 + 1, True)
    table = codecs_as_markdown(rows)
    assert table.count("\n") == 2 + len(CODECS)
    assert "| identity | 5,084 | 1.0 | 0 |" in table


def test_what_is_saved_pays_for_the_work():
    times = {"encode": 1.0, "encode_with_feedback": 2.0, "decode": 3.0, "spread": 1.0}
    plain = CodecRow("t", "identity", bytes=1000, error=0, **times)
    lossy = CodecRow("t", "lossy", bytes=100, error=0.5, **times)

    # 8,000 and 800 bits; the residual costs the lossy one a second more.
    assert plain.seconds(1000) == 1 + 8 + 3
    assert lossy.seconds(1000) == 2 + 0.8 + 3
    assert "| 10.0 |" in codecs_as_markdown([plain, lossy])  # times fewer bytes


def test_quick_means_one_model():
    assert list(codec_models(quick=True)) == ["SimpleCNN"]
    assert list(codec_models(quick=False)) == ["SimpleCNN", "25M parameters"]
