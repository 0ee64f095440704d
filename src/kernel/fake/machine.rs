use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;

use crate::model::{
    ArpSettings, Dev, ForeignTag, IpvsSetting, LinkKind, Mac, Protocol, Scheduler, host_prefix,
};

use super::table::Table;

/// A host: its kernel's network state and its listening ports. A new one has `lo` up, and IPVS.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Makes this machine's MACs differ from those of others.
    pub(super) number: u16,
    pub(super) powered: bool,
    pub(super) last_index: u32,
    pub(super) devices: BTreeMap<Dev, Device>,
    /// In the order they were added, which decides a device's primary address.
    pub(super) addresses: Vec<Address>,
    pub(super) routes: Vec<Route>,
    pub(super) arp_all: ArpSettings,
    pub(super) ipvs: Option<Table>,
    /// Schedulers whose modules the kernel lacks.
    pub(super) no_module: Vec<Scheduler>,
    /// `net.ipv4.vs.*`, which is there as long as IPVS is.
    pub(super) ipvs_settings: BTreeMap<IpvsSetting, u32>,
    pub(super) neighbours: BTreeMap<(Dev, IpAddr), Mac>,
    pub(super) listening: BTreeSet<(u16, Protocol)>,
    pub(super) forwards: bool,
    pub(super) proxies_arp: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Device {
    pub index: u32,
    pub kind: LinkKind,
    pub mac: Option<Mac>,
    pub up: bool,
    /// Where the cable goes; `None` = nowhere.
    pub segment: Option<String>,
    /// Whether the cable is plugged in.
    pub plugged: bool,
    /// The bridge or bond that receives its packets.
    pub master: Option<Dev>,
    pub arp: ArpSettings,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub dev: Dev,
    pub net: IpNet,
    pub tag: ForeignTag,
    /// When the kernel removes it.
    pub until: Option<std::time::Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub net: IpNet,
    pub dev: Dev,
    pub via: Option<IpAddr>,
    pub ours: bool,
}

/// `ip` as a host-sized network.
pub(super) fn host(ip: IpAddr) -> IpNet {
    // The prefix is in range by construction; the address alone is the host-sized network.
    IpNet::new(ip, host_prefix(ip)).unwrap_or_else(|_| IpNet::from(ip))
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

impl Machine {
    /// A machine without NICs.
    pub fn new() -> Self {
        let lo = Device {
            index: 1,
            kind: LinkKind::Loopback,
            mac: None,
            up: true,
            segment: None,
            plugged: true,
            master: None,
            arp: ArpSettings::default(),
        };
        let own = |net| Address {
            dev: Dev::lo(),
            net,
            tag: ForeignTag::Untagged,
            until: None,
        };
        let loopback =
            IpNet::V4(ipnet::Ipv4Net::new(std::net::Ipv4Addr::LOCALHOST, 8).unwrap_or_default());
        Self {
            number: 0,
            powered: true,
            last_index: 1,
            devices: BTreeMap::from([(Dev::lo(), lo)]),
            addresses: vec![
                own(loopback),
                own(host(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST))),
            ],
            routes: Vec::new(),
            arp_all: ArpSettings::default(),
            ipvs: Some(Table::default()),
            no_module: Vec::new(),
            ipvs_settings: IpvsSetting::ALL
                .map(|setting| (setting, initial(setting)))
                .into(),
            neighbours: BTreeMap::new(),
            listening: BTreeSet::new(),
            forwards: false,
            proxies_arp: false,
        }
    }

    /// With a NIC on a segment, up, with these addresses.
    pub fn nic(
        mut self,
        dev: &Dev,
        segment: &str,
        addresses: impl IntoIterator<Item = IpNet>,
    ) -> Self {
        self.plug_in(dev, segment, addresses);
        self
    }

    /// With this MAC instead of a generated one.
    pub fn with_mac(mut self, dev: &Dev, mac: Mac) -> Self {
        if let Some(device) = self.devices.get_mut(dev) {
            device.mac = Some(mac);
        }
        self
    }

    /// With a server that listens on this port of every local address.
    pub fn listening(mut self, port: u16, protocol: Protocol) -> Self {
        self.listening.insert((port, protocol));
        self
    }

    /// With a kernel that lacks IPVS.
    pub fn without_ipvs(mut self) -> Self {
        self.ipvs = None;
        self
    }

    /// Takes the module of a scheduler from the kernel (`false`), or gives it back. Services that have it keep it.
    pub fn set_module(&mut self, scheduler: &Scheduler, present: bool) {
        self.no_module.retain(|it| it != scheduler);
        if !present {
            self.no_module.push(scheduler.clone());
        }
    }

    /// As a router: forwards packets that are not for it.
    pub fn forwarding(mut self) -> Self {
        self.forwards = true;
        self
    }

    /// Answers ARP for every address that is not its own, as a proxy-ARP router does.
    pub fn proxying_arp(mut self) -> Self {
        self.proxies_arp = true;
        self
    }

    /// Adds a NIC while the machine runs.
    pub fn plug_in(
        &mut self,
        dev: &Dev,
        segment: &str,
        addresses: impl IntoIterator<Item = IpNet>,
    ) {
        let index = self.add_device(dev, LinkKind::Other);
        let mac = mac(self.number, index);
        if let Some(device) = self.devices.get_mut(dev) {
            device.segment = Some(segment.to_owned());
            device.mac = Some(mac);
        }
        for net in addresses {
            self.addresses.push(Address {
                dev: dev.clone(),
                net,
                tag: ForeignTag::Untagged,
                until: None,
            });
        }
    }

    /// Makes `port` a port of the bridge or bond `master`, which is created with its first port.
    pub fn enslave(&mut self, port: &Dev, master: &Dev) {
        if !self.devices.contains_key(master) {
            let index = self.add_device(master, LinkKind::Other);
            let mac = mac(self.number, index);
            if let Some(device) = self.devices.get_mut(master) {
                device.mac = Some(mac);
            }
        }
        if let Some(device) = self.devices.get_mut(port) {
            device.master = Some(master.clone());
        }
    }

    pub(super) fn add_device(&mut self, dev: &Dev, kind: LinkKind) -> u32 {
        self.last_index += 1;
        let index = self.last_index;
        self.devices.insert(
            dev.clone(),
            Device {
                index,
                kind,
                mac: None,
                up: true,
                segment: None,
                plugged: true,
                master: None,
                arp: ArpSettings::default(),
            },
        );
        index
    }

    /// Gives every NIC without a chosen MAC one that no other machine of the LAN has.
    pub(super) fn number(&mut self, number: u16) {
        let before = std::mem::replace(&mut self.number, number);
        for device in self.devices.values_mut() {
            if device.mac == Some(mac(before, device.index)) {
                device.mac = Some(mac(number, device.index));
            }
        }
    }

    /// The device's MAC.
    pub fn mac(&self, dev: &Dev) -> Option<Mac> {
        self.devices.get(dev).and_then(|device| device.mac)
    }

    /// Every MAC of this machine.
    pub(super) fn macs(&self) -> BTreeSet<Mac> {
        self.devices
            .values()
            .filter_map(|device| device.mac)
            .collect()
    }
}

/// The setting's value in a new network namespace.
fn initial(setting: IpvsSetting) -> u32 {
    match setting {
        IpvsSetting::ConnReuseMode => 1,
        IpvsSetting::ExpireNodestConn
        | IpvsSetting::ExpireQuiescentTemplate
        | IpvsSetting::ScheduleIcmp
        | IpvsSetting::SloppyTcp => 0,
        IpvsSetting::SyncThreshold => 3,
        IpvsSetting::TcpTimeout => 900,
        IpvsSetting::TcpfinTimeout => 120,
        IpvsSetting::UdpTimeout => 300,
    }
}

fn mac(number: u16, index: u32) -> Mac {
    let [a, b] = number.to_be_bytes();
    let [_, _, c, d] = index.to_be_bytes();
    Mac([0x02, 0, a, b, c, d])
}
