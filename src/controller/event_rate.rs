//! How many Events are sent: thousands of VirtualServices may change at the same moment.

use std::{collections::BTreeMap, time::Duration};

use crate::model::VsKey;

/// Of one object: as many as client-go's spam filter allows (burst 25, then one in five minutes).
const OF_ONE: Rate = Rate {
    burst: 25,
    every: Duration::from_secs(300),
};
/// Of all together: 60 a minute, once the burst is used up.
const OF_ALL: Rate = Rate {
    burst: 100,
    every: Duration::from_secs(1),
};
/// The least time between two reports of Events that were left out.
const REPORT: Duration = Duration::from_secs(60);

#[derive(Clone, Copy)]
struct Rate {
    burst: u32,
    every: Duration,
}

/// A token bucket; times are on our monotonic clock.
#[derive(Clone, Debug)]
struct Bucket {
    tokens: u32,
    refilled: Duration,
}

impl Bucket {
    fn full(rate: Rate, now: Duration) -> Self {
        Self {
            tokens: rate.burst,
            refilled: now,
        }
    }

    fn refill(&mut self, rate: Rate, now: Duration) {
        while self.tokens < rate.burst && self.refilled + rate.every <= now {
            self.tokens += 1;
            self.refilled += rate.every;
        }
        if self.tokens == rate.burst {
            self.refilled = now;
        }
    }
}

/// Decides which Events are left out. The conditions have what they would say.
#[derive(Debug, Default)]
pub(super) struct EventRate {
    all: Option<Bucket>,
    /// Only of objects that had an Event lately.
    of_object: BTreeMap<VsKey, Bucket>,
    left_out: u64,
    reported: Option<Duration>,
}

impl EventRate {
    /// Whether an Event about this object may be sent now; then it counts as sent.
    pub(super) fn allows(&mut self, key: &VsKey, now: Duration) -> bool {
        let all = self.all.get_or_insert_with(|| Bucket::full(OF_ALL, now));
        all.refill(OF_ALL, now);
        let full = || Bucket::full(OF_ONE, now);
        let one = self.of_object.entry(key.clone()).or_insert_with(full);
        one.refill(OF_ONE, now);
        let allows = all.tokens > 0 && one.tokens > 0;
        if allows {
            all.tokens -= 1;
            one.tokens -= 1;
        } else {
            self.left_out += 1;
        }
        allows
    }

    /// How many Events were left out since this was reported last; `None` if it is not to be reported now.
    pub(super) fn report(&mut self, now: Duration) -> Option<u64> {
        let again = self.reported.map(|at| at + REPORT);
        if self.left_out == 0 || again.is_some_and(|again| now < again) {
            return None;
        }
        self.reported = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }

    /// How long until Events that were left out are to be reported; `None` if there are none.
    pub(super) fn wait(&self, now: Duration) -> Option<Duration> {
        let again = self.reported.map_or(now, |at| at + REPORT);
        (self.left_out > 0).then(|| again.saturating_sub(now))
    }

    /// Forgets objects that had no Event for long.
    pub(super) fn retain(&mut self, now: Duration) {
        self.of_object.retain(|_, bucket| {
            bucket.refill(OF_ONE, now);
            bucket.tokens < OF_ONE.burst
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> VsKey {
        VsKey::new("shop", &format!("web-{number}"))
    }

    #[test]
    fn a_thousand_changes_at_once_are_a_hundred_events_and_one_report() {
        let mut rate = EventRate::default();
        let now = Duration::from_secs(1_000);
        let sent = (0..1_000)
            .filter(|number| rate.allows(&key(*number), now))
            .count();
        assert_eq!(sent, 100);
        assert_eq!(rate.report(now), Some(900));
        assert_eq!((rate.report(now), rate.wait(now)), (None, None));
        let later = now + Duration::from_secs(30);
        let sent = (0..1_000)
            .filter(|number| rate.allows(&key(*number), later))
            .count();
        assert_eq!(sent, 30);
        assert_eq!(rate.report(later), None);
        assert_eq!(rate.wait(later), Some(Duration::from_secs(30)));
        assert_eq!(rate.report(now + REPORT), Some(970));
    }

    #[test]
    fn an_object_that_flaps_has_few_events_and_leaves_others_theirs() {
        let mut rate = EventRate::default();
        let sent = |rate: &mut EventRate, number, seconds| {
            rate.allows(&key(number), Duration::from_secs(seconds))
        };
        let flaps = (0..360)
            .filter(|turn| sent(&mut rate, 0, turn * 10))
            .count();
        assert_eq!(flaps, 25 + 11, "in an hour");
        assert!(sent(&mut rate, 1, 3_600));
        rate.retain(Duration::from_secs(1_000_000));
        assert!(rate.of_object.is_empty());
    }
}
