"""The checks of `pyshard doctor` on a cluster's daemons as a whole: what was gathered in, findings out. Pure."""

from __future__ import annotations

from collections import Counter

from pyshard.cli.doctor.evidence import Evidence, OtherTold
from pyshard.cli.doctor.findings import Finding, failed, found_or_passed, passed, warned
from pyshard.client_core.unreached_daemon import parted
from pyshard.errors import of_peer
from pyshard.model.range_moves import Phase

_AVAILABILITY = 'the documentation, "Availability"'

_SKEW = 1.0  # seconds that a clock may be off
_ONE_SIDED = 2.0  # times the mean of the other shards: documents of a shard
_ENOUGH = 1000  # documents for which that is looked at
_SILENT = 5.0  # seconds without a word of a replica
_DAY = 86_400
_SOON = 30 * _DAY  # seconds before a certificate expires


def map_found(found: Evidence) -> list[Finding]:
    """Whether anybody gave the map."""
    if found.state is None:
        cure = "start the bootstrap, or give its address with --bootstrap; nothing else of the cluster was checked"
        return [failed("map", "", parted(found.map_error)[0], cure)]
    shards = len(found.state.map.shards)
    return [passed("map", f"cluster {found.state.cluster}, epoch {found.state.epoch}, {_many(shards, 'shard')}")]


def addresses_resolve(found: Evidence) -> list[Finding]:
    """Whether each host's name can be resolved here."""
    cure = (
        "correct the host in the config or in --bootstrap, or give it an address in DNS or in this machine's /etc/hosts"
    )
    wrong = [
        failed("addresses", one.name, f"{one.host} can't be resolved: {one.error}", cure)
        for one in found.addresses
        if one.error
    ]
    resolved = sum(not one.error for one in found.addresses)
    return found_or_passed("addresses", wrong, f"{_many(resolved, 'host')} resolved") if found.addresses else []


def daemons_answer(found: Evidence) -> list[Finding]:
    """Whether each daemon can be reached, and answers."""
    cure = (
        "start it if it doesn't run. If another daemon answers there, correct the address, or start it with its own "
        'data directory; else see its log, and whether a firewall is between: the documentation, "Troubleshooting"'
    )
    wrong = [
        failed("reach", one.name, parted(one.error)[0].removeprefix(f"{one.name} "), cure)
        for one in found.daemons
        if one.told is None
    ]
    slowest = max((one.answered - one.asked for one, _ in found.telling), default=0.0)
    text = f"{_many(len(found.telling), 'daemon')} answered, the slowest after {slowest * 1000:.0f} ms"
    return found_or_passed("reach", wrong, text) if found.daemons else []


def identities_agree(found: Evidence) -> list[Finding]:
    """Whether each shard has the store that the map has for it."""
    wrong = []
    for one, own, told in found.shards:
        if not own.identity:
            cure = "start the shard, with its data directory if it has one; the bootstrap's log says what it refuses"
            wrong.append(failed("identities", one.name, "the bootstrap has found no store for it yet", cure))
        elif told.id != own.identity:
            text = f"it has the store {told.id or 'without an id'}, and the map has {own.identity}"
            wrong.append(failed("identities", one.name, text, "start it with the data directory that it had before"))
    return found_or_passed("identities", wrong, "each shard has its own store") if found.shards else []


def epochs_agree(found: Evidence) -> list[Finding]:
    """Whether each shard has the bootstrap's epoch."""
    if found.state is None or not found.shards:
        return []
    epoch = max([found.state.epoch, *(told.epoch or 0 for one, told in found.telling if one.own is None)])
    cure = "the bootstrap tells it within seconds; if it stays so, the bootstrap's log has the reason"
    wrong = [
        failed("epochs", one.name, f"it has epoch {told.epoch or 'none'}, and the cluster {epoch}", cure)
        for one, _, told in found.shards
        if told.epoch != epoch
    ]
    return found_or_passed("epochs", wrong, f"all shards have epoch {epoch}")


def versions_agree(found: Evidence) -> list[Finding]:
    """Whether all daemons run one version of pyshard, which is this command's."""
    if not found.telling:
        return []
    counts = Counter(told.version or "unknown" for _, told in found.telling)
    usual = counts.most_common(1)[0][0]
    cure = 'install the version there that most run, and restart it: the documentation, "Upgrading"'
    wrong = [
        warned("versions", one.name, f"it runs pyshard {told.version or 'unknown'}, most run {usual}", cure)
        for one, told in found.telling
        if (told.version or "unknown") != usual
    ]
    if usual != found.version:
        cure = "install the version of the daemons here, with pip"
        wrong.append(warned("versions", "this command", f"it is pyshard {found.version}, the daemons {usual}", cure))
    return found_or_passed("versions", wrong, f"all run pyshard {usual}")


def clocks_agree(found: Evidence) -> list[Finding]:
    """Whether the wall clocks of the daemons go with this machine's. Times to live go by them."""
    known = [(one, told.time) for one, told in found.telling if told.time is not None]
    wrong = []
    for one, time in known:
        off = skew(time, one.asked, one.answered)
        if abs(off) > _SKEW:
            text = f"its clock is {abs(off):.1f} s {'ahead of' if off > 0 else 'behind'} this machine's"
            wrong.append(warned("clocks", one.name, text, "have both machines keep time by NTP; see 'timedatectl'"))
    return found_or_passed("clocks", wrong, f"no clock is more than {_SKEW:g} s off") if known else []


def skew(time: float, asked: float, answered: float) -> float:
    """How many seconds a clock is off at the least; above 0: it is ahead.

    :param time: what it showed, at some moment between `asked` and `answered`.
    """
    return time - answered if time > answered else min(0.0, time - asked)


def documents_spread(found: Evidence) -> list[Finding]:
    """Whether no shard has far more documents than the others have on average."""
    owning = [(one.name, own.name, told.documents) for one, own, told in found.shards if own.ranges]
    total = sum(documents for _, _, documents in owning)
    if len(owning) < 2 or total < _ENOUGH:
        return [passed("spread", "too few shards or documents to tell")] if owning else []
    fewest = min(owning, key=lambda shard: shard[2])[1]
    wrong = []
    for name, shard, documents in owning:
        mean = (total - documents) / (len(owning) - 1)
        if documents > _ONE_SIDED * mean:
            text = f"it has {documents:,} documents, and the others have {mean:,.0f} each on average"
            cure = f"if it isn't meant so, have half of them moved: 'pyshard split {shard} --to {fewest}'"
            wrong.append(warned("spread", name, text, cure))
    most = max(documents for _, _, documents in owning)
    return found_or_passed("spread", wrong, f"the largest of {len(owning)} shards has {most:,} of {total:,} documents")


def moves_go_on(found: Evidence) -> list[Finding]:
    """Whether no move is stuck, paused, or was given up for a failure."""
    if found.moves is None:
        why = found.moves_error
        return (
            [warned("moves", "", f"they aren't known: {why}", "'pyshard jobs' asks the bootstrap again")] if why else []
        )
    wrong = []
    for move in found.moves:
        name = f"move {move.number} from {move.source} to {move.target}"
        if move.over and move.phase is Phase.CANCELLED and move.why and "operator" not in move.why:
            cure = (
                "when that is mended, 'pyshard apply', 'move' or 'split' begins it again: the documentation, "
                '"Growing and shrinking"'
            )
            wrong.append(warned("moves", name, f"it was cancelled: {move.why}", cure))
        elif not move.over and move.error:
            cure = f"it goes on when that is mended; 'pyshard jobs cancel {move.number}' gives it up"
            wrong.append(failed("moves", name, f"it doesn't go on: {move.error}", cure))
        elif text := move.stall:
            cure = f"the logs of both shards say more; 'pyshard jobs cancel {move.number}' gives it up"
            wrong.append(warned("moves", name, text, cure))
        elif not move.over and move.paused:
            wrong.append(
                warned("moves", name, "it is paused", f"'pyshard jobs resume {move.number}' when it may go on")
            )
    going = sum(not move.over for move in found.moves)
    return found_or_passed("moves", wrong, f"{_many(going, 'move')} under way" if going else "nothing moves")


def state_is_kept(found: Evidence) -> list[Finding]:
    """Whether the bootstrap can use the place where the cluster's state is kept."""
    known = [(one, told.state_store) for one, told in found.telling if told.state_store is not None]
    cure = (
        "the data is served meanwhile, and the cluster can't be changed; what to look at: the documentation, \"Where "
        "the "
        "cluster's state is kept\""
    )
    wrong = [
        failed(
            "state", one.name, f"{of_peer(kept.name)} isn't of use for {kept.away:.0f} s: {of_peer(kept.error)}", cure
        )
        for one, kept in known
        if kept.error
    ]
    return found_or_passed("state", wrong, "the cluster's state can be changed") if known else []


def replicas_are_there(found: Evidence) -> list[Finding]:
    """Whether all replicas have all documents, on machines of their own, and none falls behind."""
    if found.state is None:
        return []
    groups = [(shard, shard.group) for shard in found.state.map.shards if shard.group is not None]
    told = {own.name: told.replica for _, own, told in found.shards if told.replica is not None}
    wrong = []
    for shard, group in groups:
        name, members = f"shard {shard.name!r}", len(group.members)
        others = {other.address: other for other in told[shard.name].others} if shard.name in told else {}
        text = f"{members} of {len(group.replicas)} replicas have all documents"
        if members < group.least:
            cure = f"start the others ('pyshard replica list'), or lower min_replicas: {_AVAILABILITY}"
            wrong.append(failed("replicas", name, f"{text}, and it takes no changes below {group.least}", cure))
        elif members < len(group.replicas):
            lacking = ", ".join(_state_of(address, others.get(address)) for address in group.learners)
            cure = f"start it, or see its log; a copy takes its time: {_AVAILABILITY}"
            wrong.append(warned("replicas", name, f"{text}; not so {lacking}", cure))
        if len(group.replicas) > 1 and len({replica.host for replica in group.replicas}) == 1:
            cure = f"give each a machine of its own in the config: {_AVAILABILITY}"
            wrong.append(warned("replicas", name, f"all its replicas are on {group.replicas[0].host}", cure))
    count = sum(len(group.replicas) for _, group in groups)
    text = f"all {count} replicas have all documents" if groups else "no shard has several"
    return found_or_passed("replicas", wrong, text)


def _state_of(address: str, told: OtherTold | None) -> str:
    if told is None:
        return address
    if told.silent > _SILENT:
        return f"{address} (silent for {told.silent:.0f} s)"
    return f"{address} ({'needs a copy' if told.needs_copy else f'{told.groups_behind:,} groups behind'})"


def certificates_last(found: Evidence) -> list[Finding]:
    """Whether no certificate expires soon. Nothing is said when none was seen: other checks say why."""
    wrong = []
    ends = [(one.name, one.certificate_end) for one in found.addresses if one.certificate_end is not None]
    if found.own_certificate_end is not None:
        ends.append((found.own_certificate, found.own_certificate_end))
    cure = 'renew it; daemons read new files after SIGHUP: the documentation, "TLS", "Renewal"'
    for name, end in ends:
        days = (end - found.now) / _DAY
        if end <= found.now:
            wrong.append(failed("certificates", name, f"it expired {-days:.0f} days ago", cure))
        elif end - found.now < _SOON:
            wrong.append(warned("certificates", name, f"it expires in {days:.0f} days", cure))
    cure = (
        'have it show a certificate for its host, of the authority in --tls-ca: the documentation, "TLS", "When it '
        "doesn't "
        'work"'
    )
    wrong += [
        failed("certificates", one.name, one.certificate_error, cure)
        for one in found.addresses
        if one.certificate_error
    ]
    if wrong or not ends:
        return wrong
    first = min(end for _, end in ends)
    text = f"the first of {_many(len(ends), 'certificate')} expires in {(first - found.now) / _DAY:.0f} days"
    return [passed("certificates", text)]


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


#: All checks of the cluster, in the order in which they are shown.
CLUSTER_CHECKS = (
    map_found,
    addresses_resolve,
    daemons_answer,
    identities_agree,
    epochs_agree,
    versions_agree,
    clocks_agree,
    documents_spread,
    moves_go_on,
    state_is_kept,
    replicas_are_there,
    certificates_last,
)
