//! The site of every test: three directors, three real servers and a client on one segment, with foreign addresses,
//! routes and services on every node.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use directway::{
    kernel::fake::{FakeLan, Machine},
    model::*,
};
use ipnet::IpNet;

pub const VIP: &str = "10.77.0.100";
/// A second VIP, on a dummy device and with a host route. It is in no NIC's network: the directors' interface is named.
pub const DNS: &str = "10.100.0.1";
pub const CLIENT: &str = "client";
pub const DIRECTORS: [&str; 3] = ["d", "e", "f"];
pub const BACKENDS: [&str; 3] = ["r1", "r2", "r3"];
pub const NODES: [&str; 6] = ["d", "e", "f", "r1", "r2", "r3"];

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

pub fn dev(name: &str) -> Dev {
    name.parse().unwrap()
}

pub fn address(node: &str) -> IpAddr {
    ip(match node {
        "d" => "10.77.0.10",
        "e" => "10.77.0.20",
        "f" => "10.77.0.30",
        "r1" => "10.77.0.11",
        "r2" => "10.77.0.12",
        "r3" => "10.77.0.13",
        CLIENT => "10.77.0.1",
        other => panic!("no machine {other}"),
    })
}

pub fn key(vip: &str, port: u16, protocol: Protocol) -> ServiceKey {
    ServiceKey {
        vip: ip(vip),
        port,
        protocol,
    }
}

fn machine(name: &str) -> Machine {
    Machine::new().nic(&dev("eth0"), "lan", [net(&format!("{}/24", address(name)))])
}

/// The machines. Foreign addresses, routes and services are set up at each boot.
pub fn lan() -> FakeLan {
    let lan = FakeLan::new();
    let mut client = machine(CLIENT);
    let vip = net(&format!("{DNS}/32"));
    client.add_route(vip, None, &dev("eth0"), false).unwrap();
    lan.add(CLIENT, client);
    let foreign = |machine: &mut Machine| {
        let mut add = |on: &str, address: &str, tag| {
            let net = net(&format!("{address}/32"));
            machine.add_address(&dev(on), net, tag).unwrap();
        };
        add("lo", "10.77.0.200", ForeignTag::Untagged);
        add("eth0", "10.77.0.201", ForeignTag::Theirs(4));
        machine.add_dummy(&dev("dummy0")).unwrap();
        machine
            .add_route(net("10.99.0.1/32"), None, &dev("dummy0"), false)
            .unwrap();
        let key = key("10.77.0.200", 443, Protocol::Tcp);
        let service = Service {
            scheduler: Scheduler::Wlc,
            flags: Vec::new(),
            persistence: None,
            destinations: BTreeMap::new(),
        };
        machine.add_service(key, &service).unwrap();
        let real_server = Destination {
            weight: 3,
            forward: Forward::Masquerade,
        };
        machine
            .add_destination(key, ip("10.77.0.1"), real_server)
            .unwrap();
    };
    for name in NODES {
        let mut node = machine(name);
        if name == "r2" {
            // A second NIC on the same segment, and one of the two ARP settings changed by another program.
            node.plug_in(&dev("eth1"), "lan", [net("10.77.0.22/24")]);
            node.set_arp(&dev("eth0"), Arp::Announce, 1).unwrap();
        }
        if name == "r3" {
            node.set_arp_all(ArpSettings {
                ignore: 1,
                announce: 0,
            });
        }
        if BACKENDS.contains(&name) {
            node = node
                .listening(80, Protocol::Tcp)
                .listening(53, Protocol::Udp);
        }
        foreign(&mut node);
        lan.add(name, node);
    }
    lan
}

pub fn nodes() -> BTreeMap<NodeName, Node> {
    NODES
        .into_iter()
        .map(|name| {
            let label = if DIRECTORS.contains(&name) {
                DIRECTOR_LABEL
            } else {
                BACKEND_LABEL
            };
            let node = Node {
                labels: BTreeMap::from([(label.to_owned(), "true".to_owned())]),
                weight: None,
                drained: false,
                addresses: vec![address(name)],
                cordoned: false,
                silent: false,
            };
            (NodeName::from(name), node)
        })
        .collect()
}

/// TCP 80 on [`VIP`], bound to `lo`.
pub fn web() -> VirtualService {
    VirtualService {
        key: VsKey::new("shop", "web"),
        uid: "1".to_owned(),
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
        drain: Duration::from_secs(20),
        without: std::collections::BTreeSet::new(),
    }
}

/// UDP 53 on [`DNS`], held on an interface by its name; real servers have it on a dummy device, with a host route.
pub fn dns() -> VirtualService {
    let web = web();
    VirtualService {
        key: VsKey::new("infra", "dns"),
        uid: "2".to_owned(),
        vips: vec![ip(DNS)],
        ports: vec![Port {
            port: 53,
            protocol: Protocol::Udp,
        }],
        directors: DirectorPolicy {
            interface: Some(dev("eth0").into()),
            ..DirectorPolicy::default()
        },
        real_servers: RealServerPolicy {
            device: dev("vip0"),
            host_route: true,
            ..web.real_servers.clone()
        },
        ..web
    }
}
