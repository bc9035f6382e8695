"""Numbers in sentences."""


def counted(number: int, singular: str, plural: str = "") -> str:
    """Returns such as `1 slice`, `1,200 slices` or, with its plural, `2 studies`."""
    return f"{number:,} {singular if number == 1 else plural or f'{singular}s'}"
