mod arp;
mod errnos;
mod faults;
mod properties;
mod scheduling;
mod tracing;

use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::{
    Arp, ArpSettings, Destination, Dev, ForeignTag, Protocol, Scheduler, Service, ServiceKey,
};

use super::{FakeLan, Machine};

pub const LAN: &str = "lan";
pub const VIP: &str = "10.0.0.100";

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

pub fn dev(name: &str) -> Dev {
    name.parse().unwrap()
}

pub fn host(last: u8) -> Machine {
    Machine::new().nic(&dev("eth0"), LAN, [net(&format!("10.0.0.{last}/24"))])
}

pub fn web() -> ServiceKey {
    ServiceKey {
        vip: ip(VIP),
        port: 80,
        protocol: Protocol::Tcp,
    }
}

pub fn service(scheduler: Scheduler) -> Service {
    Service {
        scheduler,
        flags: Vec::new(),
        persistence: None,
        destinations: Default::default(),
    }
}

pub fn quiet(machine: &mut Machine) {
    let ArpSettings { ignore, announce } = ArpSettings::QUIET;
    machine.set_arp(&dev("eth0"), Arp::Ignore, ignore).unwrap();
    machine
        .set_arp(&dev("eth0"), Arp::Announce, announce)
        .unwrap();
}

pub fn bind(machine: &mut Machine, on: &str) {
    let vip = net(&format!("{VIP}/32"));
    machine
        .add_address(&dev(on), vip, ForeignTag::Untagged)
        .unwrap();
}

/// What a person sets up by hand: director `d` with `r1` and `r2` as real servers, and client `c`.
pub fn by_hand(scheduler: Scheduler) -> FakeLan {
    let lan = FakeLan::new();
    lan.add("c", host(1));
    lan.add("d", host(10));
    for (name, last) in [("r1", 11), ("r2", 12)] {
        lan.add(name, host(last).listening(80, Protocol::Tcp));
        lan.on(name, |machine| {
            quiet(machine);
            bind(machine, "lo");
        });
    }
    lan.on("d", |machine| {
        bind(machine, "eth0");
        machine.add_service(web(), &service(scheduler)).unwrap();
        for real in ["10.0.0.11", "10.0.0.12"] {
            machine
                .add_destination(web(), ip(real), Destination::direct(1))
                .unwrap();
        }
    });
    lan
}
