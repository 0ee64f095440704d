use crate::{
    kernel::{KernelError, meaning::NO_IPVS},
    model::{
        AddressKey, ForeignTag, Ipvs, Link, LinkKind, NodeNet, Observed, ObservedAddress, Role,
        Service,
    },
};

use super::machine::{Device, Machine};

impl Machine {
    pub(super) fn observe(&self) -> Result<Observed, KernelError> {
        let mut observed = Observed {
            arp_all: self.arp_all,
            ..Observed::default()
        };
        for (dev, device) in &self.devices {
            observed.links.insert(dev.clone(), self.link(dev, device));
            observed.net.arp.insert(dev.clone(), device.arp);
            match device.kind {
                LinkKind::Dummy => {
                    observed.net.dummies.insert(dev.clone());
                }
                LinkKind::Loopback | LinkKind::Other => {}
            }
        }
        self.observe_addresses(&mut observed);
        observed.next_hops = self.routes.iter().filter_map(|route| route.via).collect();
        for route in &self.routes {
            if Self::is_host_sized(&route.net) && route.via.is_none() {
                let key = AddressKey::new(route.dev.clone(), route.net.addr());
                if route.ours {
                    observed.our_routes.insert(key.clone());
                }
                observed.net.routes.insert(key);
            }
        }
        self.observe_ipvs(&mut observed);
        Ok(observed)
    }

    fn link(&self, dev: &crate::model::Dev, device: &Device) -> Link {
        Link {
            index: device.index,
            dev: dev.clone(),
            mac: device.mac,
            kind: device.kind,
            up: device.up,
            carrier: device.up && device.plugged,
            arp_capable: match device.kind {
                // Loopback has no ARP, and dummies are created with IFF_NOARP.
                LinkKind::Loopback | LinkKind::Dummy => false,
                LinkKind::Other => true,
            },
            enslaved: device.master.is_some(),
            addresses: self
                .addresses
                .iter()
                .filter(|address| address.dev == *dev && !Self::is_host_sized(&address.net))
                .map(|address| address.net)
                .collect(),
            arp: device.arp,
        }
    }

    fn observe_addresses(&self, observed: &mut Observed) {
        let host_sized = self
            .addresses
            .iter()
            .filter(|address| Self::is_host_sized(&address.net));
        for address in host_sized {
            let role = match self.devices.get(&address.dev).map(|device| device.kind) {
                Some(LinkKind::Loopback | LinkKind::Dummy) => Role::Quiet,
                Some(LinkKind::Other) | None => Role::Held,
            };
            let key = AddressKey::new(address.dev.clone(), address.net.addr());
            observed.net.addresses.insert(key.clone(), role);
            let tag = ObservedAddress {
                tag: address.tag,
                valid_seconds: None,
            };
            observed.addresses.insert(key, tag);
        }
    }

    fn observe_ipvs(&self, observed: &mut Observed) {
        let Some(table) = &self.ipvs else {
            observed.ipvs = Ipvs::Missing(NO_IPVS.to_owned());
            return;
        };
        observed.net.ipvs.clone_from(&self.ipvs_settings);
        observed.net.sync.clone_from(&table.sync);
        observed.fwmark_services = table.fwmark_services;
        observed.draining = table.draining();
        for (key, entry) in &table.services {
            let service = Service {
                destinations: entry.destinations.iter().copied().collect(),
                ..entry.settings.clone()
            };
            observed.net.services.insert(*key, service);
            let foreign = entry.foreign.iter();
            let foreign = foreign.map(|(server, destination)| ((*key, *server), *destination));
            observed.foreign_destinations.extend(foreign);
        }
    }

    /// The part that directway deals with of what `ip`, `sysctl` and `ipvsadm` would show.
    pub fn net(&self) -> NodeNet {
        self.observe()
            .map(|observed| observed.net)
            .unwrap_or_default()
    }

    /// The tag of directway's own addresses.
    pub(super) const OURS: ForeignTag = ForeignTag::Ours;
}
