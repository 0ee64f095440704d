use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use crate::model::{AddressKey, ServiceKey};

/// What a node's passes remember between each other; times on the agent's monotonic clock.
///
/// Losing it (a restart) only restarts the waiting times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Since when a destination is leaving.
    pub leaving: BTreeMap<(ServiceKey, IpAddr), Duration>,
    /// Since when nobody asks for an address that the node still carries quietly.
    pub unwanted: BTreeMap<AddressKey, Duration>,
}

impl Memory {
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

    /// The same for an address.
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
