use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{AddressKey, Dev, Rivals};

/// How the election on this node's segments stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elected {
    /// VIPs that this node holds, and on which NICs: there, on their way, or not off yet.
    pub held: BTreeMap<IpAddr, BTreeSet<Dev>>,
    /// NICs whose election runs: what is held there, it takes off by itself. Elsewhere `held` is what an earlier agent left.
    pub running: BTreeSet<Dev>,
    /// Who else answers for a VIP.
    pub conflicts: BTreeMap<AddressKey, Rivals>,
    /// Why an election cannot be held, by NIC.
    pub problems: BTreeMap<Dev, String>,
}

impl Elected {
    /// Whether this node holds this VIP on this NIC.
    pub fn holds_on(&self, key: &AddressKey) -> bool {
        let devices = self.held.get(&key.ip);
        devices.is_some_and(|devices| devices.contains(&key.dev))
    }
}
