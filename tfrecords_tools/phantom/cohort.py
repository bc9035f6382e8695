"""Which patients bleed, and which kinds keep company."""

import numpy as np

# Two decks of twenty patients, dealt in turn, each shuffled anew. Dealing rather than drawing
# gives every few dozen patients each kind, and every few hundred their share of the rare ones.
# The counts bring slices and overlaps near those of the RSNA set (Flanders et al. 2020), where
# 41 % of the studies bleed; the epidurals, there 1.6 % of the patients, are more and smaller.
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
_SECOND_STUDY = 12  # one patient in so many is scanned twice, as in the RSNA set


def company_of(patient: int, seed: int) -> tuple[str, ...]:
    """The kinds of bleeding of a patient; none for most."""
    deal, place = divmod(patient, _DECK_SIZE)
    deck = _DECKS[deal % len(_DECKS)]
    card = int(np.random.default_rng([seed, 1, deal]).permutation(_DECK_SIZE)[place])
    return deck[card] if card < len(deck) else ()


def studies_of(patient: int) -> int:
    """How often a patient was scanned."""
    return 2 if patient % _SECOND_STUDY == 1 else 1
