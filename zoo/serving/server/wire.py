"""A serialized protocol buffer before it is parsed: each message in it takes memory of its own, however short it is."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # kinds of fields on the wire; groups are tags with fields between


def count_fields(data, descriptor, most):
    """Count the fields of a message and of those inside it, as far as a limit.

    Packed numbers are one field. Two bytes can be an empty message, which takes a hundred once it is parsed.

    Args:
        data: Bytes.
        descriptor: `DESCRIPTOR` of the message.
        most: Where to stop.

    Returns:
        The number of fields; `most + 1` if there are more. What is no message is counted as far as it can be read.

    Example:

        count_fields(request.SerializeToString(), PredictRequest.DESCRIPTOR, 1000)
    """
    count, open_messages = 0, [(0, len(data), descriptor)]
    while open_messages:
        place, end, kind = open_messages.pop()
        fields = kind.fields_by_number
        try:
            while place < end:
                count += 1
                if count > most:
                    return count
                tag, place = _read(data, place)
                wire = tag & 7
                if wire == _VARINT:
                    _, place = _read(data, place)
                elif wire == _BYTES:
                    size, place = _read(data, place)
                    field = fields.get(tag >> 3)
                    if field is not None and field.message_type is not None:
                        open_messages.append((place, min(place + size, len(data)), field.message_type))
                    place += size
                else:
                    place += {_FIXED64: 8, _FIXED32: 4}.get(wire, 0)
        except IndexError:  # it ends too early, which the parser will tell
            continue
    return count


def _read(data, place):
    """A varint, and where the next begins."""
    value = shift = 0
    while (byte := data[place]) > 127:
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if shift > 63:
            raise IndexError
    return value | byte << shift, place + 1
