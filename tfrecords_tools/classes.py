"""The kinds of bleeding, in the order in which they stand everywhere."""

BLEEDINGS = ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural")
LABELS = (*BLEEDINGS, "any")
ANY = LABELS.index("any")
