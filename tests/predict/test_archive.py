"""The recipe for a hospital's viewer, with Orthanc as the archive."""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import highdicom as hd
import pydicom
import pytest

from ich_keras.run.shipped import find_run
from tests.support.documents import DOCS

ORTHANC = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
PATIENCE = 300  # seconds; on a busy machine a study takes two minutes
DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@pytest.fixture
def archive(tmp_path) -> Iterator[str]:
    """The address of an empty archive on this machine."""
    if ORTHANC is None or not DICOMWEB.exists():
        pytest.skip("no Orthanc here: apt-get install orthanc orthanc-dicomweb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    configuration = {
        "HttpPort": port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomServerEnabled": False,
        "StorageDirectory": str(tmp_path / "archive"),
        "StableAge": 2,  # seconds
        "Plugins": [str(DICOMWEB)],
    }
    (tmp_path / "orthanc.json").write_text(json.dumps(configuration), encoding="utf-8")
    with running([ORTHANC, str(tmp_path / "orthanc.json")]):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def running(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def wait_for(what: Callable[[], Any]) -> Any:
    """Its first result that is true, while an archive or a network starts; fails after minutes."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            if result := what():
                return result
        except OSError:  # nothing listens yet
            pass
        time.sleep(0.5)
    raise TimeoutError("the archive does not answer as expected")


@pytest.fixture
def eager_run(tmp_path) -> Path:
    """The shipped network with thresholds so low that all labels are found, and have masks."""
    run = tmp_path / "eager"
    shutil.copytree(find_run("phantom").path, run)
    for path in run.glob("fitted/*.json"):
        fitted = json.loads(path.read_text("utf-8"))
        for level in ("slice", "study"):
            for thresholds in fitted["thresholds"][level].values():
                thresholds |= dict.fromkeys(thresholds, 1e-9)
        path.write_text(json.dumps(fitted), encoding="utf-8")
    return run


@pytest.mark.integration
def test_a_study_that_arrives_is_answered_in_the_archive(archive, eager_run, realdata):
    dicomweb = pytest.importorskip(
        "dicomweb_client", reason="needs dicomweb-client: make test-slow"
    )
    client = dicomweb.DICOMwebClient(f"{archive}/dicom-web")
    files = (realdata / "neurolabusc+dcm_qa_ct" / "In" / "GE").rglob("*.dcm")
    slices = [pydicom.dcmread(x) for x in files]
    study = slices[0].StudyInstanceUID
    wait_for(lambda: client.search_for_studies() == [])
    client.store_instances(slices)
    script = DOCS / "guides" / "answer_archive.py"
    with running([sys.executable, str(script), archive, str(eager_run)]):
        wait_for(lambda: client.search_for_series(study, search_filters={"Modality": "SEG"}))
    sent = {x.Modality: x for x in client.retrieve_study(study) if x.Modality != "CT"}
    assert sent.keys() == {"SR", "SEG"}
    masks = hd.seg.Segmentation.from_dataset(sent["SEG"])
    of = {uid for _, _, uid in masks.get_source_image_uids()}
    assert of <= {x.SOPInstanceUID for x in slices}
    assert masks.pixel_array.any()
    assert sent["SR"].StudyInstanceUID == study
    assert sent["SR"].VerificationFlag == "UNVERIFIED"
