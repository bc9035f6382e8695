"""A real head with made-up predictions."""

import pytest

from ich_keras.data.studies import find_studies
from ich_keras.predict.dicom.sources import PredictedSlice
from tests.support.predicted_slices import predicted


@pytest.fixture
def head(realdata) -> list[PredictedSlice]:
    (study,), _ = find_studies([realdata / "neurolabusc+dcm_qa_ct" / "In" / "GE"])
    read, _ = study.series[0].read()
    return predicted(read[:6])
