//! What must hold after every op, whatever happens.

use std::sync::{Arc, Mutex};

use directway::{
    kernel::{
        Kernel,
        fake::{FakeLan, Loss, Verdict},
    },
    model::*,
};

use crate::{
    cluster::Talk,
    site::{self, BACKENDS, CLIENT, DIRECTOR, DNS, NODES, VIP, ip},
};

/// A watcher's notes.
#[derive(Clone)]
pub struct Safety(Arc<Mutex<Notes>>);

#[derive(Default)]
struct Notes {
    broken: Vec<String>,
    /// Requests must be answered from now on.
    serving: bool,
    /// A node may lose power, and with it a VIP that others rely on.
    power_loss: bool,
    checks: u64,
}

impl Safety {
    pub fn watch(lan: &FakeLan, talk: Talk) -> Self {
        let safety = Self(Arc::default());
        let notes = Arc::clone(&safety.0);
        let foreign = foreign_things(lan);
        lan.after_every_op(move |lan, name, op| {
            let mut notes = notes.lock().unwrap();
            notes.checks += 1;
            let serving = notes.serving;
            let mut broken = arp_answers(lan);
            // Without reports a director sees only what is on the wire, not what a real server has bound.
            if talk == Talk::Reports && !notes.power_loss {
                broken.extend(destinations(lan));
                broken.extend(requests(lan, serving));
            }
            if foreign_things(lan) != foreign {
                broken.push("something of others changed".to_owned());
            }
            let broken = broken
                .into_iter()
                .map(|what| format!("after {name}: {op}: {what}"));
            notes.broken.extend(broken);
        });
        safety
    }

    /// From now on every request must be answered.
    pub fn serving(&self, serving: bool) {
        self.0.lock().unwrap().serving = serving;
    }

    /// Nobody can keep a promise without power: only what others could see is checked.
    pub fn expect_power_loss(&self) {
        self.0.lock().unwrap().power_loss = true;
    }

    /// Fails if anything was broken so far, or nothing was ever checked.
    pub fn check(&self, story: &str) {
        let notes = self.0.lock().unwrap();
        assert!(notes.checks > 0, "no op was ever seen");
        assert!(
            notes.broken.is_empty(),
            "{}\n{story}",
            notes.broken.join("\n")
        );
    }
}

/// No real server ever says, in any way, that a VIP is at its MAC.
fn arp_answers(lan: &FakeLan) -> Vec<String> {
    let mut broken = Vec::new();
    for vip in [VIP, DNS] {
        lan.who_has(CLIENT, ip(vip));
        for claimant in lan.claimants(ip(vip)) {
            if claimant != DIRECTOR {
                broken.push(format!("{claimant} claims {vip} by ARP"));
            }
        }
    }
    broken
}

/// No destination without a real server that carries the VIP, and quietly.
fn destinations(lan: &FakeLan) -> Vec<String> {
    let mut broken = Vec::new();
    let director = lan.kernel(DIRECTOR).observe().unwrap();
    for (key, service) in &director.net.services {
        if key.vip != ip(VIP) && key.vip != ip(DNS) {
            continue;
        }
        for (address, destination) in &service.destinations {
            let Some(name) = NODES
                .into_iter()
                .find(|name| site::address(name) == *address)
            else {
                broken.push(format!("{key}: {address} is no node"));
                continue;
            };
            let real_server = lan.kernel(name).observe().unwrap();
            if !real_server.net.carries(key.vip) {
                let weight = destination.weight;
                broken.push(format!("{key}: {name} (weight {weight}) lacks the VIP"));
            } else if !is_quiet(&real_server) {
                broken.push(format!("{key}: {name} carries the VIP and is not quiet"));
            }
        }
    }
    broken
}

/// A request is answered, or visibly nobody serves it; it is never swallowed, refused or sent in circles.
fn requests(lan: &FakeLan, serving: bool) -> Vec<String> {
    let mut broken = Vec::new();
    lan.forget_neighbours(CLIENT);
    for (vip, port, protocol) in [(VIP, 80, Protocol::Tcp), (DNS, 53, Protocol::Udp)] {
        let trace = lan.send(CLIENT, ip(vip), port, protocol);
        lan.close(trace.flow);
        let fine = match &trace.verdict {
            Verdict::Answered { by } => BACKENDS.contains(&by.as_str()),
            Verdict::Refused { .. } => false,
            Verdict::Lost { why, .. } => {
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
            let mut observed = lan.kernel(name).observe().unwrap();
            // The site's test looks at what becomes of ARP settings; the devices are compared without them.
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

/// Whether every interface that hears ARP keeps addresses of other devices to itself.
fn is_quiet(observed: &Observed) -> bool {
    observed
        .links
        .values()
        .filter(|link| link.hears_arp())
        .all(|link| link.arp.effective(observed.arp_all).is_quiet())
}
