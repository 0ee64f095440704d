//! How fast IPVS tables are filled: our pass, the raw netlink floor, `ipvsadm -R`; and what one more real server costs.
//!
//! `make bench` runs each way in a node of its own, because each changes the kernel's IPVS table, and because the
//! kernel keeps deleted destinations in a list for minutes, which makes adding others slow. Prints a JSON object.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use directway::{
    agent::{PassInput, PassResult, Passes, SimulatedElections},
    election::Timing,
    kernel::{
        Kernel, KernelError, OpError,
        linux::{
            Linux, genl,
            ipvs::{self, IpvsMessage, request},
            netlink::{BATCH, Channel, KernelSocket, message},
        },
    },
    model::*,
    plan::{Op, plan},
};
use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST};
use netlink_packet_generic::GenlMessage;
use netlink_sys::protocols::NETLINK_GENERIC;

const NODE: &str = "d";
const RUN_DIR: &str = "/run/directway-bench";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [way, vip, first_server, services] = args.as_slice() else {
        println!(
            "skipped: run `make bench`, which starts this inside nodes of the lab: ours|floor|ipvsadm|one-more VIP FIRST_SERVER SERVICES"
        );
        return;
    };
    let lan = Lan {
        vip: vip.parse().unwrap(),
        first_server: first_server.parse().unwrap(),
    };
    let services: u16 = services.parse().unwrap();
    match way.as_str() {
        "ours" => ours(&lan, services),
        "floor" => print(floor(&lan.ops(services))),
        "ipvsadm" => print(restore(&lan.saved(services))),
        "one-more" => one_more(&lan, services),
        other => panic!("no such way: {other}"),
    }
}

fn print(took: Duration) {
    println!(r#"{{"seconds":{:.4}}}"#, took.as_secs_f64());
}

/// The addresses of the bench: ten real servers in a row, for which a host on the segment answers ARP.
struct Lan {
    vip: Ipv4Addr,
    first_server: Ipv4Addr,
}

impl Lan {
    fn servers(&self, count: u32) -> impl Iterator<Item = Ipv4Addr> {
        let first = u32::from(self.first_server);
        (0..count).map(move |number| Ipv4Addr::from(first + number))
    }

    /// The ops that fill an empty table as [`Self::snapshot`] wants it.
    fn ops(&self, count: u16) -> Vec<Op> {
        let table = (0..count).map(|number| {
            let key = ServiceKey {
                vip: self.vip.into(),
                port: 1 + number,
                protocol: Protocol::Tcp,
            };
            let service = Service {
                scheduler: Scheduler::Wrr,
                flags: Vec::new(),
                persistence: None,
                destinations: self
                    .servers(10)
                    .map(|server| (server.into(), Destination::direct(1)))
                    .collect(),
            };
            (key, service)
        });
        let wanted = NodeNet {
            services: table.collect(),
            ..NodeNet::default()
        };
        plan(&wanted, &Observed::default(), &Ledger::default()).ops
    }

    /// The same as `ipvsadm -Sn` prints it.
    fn saved(&self, count: u16) -> String {
        let mut text = String::new();
        for port in 1..=count {
            text += &format!("-A -t {}:{port} -s wrr\n", self.vip);
            for server in self.servers(10) {
                text += &format!("-a -t {}:{port} -r {server}:{port} -g -w 1\n", self.vip);
            }
        }
        text
    }

    /// `count` VirtualServices on one VIP, each with a port of its own and ten real servers.
    fn snapshot(&self, count: u16) -> Snapshot {
        let objects = (0..count).map(|number| {
            let key = VsKey::new("bench", &format!("vs{number:05}"));
            let object = VirtualService {
                uid: key.to_string(),
                key: key.clone(),
                generation: 1,
                created: 1,
                vips: vec![self.vip.into()],
                ports: vec![Port {
                    port: 1 + number,
                    protocol: Protocol::Tcp,
                }],
                scheduler: Scheduler::Wrr,
                flags: Vec::new(),
                persistence_v4: None,
                persistence_v6: None,
                directors: DirectorPolicy::default(),
                real_servers: RealServerPolicy {
                    selector: None,
                    service: None,
                    device: Dev::lo(),
                    weight: 1,
                    host_route: false,
                    cordon: CordonPolicy::Ignore,
                    external: self.servers(10).map(external).collect(),
                },
                health_check: HealthCheck::NONE,
                drain: Duration::ZERO,
                without: std::collections::BTreeSet::new(),
            };
            (key, Ok(Arc::new(object)))
        });
        let labels = BTreeMap::from([(DIRECTOR_LABEL.to_owned(), "true".to_owned())]);
        let node = Node {
            labels,
            ..Node::default()
        };
        Snapshot {
            virtual_services: objects.collect(),
            nodes: BTreeMap::from([(NodeName::from(NODE), node)]),
            peers: Peers::Silent,
            undo: None,
            endpoints: Default::default(),
        }
    }
}

fn external(address: Ipv4Addr) -> ExternalServer {
    ExternalServer {
        address: address.into(),
        weight: 1,
    }
}

/// The real kernel, and when it last finished applying ops.
struct Timed {
    linux: Linux,
    applied: Instant,
}

impl Kernel for Timed {
    fn observe(&mut self) -> Result<Observed, KernelError> {
        self.linux.observe()
    }

    fn apply(&mut self, ops: &[Op]) -> Vec<Result<(), OpError>> {
        let results = self.linux.apply(ops);
        self.applied = Instant::now();
        results
    }

    fn resolve(
        &mut self,
        addresses: &BTreeSet<IpAddr>,
    ) -> BTreeMap<IpAddr, Result<Reach, KernelError>> {
        self.linux.resolve(addresses)
    }

    fn probe(
        &mut self,
        targets: &BTreeSet<AddressKey>,
    ) -> BTreeMap<AddressKey, Result<Answer, KernelError>> {
        self.linux.probe(targets)
    }
}

/// Passes of an agent, on the real kernel.
struct Agent {
    passes: Passes,
    kernel: Timed,
    clock: Instant,
}

impl Agent {
    fn start() -> Self {
        // Elections that never run, so that no VIP is claimed.
        let lan = directway::kernel::fake::FakeLan::new();
        let (_, elections) = SimulatedElections::new(&lan, NODE, Timing::default(), None);
        let passes = Passes::new(NODE.into(), Path::new(RUN_DIR), elections);
        Self {
            passes,
            kernel: Timed {
                linux: Linux::open().unwrap(),
                applied: Instant::now(),
            },
            clock: Instant::now(),
        }
    }

    /// One pass: how long it took, and how many changes were sent.
    fn pass(&mut self, snapshot: &Snapshot) -> (Duration, u64) {
        let sent = self.kernel.linux.sent().changes;
        let began = Instant::now();
        let view = PassInput {
            snapshot,
            complete: true,
            fresh: true,
        };
        let PassResult { outcome, error, .. } =
            self.passes
                .run(&mut self.kernel, view, self.clock.elapsed());
        let took = began.elapsed();
        if let Some(error) = error {
            panic!("the pass failed: {error}");
        }
        if let Some((op, error)) = outcome.failures().next() {
            panic!("{op}: {error}");
        }
        (took, self.kernel.linux.sent().changes - sent)
    }

    /// Ops that would build the IPVS table that is there now.
    fn ops_of_table(&mut self) -> Vec<Op> {
        let services = self.kernel.observe().unwrap().net.services;
        let wanted = NodeNet {
            services,
            ..NodeNet::default()
        };
        plan(&wanted, &Observed::default(), &Ledger::default()).ops
    }
}

fn ours(lan: &Lan, count: u16) {
    let snapshot = lan.snapshot(count);
    let mut agent = Agent::start();
    // The first VirtualService adds the VIP and waits for a probe's answers; the later passes change the table alone.
    agent.pass(&lan.snapshot(1));
    let began = Instant::now();
    let (took, changes) = agent.pass(&snapshot);
    let filled = agent.kernel.applied - began;
    let (idle, idle_changes) = agent.pass(&snapshot);
    assert!(
        agent.ops_of_table() == lan.ops(count),
        "the table is not what the other ways build"
    );
    println!(
        r#"{{"seconds":{:.4},"pass_seconds":{:.4},"changes":{changes},"idle_seconds":{:.4},"idle_changes":{idle_changes}}}"#,
        filled.as_secs_f64(),
        took.as_secs_f64(),
        idle.as_secs_f64(),
    );
}

/// Sends messages that were encoded before, in the same batches, and waits for each batch's last acknowledgement.
fn floor(ops: &[Op]) -> Duration {
    let family = genl::family(
        &mut Channel::open(NETLINK_GENERIC).unwrap(),
        ipvs::FAMILY_NAME,
    )
    .unwrap();
    let messages: Vec<IpvsMessage> = ops
        .iter()
        .map(|op| match op {
            Op::AddService(key, service) => request::add_service(key, service),
            Op::AddDestination(key, address, destination) => {
                request::add_destination(key, *address, *destination)
            }
            other => panic!("{other} is not part of this bench"),
        })
        .collect();
    let datagrams: Vec<Vec<u8>> = messages
        .chunks(BATCH)
        .map(|chunk| {
            let mut datagram = Vec::new();
            for (index, message) in chunk.iter().enumerate() {
                let mut message = GenlMessage::from_payload(message.clone());
                message.set_resolved_family_id(family);
                let ack = if index + 1 == chunk.len() {
                    NLM_F_ACK
                } else {
                    0
                };
                message::append(
                    &mut datagram,
                    &message,
                    NLM_F_REQUEST | ack,
                    1 + index as u32,
                );
            }
            datagram
        })
        .collect();
    let mut socket = KernelSocket::open(NETLINK_GENERIC).unwrap();
    let mut buffer = [0; 65536];
    let began = Instant::now();
    for datagram in &datagrams {
        use directway::kernel::linux::netlink::Transport;
        socket.send(datagram).unwrap();
        let (length, _) = socket.receive(&mut buffer).unwrap();
        // One NLMSG_ERROR with errno 0: the acknowledgement of the last message, so none before it was refused.
        let errno = i32::from_ne_bytes(buffer[16..20].try_into().unwrap());
        assert!(
            length >= 20 && errno == 0,
            "the kernel refused a message: errno {}",
            -errno
        );
    }
    began.elapsed()
}

fn restore(saved: &str) -> Duration {
    let began = Instant::now();
    let mut child = Command::new("ipvsadm")
        .arg("-R")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(saved.as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success(), "ipvsadm -R failed");
    began.elapsed()
}

/// A real server is added to one of `count` services: how many messages does that take?
fn one_more(lan: &Lan, count: u16) {
    let mut snapshot = lan.snapshot(count);
    let mut agent = Agent::start();
    agent.pass(&snapshot);
    agent.pass(&snapshot);
    let added: IpAddr = lan.servers(11).last().unwrap().into();
    let object = snapshot
        .virtual_services
        .values_mut()
        .next()
        .unwrap()
        .as_mut()
        .unwrap();
    Arc::make_mut(object)
        .real_servers
        .external
        .push(ExternalServer {
            address: added,
            weight: 1,
        });
    let (took, changes) = agent.pass(&snapshot);
    println!(
        r#"{{"services":{count},"changes":{changes},"seconds":{:.4}}}"#,
        took.as_secs_f64()
    );
}
