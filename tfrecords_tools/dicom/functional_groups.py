"""The header of each frame of an enhanced CT, as if it were a file of its own.

What differs between slices is in functional groups, shared or per frame (PS3.3 C.7.6.16).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag

from tfrecords_tools.dicom.header import CT_IMAGE
from tfrecords_tools.dicom.rejection import RejectedSlice, rejecting
from tfrecords_tools.dicom.values import numbers, texts

SHARED, PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
# What a frame has from these groups alone, whatever else the file holds.
PLANE = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
}
VALUES = {
    "PixelMeasuresSequence": ("PixelSpacing",),
    "PixelValueTransformationSequence": ("RescaleIntercept", "RescaleSlope", "RescaleType"),
}
REMARKS = {
    "CTReconstructionSequence": ("ConvolutionKernel",),
    # Of the files that a legacy converted CT was made of.
    "UnassignedSharedConvertedAttributesSequence": (
        *("ConvolutionKernel", "ContrastBolusAgent", "BodyPartExamined"),
    ),
    "UnassignedPerFrameConvertedAttributesSequence": (
        *("ConvolutionKernel", "ContrastBolusAgent", "BodyPartExamined"),
    ),
}


@dataclass(frozen=True, eq=False)
class FrameGroups:
    """The functional groups of a frame."""

    shared: Dataset
    own: Dataset

    def item(self, group: str) -> Dataset | None:
        """The item of a group; None if there is none."""
        items = [x for x in (_item(self.own, group), _item(self.shared, group)) if x is not None]
        if len(items) > 1:
            detail = f"{group} is both shared and per frame; readers take different ones"
            raise RejectedSlice("bad_header", detail)
        return items[0] if items else None


def frame_groups(dataset: Dataset) -> list[FrameGroups]:
    """The functional groups of each frame of an enhanced CT."""
    per_frame = _items(dataset, PER_FRAME)
    count = numbers(dataset, "NumberOfFrames")
    if not per_frame or count != (len(per_frame),):
        detail = f"{len(per_frame)} frames have functional groups; Number of Frames is {count}"
        raise RejectedSlice("bad_header", detail)
    shared = _item(dataset, SHARED) or Dataset()
    return [FrameGroups(shared, own) for own in per_frame]


def frame_dataset(dataset: Dataset, groups: FrameGroups) -> Dataset:
    """The header that a frame would have as a file of its own."""
    elements = {tag: dataset.get_item(tag, keep_deferred=True) for tag in dataset.keys()}  # noqa: SIM118 - iterating converts
    for keyword in (SHARED, PER_FRAME, "NumberOfFrames", *sum((PLANE | VALUES).values(), ())):
        elements.pop(Tag(keyword), None)
    for group, keywords in (PLANE | VALUES | REMARKS).items():
        item = groups.item(group)
        if item is None and group in PLANE:
            raise RejectedSlice("bad_header", f"{group} is missing")
        if item is not None:
            elements |= _taken(item, keywords)
    elements |= {Tag(x): _element(x, value) for x, value in _described(groups).items() if value}
    frame = Dataset(elements)
    frame.set_original_encoding(*dataset.original_encoding)
    frame.file_meta = dataset.file_meta
    return frame


def _taken(item: Dataset, keywords: Iterable[str]) -> dict[BaseTag, RawDataElement | DataElement]:
    tags = [tag for tag in map(Tag, keywords) if tag in item]
    return {tag: item.get_item(tag, keep_deferred=True) for tag in tags}


def _described(groups: FrameGroups) -> dict[str, str]:
    """What the groups say in other words than the elements of a slice; "" is nothing."""
    frame_type = groups.item("CTImageFrameTypeSequence") or Dataset()
    usage = groups.item("ContrastBolusUsageSequence") or Dataset()
    anatomy = groups.item("FrameAnatomySequence") or Dataset()
    region = _item(anatomy, "AnatomicRegionSequence") or Dataset()
    technique = texts(frame_type, "VolumeBasedCalculationTechnique")  # such as MAX_IP
    given = "YES" in texts(usage, "ContrastBolusAgentAdministered")
    return {
        "SOPClassUID": CT_IMAGE,
        "ImageType": "\\".join(texts(frame_type, "FrameType") + technique),
        "ContrastBolusAgent": "given" if given else "",
        "BodyPartExamined": "".join(texts(region, "CodeMeaning")),
    }


def _element(keyword: str, value: str) -> RawDataElement:
    content = value.encode()
    vr = dictionary_VR(keyword)
    return RawDataElement(Tag(keyword), vr, len(content), content, 0, False, True)


def _item(dataset: Dataset, keyword: str) -> Dataset | None:
    """The only item of a sequence; None if it is missing or empty."""
    items = _items(dataset, keyword)
    if len(items) > 1:
        raise RejectedSlice("bad_header", f"{keyword} has {len(items)} items, expected 1")
    return items[0] if items else None


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; the dataset stays as it was read, which pydicom would change."""
    element = dataset.get_item(keyword, keep_deferred=True)
    if element is None:
        return []
    with rejecting("bad_header", keyword):
        value = Dataset({element.tag: element})[element.tag].value
        if not isinstance(value, Sequence):
            raise TypeError("no sequence")
        return list(value)
