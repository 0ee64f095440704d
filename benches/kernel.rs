//! How fast IPVS tables are filled: our pass, the raw netlink floor, and `ipvsadm -R`, in one run.
//!
//! Runs inside a node of the lab (`make bench`), because it changes the IPVS table of the kernel it finds.
//! Prints one JSON object per line.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{
    collections::BTreeMap,
    io::Write,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use directway::{
    agent::{PassEnd, Passes, View},
    kernel::{
        Kernel,
        linux::{
            Linux, genl,
            ipvs::{self, IpvsMessage, request},
            netlink::{BATCH, Channel, KernelSocket, frame},
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
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let (Some(vip), Some(first_server), Some(services)) = (args.next(), args.next(), args.next())
    else {
        println!(
            "skipped: run `make bench`, which starts this inside a node of the lab: kernel VIP FIRST_SERVER SERVICES"
        );
        return;
    };
    let lan = Lan {
        vip: vip.parse().unwrap(),
        first_server: first_server.parse().unwrap(),
    };
    let services: u16 = services.parse().unwrap();
    fill(&lan, services);
    for size in [10, services] {
        one_more(&lan, size);
    }
}

/// Real servers have ten addresses in a row, which somebody on the segment answers for.
struct Lan {
    vip: Ipv4Addr,
    first_server: Ipv4Addr,
}

impl Lan {
    fn servers(&self, count: u32) -> impl Iterator<Item = Ipv4Addr> {
        let first = u32::from(self.first_server);
        (0..count).map(move |number| Ipv4Addr::from(first + number))
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
                    external: self.servers(10).map(external).collect(),
                },
                drain: Duration::ZERO,
            };
            (key, Ok(object))
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

/// Passes of an agent, on the real kernel.
struct Agent {
    passes: Passes,
    kernel: Linux,
    clock: Instant,
}

impl Agent {
    fn start() -> Self {
        let passes = Passes::new(NODE.into(), Path::new(RUN_DIR));
        Self {
            passes,
            kernel: Linux::open().unwrap(),
            clock: Instant::now(),
        }
    }

    /// One pass: how long it took, and how many changes were sent.
    fn pass(&mut self, snapshot: &Snapshot) -> (Duration, u64) {
        let sent = self.kernel.sent().changes;
        let began = Instant::now();
        let view = View {
            snapshot,
            complete: true,
        };
        let PassEnd { outcome, error, .. } =
            self.passes
                .run(&mut self.kernel, view, self.clock.elapsed());
        let took = began.elapsed();
        if let Some(error) = error {
            panic!("the pass failed: {error}");
        }
        if let Some((op, error)) = outcome.failures().next() {
            panic!("{op}: {error}");
        }
        (took, self.kernel.sent().changes - sent)
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

fn fill(lan: &Lan, count: u16) {
    let snapshot = lan.snapshot(count);
    let mut agent = Agent::start();
    // The first VirtualService brings the VIP, with its probe's waiting time; the rest is the table alone.
    agent.pass(&lan.snapshot(1));
    let (ours, changes) = agent.pass(&snapshot);
    let (idle, idle_changes) = agent.pass(&snapshot);
    let ops = agent.ops_of_table();
    let saved = Command::new("ipvsadm").arg("-Sn").output().unwrap().stdout;
    agent.pass(&Snapshot {
        virtual_services: BTreeMap::new(),
        ..snapshot.clone()
    });

    let raw = floor(&ops);
    flush();
    let ipvsadm = restore(&saved);
    flush();
    println!(
        r#"{{"bench":"fill","services":{count},"destinations":{},"ours_s":{:.3},"changes":{changes},"idle_s":{:.3},"idle_changes":{idle_changes},"floor_s":{:.3},"ipvsadm_s":{:.3}}}"#,
        u32::from(count) * 10,
        ours.as_secs_f64(),
        idle.as_secs_f64(),
        raw.as_secs_f64(),
        ipvsadm.as_secs_f64(),
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
                frame::append(
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
        use directway::kernel::linux::netlink::Wire;
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

fn restore(saved: &[u8]) -> Duration {
    let began = Instant::now();
    let mut child = Command::new("ipvsadm")
        .arg("-R")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(saved).unwrap();
    assert!(child.wait().unwrap().success(), "ipvsadm -R failed");
    began.elapsed()
}

fn flush() {
    assert!(
        Command::new("ipvsadm")
            .arg("-C")
            .status()
            .unwrap()
            .success()
    );
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
    object.real_servers.external.push(ExternalServer {
        address: added,
        weight: 1,
    });
    let (took, changes) = agent.pass(&snapshot);
    println!(
        r#"{{"bench":"one_more","services":{count},"changes":{changes},"took_s":{:.4}}}"#,
        took.as_secs_f64()
    );
    agent.pass(&Snapshot {
        virtual_services: BTreeMap::new(),
        ..snapshot
    });
}
