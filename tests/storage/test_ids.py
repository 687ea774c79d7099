"""New ids are UUIDs as anybody else's."""

import uuid

from storage.ids import new_id


def test_new_id_is_a_random_uuid() -> None:
    made = [new_id() for _ in range(1000)]
    assert len(set(made)) == len(made)
    for one in made:
        same = uuid.UUID(str(one))
        assert isinstance(one, uuid.UUID)
        assert (same.version, same.variant) == (4, uuid.RFC_4122)
        assert one == same
        assert hash(one) == hash(same)
        assert one.bytes == same.bytes
