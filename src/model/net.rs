use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{ArpSettings, Dev, IpvsSetting, Protocol, Service, ServiceKey, SyncDaemons};

/// An address on a device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressKey {
    /// The device.
    pub dev: Dev,
    /// The address, always host-sized (/32 or /128).
    pub ip: IpAddr,
}

impl AddressKey {
    /// `ip` on `dev`.
    pub fn new(dev: Dev, ip: IpAddr) -> Self {
        Self { dev, ip }
    }
}

/// `32` or `128`: the prefix length of a host-sized address.
pub fn host_prefix(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// What an address on a device is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Carried silently, so that the node accepts the VIP's packets.
    Quiet,
    /// Carried on the NIC that faces the clients, so that the node answers ARP for it.
    Held,
}

/// The part of a node's network that directway manages, wanted or observed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeNet {
    /// Dummy devices.
    pub dummies: BTreeSet<Dev>,
    /// Host-sized addresses on devices. Observed ones count as held wherever they answer ARP: on
    /// every device but `lo` and dummies.
    pub addresses: BTreeMap<AddressKey, Role>,
    /// VIPs that an election may add to a NIC at any time. Observed: empty.
    pub claims: BTreeSet<AddressKey>,
    /// Host routes in the main table: VIP → device.
    pub routes: BTreeSet<AddressKey>,
    /// ARP settings per interface. Wanted: what must be at least effective; observed: the interface's own.
    pub arp: BTreeMap<Dev, ArpSettings>,
    /// IPVS services with their destinations.
    pub services: BTreeMap<ServiceKey, Service>,
    /// Settings of IPVS. Observed: those that the kernel has.
    pub ipvs: BTreeMap<IpvsSetting, u32>,
    /// Daemons that keep directors' connection tables alike.
    pub sync: SyncDaemons,
}

impl NodeNet {
    /// The services of one VIP, by lookup.
    pub fn services_of(&self, vip: IpAddr) -> impl Iterator<Item = (&ServiceKey, &Service)> {
        let first = ServiceKey {
            vip,
            port: 0,
            protocol: Protocol::ALL[0],
        };
        let services = self.services.range(first..);
        services.take_while(move |(key, _)| key.vip == vip)
    }

    /// Whether any device carries `ip`.
    pub fn carries(&self, ip: IpAddr) -> bool {
        self.addresses.keys().any(|key| key.ip == ip)
    }
}
