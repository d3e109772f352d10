from scripts.config_table import PROJECT, config_table, with_table


def test_the_readme_describes_every_key_as_it_is():
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert config_table() in readme, "run: python -m scripts.config_table"
    assert with_table(readme) == readme
