use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use crate::model::{
    self, ArpSettings, ForeignTag, Ipvs, Ledger, Link, LinkKind, Observed, PROTOCOL_TAG, Role,
    ServiceKey,
};

use super::{
    Address, Arp, Changed, Connections, Destination, Forward, Interface, IpvsSetting, Kind,
    Observation, Owner, Persistence, Route, Service, SyncDaemon, SyncRole, VERSION,
};

impl Observation {
    /// The document of the observed state of a kernel, with owners by `ledger`.
    pub fn new(observed: &Observed, ledger: &Ledger) -> Self {
        let addresses = observed.net.addresses.iter().map(|(key, role)| {
            let found = observed.addresses.get(key);
            Address {
                address: key.ip,
                interface: key.dev.to_string(),
                held: *role == Role::Held,
                owner: owner(ledger.owns_address(key, observed)),
                protocol: found.and_then(|found| match found.tag {
                    ForeignTag::Ours => Some(PROTOCOL_TAG),
                    ForeignTag::Untagged => None,
                    ForeignTag::Theirs(number) => Some(number),
                }),
                valid_seconds: found.and_then(|found| found.valid_seconds),
            }
        });
        let routes = observed.net.routes.iter().map(|key| Route {
            address: key.ip,
            interface: key.dev.to_string(),
            owner: owner(observed.our_routes.contains(key)),
        });
        let services = observed.net.services.iter();
        Self {
            version: VERSION,
            ipvs_missing: match &observed.ipvs {
                Ipvs::Present => None,
                Ipvs::Missing(why) => Some(why.clone()),
            },
            arp_all: arp(observed.arp_all),
            interfaces: observed
                .links
                .values()
                .map(|link| interface(link, observed, ledger))
                .collect(),
            addresses: addresses.collect(),
            routes: routes.collect(),
            next_hops: observed.next_hops.clone(),
            services: services
                .map(|(key, found)| service(key, found, observed, ledger))
                .collect(),
            fwmark_services: observed.fwmark_services,
            ipvs_settings: observed
                .net
                .ipvs
                .iter()
                .map(|(setting, value)| {
                    let changed = ledger.ipvs.get(setting).map(|change| Changed {
                        before: change.before,
                        set: change.set,
                    });
                    let value = IpvsSetting {
                        value: *value,
                        changed,
                    };
                    (setting.to_string(), value)
                })
                .collect(),
            sync_daemons: observed
                .net
                .sync
                .iter()
                .map(|(half, daemon)| SyncDaemon {
                    role: match half {
                        model::SyncHalf::Master => SyncRole::Master,
                        model::SyncHalf::Backup => SyncRole::Backup,
                    },
                    interface: daemon.dev.to_string(),
                    sync_id: daemon.id,
                    owner: owner(ledger.own_daemon(*half, observed).is_some()),
                })
                .collect(),
        }
    }
}

fn owner(ours: bool) -> Owner {
    if ours { Owner::Ours } else { Owner::Foreign }
}

fn arp(settings: ArpSettings) -> Arp {
    Arp {
        ignore: settings.ignore,
        announce: settings.announce,
    }
}

fn interface(link: &Link, observed: &Observed, ledger: &Ledger) -> Interface {
    let effective = link.arp.effective(observed.arp_all);
    let mut changed_arp = BTreeMap::new();
    for ((_, which), change) in ledger.arp.iter().filter(|((dev, _), _)| *dev == link.dev) {
        let name = match which {
            model::Arp::Ignore => "arp_ignore",
            model::Arp::Announce => "arp_announce",
        };
        let change = Changed {
            before: change.before,
            set: change.set,
        };
        changed_arp.insert(name.to_owned(), change);
    }
    Interface {
        name: link.dev.to_string(),
        index: link.index,
        mac: link.mac.map(|mac| mac.to_string()),
        kind: match link.kind {
            LinkKind::Loopback => Kind::Loopback,
            LinkKind::Dummy => Kind::Dummy,
            LinkKind::Other => Kind::Other,
        },
        up: link.up,
        carrier: link.carrier,
        arp_capable: link.arp_capable,
        enslaved: link.enslaved,
        addresses: link.addresses.iter().map(ToString::to_string).collect(),
        arp: arp(link.arp),
        effective_arp: arp(effective),
        quiet: effective.is_quiet() || !link.hears_arp(),
        owner: owner(ledger.dummies.contains(&link.dev)),
        changed_arp,
    }
}

fn service(
    key: &ServiceKey,
    found: &model::Service,
    observed: &Observed,
    ledger: &Ledger,
) -> Service {
    let own = found.destinations.iter().map(|(address, seen)| {
        let connections = observed.draining.get(&(*key, *address));
        Destination {
            connections: connections.map(|connections| Connections {
                active: connections.active,
                inactive: connections.inactive,
            }),
            ..destination(*address, None, *seen)
        }
    });
    let first = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
    let foreign = observed.foreign_destinations.range((*key, first)..);
    let foreign = foreign.take_while(|((of, _), _)| of == key);
    let foreign =
        foreign.map(|((_, server), seen)| destination(server.ip(), Some(server.port()), *seen));
    Service {
        vip: key.vip,
        port: key.port,
        protocol: key.protocol.to_string(),
        scheduler: found.scheduler.to_string(),
        flags: found
            .flags
            .iter()
            .map(|flag| flag.name(&found.scheduler))
            .collect(),
        persistence: found.persistence.map(|persistence| Persistence {
            timeout_seconds: persistence.timeout_seconds,
            prefix_length: persistence.prefix_length,
        }),
        destinations: own.chain(foreign).collect(),
        owner: owner(ledger.services.contains(key)),
    }
}

fn destination(address: IpAddr, port: Option<u16>, seen: model::Destination) -> Destination {
    Destination {
        address,
        port,
        weight: seen.weight,
        forward: match seen.forward {
            model::Forward::Direct => Forward::Direct,
            model::Forward::Local => Forward::Local,
            model::Forward::Tunnel => Forward::Tunnel,
            model::Forward::Masquerade => Forward::Masquerade,
            model::Forward::Bypass => Forward::Bypass,
        },
        connections: None,
    }
}
