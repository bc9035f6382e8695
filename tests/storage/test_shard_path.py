"""Paths of shards: what a user may give, and what is loaded for it."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.cli.test_cli import run
from tests.support.rsna_folder import write_rsna
from tfrecords_tools.errors import UsageError
from tfrecords_tools.storage.shard_path import ObjectPath, shard_path

without_extra = pytest.mark.skipif(
    find_spec("tensorflow_io") is not None, reason="tensorflow-io is here, so nothing is missing"
)


@without_extra
@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", "demo.yaml", "--shards", "s3://bucket/shards"],
        ["fit", "demo.yaml", "--set", "data.shards=s3://bucket/shards"],
        ["tune", "demo_hparams.yaml", "--shards", "s3://bucket/shards"],
    ],
)
def test_without_the_extra_an_object_store_is_refused_in_one_line(arguments):
    done = run(*arguments)
    refused(done, "s3://bucket/shards: needs the package")
    refused(done, "pip install 'ich-keras[s3]', which brings TensorFlow 2.17")


@without_extra
def test_without_the_extra_the_environments_shards_are_refused_too():
    done = run("fit", "demo.yaml", ICH_SHARDS="s3://bucket/shards")
    refused(done, "pip install 'ich-keras[s3]', which brings TensorFlow 2.17")


@pytest.mark.parametrize(
    "arguments",
    [
        ["synth", "s3://bucket/data"],
        ["convert", "s3://bucket/data"],
        ["fit", "demo.yaml", "--run", "s3://bucket/run"],
        ["predict", "run", "s3://bucket/study"],
    ],
)
def test_only_shards_can_be_on_an_object_store(tmp_path, arguments):
    refused(run(*arguments, cwd=tmp_path), "only shards can lie on an object store")
    assert not list(tmp_path.iterdir())


def test_an_address_without_a_bucket_is_refused():
    with pytest.raises(UsageError, match=r"s3:///: names no bucket; give s3://BUCKET/FOLDER"):
        shard_path("s3:///")


def test_the_parts_of_an_address():
    path = ObjectPath("s3://bucket/some") / "shards" / Path("index.csv")
    assert str(path) == "s3://bucket/some/shards/index.csv"
    assert path.name == "index.csv"
    assert str(path.parent) == "s3://bucket/some/shards"
    assert str(path.bucket) == str((path.bucket / "index.csv").parent) == "s3://bucket"


def test_a_conversion_and_its_check_on_this_machine_load_no_tensorflow(tmp_path):
    write_rsna(tmp_path / "rsna", patients=6)
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tfrecords_tools.convert import ConvertOptions, convert\n"
        "from tfrecords_tools.verify import verify\n"
        "if __name__ == '__main__':\n"
        "    root = Path(sys.argv[1])\n"
        "    options = ConvertOptions(size=32, split='0.5,0.25,0.25', workers=1)\n"
        "    convert(root / 'rsna', root / 'shards', options)\n"
        "    verify(root / 'shards')\n"
        "    assert not {'tensorflow', 'tensorflow_io'} & set(sys.modules)\n"
    )
    (tmp_path / "program.py").write_text(code)
    subprocess.run([sys.executable, tmp_path / "program.py", tmp_path], check=True)


def refused(done: subprocess.CompletedProcess, message: str) -> None:
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
