"""The labels of a slice, in the order that shards, networks and tables share."""

SUBTYPES = ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural")
LABELS = (*SUBTYPES, "any")
ANY = LABELS.index("any")
ANY_ALONE = (LABELS[ANY],)  # the labels of a table that does not know the kinds


def known_labels(columns: int) -> tuple[str, ...]:
    """The labels that so many columns are: all six, or `any` alone."""
    return {len(LABELS): LABELS, 1: ANY_ALONE}[columns]
