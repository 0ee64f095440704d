use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::model::{
    AddressKey, Arp, ArpSettings, Destination, Dev, IpvsSetting, Ledger, NodeNet, Observed, Role,
    ServiceKey, SettingChange, SyncHalf,
};

use super::{ArpChange, IpvsChange, Op};

/// Ops that turn the observed state into the desired one, in the order of their phases, and the ledger that must be
/// written before the first of them runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The ops, sorted by phase.
    pub ops: Vec<Op>,
    /// To be on disk before the first op: everything that is ours, or will be once the ops have run.
    pub ledger: Ledger,
}

/// The plan from `observed` to `desired`. It touches only what is desired or ours.
pub fn plan(desired: &NodeNet, observed: &Observed, ledger: &Ledger) -> Plan {
    let mut diff = Diff {
        desired,
        observed,
        old: ledger,
        ledger: Ledger::default(),
        ops: Vec::new(),
    };
    diff.dummies();
    diff.addresses();
    diff.claims();
    diff.routes();
    diff.services();
    diff.arp();
    diff.ipvs();
    diff.sync();
    diff.indexes();
    // The sort is stable: within a phase ops keep the order of their keys, so that all directors add in one order.
    diff.ops.sort_by_key(Op::phase);
    Plan {
        ops: diff.ops,
        ledger: diff.ledger,
    }
}

struct Diff<'a> {
    desired: &'a NodeNet,
    observed: &'a Observed,
    old: &'a Ledger,
    ledger: Ledger,
    ops: Vec<Op>,
}

impl Diff<'_> {
    fn dummies(&mut self) {
        for dev in &self.desired.dummies {
            if !self.observed.net.dummies.contains(dev) {
                self.ops.push(Op::AddDummy(dev.clone()));
                self.ledger.dummies.insert(dev.clone());
            } else if self.old.dummies.contains(dev) {
                self.ledger.dummies.insert(dev.clone());
            }
        }
        for dev in self.old.dummies.intersection(&self.observed.net.dummies) {
            if self.desired.dummies.contains(dev) {
                continue;
            }
            // The device stays if another program has put addresses on it meanwhile.
            if self.has_foreign_address(dev) {
                continue;
            }
            self.ops.push(Op::DelDummy(dev.clone()));
            self.ledger.dummies.insert(dev.clone());
        }
    }

    fn has_foreign_address(&self, dev: &Dev) -> bool {
        let host_sized = self
            .observed
            .net
            .addresses
            .keys()
            .any(|key| key.dev == *dev && !self.old.owns_address(key, self.observed));
        let link_local = |ip: IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        let networked = self
            .observed
            .links
            .get(dev)
            .is_some_and(|link| link.addresses.iter().any(|net| !link_local(net.addr())));
        host_sized || networked
    }

    fn addresses(&mut self) {
        for (key, role) in &self.desired.addresses {
            if !self.observed.net.addresses.contains_key(key) {
                if *role == Role::Quiet {
                    self.ops.push(Op::AddAddress(key.clone(), *role));
                }
                self.ledger.addresses.insert(key.clone());
            } else if self.old.owns_address(key, self.observed) {
                self.ledger.addresses.insert(key.clone());
            }
        }
        for (key, role) in &self.observed.net.addresses {
            if !self.desired.addresses.contains_key(key)
                && self.old.owns_address(key, self.observed)
            {
                self.ops.push(Op::DelAddress(key.clone(), *role));
                self.ledger.addresses.insert(key.clone());
            }
        }
    }

    /// The ledger has a VIP as soon as it may be claimed, because the election claims it without waiting for a pass.
    fn claims(&mut self) {
        for key in &self.desired.claims {
            let there = self.observed.net.addresses.contains_key(key);
            if !there || self.old.owns_address(key, self.observed) {
                self.ledger.addresses.insert(key.clone());
            }
        }
    }

    fn routes(&mut self) {
        let ours = |key: &AddressKey| {
            self.observed.our_routes.contains(key) || self.old.routes.contains(key)
        };
        for key in &self.desired.routes {
            if !self.observed.net.routes.contains(key) {
                self.ops.push(Op::AddRoute(key.clone()));
                self.ledger.routes.insert(key.clone());
            } else if ours(key) {
                self.ledger.routes.insert(key.clone());
            }
        }
        for key in self.observed.net.routes.difference(&self.desired.routes) {
            if self.observed.our_routes.contains(key) {
                self.ops.push(Op::DelRoute(key.clone()));
                self.ledger.routes.insert(key.clone());
            }
        }
    }

    fn services(&mut self) {
        for (key, wanted) in &self.desired.services {
            match self.observed.net.services.get(key) {
                None => {
                    self.ops
                        .push(Op::AddService(*key, wanted.settings().into()));
                    self.ledger.services.insert(*key);
                }
                Some(present) if self.old.services.contains(key) => {
                    self.ledger.services.insert(*key);
                    if !wanted.same_settings(present) {
                        self.ops
                            .push(Op::EditService(*key, wanted.settings().into()));
                    }
                }
                // A foreign service. `desired` refuses it already; to be safe, it is left alone here too.
                Some(_) => {}
            }
        }
        // Destinations have their own loop: the ops are then nearly in phase order, and there may be 100,000 to sort.
        let none = BTreeMap::new();
        for (key, wanted) in &self.desired.services {
            if self.ledger.services.contains(key) {
                let present = self.observed.net.services.get(key);
                let present = present.map_or(&none, |service| &service.destinations);
                self.destinations(key, &wanted.destinations, present);
            }
        }
        // They would take a share of the connections for ever.
        for (key, server) in self.observed.foreign_destinations.keys() {
            if self.desired.services.contains_key(key) && self.old.services.contains(key) {
                self.ops.push(Op::DelForeignDestination(*key, *server));
            }
        }
        for key in self.observed.net.services.keys() {
            if !self.desired.services.contains_key(key) && self.old.services.contains(key) {
                self.ops.push(Op::DelService(*key));
                self.ledger.services.insert(*key);
            }
        }
    }

    fn destinations(
        &mut self,
        key: &ServiceKey,
        wanted: &BTreeMap<IpAddr, Destination>,
        present: &BTreeMap<IpAddr, Destination>,
    ) {
        for (address, destination) in wanted {
            match present.get(address) {
                None => self
                    .ops
                    .push(Op::AddDestination(*key, *address, *destination)),
                Some(found) if destination == found => {}
                Some(_) if destination.weight == 0 => {
                    self.ops.push(Op::QuiesceDestination(*key, *address));
                }
                Some(_) => self
                    .ops
                    .push(Op::EditDestination(*key, *address, *destination)),
            }
        }
        for (address, found) in present {
            if wanted.contains_key(address) {
                continue;
            }
            if found.weight != 0 {
                self.ops.push(Op::QuiesceDestination(*key, *address));
            }
            self.ops.push(Op::DelDestination(*key, *address));
        }
    }

    fn arp(&mut self) {
        for (dev, link) in &self.observed.links {
            let wanted = self.desired.arp.get(dev);
            let now = link.arp;
            let targets = wanted.map_or(now, |wanted| raise(*wanted, now, self.observed.arp_all));
            for (which, now, target) in [
                (Arp::Ignore, now.ignore, targets.ignore),
                (Arp::Announce, now.announce, targets.announce),
            ] {
                let id = (dev.clone(), which);
                let change = self.old.arp.get(&id).copied();
                if target != now {
                    let set = ArpChange {
                        dev: dev.clone(),
                        which,
                        from: now,
                        to: target,
                    };
                    self.ops.push(Op::Quiet(set));
                    // `before` stays the value before our first change, unless another program has changed it since.
                    let before = change
                        .filter(|change| change.set == now)
                        .map_or(now, |change| change.before);
                    self.ledger.arp.insert(
                        id,
                        SettingChange {
                            before,
                            set: target,
                        },
                    );
                } else if let Some(change) = change.filter(|change| change.set == now) {
                    self.ledger.arp.insert(id, change);
                    if wanted.is_none() && change.before != now {
                        let set = ArpChange {
                            dev: dev.clone(),
                            which,
                            from: now,
                            to: change.before,
                        };
                        self.ops.push(Op::Restore(set));
                    }
                }
            }
        }
    }
}

impl Diff<'_> {
    fn ipvs(&mut self) {
        for setting in IpvsSetting::ALL {
            let now = self.observed.net.ipvs.get(&setting).copied();
            let wanted = self.desired.ipvs.get(&setting).copied();
            // A setting is ours only while it has the value that we set.
            let change = self.old.ipvs.get(&setting).copied();
            let change = change.filter(|change| Some(change.set) == now);
            match (wanted, now, change) {
                (Some(to), Some(now), change) if to != now => {
                    self.ops.push(Op::SetIpvs(IpvsChange { setting, to }));
                    let before = change.map_or(now, |change| change.before);
                    let change = SettingChange { before, set: to };
                    self.ledger.ipvs.insert(setting, change);
                }
                // The kernel lacks the setting. The op is planned all the same, so that its failure is reported.
                (Some(to), None, _) => self.ops.push(Op::SetIpvs(IpvsChange { setting, to })),
                (None, Some(now), Some(change)) => {
                    if change.before != now {
                        self.ledger.ipvs.insert(setting, change);
                        let to = change.before;
                        self.ops.push(Op::RestoreIpvs(IpvsChange { setting, to }));
                    }
                }
                (Some(_), Some(_), Some(change)) => {
                    self.ledger.ipvs.insert(setting, change);
                }
                (Some(_), Some(_), None) | (None, _, None) | (None, None, Some(_)) => {}
            }
        }
    }
}

impl Diff<'_> {
    fn sync(&mut self) {
        for half in SyncHalf::ALL {
            let running = self.observed.net.sync.get(&half);
            let ours = self.old.own_daemon(half, self.observed);
            let wanted = self.desired.sync.get(&half);
            let mut is_astray = false;
            if let Some(ours) = ours {
                let id = (half, ours.clone());
                // The kernel goes on showing the name of an interface that is gone.
                let now = self.observed.index_of(&ours.dev);
                let bound = self.old.sync.get(&id).copied().flatten().or(now);
                is_astray = now.is_some() && now != bound;
                self.ledger.sync.insert(id, bound);
                if wanted != Some(ours) || is_astray {
                    self.ops.push(Op::StopSync(half));
                }
            }
            // The kernel runs one daemon of each half, so a foreign one is left alone and ours is not started.
            if let Some(wanted) = wanted
                && (running != Some(wanted) || is_astray)
                && running == ours
            {
                self.ops.push(Op::StartSync(half, wanted.clone()));
                let id = (half, wanted.clone());
                self.ledger.sync.entry(id).or_insert(None);
            }
        }
    }

    fn indexes(&mut self) {
        let Ledger {
            addresses,
            routes,
            arp,
            ..
        } = &self.ledger;
        let keys = addresses.iter().chain(routes).map(|key| &key.dev);
        let named: BTreeSet<&Dev> = keys.chain(arp.keys().map(|(dev, _)| dev)).collect();
        let index = |dev: &Dev| Some((dev.clone(), self.observed.index_of(dev)?));
        self.ledger.indexes = named.into_iter().filter_map(index).collect();
    }
}

/// The interface's own settings that make the wanted ones effective; unchanged where they are effective already.
fn raise(wanted: ArpSettings, own: ArpSettings, all: ArpSettings) -> ArpSettings {
    let effective = own.effective(all);
    let ignore_met = match wanted.ignore {
        8 => effective.ignore == 8,
        _ => matches!(effective.ignore, 1 | 2 | 8),
    };
    ArpSettings {
        ignore: if ignore_met {
            own.ignore
        } else {
            wanted.ignore
        },
        announce: if effective.announce >= wanted.announce {
            own.announce
        } else {
            wanted.announce
        },
    }
}
