"""Hemorrhages in a slice of a head."""

from dataclasses import replace

import numpy as np
import pytest

from tests.phantom.head.test_devices import layer
from tfrecords_tools.phantom.head import anatomy
from tfrecords_tools.phantom.head.extra_axial import Epidural, Hygroma, Subdural
from tfrecords_tools.phantom.head.geometry import direction
from tfrecords_tools.phantom.head.intra_axial import Intraparenchymal
from tfrecords_tools.phantom.head.lesions import Blood, paint_lesions
from tfrecords_tools.phantom.head.patient import sample_head
from tfrecords_tools.phantom.head.shapes import Ellipsoid
from tfrecords_tools.phantom.head.surfaces import inner_table

Z = 20.0


@pytest.fixture(scope="module")
def head():
    heads = (sample_head(np.random.default_rng(number)) for number in range(100))
    return replace(next(x for x in heads if 30 < x.age < 60), findings=())


@pytest.fixture(scope="module")
def points():
    plane = layer(Z)
    return replace(plane, folds=np.ones_like(plane.folds))  # no sulci


@pytest.fixture(scope="module")
def tissue(head, points):
    return anatomy.render(head, points, points, 0.0)


@pytest.fixture(scope="module")
def table(head):
    x, y, _ = inner_table(head, direction(90, 12))
    return x, y, Z


@pytest.mark.parametrize("kind", [Epidural, Subdural])
def test_a_layer_is_as_thick_as_it_should_be(kind, points, tissue, table):
    for thickness in (2.5, 5.0, 10.0):
        _, masks = paint_lesions([kind(Blood(70.0), table, 30.0, thickness)], points, tissue)
        row = masks[kind.subtype][128 + int(table[1])]
        assert abs(row.sum() * points.pixel - thickness) < 1.3


def test_bone_beside_blood_keeps_its_density(points, tissue, table):
    hu, _ = paint_lesions([Epidural(Blood(70.0), table, 30.0, 8.0)], points, tissue)
    bone = tissue.hu > 500
    np.testing.assert_allclose(hu[bone], tissue.hu[bone], atol=45)
    assert (hu[tissue.inside == 0] == tissue.hu[tissue.inside == 0]).all()


def test_a_hygroma_is_dark_and_has_no_mask(points, tissue, table):
    hu, masks = paint_lesions([Hygroma(Blood(8.0), table, 40.0, 6.0)], points, tissue)
    assert masks == {}
    assert (tissue.hu - hu).max() > 15


def test_a_hemorrhage_covers_those_painted_before(points, tissue, table):
    lesions = [Subdural(Blood(60.0), table, 30.0, 6.0), Epidural(Blood(70.0), table, 20.0, 9.0)]
    alone = paint_lesions(lesions[:1], points, tissue)[1]["subdural"]
    _, both = paint_lesions(lesions, points, tissue)
    assert (both["subdural"] + both["epidural"]).max() <= 1.001
    assert both["subdural"].sum() < 0.95 * alone.sum()


def test_small_clots_displace_nothing_and_large_ones_do():
    def clot(radius: float) -> Intraparenchymal:
        shape = Ellipsoid((25.0, 0.0, Z), (radius,) * 3)
        return Intraparenchymal(Blood(70.0), (shape,), 0.1, None)

    assert clot(2.0).push() is None
    assert clot(20.0).push().shift[0] < -3
