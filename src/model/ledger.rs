use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    AddressKey, Arp, Dev, ForeignTag, IpvsSetting, Link, Observed, ServiceKey, SyncDaemon, SyncHalf,
};

/// What directway added or changed on this node, because the kernel does not record that for everything.
///
/// Written before the first op that it lists (a crash in between leaves an entry
/// for something that is not there, which does no harm), and trimmed after the last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Services that directway added: IPVS has no field for an owner.
    pub services: BTreeSet<ServiceKey>,
    /// Addresses that directway added (kernels before 5.18 forget `IFA_PROTO`).
    pub addresses: BTreeSet<AddressKey>,
    /// Host routes that directway added.
    pub routes: BTreeSet<AddressKey>,
    /// Dummy devices that directway created.
    pub dummies: BTreeSet<Dev>,
    /// ARP settings that directway changed.
    pub arp: BTreeMap<(Dev, Arp), SettingChange>,
    /// Settings of IPVS that directway changed.
    pub ipvs: BTreeMap<IpvsSetting, SettingChange>,
    /// Sync daemons that directway started, each with the index of the interface to which it is bound, once that is
    /// known. Two of one half while one replaces the other.
    pub sync: BTreeMap<(SyncHalf, SyncDaemon), Option<u32>>,
    /// The indexes of the interfaces that `addresses`, `routes` and `arp` name.
    pub indexes: BTreeMap<Dev, u32>,
}

/// A setting's value before directway changed it, and the one it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettingChange {
    /// The value to restore.
    pub before: u32,
    /// directway restores the setting only while it still has this value: another program set any other.
    pub set: u32,
}

impl Ledger {
    /// Whether directway has put `vip` on any device of the node.
    pub fn has_bound(&self, vip: IpAddr, observed: &Observed) -> bool {
        let mut devices = observed.devices_with(vip);
        devices.any(|(key, _)| self.owns_address(key, observed))
    }

    /// Whether directway added this address.
    pub fn owns_address(&self, key: &AddressKey, observed: &Observed) -> bool {
        match observed.addresses.get(key).map(|address| address.tag) {
            Some(ForeignTag::Ours) => true,
            Some(ForeignTag::Untagged) => self.addresses.contains(key),
            Some(ForeignTag::Theirs(_)) | None => false,
        }
    }

    /// The daemon of this half, if directway started it.
    pub fn own_daemon<'a>(&self, half: SyncHalf, observed: &'a Observed) -> Option<&'a SyncDaemon> {
        let running = observed.net.sync.get(&half)?;
        self.sync
            .contains_key(&(half, running.clone()))
            .then_some(running)
    }

    /// A daemon was started, and is bound to the interface that has the name now.
    pub fn started(&mut self, half: SyncHalf, daemon: &SyncDaemon, observed: &Observed) {
        let index = observed.index_of(&daemon.dev);
        self.sync.insert((half, daemon.clone()), index);
    }

    /// Follows interfaces by their indexes: a name may change, or go to another interface. What was recorded of an
    /// interface that is gone is forgotten, because it went with it.
    #[must_use]
    pub fn followed(mut self, links: &BTreeMap<Dev, Link>) -> Self {
        let by_index: BTreeMap<u32, &Dev> =
            links.values().map(|link| (link.index, &link.dev)).collect();
        let now: BTreeMap<&Dev, Option<&Dev>> = self
            .indexes
            .iter()
            .map(|(dev, index)| (dev, by_index.get(index).copied()))
            .collect();
        if now.iter().all(|(dev, now)| *now == Some(*dev)) {
            return self;
        }
        let name = |dev: &Dev| match now.get(dev) {
            Some(now) => now.cloned(),
            None => Some(dev.clone()),
        };
        let moved = |key: &AddressKey| Some(AddressKey::new(name(&key.dev)?, key.ip));
        let arp = self.arp.iter();
        let arp = arp.filter_map(|((dev, which), change)| Some(((name(dev)?, *which), *change)));
        (self.addresses, self.routes, self.arp) = (
            self.addresses.iter().filter_map(moved).collect(),
            self.routes.iter().filter_map(moved).collect(),
            arp.collect(),
        );
        self
    }
}

impl Ledger {
    /// The ledger to start with where the file was lost. Addresses and routes carry our tag, and only directway adds
    /// services for tagged VIPs. Changed sysctls and daemons cannot be recognised, so they stay as they are.
    pub fn adopt(observed: &Observed) -> Self {
        let tagged = |key: &&AddressKey| {
            observed
                .addresses
                .get(key)
                .is_some_and(|address| address.tag == ForeignTag::Ours)
        };
        let addresses: BTreeSet<AddressKey> = observed
            .net
            .addresses
            .keys()
            .filter(tagged)
            .cloned()
            .collect();
        let vips: BTreeSet<_> = addresses.iter().map(|key| key.ip).collect();
        let services = observed
            .net
            .services
            .keys()
            .filter(|key| vips.contains(&key.vip));
        Self {
            services: services.copied().collect(),
            routes: observed.our_routes.clone(),
            addresses,
            ..Self::default()
        }
    }
}
