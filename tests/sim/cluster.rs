//! Agents on a LAN, and the clock.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use directway::{
    agent::{Passes, View, peer_state},
    kernel::{
        Kernel, OpResult,
        fake::{Errno, FakeKernel, FakeLan, Verdict},
    },
    model::*,
};

use crate::{
    safety::Safety,
    site::{self, NODES},
};

/// Between two rounds.
const ROUND: Duration = Duration::from_secs(1);
/// This many rounds without an op, and nothing will happen any more: longer than every waiting time but those for a
/// running connection and for refreshing what is known of the wire.
const CALM: u32 = 8;

/// How agents learn of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Talk {
    /// By reports, as through an API server.
    Reports,
    /// Not at all, as with manifests from a directory.
    Wire,
}

/// A misfortune at an op, counted over all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfortune {
    /// The agent is killed right after it.
    KilledAfter(u64),
    /// The agent is killed when it tries it, with everything prepared.
    KilledBefore(u64),
    /// The kernel refuses it.
    Refused(u64),
    /// The node loses power right after it, and with it the ledger in /run.
    PowerLost(u64),
}

struct Agent {
    passes: Passes,
    /// What it observed last.
    report: Option<PeerState>,
    /// What the others know of that.
    published: Option<PeerState>,
}

/// A site with an agent per node.
pub struct Cluster {
    pub lan: FakeLan,
    pub snapshot: Snapshot,
    pub safety: Safety,
    talk: Talk,
    agents: BTreeMap<&'static str, Agent>,
    now: Duration,
    dir: TempDir,
    misfortune: Option<Misfortune>,
    /// What every agent did, for the message of a failed test.
    pub story: String,
    /// Ops tried so far.
    pub ops: u64,
}

impl Cluster {
    pub fn new(talk: Talk) -> Self {
        let lan = site::lan();
        let safety = Safety::watch(&lan, talk);
        let dir = TempDir::new();
        let agents = NODES
            .into_iter()
            .map(|name| {
                let agent = Agent {
                    passes: Passes::new(name.into(), &dir.0.join(name)),
                    report: None,
                    published: None,
                };
                (name, agent)
            })
            .collect();
        Self {
            lan,
            snapshot: Snapshot {
                virtual_services: BTreeMap::new(),
                nodes: site::nodes(),
                peers: Peers::Silent,
                undo: None,
                endpoints: BTreeMap::new(),
            },
            safety,
            talk,
            agents,
            now: Duration::ZERO,
            dir,
            misfortune: None,
            story: String::new(),
            ops: 0,
        }
    }

    pub fn apply(&mut self, virtual_service: VirtualService) {
        let key = virtual_service.key.clone();
        self.snapshot
            .virtual_services
            .insert(key, Ok(virtual_service.into()));
    }

    pub fn delete(&mut self, virtual_service: &VirtualService) {
        self.snapshot.virtual_services.remove(&virtual_service.key);
    }

    pub fn node(&mut self, name: &str) -> &mut Node {
        self.snapshot.nodes.get_mut(&NodeName::from(name)).unwrap()
    }

    pub fn expect(&mut self, misfortune: Misfortune) {
        self.misfortune = Some(misfortune);
    }

    pub fn observe(&self, name: &str) -> Observed {
        self.lan.kernel(name).observe().unwrap()
    }

    /// What every node's kernel shows.
    pub fn state(&self) -> BTreeMap<&'static str, Observed> {
        NODES
            .into_iter()
            .map(|name| {
                let mut observed = self.observe(name);
                for link in observed.links.values_mut() {
                    // A device that comes a second time has another one.
                    link.index = 0;
                }
                (name, observed)
            })
            .collect()
    }

    /// Lets time pass.
    pub fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    /// One pass of one node, and its report. How many ops it tried.
    pub fn pass(&mut self, name: &'static str) -> u64 {
        let ops = self.silent_pass(name);
        self.publish(name);
        ops
    }

    /// The others hear of what a node's last pass found.
    pub fn publish(&mut self, name: &'static str) {
        let agent = self.agents.get_mut(name).unwrap();
        agent.published.clone_from(&agent.report);
    }

    /// One pass of one node, of which the others don't hear yet.
    pub fn silent_pass(&mut self, name: &'static str) -> u64 {
        self.snapshot.peers = match self.talk {
            Talk::Wire => Peers::Silent,
            Talk::Reports => Peers::Reported(
                self.agents
                    .iter()
                    .filter_map(|(name, agent)| Some(((*name).into(), agent.published.clone()?)))
                    .collect(),
            ),
        };
        let mut kernel = self.kernel(name);
        let agent = self.agents.get_mut(name).unwrap();
        let view = View {
            snapshot: &self.snapshot,
            complete: true,
            fresh: true,
        };
        let end = agent.passes.run(&mut kernel, view, self.now);
        let _ = writeln!(self.story, "{:>4} s {name}", self.now.as_secs());
        for (op, result) in end.outcome.done() {
            let result = match result {
                OpResult::Applied => String::new(),
                OpResult::Failed(error) => format!("   ✗ {error}"),
                OpResult::Skipped => "   skipped".to_owned(),
            };
            let _ = writeln!(self.story, "       {op}{result}");
        }
        if let Some(error) = &end.error {
            let _ = writeln!(self.story, "       ✗ {error}");
        }
        let tried = |(_, result): &(_, &OpResult)| **result != OpResult::Skipped;
        let tried = end.outcome.done().filter(tried).count() as u64;
        if !kernel.is_killed()
            && let Some(findings) = &end.findings
        {
            agent.report = Some(peer_state(findings));
        }
        drop(end);
        self.ops += tried;
        self.aftermath(name, &kernel);
        tried
    }

    /// The kernel of a node whose agent may have to suffer.
    fn kernel(&self, name: &str) -> FakeKernel {
        let kernel = self.lan.kernel(name);
        match self.misfortune {
            None => kernel,
            Some(Misfortune::Refused(op)) => {
                self.lan.fail_op(name, op - 1 - self.ops, Errno::Invalid);
                kernel
            }
            Some(Misfortune::KilledAfter(op) | Misfortune::PowerLost(op)) => {
                kernel.killed_after(op - self.ops)
            }
            Some(Misfortune::KilledBefore(op)) => kernel.killed_before(op - 1 - self.ops),
        }
    }

    fn aftermath(&mut self, name: &'static str, kernel: &FakeKernel) {
        self.lan.forget_faults();
        if let Some(Misfortune::Refused(op)) = self.misfortune
            && op <= self.ops
        {
            self.misfortune = None;
        }
        if !kernel.is_killed() {
            return;
        }
        let _ = writeln!(self.story, "       † {:?}", self.misfortune);
        let power_lost = matches!(self.misfortune, Some(Misfortune::PowerLost(_)));
        self.misfortune = None;
        if power_lost {
            self.lan.power_off(name);
            self.lan.power_on(name);
            std::fs::remove_dir_all(self.dir.0.join(name)).unwrap();
        }
        self.restart(name);
    }

    /// Starts the agent anew; what it reported is still there.
    pub fn restart(&mut self, name: &'static str) {
        let path = self.dir.0.join(name);
        let agent = self.agents.get_mut(name).unwrap();
        // The lock of the first one goes with it.
        agent.passes = Passes::new(name.into(), &self.dir.0.join("nowhere"));
        agent.passes = Passes::new(name.into(), &path);
    }

    /// A pass of every node, and a second. How many ops that took.
    pub fn round(&mut self) -> u64 {
        let ops = NODES.into_iter().map(|name| self.pass(name)).sum();
        self.now += ROUND;
        ops
    }

    /// Runs passes of all nodes in turn until nothing happens any more. How many ops that took.
    pub fn settle(&mut self) -> u64 {
        let before = self.ops;
        let mut calm = 0;
        for _ in 0..300 {
            calm = if self.round() == 0 { calm + 1 } else { 0 };
            if calm == CALM {
                return self.ops - before;
            }
        }
        panic!("no rest after 300 rounds:\n{}", self.story);
    }

    /// Sends `count` connections from the client; who answered how often.
    pub fn answers(&self, vip: &str, port: u16, protocol: Protocol, count: usize) -> Answers {
        let mut answers = BTreeMap::new();
        for _ in 0..count {
            let trace = self.lan.send(site::CLIENT, site::ip(vip), port, protocol);
            self.lan.close(trace.flow);
            let answer = match &trace.verdict {
                Verdict::Answered { by } => by.clone(),
                Verdict::Refused { .. } | Verdict::Lost { .. } => trace.to_string(),
            };
            *answers.entry(answer).or_insert(0) += 1;
        }
        answers
    }
}

pub type Answers = BTreeMap<String, usize>;

pub fn answers<const N: usize>(expected: [(&str, usize); N]) -> Answers {
    expected
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count))
        .collect()
}

struct TempDir(PathBuf);

impl TempDir {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // Ledgers are synced to disk at every change: memory is faster.
        let base = ["/dev/shm", "/tmp"]
            .into_iter()
            .map(PathBuf::from)
            .find(|path| path.is_dir())
            .unwrap_or_else(std::env::temp_dir);
        let path = base.join(format!("directway-sim-{}-{count}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // Nothing to be done about a failure here.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
