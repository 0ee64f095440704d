use std::{collections::BTreeMap, fmt, net::IpAddr, str::FromStr};

use super::{Flag, Scheduler, listed, words};

words! {
    /// A transport protocol that IPVS balances, by the name that Kubernetes gives it.
    pub enum Protocol {
        /// TCP.
        Tcp = "TCP",
        /// UDP.
        Udp = "UDP",
        /// SCTP.
        Sctp = "SCTP",
    }
}

/// A text that names no protocol IPVS balances.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a protocol: use {all}", all = listed(&Protocol::ALL.map(Protocol::name), "or"))]
pub struct ParseProtocolError(String);

impl Protocol {
    /// The IANA protocol number.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// The protocol with this IANA number, as the kernel gives it.
    pub fn from_number(number: u16) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|it| u16::from(it.number()) == number)
    }

    /// ipvsadm's option for a service of this protocol.
    pub fn ipvsadm_flag(self) -> &'static str {
        match self {
            Self::Tcp => "-t",
            Self::Udp => "-u",
            Self::Sctp => "--sctp-service",
        }
    }
}

impl FromStr for Protocol {
    type Err = ParseProtocolError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_name(text).ok_or_else(|| ParseProtocolError(text.to_owned()))
    }
}

/// What identifies a virtual service in IPVS. Services by firewall mark are never ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// The VIP.
    pub vip: IpAddr,
    /// The port; direct routing cannot remap it.
    pub port: u16,
    /// The transport protocol.
    pub protocol: Protocol,
}

impl fmt::Display for ServiceKey {
    /// `10.0.0.1:80/TCP`, `[fd00::1]:53/UDP`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let socket = std::net::SocketAddr::new(self.vip, self.port);
        f.pad(&format!("{socket}/{}", self.protocol))
    }
}

/// Clients of one network stay with one real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Persistence {
    /// How long a client's choice lives after its last connection, in seconds.
    pub timeout_seconds: u32,
    /// How many leading bits of the client's address count (32 or 128 = each client alone).
    pub prefix_length: u8,
}

/// How IPVS hands a packet to a real server (`IP_VS_CONN_F_FWD_MASK`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forward {
    /// By its MAC (direct routing): the only one directway programs.
    Direct,
    /// To a socket of this node, whatever the destination's address. Only another program asks for it: with direct
    /// routing the kernel finds out per packet that a real server is this node (`__ip_vs_get_out_rt`,
    /// net/netfilter/ipvs/ip_vs_xmit.c).
    Local,
    /// By a tunnel.
    Tunnel,
    /// By address translation.
    Masquerade,
    /// To the packet's own destination, past the real servers.
    Bypass,
}

/// A real server as a service's destination; its port is the service's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    /// Share of new connections; 0 = none, existing ones go on.
    pub weight: u32,
    /// How packets reach it.
    pub forward: Forward,
}

impl Destination {
    /// A destination by direct routing.
    pub fn direct(weight: u32) -> Self {
        Self {
            weight,
            forward: Forward::Direct,
        }
    }
}

/// An IPVS service with its destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// How new connections are spread.
    pub scheduler: Scheduler,
    /// The scheduler's flags, sorted.
    pub flags: Vec<Flag>,
    /// Stickiness; `None` = every connection is scheduled.
    pub persistence: Option<Persistence>,
    /// Real servers by address. Sorted, so that every director adds them in the same
    /// order and builds the same mh table.
    pub destinations: BTreeMap<IpAddr, Destination>,
}

impl Service {
    /// Whether everything but the destinations is equal.
    pub fn same_settings(&self, other: &Self) -> bool {
        self.scheduler == other.scheduler
            && self.flags == other.flags
            && self.persistence == other.persistence
    }

    /// A copy without destinations.
    pub fn settings(&self) -> Self {
        Self {
            destinations: BTreeMap::new(),
            ..self.clone()
        }
    }
}
