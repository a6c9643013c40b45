"""What a store knows of its ranges: which slots it owns, which are on their way in, and which are left over. Pure.

Rules:

- a slot is *owned*, *staged* (its records are being copied from another store), *left* (it moved away, or its copy was
  given up, and its records aren't removed yet), or none of these: then there are no records of it;
- what is staged or left is *hidden*: nobody sees it, and it isn't counted;
- staged becomes owned when its copy is complete, or else left. Owned becomes left. Left becomes nothing of these, once
  its records are removed. Only what is nothing of these may be staged, so that a copy begins empty;
- a staging says whose records it has, and up to which group. It is saved with the records;
- what is owned may be *sealed*, while it moves away: it isn't served, and nothing changes it. Each seal has a number,
  the attempt; an older one than the last is refused. What isn't owned any more isn't sealed, either.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import msgspec
from msgspec.structs import replace

from pyshard.errors import BadRequest, shown_value
from pyshard.model.slot_ranges import EVERYTHING, SlotRanges, common, in_ranges, shown, union, without

#: The name of all that is left over, beside the names of stagings, none of which is empty.
LEFT = ""


class Origin(msgspec.Struct, array_like=True, frozen=True):
    """Whose groups a store, or a part of it, has absorbed, and how far.

    :param identity: of the other store.
    :param incarnation: of that, too; see `pyshard.storage.following_interface.IFollowedStore`.
    :param sequence: all its groups up to this number are absorbed; 0: the copy isn't complete yet.
    """

    identity: str
    incarnation: str
    sequence: int = 0


#: In place of an origin: the store follows nobody any more.
NOBODY = Origin("", "")


class Staging(msgspec.Struct, array_like=True, frozen=True):
    """Ranges whose records are being copied from another store.

    :param sealed: the last attempt whose seal is known: what there was before that seal is absorbed; 0: none is.
    """

    ranges: SlotRanges
    origin: Origin
    sealed: int = 0


class Seal(msgspec.Struct, array_like=True, frozen=True):
    """Ranges that move away, and are changed no more."""

    ranges: SlotRanges
    attempt: int


class StoreRanges(msgspec.Struct, array_like=True, frozen=True, dict=True):  # a dict for what is found once
    """The slots of a store, by what they are.

    :param owned: what it serves, but for what is sealed.
    :param staged: name → what is being copied.
    :param left: what is left over.
    :param sealed: name of a move → what is sealed for it.
    """

    owned: SlotRanges = EVERYTHING
    staged: Mapping[str, Staging] = {}
    left: SlotRanges = ()
    sealed: Mapping[str, Seal] = {}

    @cached_property
    def served(self) -> SlotRanges:
        """What operations may go to. It is asked for each batch, and compared as an object."""
        if not self.sealed:
            return self.owned
        return without(self.owned, union(*(seal.ranges for seal in self.sealed.values())))

    @property
    def hidden(self) -> SlotRanges:
        """What nobody sees, though it may have records."""
        return union(self.left, *(staging.ranges for staging in self.staged.values()))

    @property
    def withholds_any(self) -> bool:
        """Whether there may be records that no operation goes to."""
        return bool(self.left or self.staged or self.sealed)

    def hides(self, slot: int) -> str | None:
        """The name of the staging that has a slot, `LEFT`, or None: it isn't hidden."""
        if self.left and in_ranges(slot, self.left):
            return LEFT
        for name, staging in self.staged.items():  # a loop: this is asked for each row of a copy
            if in_ranges(slot, staging.ranges):
                return name
        return None

    def given_up(self, ranges: SlotRanges) -> SlotRanges:
        """What is owned now, and isn't if exactly these ranges are."""
        return without(self.owned, ranges)

    def owning(self, ranges: SlotRanges) -> StoreRanges:
        """It owns exactly these ranges; the stagings that lie in them are owned, what they lack is left.

        :raises BadRequest: some of that is left over, or its copy isn't complete.
        """
        wanted = union(ranges)
        if overlap := common(wanted, self.left):
            raise BadRequest(f"owned: found {shown(overlap)}, of which old records are being removed; try again later")
        staged = dict(self.staged)
        for name, staging in self.staged.items():
            if not common(wanted, staging.ranges):
                continue
            if without(staging.ranges, wanted) or not staging.origin.sequence:
                raise BadRequest(
                    f"owned: found {shown(wanted)}, which has a part of {shown_value(name)}, a copy of "
                    f"{shown(staging.ranges)} that isn't complete; expected all of a complete copy, or nothing of it"
                )
            del staged[name]
        sealed = {
            name: Seal(still, seal.attempt)
            for name, seal in self.sealed.items()
            if (still := common(seal.ranges, wanted))
        }
        return StoreRanges(wanted, staged, union(self.left, without(self.owned, wanted)), sealed)

    def staging(self, name: str, ranges: SlotRanges, origin: Origin) -> StoreRanges:
        """Some ranges are being copied; a complete copy that is asked for again is there already.

        :param origin: with the number 0.
        :raises BadRequest: the name is that of another copy, or of one that isn't complete, or the ranges aren't free.
        """
        new, known = Staging(union(ranges), Origin(origin.identity, origin.incarnation)), self.staged.get(name)
        if not name or not new.ranges:
            raise BadRequest("staged: found no name or no range, expected both")
        if known is not None:
            same = (known.origin.identity, known.origin.incarnation) == (origin.identity, origin.incarnation)
            if known.ranges != new.ranges or not same:
                raise BadRequest(f"staged: found another copy of the name {shown_value(name)}; give that up first")
            if not known.origin.sequence:  # another copy may lack what this one has got already
                raise BadRequest(f"staged: found that the copy {shown_value(name)} was begun before; give it up first")
            return self
        if overlap := common(new.ranges, union(self.owned, self.hidden)):
            raise BadRequest(f"staged: found {shown(overlap)}, which this store has, expected ranges that it hasn't")
        return replace(self, staged={**self.staged, name: new})

    def absorbed(self, name: str, sequence: int, source: StoreRanges | None = None) -> StoreRanges:
        """A staging has all groups up to a number.

        :param source: the other store's ranges, as the last of these groups says; None: it says nothing of them.
        """
        ranges, origin = self.staged[name].ranges, self.staged[name].origin
        seal = None if source is None else source.sealed.get(name)
        sealed = self.staged[name].sealed if seal is None else seal.attempt
        staging = Staging(ranges, Origin(origin.identity, origin.incarnation, sequence), sealed)
        return replace(self, staged={**self.staged, name: staging})

    def unstaged(self, name: str) -> StoreRanges:
        """A copy is given up: what it has is left over. One that isn't there is given up already."""
        if name not in self.staged:
            return self
        staged = {other: staging for other, staging in self.staged.items() if other != name}
        return replace(self, staged=staged, left=union(self.left, self.staged[name].ranges))

    def trimmed(self) -> StoreRanges:
        """The records of all that was left over are removed."""
        return replace(self, left=())

    def sealing(self, name: str, ranges: SlotRanges, attempt: int) -> StoreRanges:
        """Some ranges are sealed for a move; an attempt that is known already is there.

        :raises BadRequest: it is older than the last one, the store doesn't own the ranges, or another move has some.
        """
        wanted, known = union(ranges), self.sealed.get(name)
        if known is not None and (attempt < known.attempt or known.ranges != wanted):
            raise BadRequest(
                f"sealed: found attempt {attempt} for {shown(wanted)}, where {shown_value(name)} has attempt "
                f"{known.attempt} for {shown(known.ranges)}; expected the same ranges, and no older attempt"
            )
        others = union(*(seal.ranges for other, seal in self.sealed.items() if other != name))
        if not name or not wanted or without(wanted, self.owned) or common(wanted, others):
            raise BadRequest(
                f"sealed: found {shown(wanted)} for {shown_value(name)}, expected what this store owns, and what isn't "
                "sealed for another move"
            )
        return replace(self, sealed={**self.sealed, name: Seal(wanted, attempt)})

    def unsealed(self, name: str) -> StoreRanges:
        """A move's seal is taken back. One that isn't there is taken back already."""
        return replace(self, sealed={other: seal for other, seal in self.sealed.items() if other != name})
