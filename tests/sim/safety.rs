//! The safety rules, checked after every effect.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use directway::{
    kernel::fake::{Delivery, FakeLan, Loss},
    model::*,
};

use crate::{
    cluster::Talk,
    site::{self, BACKENDS, CLIENT, DIRECTORS, DNS, NODES, VIP, ip},
};

/// What every node did, and when.
#[derive(Clone, Default)]
pub struct Story(Arc<Mutex<String>>);

impl Story {
    pub fn add(&self, lan: &FakeLan, name: &str, what: &str) {
        let now = lan.now().as_secs_f64();
        let _ = writeln!(self.0.lock().unwrap(), "{now:>8.3} s {name:<3} {what}");
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.lock().unwrap())
    }
}

/// Checks the rules after every effect, and keeps what it found.
#[derive(Clone)]
pub struct Safety(Arc<Mutex<Notes>>);

#[derive(Default)]
struct Notes {
    broken: Vec<String>,
    /// Whether every request must be answered now.
    serving: bool,
    /// A node may lose power, and with it a VIP that others rely on.
    power_loss: bool,
    /// An agent may be killed, or an effect refused.
    faulty: bool,
    /// Since when two directors answer for a VIP.
    doubled: BTreeMap<&'static str, Duration>,
    checks: u64,
    /// Effects of elections by their kind.
    elections: BTreeMap<&'static str, u64>,
}

/// For how long two directors may answer for a VIP that moves; longer after a fault, because a director whose agent was
/// killed during the move yields only when the agent runs again.
const MOVE: Duration = Duration::from_millis(100);
const MOVE_WITH_RESTART: Duration = Duration::from_millis(2500);

impl Safety {
    pub fn watch(lan: &FakeLan, talk: Talk, story: &Story) -> Self {
        let safety = Self(Arc::default());
        let notes = Arc::clone(&safety.0);
        let foreign = foreign_things(lan);
        let story = story.clone();
        lan.after_every_effect(move |lan, name, effect| {
            story.add(lan, name, &effect.to_string());
            let mut notes = notes.lock().unwrap();
            notes.checks += 1;
            if let Some(kind) = kind_in_election(&effect.to_string()) {
                *notes.elections.entry(kind).or_default() += 1;
            }
            let serving = notes.serving;
            let mut broken = arp_answers(lan, &mut notes);
            // Without reports a director sees only ARP, not what a real server has bound.
            if talk == Talk::Reports && !notes.power_loss {
                broken.extend(destinations(lan));
                broken.extend(requests(lan, serving));
            }
            if foreign_things(lan) != foreign {
                broken.push("something of others changed".to_owned());
            }
            let broken = broken
                .into_iter()
                .map(|what| format!("after {name}: {effect}: {what}"));
            notes.broken.extend(broken);
        });
        safety
    }

    /// Sets whether every request must be answered from now on.
    pub fn serving(&self, serving: bool) {
        self.0.lock().unwrap().serving = serving;
    }

    /// Requests and destinations are no longer checked, because a node that loses power loses VIPs that others rely on.
    pub fn expect_power_loss(&self) {
        self.0.lock().unwrap().power_loss = true;
    }

    /// An agent may be killed or an effect refused from now on, so a move may take longer.
    pub fn expect_fault(&self) {
        self.0.lock().unwrap().faulty = true;
    }

    /// How many effects of each kind elections had.
    pub fn counts(&self) -> String {
        let notes = self.0.lock().unwrap();
        let counts = notes.elections.iter();
        let counts: Vec<String> = counts.map(|(what, n)| format!("{n} {what}")).collect();
        counts.join(", ")
    }

    /// Fails if a rule was broken so far, or none was ever checked.
    pub fn check(&self, story: &Story) {
        let notes = self.0.lock().unwrap();
        assert!(notes.checks > 0, "no effect was ever seen");
        assert!(
            notes.broken.is_empty(),
            "{}\n{story}",
            notes.broken.join("\n")
        );
    }
}

/// The kind of an effect, if an election had it.
fn kind_in_election(effect: &str) -> Option<&'static str> {
    let on_nic = effect.ends_with("dev eth0") || effect.contains("dev eth0 ");
    match effect {
        it if it.starts_with("probe ") => Some("probes"),
        it if it.starts_with("announce ") => Some("announcements"),
        it if it.starts_with("ip addr add") && on_nic => Some("claims"),
        it if it.starts_with("ip addr del") && on_nic => Some("yields"),
        _ => None,
    }
}

/// No real server may answer, announce or ask with a VIP at its MAC; two directors may answer only while the VIP moves.
fn arp_answers(lan: &FakeLan, notes: &mut Notes) -> Vec<String> {
    let mut broken = Vec::new();
    for vip in [VIP, DNS] {
        let answers = lan.who_has(CLIENT, ip(vip)).len();
        for claimant in lan.claimants(ip(vip)) {
            if !DIRECTORS.contains(&claimant.as_str()) {
                broken.push(format!("{claimant} claims {vip} by ARP"));
            }
        }
        if answers < 2 {
            notes.doubled.remove(vip);
            continue;
        }
        let since = *notes.doubled.entry(vip).or_insert(lan.now());
        let limit = if notes.faulty {
            MOVE_WITH_RESTART
        } else {
            MOVE
        };
        if answers > 2 || lan.now() - since > limit {
            broken.push(format!("{answers} answer for {vip} since {since:?}"));
        }
    }
    lan.clear_log();
    broken
}

/// Every destination must be a real server that has the VIP bound and is quiet.
fn destinations(lan: &FakeLan) -> Vec<String> {
    let mut broken = Vec::new();
    for director in DIRECTORS {
        let services = lan.observe(director).unwrap().net.services;
        for (key, service) in &services {
            if key.vip == ip(VIP) || key.vip == ip(DNS) {
                let wrong = |address| wrong_destination(lan, key, address);
                let wrong = service.destinations.keys().filter_map(wrong);
                broken.extend(wrong.map(|what| format!("{director}: {key}: {what}")));
            }
        }
    }
    broken
}

fn wrong_destination(lan: &FakeLan, key: &ServiceKey, address: &IpAddr) -> Option<String> {
    let mut nodes = NODES.into_iter();
    let Some(name) = nodes.find(|name| site::address(name) == *address) else {
        return Some(format!("{address} is no node"));
    };
    let real_server = lan.observe(name).unwrap();
    if !real_server.net.carries(key.vip) {
        Some(format!("{name} lacks the VIP"))
    } else if !is_quiet(&real_server) {
        Some(format!("{name} carries the VIP and is not quiet"))
    } else {
        None
    }
}

/// A request must be answered, or find no holder or no destination; it must not be refused, lost elsewhere or looped.
fn requests(lan: &FakeLan, serving: bool) -> Vec<String> {
    let mut broken = Vec::new();
    lan.forget_neighbours(CLIENT);
    for (vip, port, protocol) in [(VIP, 80, Protocol::Tcp), (DNS, 53, Protocol::Udp)] {
        let trace = lan.send(CLIENT, ip(vip), port, protocol);
        lan.close(trace.flow);
        let fine = match &trace.delivery {
            Delivery::Answered { by } => BACKENDS.contains(&by.as_str()),
            Delivery::Refused { .. } => false,
            Delivery::Lost { why, .. } => {
                let unserved = match why {
                    Loss::NoNeighbour(address) => *address == ip(vip),
                    Loss::NoDestination => true,
                    Loss::NoRoute(_)
                    | Loss::NoSuchMac(_)
                    | Loss::NotLocal(_)
                    | Loss::Martian(_)
                    | Loss::DestinationGone
                    | Loss::Loop => false,
                };
                unserved && !(serving && vip == VIP)
            }
        };
        if !fine {
            broken.push(format!("a request to {vip}:\n{trace}"));
        }
    }
    broken
}

/// All that is not directway's.
fn foreign_things(lan: &FakeLan) -> Vec<Observed> {
    let ours = [ip(VIP), ip(DNS)];
    NODES
        .into_iter()
        .map(|name| {
            let mut observed = lan.observe(name).unwrap();
            // These settings change while VIPs are bound or served: tests that compare whole states check that they are restored.
            observed.net.ipvs.clear();
            for link in observed.links.values_mut() {
                link.arp = ArpSettings::default();
            }
            observed.net.arp.clear();
            observed.draining.clear();
            observed.links.retain(|dev, _| dev.as_str() != "vip0");
            observed.net.dummies.retain(|dev| dev.as_str() != "vip0");
            observed.our_routes.clear();
            observed.net.routes.retain(|key| !ours.contains(&key.ip));
            observed
                .net
                .addresses
                .retain(|key, _| !ours.contains(&key.ip));
            observed.addresses.retain(|key, _| !ours.contains(&key.ip));
            observed
                .net
                .services
                .retain(|key, _| !ours.contains(&key.vip));
            observed
        })
        .collect()
}

/// Whether every interface that receives ARP answers only for its own addresses.
fn is_quiet(observed: &Observed) -> bool {
    observed
        .links
        .values()
        .filter(|link| link.hears_arp())
        .all(|link| link.arp.effective(observed.arp_all).is_quiet())
}
