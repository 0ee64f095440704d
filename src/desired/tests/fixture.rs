use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use crate::{
    desired::{
        Desired, DirectorHistory, DrainTimers, Inputs, NodeOptions, RecentDirectors,
        VirtualServiceState, admit_here, desired, reserved,
    },
    health::{Checks, Health},
    model::*,
};

pub const VIP: &str = "10.77.0.100";

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn dev(name: &str) -> Dev {
    name.parse().unwrap()
}

pub fn web_key() -> ServiceKey {
    ServiceKey {
        vip: ip(VIP),
        port: 80,
        protocol: Protocol::Tcp,
    }
}

pub fn virtual_service(name: &str) -> VirtualService {
    VirtualService {
        key: VsKey::new("shop", name),
        uid: name.to_owned(),
        generation: 1,
        created: 100,
        vips: vec![ip(VIP)],
        ports: vec![Port {
            port: 80,
            protocol: Protocol::Tcp,
        }],
        scheduler: Scheduler::Rr,
        flags: vec![],
        persistence_v4: None,
        persistence_v6: None,
        directors: DirectorPolicy::default(),
        real_servers: RealServerPolicy {
            selector: Some(Selector::default()),
            service: None,
            device: Dev::lo(),
            weight: 1,
            host_route: false,
            cordon: CordonPolicy::Ignore,
            external: vec![],
        },
        health_check: HealthCheck::NONE,
        drain: Duration::from_secs(60),
        without: BTreeSet::new(),
    }
}

pub fn nic(index: u32, name: &str, networks: &[&str]) -> Link {
    Link {
        index,
        dev: dev(name),
        mac: Some(Mac([2, 0, 0, 0, 0, index as u8])),
        kind: LinkKind::Other,
        up: true,
        carrier: true,
        arp_capable: true,
        enslaved: false,
        addresses: networks.iter().map(|net| net.parse().unwrap()).collect(),
        arp: ArpSettings::default(),
    }
}

/// Director `d` and real servers `r1`, `r2` on 10.77.0.0/24, seen from one of them.
pub struct Lan {
    pub node: NodeName,
    pub snapshot: Snapshot,
    pub observed: Observed,
    pub ledger: Ledger,
    pub api_servers: BTreeSet<IpAddr>,
    pub wire: WireEvidence,
    /// Whether every VIP has been probed; nobody answered but those in `wire`.
    pub probed: bool,
    /// What health checks found; `None`: all real servers are healthy.
    pub checks: Option<Checks>,
    pub elected: Elected,
    /// Nodes that are or were directors; `None`: as if the agent had just started.
    pub former: Option<RecentDirectors>,
    /// Whether the snapshot is all that the sources have now.
    pub complete: bool,
    pub options: NodeOptions,
    pub timers: DrainTimers,
    pub now: Duration,
}

impl Lan {
    pub fn seen_from(node: &str, own_network: &str) -> Self {
        let labelled = |label: &str, address: &str| Node {
            labels: BTreeMap::from([(label.to_owned(), "true".to_owned())]),
            weight: None,
            drained: false,
            addresses: vec![ip(address)],
            cordoned: false,
            silent: false,
        };
        let nodes = [
            ("d", labelled(DIRECTOR_LABEL, "10.77.0.10")),
            ("r1", labelled(BACKEND_LABEL, "10.77.0.11")),
            ("r2", labelled(BACKEND_LABEL, "10.77.0.12")),
        ];
        let web = virtual_service("web");
        let mut lo = nic(1, "lo", &["127.0.0.1/8"]);
        lo.kind = LinkKind::Loopback;
        lo.arp_capable = false;
        let mut lan = Self {
            node: node.into(),
            snapshot: Snapshot {
                virtual_services: BTreeMap::from([(web.key.clone(), Ok(web.into()))]),
                nodes: nodes
                    .into_iter()
                    .map(|(name, node)| (name.into(), node))
                    .collect(),
                peers: Peers::Reported(BTreeMap::new()),
                undo: None,
                endpoints: Endpoints::new(),
            },
            observed: Observed {
                links: [lo, nic(2, "eth0", &[own_network])]
                    .into_iter()
                    .map(|link| (link.dev.clone(), link))
                    .collect(),
                ..Observed::default()
            },
            ledger: Ledger::default(),
            api_servers: BTreeSet::new(),
            wire: WireEvidence::default(),
            probed: true,
            checks: None,
            elected: Elected::default(),
            former: None,
            complete: true,
            options: NodeOptions::default(),
            timers: DrainTimers::default(),
            now: Duration::ZERO,
        };
        lan.neighbour("10.77.0.11", 11);
        lan.neighbour("10.77.0.12", 12);
        if node != "d" {
            lan.bound("d");
        }
        lan
    }

    pub fn director() -> Self {
        Self::seen_from("d", "10.77.0.10/24")
    }

    pub fn real_server() -> Self {
        Self::seen_from("r1", "10.77.0.11/24")
    }

    pub fn neighbour(&mut self, address: &str, last: u8) {
        let reach = Reach::Neighbour {
            dev: dev("eth0"),
            mac: Mac([2, 0, 0, 0, 0, last]),
        };
        self.wire.reach.insert(ip(address), reach);
    }

    pub fn bound(&mut self, node: &str) {
        if let Peers::Reported(peers) = &mut self.snapshot.peers {
            peers.entry(node.into()).or_default().bound = [ip(VIP)].into_iter().collect();
        }
    }

    pub fn unbound(&mut self, node: &str) {
        if let Peers::Reported(peers) = &mut self.snapshot.peers {
            peers.insert(node.into(), PeerState::default());
        }
    }

    pub fn web(&mut self) -> &mut VirtualService {
        let known = &mut self.snapshot.virtual_services;
        let web = known.get_mut(&VsKey::new("shop", "web")).unwrap();
        Arc::make_mut(web.as_mut().unwrap())
    }

    pub fn eth0(&mut self) -> &mut Link {
        self.observed.links.get_mut("eth0").unwrap()
    }

    /// Our service as the kernel shows it.
    pub fn serving(&mut self, destinations: &[(&str, u32)]) {
        let destinations = destinations
            .iter()
            .map(|(address, weight)| (ip(address), Destination::direct(*weight)))
            .collect();
        let service = Service {
            scheduler: Scheduler::Rr,
            flags: vec![],
            persistence: None,
            destinations,
        };
        self.observed.net.services.insert(web_key(), service);
        self.ledger.services.insert(web_key());
    }

    /// An address that carries our tag.
    pub fn carrying(&mut self, on: &str, role: Role) {
        let key = AddressKey::new(dev(on), ip(VIP));
        self.observed.net.addresses.insert(key.clone(), role);
        self.observed.addresses.insert(
            key,
            ObservedAddress {
                tag: ForeignTag::Ours,
                valid_seconds: None,
            },
        );
    }

    pub fn desired(&self) -> Desired {
        self.decide(desired)
    }

    pub fn decide<T>(&self, decision: impl FnOnce(&Inputs<'_>) -> T) -> T {
        let admission = admit_here(&self.snapshot, |vip| self.elected.held.contains_key(&vip));
        let reserved = reserved(&self.observed, &self.ledger, &self.api_servers);
        let zero = Duration::ZERO;
        let mut wire = self.wire.clone();
        let accepted = admission.accepted.values().filter(|_| self.probed);
        for vip in accepted.flat_map(|it| &it.vips) {
            wire.answers.entry(*vip).or_default();
        }
        let just_started = || DirectorHistory::default().update(&self.snapshot, zero, zero);
        decision(&Inputs {
            node: &self.node,
            snapshot: &self.snapshot,
            admission: &admission,
            observed: &self.observed,
            ledger: &self.ledger,
            reserved: &reserved,
            wire: &wire,
            health: self
                .checks
                .as_ref()
                .map_or(Health::Assumed, Health::Checked),
            elected: &self.elected,
            former: &self.former.clone().unwrap_or_else(just_started),
            complete: self.complete,
            options: &self.options,
            timers: &self.timers,
            now: self.now,
        })
    }

    pub fn vs_state(&self) -> VirtualServiceState {
        self.desired()
            .virtual_services
            .remove(&VsKey::new("shop", "web"))
            .unwrap()
    }

    pub fn reason(&self) -> Option<Reason> {
        self.vs_state().refusal.map(|refusal| refusal.reason)
    }

    /// Address → weight of the web service's wanted destinations.
    pub fn weights(&self) -> Vec<(String, u32)> {
        let desired = self.desired();
        let service = desired.net.services.get(&web_key());
        let destinations = service
            .into_iter()
            .flat_map(|service| &service.destinations);
        destinations
            .map(|(address, destination)| (address.to_string(), destination.weight))
            .collect()
    }

    /// Devices on which the VIP is wanted.
    pub fn devices(&self) -> BTreeSet<(String, bool)> {
        let desired = self.desired();
        let addresses = desired.net.addresses.iter();
        addresses
            .map(|(key, role)| (key.dev.to_string(), *role == Role::Held))
            .collect()
    }
}

pub fn on(devices: &[(&str, bool)]) -> BTreeSet<(String, bool)> {
    devices
        .iter()
        .map(|(dev, held)| ((*dev).to_owned(), *held))
        .collect()
}

pub fn weights(expected: &[(&str, u32)]) -> Vec<(String, u32)> {
    expected
        .iter()
        .map(|(address, weight)| ((*address).to_owned(), *weight))
        .collect()
}
