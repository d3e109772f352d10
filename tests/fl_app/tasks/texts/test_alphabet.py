"""Characters become numbers and back; nobody's text decides which."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fl_app.core.errors import ConfigError, UserError
from fl_app.tasks.texts.alphabet import OTHER, Alphabet, alphabet, saved_alphabet


@pytest.mark.parametrize(("name", "size"), [("ascii", 97), ("latin", 199), ("bytes", 256)])
def test_an_alphabet_has_a_fixed_size(name, size):
    assert alphabet(name).size == size


def test_the_numbers_are_those_of_the_stated_characters():
    assert alphabet("ascii").encode("\n ~A").tolist() == [1, 2, 96, 35]
    assert alphabet("bytes").encode("Aé").tolist() == [0x41, 0xC3, 0xA9]


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E) | st.just("\n")))
@pytest.mark.parametrize("name", ["ascii", "latin", "bytes"])
def test_a_text_of_known_characters_comes_back(name, text):
    letters = alphabet(name)

    numbers = letters.encode(text)

    assert numbers.dtype == torch.int16
    assert letters.decode(numbers) == text
    assert letters.unknown(numbers) == 0


@given(st.text())
@pytest.mark.parametrize("name", ["ascii", "latin", "bytes"])
def test_any_text_has_numbers_below_the_size(name, text):
    numbers = alphabet(name).encode(text)

    assert all(0 <= number < alphabet(name).size for number in numbers.tolist())


def test_what_an_alphabet_does_not_have_is_one_other_character():
    letters = alphabet("ascii")

    numbers = letters.encode("aé漢🙂b")

    assert numbers.tolist()[1:4] == [OTHER] * 3
    assert letters.unknown(numbers) == 3
    assert letters.decode(numbers) == "a\ufffd\ufffd\ufffdb"
    assert alphabet("latin").unknown(alphabet("latin").encode("aé漢")) == 1


def test_what_typesetting_does_is_undone():
    letters = alphabet("ascii")

    numbers = letters.encode("\ufeff“It’s” – a\u00a0b…\r\nnext\rlast\tone")

    assert letters.decode(numbers) == '"It\'s" - a b...\nnext\nlast one'


def test_an_accent_of_its_own_is_part_of_its_letter():
    assert alphabet("latin").decode(alphabet("latin").encode("e\u0301")) == "é"


@pytest.mark.parametrize("name", ["ascii", "latin", "bytes"])
def test_a_saved_alphabet_is_the_same(name):
    assert saved_alphabet(alphabet(name).metadata()) == alphabet(name)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"alphabet": "ascii"},
        {"alphabet": "ascii", "characters": "not JSON"},
        {"alphabet": "ascii", "characters": '""'},
        {"alphabet": "ascii", "characters": '"aa"'},
        {"alphabet": "bytes", "characters": '"ab"'},
    ],
)
def test_a_saved_alphabet_that_is_damaged_is_refused(metadata):
    with pytest.raises(UserError, match="alphabet"):
        saved_alphabet(metadata)


def test_a_name_that_is_not_known_is_refused_with_those_that_are():
    with pytest.raises(ConfigError, match=r"alphabet = 'greek' .* ascii, latin, bytes"):
        alphabet("greek")


def test_the_last_known_character_is_not_mistaken_for_other():
    letters = Alphabet("mine", "ab")

    assert letters.encode("bc").tolist() == [2, OTHER]
