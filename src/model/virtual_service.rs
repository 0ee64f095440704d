use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    str::FromStr,
    time::Duration,
};

use super::{
    Dev, Flag, HealthCheck, Interfaces, NodeName, Persistence, Protocol, Scheduler, Selector,
    Service, ServiceKey, ServiceName, VsKey, words,
};

/// A VirtualService that passed validation, with its defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualService {
    /// Namespace and name.
    pub key: VsKey,
    /// The API server's identity of this object; the name where there is no API server.
    pub uid: String,
    /// Counts changes of the spec.
    pub generation: i64,
    /// Seconds since the epoch; of two objects that claim the same, the older wins.
    pub created: i64,
    /// One or two (dual stack).
    pub vips: Vec<IpAddr>,
    /// At least one; unique per number and protocol.
    pub ports: Vec<Port>,
    /// How new connections are spread.
    pub scheduler: Scheduler,
    /// The scheduler's flags, sorted.
    pub flags: Vec<Flag>,
    /// Stickiness of IPv4 VIPs.
    pub persistence_v4: Option<Persistence>,
    /// Stickiness of IPv6 VIPs.
    pub persistence_v6: Option<Persistence>,
    /// Who may hold the VIPs, and where.
    pub directors: DirectorPolicy,
    /// Which hosts answer the clients.
    pub real_servers: RealServerPolicy,
    /// How directors find out whether real servers serve.
    pub health_check: HealthCheck,
    /// How long a leaving real server keeps its connections.
    pub drain: Duration,
    /// Services that an older VirtualService has: those of this one beside them are served (`desired::admit`).
    pub without: BTreeSet<ServiceKey>,
}

/// A served port, written `80/TCP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// The number, on the VIP and on every real server alike.
    pub port: u16,
    /// The transport protocol.
    pub protocol: Protocol,
}

/// A text that is no port.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a port such as 80/TCP")]
pub struct ParsePortError;

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.port, self.protocol))
    }
}

impl FromStr for Port {
    type Err = ParsePortError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (port, protocol) = text.split_once('/').ok_or(ParsePortError)?;
        Ok(Self {
            port: port.parse().map_err(|_| ParsePortError)?,
            protocol: protocol.parse().map_err(|_| ParsePortError)?,
        })
    }
}

impl From<ServiceKey> for Port {
    fn from(ServiceKey { port, protocol, .. }: ServiceKey) -> Self {
        Self { port, protocol }
    }
}

/// Which nodes may hold the VIPs, and on which interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectorPolicy {
    /// Narrows the nodes labelled director.
    pub selector: Selector,
    /// The node that holds the VIPs whenever it can.
    pub preferred: Option<NodeName>,
    /// The interface that faces the clients; `None` = the one whose network contains the VIP.
    pub interface: Option<Interfaces>,
}

/// Which hosts are real servers, and how they hold the VIPs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealServerPolicy {
    /// Narrows the nodes labelled backend; `None` = no node of the cluster.
    pub selector: Option<Selector>,
    /// Of the selected nodes, only those where an endpoint of this Service runs get connections.
    pub service: Option<ServiceName>,
    /// The device that carries the VIPs quietly.
    pub device: Dev,
    /// Weight of nodes without an annotation of their own.
    pub weight: u16,
    /// Whether to add a host route for the VIP to the main table.
    pub host_route: bool,
    /// What a cordoned node is as a real server.
    pub cordon: CordonPolicy,
    /// Hosts outside the cluster. They have no agent, so directors check them by ARP.
    pub external: Vec<ExternalServer>,
}

words! {
    /// How a real server is kept from answering ARP for its VIPs.
    pub enum ArpMode {
        /// `arp_ignore` and `arp_announce` of its interfaces.
        Sysctl = "sysctl",
    }
}

words! {
    /// What `kubectl cordon` means for a node's part as a real server.
    pub enum CordonPolicy {
        /// Nothing: it gets connections as before.
        Ignore = "Ignore",
        /// It is drained, as with [`super::DRAIN_ANNOTATION`].
        Drain = "Drain",
    }
}

/// A real server that is not a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExternalServer {
    /// Its own address, on a segment that the director reaches without a router.
    pub address: IpAddr,
    /// Its weight.
    pub weight: u16,
}

impl VirtualService {
    /// Every IPVS service that it asks for and gets.
    pub fn services(&self) -> impl Iterator<Item = ServiceKey> {
        self.vips.iter().flat_map(|vip| self.services_of(*vip))
    }

    /// Those of one VIP.
    pub fn services_of(&self, vip: IpAddr) -> impl Iterator<Item = ServiceKey> {
        let ports = self.ports.iter().map(move |port| ServiceKey {
            vip,
            port: port.port,
            protocol: port.protocol,
        });
        ports.filter(|key| !self.without.contains(key))
    }

    /// The settings of the services of one VIP, without destinations.
    pub fn settings(&self, vip: IpAddr) -> Service {
        Service {
            scheduler: self.scheduler.clone(),
            flags: self.flags.clone(),
            persistence: self.persistence(vip),
            destinations: BTreeMap::new(),
        }
    }

    /// The persistence that applies to this VIP's family.
    pub fn persistence(&self, vip: IpAddr) -> Option<Persistence> {
        match vip {
            IpAddr::V4(_) => self.persistence_v4,
            IpAddr::V6(_) => self.persistence_v6,
        }
    }
}
