"""Free workers and reserved hosts, against a model that looks at everything each time."""

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from harness.pools.hosts import Hosts

NAMES, TASKS = "abcd", "xyz"


@dataclass
class Known:
    """What the model knows of a worker."""

    host: str
    task: str = ""
    busy: bool = False
    alone: bool = False


class AgainstModel(RuleBasedStateMachine):
    """Any order of calls gives what a model without any index gives."""

    @initialize()
    def begin(self):
        self.hosts = Hosts()
        self.workers: dict[int, Known] = {}
        self.wanted = self.made = 0
        self.undrained: set[str] = set()

    def note_reservations(self, before):
        """Note the hosts that were reserved without becoming idle, and have not been idle since."""
        after = self.reserved()
        self.undrained -= after
        self.undrained |= {name for name in before - after if any(w.busy and not w.alone for w in self.on(name))}
        self.undrained -= {name for name in NAMES if not any(w.busy for w in self.on(name))}

    def on(self, host):
        return [w for w in self.workers.values() if w.host == host]

    def names(self):
        return {w.host for w in self.workers.values()}

    def reserved(self):
        return self.hosts.reserved()

    def distance(self, name):
        """Return how far a host is from taking exclusive units."""
        busy = [w for w in self.on(name) if w.busy]
        return name in self.undrained, not any(w.alone for w in busy), len(busy)

    def open(self, exclusive):
        """Return the workers that could be taken."""
        found = []
        for number, worker in self.workers.items():
            there = self.on(worker.host)
            if worker.busy or any(w.alone for w in there):
                continue
            if worker.host in self.reserved():
                if exclusive and not any(w.busy for w in there):
                    found.append(number)
            elif not exclusive:
                found.append(number)
        return found

    @rule(host=st.sampled_from(NAMES))
    def add(self, host):
        self.made += 1
        before = self.reserved()
        self.hosts.add(self.made, host)
        self.workers[self.made] = Known(host)
        self.note_reservations(before)

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def remove(self, data):
        number = data.draw(st.sampled_from(sorted(self.workers)))
        before = self.reserved()
        self.hosts.remove(number)
        del self.workers[number]
        self.note_reservations(before)

    @rule(hosts=st.integers(0, 5))
    def reserve(self, hosts):
        before = self.reserved()
        far = {name: self.distance(name) for name in NAMES}
        self.hosts.reserve(hosts)
        self.wanted, after = hosts, self.reserved()
        assert before <= after or after <= before
        came, others = after - before, self.names() - after - before
        went = before - after
        assert all(far[new] <= far[other] for new in came for other in others)
        assert all(far[kept] <= far[lost] for kept in after for lost in went)
        self.note_reservations(before)

    @rule(count=st.integers(1, 4), exclusive=st.booleans(), task=st.sampled_from(TASKS))
    def take(self, count, exclusive, task):
        free = self.open(exclusive)
        taken = self.hosts.take_workers(count, exclusive, task)
        if len(free) < count:
            assert taken == []
            return
        assert len(set(taken)) == len(taken) == count
        assert set(taken) <= set(free)
        per_host = sorted((sum(self.workers[n].host == name for n in free) for name in NAMES), reverse=True)
        fewest = next(n for n in range(1, 5) if sum(per_host[:n]) >= count)
        assert len({self.workers[n].host for n in taken}) == fewest
        near = {n for n in free if self.workers[n].task == task}
        if count == 1 and not exclusive:
            assert taken[0] in near or not near
        for host in {self.workers[n].host for n in taken}:
            here = near & {n for n in free if self.workers[n].host == host}
            of_host = {n for n in taken if self.workers[n].host == host}
            assert len(here & of_host) == min(len(here), len(of_host))
        for number in taken:
            self.workers[number] = Known(self.workers[number].host, task, busy=True, alone=exclusive)

    @precondition(lambda self: any(w.busy for w in self.workers.values()))
    @rule(data=st.data())
    def release(self, data):
        number = data.draw(st.sampled_from([n for n, w in self.workers.items() if w.busy]))
        self.hosts.release_worker(number)
        self.workers[number].busy = self.workers[number].alone = False
        self.note_reservations(self.reserved())

    @invariant()
    def agrees(self):
        assert len(self.hosts) == len(self.workers)
        assert self.hosts.count() == len(self.names())
        assert len(self.reserved()) == min(self.wanted, len(self.names()))
        for exclusive in (False, True):
            assert self.hosts.idle(exclusive) == len(self.open(exclusive))
        for number, worker in self.workers.items():
            assert self.hosts.is_free(number) != worker.busy


AgainstModel.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAgainstModel = AgainstModel.TestCase


def two_hosts(each=2):
    hosts = Hosts()
    for number in range(2 * each):
        hosts.add(number, "ab"[number // each])
    return hosts


def test_units_of_a_task_return_to_its_worker():
    hosts = two_hosts()
    first, other = hosts.take_workers(1, False, "x"), hosts.take_workers(1, False, "y")
    for worker in (*first, *other):
        hosts.release_worker(worker)
    assert hosts.take_workers(1, False, "y") == other
    assert hosts.take_workers(1, False, "x") == first


def test_a_task_goes_to_a_worker_that_has_its_network_and_a_worker_holds_the_latest_few():
    hosts = two_hosts()
    (first,) = hosts.take_workers(1, False, "x", ["net 1"])
    (other,) = hosts.take_workers(1, False, "y", ["net 2"])
    assert not hosts.has_loaded(["net 1"])  # it is not idle
    for worker in (first, other):
        hosts.release_worker(worker)
    assert hosts.has_loaded(["net 1"])
    assert hosts.has_loaded(["net 9", "net 2"])
    assert hosts.has_loaded([])
    assert not hosts.has_loaded(["net 9"])

    # another task of the same network; the task itself comes before its network
    assert hosts.take_workers(1, False, "z", ["net 2"]) == [other]
    hosts.release_worker(other)
    assert hosts.take_workers(1, False, "x", ["net 2"]) == [first]
    hosts.release_worker(first)

    # three networks later the first is forgotten
    for number in range(3, 6):
        assert hosts.take_workers(1, False, "x", [f"net {number}"]) == [first]
        hosts.release_worker(first)
    assert not hosts.has_loaded(["net 1"])
    assert hosts.has_loaded(["net 5"])
    hosts.remove(first)
    assert not hosts.has_loaded(["net 5"])


def test_a_group_takes_the_workers_of_its_host_that_have_its_network():
    hosts = two_hosts(each=4)
    taken = [hosts.take_workers(1, False, f"task {n}", ["net 1" if n // 2 % 2 else "net 2"])[0] for n in range(8)]
    for worker in taken:
        hosts.release_worker(worker)
    group = hosts.take_workers(2, False, "group", ["net 1"])
    assert len({worker // 4 for worker in group}) == 1
    assert set(group) <= {worker for number, worker in enumerate(taken) if number // 2 % 2}


def test_hosts_with_workers_enough_are_reserved_first_and_replace_smaller_ones():
    hosts = Hosts()
    for number, host in enumerate(["small", "large", "large", "large", "large"]):
        hosts.add(number, host)
    hosts.take_workers(1, False, "x")
    hosts.take_workers(1, False, "x")
    hosts.take_workers(1, False, "x")
    hosts.reserve(1)
    assert hosts.reserved() == {"small"}  # nothing runs there, and one worker is enough
    hosts.reserve(1, devices=4)
    assert hosts.reserved() == {"large"}
    hosts.reserve(1, devices=2)
    assert hosts.reserved() == {"large"}
    hosts.reserve(1, devices=9)  # none has as many: what is reserved stays
    assert hosts.reserved() == {"large"}


def test_single_units_spread_over_hosts_and_groups_stay_together():
    hosts = two_hosts()
    assert {worker // 2 for worker in (*hosts.take_workers(1, False, "x"), *hosts.take_workers(1, False, "y"))} == {
        0,
        1,
    }
    assert len(hosts.take_workers(2, False, "z")) == 2  # over both hosts, where none can hold it
    hosts = two_hosts()
    (single,) = hosts.take_workers(1, False, "x")
    assert {worker // 2 for worker in hosts.take_workers(2, False, "z")} == {1 - single // 2}


def test_a_reserved_host_drains_then_takes_exclusive_units_alone():
    hosts = two_hosts()
    (busy,) = hosts.take_workers(1, False, "x")
    hosts.reserve(2)
    assert (hosts.idle(), hosts.idle(True)) == (0, 2)
    hosts.release_worker(busy)
    assert hosts.idle(True) == 4
    (alone,) = hosts.take_workers(1, True, "t")
    hosts.reserve(0)
    assert (hosts.idle(), hosts.idle(True)) == (2, 0)  # nothing else beside it, reserved or not
    hosts.release_worker(alone)
    assert (hosts.idle(), hosts.idle(True)) == (4, 0)


def test_hosts_that_come_are_reserved_until_there_are_enough():
    hosts = Hosts()
    hosts.reserve(1)
    hosts.add(1, "a")
    hosts.add(2, "b")
    assert (hosts.idle(), hosts.idle(True)) == (1, 1)
    hosts.remove(1)
    assert (hosts.idle(), hosts.idle(True)) == (0, 1)


@pytest.mark.parametrize("workers", [100, 10_000])
def test_starting_and_ending_a_unit_does_not_look_at_every_worker(workers):
    """Counted in comparisons of workers: hashing and equality are all that an index needs."""
    looked = [0]

    class Worker:
        def __hash__(self):
            looked[0] += 1
            return id(self)

    hosts = Hosts()
    for number in range(workers):
        hosts.add(Worker(), f"host {number // 8}")
    looked[0] = 0
    for number in range(100):
        (taken,) = hosts.take_workers(1, False, f"task {number % 7}")
        hosts.release_worker(taken)
    assert looked[0] < 100 * 30
