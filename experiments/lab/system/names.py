"""Names that users give, of files say, as text that is safe to print, and as part of a file's name."""

# In bytes, for file systems count them: what the longest file name adds leaves room for no more where names
# have at most 143 bytes, as in encrypted home folders. (Elsewhere it is 255.)
MOST_BYTES = 40


def printable(text: str) -> str:
    r"""The text on one line, in characters that every encoding of Unicode has.

    Bytes that are no UTF-8, and characters that would move the cursor, are written as escapes.

    >>> print(printable("donn\udce9es\n"))
    donn\xe9es\n
    """
    return "".join(one if one.isprintable() else _escaped(one) for one in text)


def file_part(name: str) -> str:
    """The name as part of a file's name: short, and without what shells and file systems take as a sign.

    Two names may become the same: something else has to tell their files apart.

    >>> file_part("-my data[v2]")
    'my_data_v2_'
    """
    kept = "".join(one if _is_safe(one) else "_" for one in name).lstrip("-.")
    return kept.encode()[:MOST_BYTES].decode(errors="ignore") or "data"


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # how Python hands on a byte that it could not decode
        return f"\\x{ord(character) - 0xDC00:02x}"
    return ascii(character)[1:-1]


def _is_safe(character: str) -> bool:
    if character.isascii():
        return character.isalnum() or character in "-._+"
    return character.isprintable()
