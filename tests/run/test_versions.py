"""What a run records about the installed packages."""

from importlib.metadata import version

from ich_keras.run import versions


def test_tensorflow_is_found_under_any_of_its_names(monkeypatch):
    monkeypatch.setattr(versions, "TENSORFLOW", ("no-such-thing", "click"))
    assert versions.installed_version("tensorflow") == version("click")


def test_a_package_that_is_missing_has_no_version():
    assert versions.installed_version("no-such-thing") is None
