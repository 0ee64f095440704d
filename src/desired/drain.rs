use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use crate::model::{AddressKey, ServiceKey};

/// What a pass remembers for the next one; times on the agent's monotonic clock.
///
/// Losing it (a restart) only restarts the waiting times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DrainTimers {
    /// Destinations that are leaving.
    pub leaving: BTreeMap<(ServiceKey, IpAddr), Period>,
    /// Destinations on nodes where no endpoint runs any more.
    pub absent: BTreeMap<(ServiceKey, IpAddr), Period>,
    /// Since when no VirtualService asks for an address that the node still carries quietly.
    pub unwanted: BTreeMap<AddressKey, Duration>,
}

/// The time for which a destination is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// From when.
    pub since: Duration,
    /// Until when.
    pub until: Duration,
}

impl Period {
    /// One that goes on, or a new one from `now` on. It has its length from `limit`, which may have been edited meanwhile.
    fn of(begun: Option<&Self>, now: Duration, limit: Duration) -> Self {
        let since = begun.map_or(now, |period| period.since);
        Self {
            since,
            until: since.saturating_add(limit),
        }
    }
}

impl DrainTimers {
    /// Whether less than `limit` has passed since the endpoint at `(service, address)` went; starts the clock.
    pub(super) fn is_kept(
        &self,
        next: &mut Self,
        key: (ServiceKey, IpAddr),
        now: Duration,
        limit: Duration,
    ) -> bool {
        let period = Period::of(self.absent.get(&key), now, limit);
        if now >= period.until {
            return false;
        }
        next.absent.insert(key, period);
        true
    }

    /// Whether a destination or an address is still to be removed.
    pub fn is_leaving(&self) -> bool {
        !(self.leaving.is_empty() && self.unwanted.is_empty())
    }

    /// Whether time alone will change something.
    pub fn is_waiting(&self) -> bool {
        self.is_leaving() || !self.absent.is_empty()
    }

    /// Whether `limit` has passed since `(service, address)` began to leave; starts the clock.
    pub(super) fn drain_expired(
        &self,
        next: &mut Self,
        key: (ServiceKey, IpAddr),
        now: Duration,
        limit: Duration,
    ) -> bool {
        let period = Period::of(self.leaving.get(&key), now, limit);
        next.leaving.insert(key, period);
        now >= period.until
    }

    /// For how long the node has carried an unwanted address; starts the clock.
    pub(super) fn unwanted_for(
        &self,
        next: &mut Self,
        key: &AddressKey,
        now: Duration,
    ) -> Duration {
        let since = self.unwanted.get(key).copied().unwrap_or(now);
        next.unwanted.insert(key.clone(), since);
        now.saturating_sub(since)
    }
}
