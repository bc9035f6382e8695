"""Which patients have hemorrhages, and which subtypes occur together."""

import numpy as np

# Two decks of twenty patients, used in turn and reshuffled each time. Dealing from decks instead of
# drawing at random gives every few dozen patients each subtype, and every few hundred their share
# of the rare ones. The counts approximate slices and overlaps of the RSNA set (Flanders et al.
# 2020), where 41 % of the studies have a hemorrhage; epidurals, there 1.6 % of the patients, are
# more frequent and smaller here.
_DECKS: tuple[tuple[tuple[str, ...], ...], ...] = (
    (
        ("epidural",),
        ("subdural",),
        ("subdural", "subarachnoid"),
        ("intraparenchymal",),
        ("intraparenchymal", "intraventricular"),
        ("intraparenchymal", "intraventricular", "subarachnoid"),
        ("intraparenchymal",),
        ("intraventricular",),
    ),
    (
        ("epidural", "subdural"),
        ("subdural",),
        ("subdural", "intraparenchymal", "subarachnoid"),
        ("intraparenchymal", "intraventricular"),
        ("intraparenchymal", "intraventricular"),
        ("intraparenchymal",),
        ("subarachnoid",),
        ("subarachnoid", "intraventricular"),
    ),
)
_DECK_SIZE = 20
_SECOND_STUDY = 12  # one patient in so many has two studies, as in the RSNA set


def subtypes_of(patient: int, seed: int) -> tuple[str, ...]:
    """The subtypes of hemorrhage of a patient; most have none."""
    deal, place = divmod(patient, _DECK_SIZE)
    deck = _DECKS[deal % len(_DECKS)]
    card = int(np.random.default_rng([seed, 1, deal]).permutation(_DECK_SIZE)[place])
    return deck[card] if card < len(deck) else ()


def study_count(patient: int) -> int:
    """The number of studies of a patient."""
    return 2 if patient % _SECOND_STUDY == 1 else 1
