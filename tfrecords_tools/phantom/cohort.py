"""Which patients have hemorrhages, and which subtypes occur together."""

import numpy as np

from tfrecords_tools.phantom.head.story import Cause

# Four decks of twenty patients, used in turn and reshuffled each time. Dealing from decks instead
# of drawing at random gives every few dozen patients each subtype, and every few hundred their
# share of the rare ones. The counts approximate slices and overlaps of the RSNA set (Flanders et
# al. 2020), where 41 % of the studies have a hemorrhage; epidurals, there 1.6 % of the patients,
# are more frequent here.
_E, _P, _V, _A, _S = (
    "epidural",
    "intraparenchymal",
    "intraventricular",
    "subarachnoid",
    "subdural",
)
_DECKS: tuple[tuple[tuple[str, ...], ...], ...] = (
    ((_E,), (_S,), (_S, _A), (_P,), (_P, _V), (_P, _V, _A), (_S, _P, _A), (_V,)),
    ((_E, _S), (_S,), (_S, _P, _A), (_P, _V), (_P,), (_A, _P), (_A, _V), (_S, _P)),
    ((_E, _P, _A), (_S,), (_S,), (_A, _P), (_P, _V), (_S, _P, _V, _A), (_P,), (_S, _P, _A)),
    ((_E,), (_S,), (_S, _A), (_P,), (_P, _V), (_P,), (_A,), (_P, _V, _A), (_S,)),
)
_DECK_SIZE = 20
_SECOND_STUDY = 12  # one patient in so many has two studies, as in the RSNA set


def subtypes_of(patient: int, seed: int) -> tuple[str, ...]:
    """The subtypes of hemorrhage of a patient; most have none."""
    deal, place = divmod(patient, _DECK_SIZE)
    deck = _DECKS[deal % len(_DECKS)]
    card = int(np.random.default_rng([seed, 1, deal]).permutation(_DECK_SIZE)[place])
    return deck[card] if card < len(deck) else ()


def sample_cause(rng: np.random.Generator, age: float, subtypes: tuple[str, ...]) -> Cause:
    """Why a patient is scanned.

    Children and most epidurals suffered a blow; hemorrhages of brain and ventricles alone are
    mostly those of disease. Two in five patients without hemorrhage suffered a blow too.
    """
    if rng.random() < (0.06 if subtypes else 0.03):
        return "operation"
    trauma = 0.9 if age < 18 else 0.6 if age < 60 else 0.5
    if not subtypes:
        trauma = 0.6 if age < 18 else 0.4
    elif "epidural" in subtypes:
        trauma = 0.97
    elif not {"subdural", "subarachnoid"} & set(subtypes):
        trauma *= 0.45
    return "trauma" if rng.random() < trauma else "disease"


def study_count(patient: int) -> int:
    """The number of studies of a patient."""
    return 2 if patient % _SECOND_STUDY == 1 else 1
