"""Draws the hemorrhages of a patient, in the places that their cause gives them."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tfrecords_tools.phantom.head import extra_axial_sampling, intra_axial_sampling
from tfrecords_tools.phantom.head.lesions import Lesion
from tfrecords_tools.phantom.head.patient import Head
from tfrecords_tools.phantom.head.story import Story

Sampler = Callable[[np.random.Generator, Head, Story], Iterator[Lesion]]

# In the order in which they are painted: what presses on the brain lies over what is in it.
_SAMPLERS: dict[str, Sampler] = {
    "subarachnoid": intra_axial_sampling.subarachnoid,
    "intraparenchymal": intra_axial_sampling.intraparenchymal,
    "intraventricular": intra_axial_sampling.intraventricular,
    "subdural": extra_axial_sampling.subdurals,
    "epidural": extra_axial_sampling.epidurals,
}


def sample_lesions(
    rng: np.random.Generator, head: Head, subtypes: Sequence[str], story: Story
) -> tuple[Lesion, ...]:
    """Draws one or several hemorrhages per subtype, and hygromas."""
    lesions: list[Lesion] = []
    for subtype, sampler in _SAMPLERS.items():
        if subtype in subtypes:
            lesions += sampler(rng, head, story)
    if not {"epidural", "subdural"} & set(subtypes):
        lesions += extra_axial_sampling.hygromas(rng, head, story)
    return tuple(lesions)
