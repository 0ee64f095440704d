use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use crate::model::{Port, Refusal};

/// A real server as a director sees it. Refusals are shared, because a real server that fails does so for thousands of VIPs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RealServerState {
    /// May get new connections.
    Ready {
        /// With this weight.
        weight: u32,
    },
    /// May not.
    Unready(Arc<Refusal>),
    /// Not known yet: it keeps the weight that it has.
    Unknown(Arc<Refusal>),
    /// Fails its health checks, as all others do: gets new connections for want of a better one.
    LastResort {
        /// With this weight.
        weight: u32,
        /// What it fails.
        refusal: Arc<Refusal>,
    },
    /// Is selected, but no endpoint of the Service runs there.
    Absent,
}

/// The real servers of one VIP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RealServerStates {
    /// Apart from health checks, which are made port by port.
    pub(super) of_vip: BTreeMap<IpAddr, RealServerState>,
    /// Where checks say something else. Mostly empty, because there are 10,000 of these.
    pub(super) of_ports: BTreeMap<Port, BTreeMap<IpAddr, RealServerState>>,
}

impl RealServerStates {
    /// The states for one port.
    pub fn of(&self, port: Port) -> impl Iterator<Item = (&IpAddr, &RealServerState)> {
        let differing = self.of_ports.get(&port);
        self.of_vip.iter().map(move |(address, state)| {
            let other = differing.and_then(|differing| differing.get(address));
            (address, other.unwrap_or(state))
        })
    }

    /// All states, of whichever port.
    pub fn all(&self) -> impl Iterator<Item = &RealServerState> {
        let of_ports = self.of_ports.values().flat_map(BTreeMap::values);
        self.of_vip.values().chain(of_ports)
    }

    /// The real server at `address`, apart from health checks.
    pub fn of_vip(&self, address: IpAddr) -> Option<&RealServerState> {
        self.of_vip.get(&address)
    }

    /// Whether it is one of them.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.of_vip.contains_key(&address)
    }
}
