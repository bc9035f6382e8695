"""The labels of a slice, in the order that shards, networks and tables share."""

SUBTYPES = ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural")
LABELS = (*SUBTYPES, "any")
ANY = LABELS.index("any")
