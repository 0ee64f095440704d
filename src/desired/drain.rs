use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use crate::model::{AddressKey, ServiceKey};

/// What a pass remembers for the next one; times on the agent's monotonic clock.
///
/// Losing it (a restart) only restarts the waiting times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DrainTimers {
    /// Since when a destination is leaving.
    pub leaving: BTreeMap<(ServiceKey, IpAddr), Duration>,
    /// Destinations on nodes where no endpoint runs any more.
    pub absent: BTreeMap<(ServiceKey, IpAddr), Absence>,
    /// Since when no VirtualService asks for an address that the node still carries quietly.
    pub unwanted: BTreeMap<AddressKey, Duration>,
}

/// The time for which a destination's place is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absence {
    /// From when.
    pub since: Duration,
    /// Until when.
    pub until: Duration,
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
        let since = self.absent.get(&key).map_or(now, |absence| absence.since);
        let until = since.saturating_add(limit);
        if now >= until {
            return false;
        }
        next.absent.insert(key, Absence { since, until });
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
        let since = self.leaving.get(&key).copied().unwrap_or(now);
        next.leaving.insert(key, since);
        now.saturating_sub(since) >= limit
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
