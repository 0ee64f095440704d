#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use super::{Check, Failure, Verdict, state::State};

/// How soon a check is repeated that failed before it was ever passed, because whoever binds a VIP or starts an application
/// wants its first connections soon; and one that fails while another check of the same real server does.
const EAGER: Duration = Duration::from_millis(250);
/// How many times as long the intervals of a director are that holds none of the VIPs concerned.
const STANDBY: u32 = 3;
/// How many times as many urgent checks are made as others.
const URGENT: usize = 5;

/// The checks that a node's services need; `true` where it holds a VIP of theirs.
pub type Wanted = BTreeMap<Check, bool>;

/// Checks by the time that waits for them.
type Queue = BTreeSet<(Duration, Check)>;

/// All checks of a node, with their results and the times when they are due. Times are on the agent's monotonic clock.
#[derive(Debug, Default)]
pub struct Checks {
    entries: BTreeMap<Check, Entry>,
    queues: Queues,
    /// What fails at a real server, whatever the VIP and the port: in how many checks, and since when in seconds since the epoch. They
    /// share that time, so that reports of many VIPs have the same words.
    failing: BTreeMap<Check, (usize, i64)>,
    /// So that the checks of several directors, and those that began together, do not stay in step.
    jitter: u64,
}

#[derive(Debug)]
struct Entry {
    state: State,
    /// Whether this node holds a VIP concerned.
    holds: bool,
    /// Whether another check of the same real server has begun to fail, and this one was not passed since.
    suspected: bool,
    place: Place,
}

/// Where a check waits, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It is due then, before all that are not urgent.
    Urgent(Duration),
    /// It is due then.
    Due(Duration),
    /// It is being made, and must have an answer by then.
    Asked(Duration),
}

/// The places of all checks, by time.
#[derive(Debug, Default)]
struct Queues {
    urgent: Queue,
    due: Queue,
    asked: Queue,
}

impl Queues {
    fn of(&mut self, place: Place) -> (&mut Queue, Duration) {
        match place {
            Place::Urgent(at) => (&mut self.urgent, at),
            Place::Due(at) => (&mut self.due, at),
            Place::Asked(at) => (&mut self.asked, at),
        }
    }

    fn remove(&mut self, check: &Check, place: Place) {
        let (queue, at) = self.of(place);
        queue.remove(&(at, check.clone()));
    }

    fn add(&mut self, check: &Check, place: Place) {
        let (queue, at) = self.of(place);
        queue.insert((at, check.clone()));
    }
}

impl Entry {
    fn move_to(&mut self, place: Place, check: &Check, queues: &mut Queues) {
        queues.remove(check, self.place);
        self.place = place;
        queues.add(check, place);
    }
}

/// What is to be done now.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Checks to make.
    pub make: Vec<Check>,
    /// Checks whose answers did not come in time. They count as failed already.
    pub expired: Vec<Check>,
    /// Whether a verdict changed.
    pub changed: bool,
}

impl Checks {
    /// None; `seed` differs between nodes.
    pub fn new(seed: u64) -> Self {
        Self {
            // A generator of xorshift never leaves zero.
            jitter: seed | 1,
            ..Self::default()
        }
    }

    /// From now on, these are the checks: new ones are due at once, those that are not needed any more are forgotten.
    pub fn want(&mut self, wanted: &Wanted, now: Duration) {
        let Self {
            entries,
            queues,
            failing,
            ..
        } = self;
        entries.retain(|check, entry| {
            let stays = wanted.contains_key(check);
            if !stays {
                queues.remove(check, entry.place);
                if matches!(entry.state.verdict(), Verdict::Down(_)) {
                    one_less(failing, check);
                }
            }
            stays
        });
        for (check, holds) in wanted {
            match entries.get_mut(check) {
                Some(entry) => {
                    let takes_over = *holds && !entry.holds;
                    entry.holds = *holds;
                    // What was checked seldom must not be believed for as long as that any more.
                    let soon = now + check.timers.interval();
                    if takes_over
                        && let Place::Due(at) = entry.place
                        && at > soon
                    {
                        entry.move_to(Place::Due(soon), check, queues);
                    }
                }
                None => {
                    let entry = Entry {
                        state: State::new(),
                        holds: *holds,
                        suspected: false,
                        place: Place::Urgent(now),
                    };
                    queues.add(check, entry.place);
                    entries.insert(check.clone(), entry);
                }
            }
        }
    }

    /// What is known by `check`.
    pub fn verdict(&self, check: &Check) -> Verdict {
        let entry = self.entries.get(check);
        entry.map_or(Verdict::Unknown, |entry| entry.state.verdict().clone())
    }

    /// Takes the checks that are due: at most `most`, or five times as many if these are urgent; those first that have
    /// waited longest. Where there are more than can be made, intervals become longer. `epoch` is `now` on the wall clock,
    /// in seconds.
    pub fn take(&mut self, now: Duration, epoch: i64, most: usize) -> Due {
        let mut taken = Due::default();
        while let Some(check) = first(&self.queues.asked, now) {
            let failure = Failure::NoAnswer(check.timers.timeout_ms);
            let changed = self.count(&check, Err(failure), now, epoch);
            taken.changed |= changed.unwrap_or(false);
            taken.expired.push(check);
        }
        let urgent = |it: &Self, made| match made < most.saturating_mul(URGENT) {
            true => first(&it.queues.urgent, now),
            false => None,
        };
        let other = |it: &Self, made| match made < most {
            true => first(&it.queues.due, now),
            false => None,
        };
        while let Some(check) =
            urgent(self, taken.make.len()).or_else(|| other(self, taken.make.len()))
        {
            if let Some(entry) = self.entries.get_mut(&check) {
                let deadline = now + check.timers.timeout();
                entry.move_to(Place::Asked(deadline), &check, &mut self.queues);
            }
            taken.make.push(check);
        }
        taken
    }

    /// Counts the result of a check that is being made, and returns whether the verdict changed; `None` for others, such as
    /// answers that come too late, which do not count.
    pub fn count(
        &mut self,
        check: &Check,
        result: Result<(), Failure>,
        now: Duration,
        epoch: i64,
    ) -> Option<bool> {
        let jitter = self.next_jitter();
        let entry = self.entries.get_mut(check)?;
        let Place::Asked(deadline) = entry.place else {
            return None;
        };
        let begun = deadline.saturating_sub(check.timers.timeout());
        let subject = check.in_general();
        let since = self
            .failing
            .get(&subject)
            .map_or(epoch, |(_, since)| *since);
        let was_down = matches!(entry.state.verdict(), Verdict::Down(_));
        entry.suspected &= result.is_err();
        let changed = entry.state.count(result, check.timers, now, since);
        let is_down = matches!(entry.state.verdict(), Verdict::Down(_));
        let interval = match entry.holds {
            true => check.timers.interval(),
            false => check.timers.interval() * STANDBY,
        };
        let is_urgent = *entry.state.verdict() == Verdict::Unknown || (entry.suspected && !is_down);
        let place = match is_urgent {
            true => Place::Urgent(now + interval.min(EAGER).mul_f64(jitter)),
            // From the beginning of this one: to wait for its answer in vain must not delay the next.
            false => Place::Due(now.max(begun + interval.mul_f64(jitter))),
        };
        entry.move_to(place, check, &mut self.queues);
        if was_down && !is_down {
            one_less(&mut self.failing, check);
        } else if is_down && !was_down {
            let known = self.failing.entry(subject).or_insert((0, since));
            known.0 += 1;
            if known.0 == 1 {
                self.suspect(check.address, now);
            }
        }
        Some(changed)
    }

    /// Something has begun to fail at a real server: its other checks shall not wait for their turn.
    fn suspect(&mut self, address: IpAddr, now: Duration) {
        let from = Check::first_of(address);
        let of_server = self.entries.range_mut(from..);
        for (check, entry) in of_server.take_while(|(check, _)| check.address == address) {
            if let (Place::Due(_), Verdict::Up) = (entry.place, entry.state.verdict()) {
                entry.suspected = true;
                entry.move_to(Place::Urgent(now), check, &mut self.queues);
            }
        }
    }

    /// A check that was taken could not be made, for a reason of this node's own: that says nothing of the real server.
    pub fn not_made(&mut self, check: &Check, now: Duration) {
        if let Some(entry) = self.entries.get_mut(check)
            && let Place::Asked(_) = entry.place
        {
            let next = Place::Due(now + check.timers.interval());
            entry.move_to(next, check, &mut self.queues);
        }
    }

    /// When there is something to take.
    pub fn next(&self) -> Option<Duration> {
        let Queues { urgent, due, asked } = &self.queues;
        let first = |queue: &Queue| queue.first().map(|(at, _)| *at);
        [first(urgent), first(due), first(asked)]
            .into_iter()
            .flatten()
            .min()
    }

    /// A factor from 0.9 to 1.1.
    fn next_jitter(&mut self) -> f64 {
        self.jitter ^= self.jitter << 13;
        self.jitter ^= self.jitter >> 7;
        self.jitter ^= self.jitter << 17;
        0.9 + 0.2 * f64::from(u16::try_from(self.jitter & 0xffff).unwrap_or_default()) / 65_535.0
    }
}

/// The first check whose time has come.
fn first(queue: &Queue, now: Duration) -> Option<Check> {
    let (at, check) = queue.first()?;
    (*at <= now).then(|| check.clone())
}

fn one_less(failing: &mut BTreeMap<Check, (usize, i64)>, check: &Check) {
    let subject = check.in_general();
    if let Some((count, _)) = failing.get_mut(&subject) {
        *count -= 1;
        if *count == 0 {
            failing.remove(&subject);
        }
    }
}
