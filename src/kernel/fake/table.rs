//! An IPVS table: services, destinations, connections.

use std::{collections::BTreeMap, net::IpAddr};

use crate::model::{Destination, Service, ServiceKey, SyncDaemons};

/// One client's connection to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// The client's address.
    pub client: IpAddr,
    /// The client's port.
    pub client_port: u16,
    /// What it connects to.
    pub service: ServiceKey,
}

/// A network namespace's IPVS.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub services: BTreeMap<ServiceKey, Entry>,
    /// Connections by flow; they outlive services and destinations.
    pub connections: BTreeMap<Flow, IpAddr>,
    /// Persistent clients' choices.
    pub templates: BTreeMap<(ServiceKey, IpAddr), IpAddr>,
    pub fwmark_services: usize,
    pub sloppy_tcp: bool,
    pub sync: SyncDaemons,
}

/// A service.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Everything but the destinations.
    pub settings: Service,
    /// In the order they were added: schedulers go by it.
    pub destinations: Vec<(IpAddr, Destination)>,
    /// The weights for which hashing schedulers keep places: the last ones that were not 0, or the first ones.
    pub places: BTreeMap<IpAddr, u32>,
    pub turn: Turn,
}

/// What IPVS makes of a packet for a local address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IpvsDecision {
    /// None of its business: on to the socket.
    Pass,
    /// On to this real server.
    Forward(IpAddr),
    /// No destination has a weight.
    NoDestination,
    /// The connection's destination was deleted.
    DestinationGone,
}

/// Where a round-robin scheduler stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turn {
    /// Index of the destination that got the last connection.
    pub last: Option<usize>,
    /// wrr's current weight.
    pub weight: u32,
}

impl Turn {
    /// A destination left the list: the one before it had the last turn.
    pub fn removed(&mut self, index: usize) {
        self.last = match self.last {
            Some(last) if index <= last => last.checked_sub(1),
            last => last,
        };
    }
}
