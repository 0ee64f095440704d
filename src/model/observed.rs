use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use super::{
    AddressKey, ArpReading, ArpSettings, Destination, Dev, Link, Mac, NodeNet, Protocol, Rivals,
    Role, ServiceKey,
};

/// Everything that one reading of the kernel shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The node's network, directway's part and the foreign one.
    pub net: NodeNet,
    /// How each address of `net` is tagged.
    pub addresses: BTreeMap<AddressKey, ObservedAddress>,
    /// Routes of `net` that carry our protocol number.
    pub our_routes: BTreeSet<AddressKey>,
    /// Next hops of the routes of all tables.
    pub next_hops: BTreeSet<IpAddr>,
    /// Interfaces by name.
    pub links: BTreeMap<Dev, Link>,
    /// `net.ipv4.conf.all.*`.
    pub arp_all: ArpSettings,
    /// Whether the kernel has IPVS.
    pub ipvs: Ipvs,
    /// Connections of destinations with weight 0 (they are the ones that may be draining).
    pub draining: BTreeMap<(ServiceKey, IpAddr), Connections>,
    /// Destinations with another port than their service's. Direct routing cannot remap a port, so directway added none
    /// of them.
    pub foreign_destinations: BTreeMap<(ServiceKey, SocketAddr), Destination>,
    /// How many IPVS services by firewall mark there are; never ours.
    pub fwmark_services: usize,
}

impl Observed {
    /// Where a host-sized address is, by lookup: there may be ten thousand of them, on a few devices.
    pub fn devices_with(&self, ip: IpAddr) -> impl Iterator<Item = (&AddressKey, Role)> {
        self.links.keys().filter_map(move |dev| {
            let key = AddressKey::new(dev.clone(), ip);
            let (key, role) = self.net.addresses.get_key_value(&key)?;
            Some((key, *role))
        })
    }

    /// The ARP settings of these interfaces; 0 for one that is gone.
    pub fn arp_settings<'a>(&self, devs: impl Iterator<Item = &'a Dev>) -> ArpReading {
        let own = |dev: &Dev| self.links.get(dev).map(|link| link.arp).unwrap_or_default();
        ArpReading {
            all: self.arp_all,
            own: devs.map(|dev| (dev.clone(), own(dev))).collect(),
        }
    }

    /// The index of an interface, if it is there.
    pub fn index_of(&self, dev: &Dev) -> Option<u32> {
        self.links.get(dev).map(|link| link.index)
    }

    /// The node's own addresses on interfaces that can answer ARP.
    pub fn own_addresses(&self) -> BTreeSet<IpAddr> {
        let nics = self.links.values().filter(|link| link.hears_arp());
        nics.flat_map(Link::networks)
            .map(ipnet::IpNet::addr)
            .collect()
    }

    /// The Ethernet addresses of the interfaces that have the node's own addresses.
    pub fn own_macs(&self) -> BTreeMap<IpAddr, Mac> {
        let nics = self.links.values().filter(|link| link.hears_arp());
        let macs = nics.flat_map(|link| {
            let addresses = link.networks().map(ipnet::IpNet::addr);
            addresses.filter_map(|address| Some((address, link.mac?)))
        });
        macs.collect()
    }
}

/// Whether IPVS can be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ipvs {
    /// It can.
    #[default]
    Present,
    /// It can't; why, and what to do.
    Missing(String),
}

/// What the kernel reports of a host-sized address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObservedAddress {
    /// Who added it, as far as the kernel can tell.
    pub tag: ForeignTag,
    /// Seconds until the kernel removes it; `None` = never.
    pub valid_seconds: Option<u32>,
}

/// `IFA_PROTO` as ownership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignTag {
    /// Our protocol number.
    Ours,
    /// None, or a kernel before 5.18: the ledger decides.
    Untagged,
    /// Another program's number.
    Theirs(u8),
}

/// Connections of a destination as IPVS counts them. With direct routing it sees the
/// client's half only, so a closed connection stays active until the client's FIN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Established, as far as IPVS knows.
    pub active: u32,
    /// All others whose entries have not expired: closed connections of TCP and SCTP, and whatever is UDP.
    pub inactive: u32,
}

impl Connections {
    /// How many may still go on.
    pub fn open(self, protocol: Protocol) -> u32 {
        match protocol {
            Protocol::Tcp | Protocol::Sctp => self.active,
            Protocol::Udp => self.inactive,
        }
    }
}

/// What ARP requests found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WireEvidence {
    /// For each real server's own address asked about: how it is reached.
    pub reach: BTreeMap<IpAddr, Reach>,
    /// For each VIP asked about: who answered, other than this node.
    pub answers: BTreeMap<IpAddr, Answer>,
}

/// How this node reaches a real server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It is this node.
    Local,
    /// On a common segment, by this MAC.
    Neighbour {
        /// The interface towards it.
        dev: Dev,
        /// The MAC that answered.
        mac: Mac,
    },
    /// The segment is common, but no host answered for the real server's address.
    Silent {
        /// The interface towards it.
        dev: Dev,
    },
    /// Behind a router, or no route at all: direct routing cannot reach it.
    NotOnLink,
}

/// Who answered a probe for a VIP, other than this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// MACs of the answers; empty = silence.
    pub macs: BTreeSet<Mac>,
}

impl Answer {
    /// The hosts that answered, without names, because an ARP reply has none.
    pub fn rivals(&self) -> Rivals {
        self.macs.iter().map(|mac| (*mac, None)).collect()
    }
}
