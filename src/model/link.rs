use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use super::{Dev, Mac};

/// A network interface as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's index.
    pub index: u32,
    /// Its name.
    pub dev: Dev,
    /// Its Ethernet address, if it has one.
    pub mac: Option<Mac>,
    /// What kind of device it is.
    pub kind: LinkKind,
    /// Administratively up (`IFF_UP`).
    pub up: bool,
    /// A cable is in, with a device at its other end (`IFF_LOWER_UP`).
    pub carrier: bool,
    /// Takes part in ARP: Ethernet without `IFF_NOARP`.
    pub arp_capable: bool,
    /// A port of a bridge or bond: its master receives its packets.
    pub enslaved: bool,
    /// Addresses with their network, the host-sized (/32, /128) ones left out.
    pub addresses: Vec<IpNet>,
    /// This interface's own `arp_ignore` and `arp_announce`, not the effective ones.
    pub arp: ArpSettings,
}

/// Kinds of devices that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// `lo`.
    Loopback,
    /// A dummy device.
    Dummy,
    /// Anything else.
    Other,
}

/// `net.ipv4.conf.*.arp_ignore` and `arp_announce`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArpSettings {
    /// When to answer an ARP request (0 = for any local address).
    pub ignore: u32,
    /// Which source address to use in ARP requests (2 = the best one for the target).
    pub announce: u32,
}

/// The ARP settings of some interfaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArpReading {
    /// `net.ipv4.conf.all`.
    pub all: ArpSettings,
    /// Each interface's own.
    pub own: BTreeMap<Dev, ArpSettings>,
}

/// Names one of the two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arp {
    /// `arp_ignore`.
    Ignore,
    /// `arp_announce`.
    Announce,
}

impl ArpSettings {
    /// What a node that carries VIPs needs on every NIC that could receive the ARP.
    pub const QUIET: Self = Self {
        ignore: 1,
        announce: 2,
    };

    /// What the kernel acts on: the greater of conf/all and the interface's own
    /// (`IN_DEV_MAXCONF`, include/linux/inetdevice.h).
    pub fn effective(self, all: Self) -> Self {
        Self {
            ignore: self.ignore.max(all.ignore),
            announce: self.announce.max(all.announce),
        }
    }

    /// Whether these effective values keep an address of another device unanswered and unannounced.
    ///
    /// 1, 2 and 8 do (`arp_ignore()`, net/ipv4/arp.c); 3 answers for addresses of global scope
    /// wherever they are; 4–7 are reserved and ignore nothing.
    pub fn is_quiet(self) -> bool {
        matches!(self.ignore, 1 | 2 | 8) && self.announce >= 2
    }
}

impl Link {
    /// Its networks that reach beyond the link, each with the node's own address there.
    pub fn networks(&self) -> impl Iterator<Item = &IpNet> + Clone {
        let link_local = |ip: IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        let networks = self.addresses.iter();
        networks.filter(move |net| !link_local(net.addr()))
    }

    /// Whether `ip` is in a network of this interface, so that neighbours send ARP requests for it there.
    pub fn is_in_network_of(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|net| net.contains(&ip))
    }

    /// Whether ARP requests from a segment can arrive here.
    pub fn hears_arp(&self) -> bool {
        self.arp_capable && !self.enslaved && self.kind == LinkKind::Other
    }
}
