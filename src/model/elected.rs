use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{AddressKey, Dev, Rivals};

/// The state of the elections on this node's segments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elected {
    /// VIPs that this node holds, is adding or has not taken off yet, each with its NICs.
    pub held: BTreeMap<IpAddr, BTreeSet<Dev>>,
    /// NICs whose election runs, and takes VIPs off by itself. On other NICs, `held` is what an earlier agent left.
    pub running: BTreeSet<Dev>,
    /// Other hosts that answer for a VIP.
    pub conflicts: BTreeMap<AddressKey, Rivals>,
    /// Why no election can run, by NIC.
    pub problems: BTreeMap<Dev, String>,
}

impl Elected {
    /// Whether this node holds this VIP on this NIC.
    pub fn holds_on(&self, key: &AddressKey) -> bool {
        let devices = self.held.get(&key.ip);
        devices.is_some_and(|devices| devices.contains(&key.dev))
    }
}
