//! Whatever other programs put into IPVS's tables is read: each kind of entry is shown by another of the kernel's interfaces.

use std::process::Command;

use directway::model::{Destination, Forward, Protocol, ServiceKey};

use crate::{
    linux,
    world::{VIP, http, ip},
};

const SERVER: &str = "10.77.0.12";
/// More IPv6 services than are asked for one at a time.
const MANY: u16 = 70;

fn key(vip: &str, port: u16) -> ServiceKey {
    ServiceKey {
        vip: ip(vip),
        port,
        protocol: Protocol::Tcp,
    }
}

fn ipvsadm(commands: &str) {
    let script = format!("ipvsadm -R <<'END'\n{commands}END\n");
    let output = Command::new("sh").args(["-ec", &script]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{commands}: {said}");
}

#[test]
#[ignore = "needs a kernel whose network may be changed: a node of the lab"]
fn every_kind_of_service_and_destination_is_read() {
    let mut world = linux::world();
    let mut commands = format!(
        "-A -t {VIP}:80 -s wrr\n-a -t {VIP}:80 -r {SERVER}:80 -g -w 3\n-a -t {VIP}:80 -r {SERVER}:8080 -m -w 4\n\
         -A -u {VIP}:53 -s rr\n-A -f 7 -s rr\n-a -f 7 -r {SERVER}:0 -g -w 1\n\
         -A -t {VIP}:81 -s rr\n-a -t {VIP}:81 -r {SERVER}:81 -g -w 1\n-a -t {VIP}:81 -r [fd00::12]:81 -i -w 2\n"
    );
    for port in 1..=MANY {
        commands += &format!(
            "-A -t [fd00::1]:{port} -s rr\n-a -t [fd00::1]:{port} -r [fd00::2]:{port} -m -w {port}\n"
        );
    }
    ipvsadm(&commands);
    let observed = world.observe();
    assert_eq!(observed.fwmark_services, 1);
    let services = &observed.net.services;
    assert_eq!(services.len(), 3 + usize::from(MANY));
    let masquerade = |weight| Destination {
        weight,
        forward: Forward::Masquerade,
    };
    let first = &services[&http(VIP)].destinations;
    assert_eq!(*first, [(ip(SERVER), Destination::direct(3))].into());
    let elsewhere = (http(VIP), format!("{SERVER}:8080").parse().unwrap());
    assert_eq!(observed.foreign_destinations[&elsewhere], masquerade(4));
    let mixed = &services[&key(VIP, 81)].destinations;
    assert_eq!(mixed[&ip(SERVER)], Destination::direct(1));
    assert_eq!(mixed[&ip("fd00::12")].forward, Forward::Tunnel);
    assert_eq!(mixed.len(), 2);
    for port in 1..=MANY {
        let destinations = &services[&key("fd00::1", port)].destinations;
        let expected = [(ip("fd00::2"), masquerade(port.into()))].into();
        assert_eq!(*destinations, expected, "{port}");
    }
}
