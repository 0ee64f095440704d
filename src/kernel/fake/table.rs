//! An IPVS table: services, destinations, connections.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

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
    /// Persistence templates: the destination of each service's client network.
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
    /// With another port than the service's. They are shown, and get no connections here.
    pub foreign: BTreeMap<SocketAddr, Destination>,
    /// The weights that hashing schedulers use: each destination's last one that was not 0, or 0 if it never had one.
    pub places: BTreeMap<IpAddr, u32>,
    pub turn: Turn,
}

/// What IPVS does with a packet for a local address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IpvsDecision {
    /// Nothing: the packet goes on to the socket.
    Pass,
    /// Sends it to this real server.
    Forward(IpAddr),
    /// The scheduler found no destination.
    NoDestination,
    /// The connection's destination was deleted.
    DestinationGone,
}

/// The position of a round-robin scheduler.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turn {
    /// Index of the destination that got the last connection.
    pub last: Option<usize>,
    /// wrr's current weight.
    pub weight: u32,
}

impl Turn {
    /// Call this when a destination was deleted: if it had the last turn, the one before it has had it now.
    pub fn removed(&mut self, index: usize) {
        self.last = match self.last {
            Some(last) if index <= last => last.checked_sub(1),
            last => last,
        };
    }
}
