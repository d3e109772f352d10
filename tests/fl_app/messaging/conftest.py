"""Asserts of the cases for Flower say what they compared."""

import pytest

pytest.register_assert_rewrite("tests.support.flower")
