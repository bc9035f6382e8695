"""Answers the studies that arrive in Orthanc, and sends report and masks back through DICOMweb.

python answer_archive.py http://127.0.0.1:8042 RUN
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pydicom
import requests
from dicomweb_client import DICOMwebClient

SENT = ("series_1_report.dcm", "series_1_masks.dcm")  # of the judged series


def main(orthanc: str, run: str) -> None:
    archive, seen = DICOMwebClient(f"{orthanc}/dicom-web"), 0
    while True:
        studies, seen = arrived(orthanc, seen)
        for study in studies:
            if not is_answered(archive, study):
                answer(archive, study, run)
        time.sleep(1)


def arrived(orthanc: str, seen: int) -> tuple[list[str], int]:
    """The UIDs of the studies that were completed since the change `seen`, and the last change."""
    answered = requests.get(f"{orthanc}/changes", {"since": seen, "limit": 100}, timeout=20)
    page = answered.json()
    stable = [x["ID"] for x in page["Changes"] if x["ChangeType"] == "StableStudy"]
    found = (requests.get(f"{orthanc}/studies/{x}", timeout=20) for x in dict.fromkeys(stable))
    uids = [x.json()["MainDicomTags"]["StudyInstanceUID"] for x in found if x.ok]  # not deleted
    return uids, page["Last"]


def is_answered(archive: DICOMwebClient, study: str) -> bool:
    """Whether it has a report; sending one makes the study arrive again."""
    wanted = {"Modality": "SR", "Manufacturer": "ich-keras"}
    return bool(archive.search_for_series(study, search_filters=wanted))


def answer(archive: DICOMwebClient, study: str, run: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        slices, out = Path(folder, "slices"), Path(folder, "out")
        slices.mkdir()
        for number, dataset in enumerate(archive.iter_study(study)):
            dataset.save_as(slices / f"{number}.dcm")
        command = [sys.executable, "-m", "ich_keras", "predict", run, slices, "--dicom"]
        if subprocess.run([*command, "--out", out], check=False).returncode:
            print(f"{study}: not answered")  # such as a study of another modality
            return
        made = [out / "dicom" / "study_001" / name for name in SENT]
        archive.store_instances([pydicom.dcmread(x) for x in made if x.exists()], study)
        print(f"{study}: answered")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python answer_archive.py http://ADDRESS:PORT RUN")
    main(*sys.argv[1:])
