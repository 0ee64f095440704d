use std::{net::SocketAddr, str::FromStr};

use crate::model::{
    self, AddressKey, ArpSettings, Dev, Flag, ForeignTag, Ipvs, Ledger, Link, LinkKind, Observed,
    ObservedAddress, PROTOCOL_TAG, Protocol, Role, Scheduler, ServiceKey, SettingChange,
};

use super::{
    Arp, Changed, Forward, Interface, Kind, Observation, Owner, Service, SyncRole, VERSION,
};

/// An error for a document that describes no possible state of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {cause}")]
pub struct BadObservation {
    /// The field, as in `services[0].protocol`.
    pub field: String,
    /// What is wrong and what would be right.
    pub cause: String,
}

fn bad(field: impl Into<String>, cause: impl ToString) -> BadObservation {
    BadObservation {
        field: field.into(),
        cause: cause.to_string(),
    }
}

fn parse<T: FromStr<Err: ToString>>(
    field: impl FnOnce() -> String,
    text: &str,
) -> Result<T, BadObservation> {
    text.parse()
        .map_err(|error: T::Err| bad(field(), error.to_string()))
}

impl Observation {
    /// The observed state of the kernel, and the ledger of what in it is ours.
    pub fn to_model(&self) -> Result<(Observed, Ledger), BadObservation> {
        if self.version != VERSION {
            let cause = format!(
                "{} is not known; this program reads {VERSION}",
                self.version
            );
            return Err(bad("version", cause));
        }
        let mut observed = Observed {
            arp_all: arp(self.arp_all),
            ipvs: match &self.ipvs_missing {
                None => Ipvs::Present,
                Some(why) => Ipvs::Missing(why.clone()),
            },
            fwmark_services: self.fwmark_services,
            next_hops: self.next_hops.clone(),
            ..Observed::default()
        };
        let mut ledger = Ledger::default();
        for (index, interface) in self.interfaces.iter().enumerate() {
            read_interface(index, interface, &mut observed, &mut ledger)?;
        }
        for (index, address) in self.addresses.iter().enumerate() {
            let dev = parse(
                || format!("addresses[{index}].interface"),
                &address.interface,
            )?;
            let key = AddressKey::new(dev, address.address);
            let role = if address.held {
                Role::Held
            } else {
                Role::Quiet
            };
            observed.net.addresses.insert(key.clone(), role);
            let tag = match address.protocol {
                None => ForeignTag::Untagged,
                Some(PROTOCOL_TAG) => ForeignTag::Ours,
                Some(number) => ForeignTag::Theirs(number),
            };
            let valid_seconds = address.valid_seconds;
            observed
                .addresses
                .insert(key.clone(), ObservedAddress { tag, valid_seconds });
            if address.owner == Owner::Ours {
                ledger.addresses.insert(key);
            }
        }
        for (index, route) in self.routes.iter().enumerate() {
            let dev = parse(|| format!("routes[{index}].interface"), &route.interface)?;
            let key = AddressKey::new(dev, route.address);
            observed.net.routes.insert(key.clone());
            if route.owner == Owner::Ours {
                observed.our_routes.insert(key.clone());
                ledger.routes.insert(key);
            }
        }
        for (index, service) in self.services.iter().enumerate() {
            read_service(index, service, &mut observed, &mut ledger)?;
        }
        for (name, setting) in &self.ipvs_settings {
            let key: model::IpvsSetting = parse(|| "ipvsSettings".to_owned(), name)?;
            observed.net.ipvs.insert(key, setting.value);
            if let Some(Changed { before, set }) = setting.changed {
                ledger.ipvs.insert(key, SettingChange { before, set });
            }
        }
        for (index, found) in self.sync_daemons.iter().enumerate() {
            let half = match found.role {
                SyncRole::Master => model::SyncHalf::Master,
                SyncRole::Backup => model::SyncHalf::Backup,
            };
            let daemon = model::SyncDaemon {
                dev: parse(
                    || format!("syncDaemons[{index}].interface"),
                    &found.interface,
                )?,
                id: found.sync_id,
            };
            if found.owner == Owner::Ours {
                // The document does not say whether the daemon is bound to another interface than the one with the name.
                ledger.started(half, &daemon, &observed);
            }
            observed.net.sync.insert(half, daemon);
        }
        Ok((observed, ledger))
    }
}

fn arp(settings: Arp) -> ArpSettings {
    ArpSettings {
        ignore: settings.ignore,
        announce: settings.announce,
    }
}

fn read_interface(
    index: usize,
    interface: &Interface,
    observed: &mut Observed,
    ledger: &mut Ledger,
) -> Result<(), BadObservation> {
    let field = |name: &str| format!("interfaces[{index}].{name}");
    let dev: Dev = parse(|| field("name"), &interface.name)?;
    let mac = interface.mac.as_deref();
    let link = Link {
        index: interface.index,
        dev: dev.clone(),
        mac: mac.map(|mac| parse(|| field("mac"), mac)).transpose()?,
        kind: match interface.kind {
            Kind::Loopback => LinkKind::Loopback,
            Kind::Dummy => LinkKind::Dummy,
            Kind::Other => LinkKind::Other,
        },
        up: interface.up,
        carrier: interface.carrier,
        arp_capable: interface.arp_capable,
        enslaved: interface.enslaved,
        addresses: interface
            .addresses
            .iter()
            .map(|net| parse(|| field("addresses"), net))
            .collect::<Result<_, _>>()?,
        arp: arp(interface.arp),
    };
    if link.kind == LinkKind::Dummy {
        observed.net.dummies.insert(dev.clone());
        if interface.owner == Owner::Ours {
            ledger.dummies.insert(dev.clone());
        }
    }
    observed.net.arp.insert(dev.clone(), link.arp);
    for (name, change) in &interface.changed_arp {
        let which = match name.as_str() {
            "arp_ignore" => model::Arp::Ignore,
            "arp_announce" => model::Arp::Announce,
            other => {
                let cause = format!("{other:?} is not known; use arp_ignore or arp_announce");
                return Err(bad(field("changedArp"), cause));
            }
        };
        let change = SettingChange {
            before: change.before,
            set: change.set,
        };
        ledger.arp.insert((dev.clone(), which), change);
    }
    if observed.links.insert(dev, link).is_some() {
        let cause = format!("{} is there twice; remove one", interface.name);
        return Err(bad(field("name"), cause));
    }
    Ok(())
}

fn read_service(
    index: usize,
    service: &Service,
    observed: &mut Observed,
    ledger: &mut Ledger,
) -> Result<(), BadObservation> {
    let field = |name: &str| format!("services[{index}].{name}");
    let protocol: Protocol = parse(|| field("protocol"), &service.protocol)?;
    let key = ServiceKey {
        vip: service.vip,
        port: service.port,
        protocol,
    };
    let scheduler = Scheduler::from_kernel(&service.scheduler);
    let flag = |name: &String| {
        let flags = Flag::ALL.into_iter();
        let found = flags.clone().find(|flag| flag.name(&scheduler) == *name);
        found.ok_or_else(|| {
            let known: Vec<String> = flags.map(|flag| flag.name(&scheduler)).collect();
            let cause = format!(
                "{name:?} is no flag of scheduler {scheduler}; use one of {}",
                known.join(" ")
            );
            bad(field("flags"), cause)
        })
    };
    let mut flags = service
        .flags
        .iter()
        .map(flag)
        .collect::<Result<Vec<_>, _>>()?;
    flags.sort_unstable();
    let mut found = model::Service {
        scheduler: scheduler.clone(),
        flags,
        persistence: service.persistence.map(|persistence| model::Persistence {
            timeout_seconds: persistence.timeout_seconds,
            prefix_length: persistence.prefix_length,
        }),
        destinations: Default::default(),
    };
    for destination in &service.destinations {
        let forward = match destination.forward {
            Forward::Direct => model::Forward::Direct,
            Forward::Local => model::Forward::Local,
            Forward::Tunnel => model::Forward::Tunnel,
            Forward::Masquerade => model::Forward::Masquerade,
            Forward::Bypass => model::Forward::Bypass,
        };
        let value = model::Destination {
            weight: destination.weight,
            forward,
        };
        if let Some(port) = destination.port.filter(|port| *port != key.port) {
            let server = SocketAddr::new(destination.address, port);
            let others = &mut observed.foreign_destinations;
            others.insert((key, server), value);
            continue;
        }
        found.destinations.insert(destination.address, value);
        if let Some(connections) = destination.connections {
            let connections = model::Connections {
                active: connections.active,
                inactive: connections.inactive,
            };
            observed
                .draining
                .insert((key, destination.address), connections);
        }
    }
    if service.owner == Owner::Ours {
        ledger.services.insert(key);
    }
    if observed.net.services.insert(key, found).is_some() {
        return Err(bad(
            field("vip"),
            format!("{key} is there twice; remove one"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::to_yaml;

    fn full() -> (Observed, Ledger) {
        let eth0: Dev = "eth0".parse().unwrap();
        let vip0: Dev = "vip0".parse().unwrap();
        let link = |dev: &Dev, index, kind, addresses: &[&str]| Link {
            index,
            dev: dev.clone(),
            mac: (kind != LinkKind::Loopback).then_some(crate::model::Mac([2, 0, 0, 0, 0, 1])),
            kind,
            up: true,
            carrier: index == 1,
            arp_capable: kind == LinkKind::Other,
            enslaved: false,
            addresses: addresses.iter().map(|net| net.parse().unwrap()).collect(),
            arp: ArpSettings::QUIET,
        };
        let mut observed = Observed {
            arp_all: ArpSettings {
                ignore: 2,
                announce: 0,
            },
            ipvs: Ipvs::Missing("no".to_owned()),
            fwmark_services: 3,
            next_hops: ["10.0.0.254".parse().unwrap()].into(),
            ..Observed::default()
        };
        let mut ledger = Ledger::default();
        for link in [
            link(&Dev::lo(), 1, LinkKind::Loopback, &["127.0.0.1/8"]),
            link(&eth0, 2, LinkKind::Other, &["10.0.0.1/24", "fd00::1/64"]),
            link(&vip0, 3, LinkKind::Dummy, &[]),
        ] {
            observed.net.arp.insert(link.dev.clone(), link.arp);
            observed.links.insert(link.dev.clone(), link);
        }
        observed.net.dummies.insert(vip0.clone());
        ledger.dummies.insert(vip0.clone());
        ledger.arp.insert(
            (eth0.clone(), model::Arp::Announce),
            SettingChange { before: 1, set: 2 },
        );
        for (dev, ip, role, tag) in [
            (&vip0, "10.0.0.100", Role::Quiet, ForeignTag::Ours),
            (&eth0, "10.0.0.100", Role::Held, ForeignTag::Untagged),
            (&eth0, "10.0.0.7", Role::Held, ForeignTag::Theirs(3)),
        ] {
            let key = AddressKey::new(dev.clone(), ip.parse().unwrap());
            let valid_seconds = (role == Role::Held).then_some(600);
            observed.net.addresses.insert(key.clone(), role);
            observed
                .addresses
                .insert(key.clone(), ObservedAddress { tag, valid_seconds });
            if !matches!(tag, ForeignTag::Theirs(_)) {
                ledger.addresses.insert(key.clone());
                observed.net.routes.insert(key.clone());
            }
            if tag == ForeignTag::Ours {
                observed.our_routes.insert(key.clone());
                ledger.routes.insert(key);
            }
        }
        for (port, scheduler, flags) in [
            (80, Scheduler::Mh, vec![Flag::Fallback, Flag::Port]),
            (81, Scheduler::Other("twos".to_owned()), vec![Flag::Third]),
        ] {
            let key = ServiceKey {
                vip: "10.0.0.100".parse().unwrap(),
                port,
                protocol: Protocol::Udp,
            };
            let address = "10.0.0.2".parse().unwrap();
            observed.net.services.insert(
                key,
                model::Service {
                    scheduler,
                    flags,
                    persistence: Some(model::Persistence {
                        timeout_seconds: 300,
                        prefix_length: 24,
                    }),
                    destinations: [(address, model::Destination::direct(0))].into(),
                },
            );
            observed.draining.insert(
                (key, address),
                model::Connections {
                    active: 2,
                    inactive: 1,
                },
            );
            let other = "10.0.0.2:8080".parse().unwrap();
            let masquerade = model::Destination {
                weight: 2,
                forward: model::Forward::Masquerade,
            };
            let foreign = &mut observed.foreign_destinations;
            foreign.insert((key, other), masquerade);
            if port == 80 {
                ledger.services.insert(key);
            }
        }
        observed.net.ipvs = model::IpvsSetting::ALL.map(|setting| (setting, 1)).into();
        let change = SettingChange { before: 0, set: 1 };
        ledger.ipvs.insert(model::IpvsSetting::ScheduleIcmp, change);
        for (half, id) in [(model::SyncHalf::Master, 215), (model::SyncHalf::Backup, 0)] {
            let dev = "eth0".parse().unwrap();
            observed
                .net
                .sync
                .insert(half, model::SyncDaemon { dev, id });
        }
        let half = model::SyncHalf::Master;
        ledger.started(half, &observed.net.sync[&half].clone(), &observed);
        (observed, ledger)
    }

    #[test]
    fn what_is_written_is_read_back_in_both_formats() {
        let (observed, ledger) = full();
        let document = Observation::new(&observed, &ledger);
        let json = serde_json::to_string(&document).unwrap();
        let from_json: Observation = serde_json::from_str(&json).unwrap();
        assert_eq!(from_json.to_model(), Ok((observed, ledger)));
        let yaml = to_yaml(&document).unwrap();
        let from_yaml: Observation = serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(from_yaml, from_json);
    }

    #[test]
    fn what_no_kernel_shows_is_refused_by_field() {
        let (observed, ledger) = full();
        let good = Observation::new(&observed, &ledger);
        let complaint = |change: fn(&mut Observation)| {
            let mut document = good.clone();
            change(&mut document);
            document.to_model().unwrap_err().field
        };
        assert_eq!(complaint(|d| d.version = 2), "version");
        assert_eq!(
            complaint(|d| d.services[0].protocol = "ICMP".to_owned()),
            "services[0].protocol"
        );
        assert_eq!(
            complaint(|d| d.services[1].flags = vec!["mh-port".to_owned()]),
            "services[1].flags"
        );
        assert_eq!(
            complaint(|d| d.interfaces[0].name = "a/b".to_owned()),
            "interfaces[0].name"
        );
        assert_eq!(
            complaint(|d| d.interfaces.push(d.interfaces[0].clone())),
            "interfaces[3].name"
        );
    }
}
