//! Whole agents on simulated kernels.

mod drain;
mod drift;
mod elections;
mod faults;
mod ipvs;
mod kube_proxy;
mod large;
mod lifecycle;
mod nics;
mod run_dir;
mod shared_vip;
mod sources;
mod stranger;
mod sync;
mod undo;

use std::{fs, net::IpAddr, path::Path, time::Duration};

use tempfile::TempDir;

use super::{
    NextPass, PassError, PassInput, PassResult, Passes, RunDirError, SimulatedElections, pass_time,
    report,
};
use crate::{
    api::Report,
    cluster::{Change, Key, SourceName, Store},
    desired::NodeOptions,
    election::Timing,
    kernel::{
        Kernel,
        fake::{Delivery, FakeLan, Machine, Misfortune},
    },
    model::{
        AddressKey, Conflict, Destination, Dev, NodeName, Observed, PreflightCheck, Protocol,
        Reason,
    },
};

const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 100));
const NODES: [(&str, u8, &str); 3] = [
    ("d", 1, "director"),
    ("b1", 11, "backend"),
    ("b2", 12, "backend"),
];

const SERVICE: &str = "
apiVersion: directway.dev/v1alpha1
kind: VirtualService
metadata: {name: web}
spec:
  vips: [10.0.0.100]
  ports: [{port: 80}]
  scheduler: {name: rr}
  drainSeconds: 0
  realServers: {nodeSelector: {}}
";

fn eth0() -> Dev {
    "eth0".parse().unwrap()
}

fn machine(last: u8) -> Machine {
    let address = format!("10.0.0.{last}/24").parse().unwrap();
    Machine::new()
        .nic(&eth0(), "lan", [address])
        .listening(80, Protocol::Tcp)
}

/// An agent: what one process keeps.
struct Agent {
    name: &'static str,
    passes: Passes,
    elections: SimulatedElections,
    store: Store,
    run_dir: TempDir,
}

/// The passes and elections of one process.
fn passes(lan: &FakeLan, name: &str, run_dir: &Path) -> (Passes, SimulatedElections) {
    let (simulated, elections) = SimulatedElections::new(lan, name, Timing::default(), None);
    (Passes::new(name.into(), run_dir, elections), simulated)
}

struct World {
    lan: FakeLan,
    agents: Vec<Agent>,
    now: Duration,
}

fn node_manifests() -> String {
    NODES
        .iter()
        .map(|(name, last, role)| {
            format!(
                "---\napiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{directway.dev/{role}: \"\"}}}}\n\
                 status: {{addresses: [{{type: InternalIP, address: 10.0.0.{last}}}]}}\n"
            )
        })
        .collect()
}

impl World {
    /// A client, a director and two real servers; agents with an API server (`reported`) or without.
    fn new(reported: bool) -> Self {
        let lan = FakeLan::new();
        lan.add("client", machine(200));
        let sources: &[SourceName] = if reported {
            &[
                SourceName::VirtualServices,
                SourceName::Nodes,
                SourceName::NodeStates,
            ]
        } else {
            &[SourceName::Directory]
        };
        let agents = NODES
            .iter()
            .map(|(name, last, _)| {
                lan.add(name, machine(*last));
                let run_dir = TempDir::new().unwrap();
                let mut store = Store::new(sources);
                store.apply(Change::of(&format!("{SERVICE}{}", node_manifests())));
                let (passes, elections) = passes(&lan, name, run_dir.path());
                Agent {
                    name,
                    passes,
                    elections,
                    store,
                    run_dir,
                }
            })
            .collect();
        Self {
            lan,
            agents,
            now: Duration::ZERO,
        }
    }

    fn agent(&mut self, name: &str) -> &mut Agent {
        self.agents
            .iter_mut()
            .find(|agent| agent.name == name)
            .unwrap()
    }

    /// One pass of one agent, and its report.
    fn pass(&mut self, name: &str) -> (Summary, Option<Report>) {
        let kernel = self.lan.kernel(name);
        self.pass_on(name, kernel)
    }

    fn pass_on(&mut self, name: &str, mut kernel: impl Kernel) -> (Summary, Option<Report>) {
        let now = self.now;
        // Lets the elections reach the time of the passes.
        self.wait(now.saturating_sub(self.lan.now()));
        let agent = self.agent(name);
        let input = PassInput {
            snapshot: agent.store.snapshot(),
            complete: agent.store.is_complete(),
            fresh: true,
        };
        let end = agent.passes.run(&mut kernel, input, now);
        let report = report(&name.into(), &agent.store, &end, 0);
        let summary = Summary::of(&end);
        drop(end);
        self.wait(Duration::ZERO);
        (summary, report)
    }

    /// Lets time pass for the elections.
    fn wait(&mut self, time: Duration) {
        let elections = self.agents.iter_mut().map(|agent| &mut agent.elections);
        pass_time(&self.lan, time, elections);
    }

    /// Ends an agent's process and starts another.
    fn restart(&mut self, name: &str, run_dir: &Path) {
        let lan = self.lan.clone();
        lan.revive(name);
        let agent = self.agent(name);
        // Drops the old process first, and its lock with it.
        (agent.passes, agent.elections) = passes(&lan, name, TempDir::new().unwrap().path());
        (agent.passes, agent.elections) = passes(&lan, name, run_dir);
    }

    fn restart_with(&mut self, options: &NodeOptions) {
        for (name, ..) in NODES {
            let run_dir = self.agent(name).run_dir.path().to_owned();
            self.restart(name, &run_dir);
            let agent = self.agent(name);
            let lan = FakeLan::new();
            let nothing = passes(&lan, name, TempDir::new().unwrap().path()).0;
            let passes = std::mem::replace(&mut agent.passes, nothing);
            agent.passes = passes.with_options(options.clone());
        }
    }

    /// Runs passes of all agents, each reporting to the others, until none has anything to do.
    fn settle(&mut self) {
        for _ in 0..40 {
            let effects = self.lan.effects();
            let mut busy = false;
            for (name, ..) in NODES {
                let (end, report) = self.pass(name);
                assert_eq!(end.error, None, "{name}");
                busy |= !end.ops.is_empty() || end.next.failed;
                let peer = report.unwrap().peer;
                for agent in &mut self.agents {
                    busy |= agent
                        .store
                        .apply(vec![Change::Peer(name.into(), peer.clone())]);
                }
            }
            // Waiting times are over before the next round.
            self.now += Duration::from_secs(4);
            self.wait(Duration::from_secs(4));
            busy |= self.lan.effects() != effects;
            if !busy && self.agents.iter().all(|agent| agent.passes.is_settled()) {
                return;
            }
        }
        panic!("the agents never settle");
    }

    fn change(&mut self, change: impl Fn() -> Vec<Change>) {
        for agent in &mut self.agents {
            agent.store.apply(change());
        }
    }

    fn delete(&mut self) {
        self.change(|| {
            vec![Change::Gone(Key::VirtualService(crate::model::VsKey::new(
                "default", "web",
            )))]
        });
    }

    fn look(&self, name: &str) -> Observed {
        self.lan.kernel(name).observe().unwrap()
    }

    /// The machines that answer four new connections.
    fn answers(&self) -> Vec<String> {
        (0..4)
            .map(
                |_| match self.lan.send("client", VIP, 80, Protocol::Tcp).delivery {
                    Delivery::Answered { by } => by,
                    other => format!("{other:?}"),
                },
            )
            .collect()
    }
}

/// What is compared of a pass that has ended.
#[derive(Debug)]
struct Summary {
    ops: Vec<String>,
    drift: usize,
    error: Option<PassError>,
    next: NextPass,
}

impl Summary {
    fn of(end: &PassResult<'_>) -> Self {
        Self {
            ops: end.outcome.done().map(|(op, _)| op.to_string()).collect(),
            drift: end.drift,
            error: end.error.clone(),
            next: end.next,
        }
    }
}
