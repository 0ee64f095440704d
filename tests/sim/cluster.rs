//! Agents on a LAN, and the clock.

use std::{collections::BTreeMap, path::Path, time::Duration};

use directway::{
    agent::{Intervals, NextPass, PassInput, Passes, SimulatedElections, pass_time, peer_state},
    election::Timing,
    kernel::{
        OpResult,
        fake::{Delivery, FakeLan, Misfortune},
    },
    model::*,
};

use tempfile::TempDir;

use crate::{
    safety::{Safety, Story},
    site::{self, DIRECTORS, NODES},
};

/// The time between two rounds.
const ROUND: Duration = Duration::from_secs(1);
/// After this time the kernel withdraws the VIPs of an agent that does nothing.
pub const LIFETIME: Duration = Duration::from_secs(60);

/// What every node's kernel shows.
pub type State = BTreeMap<&'static str, Observed>;

/// How agents learn of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Talk {
    /// By reports, as through an API server.
    Reports,
    /// Not at all, as with manifests from a directory.
    Wire,
}

impl Talk {
    /// After this many rounds without an effect the cluster is at rest: longer than every waiting time, except for open
    /// connections and for refreshing ARP results. Without reports, a real server keeps a quiet VIP for the drain time of
    /// its VirtualService and a few seconds, because it cannot learn when directors stop forwarding to it.
    fn calm(self) -> u32 {
        match self {
            Self::Reports => 8,
            Self::Wire => 25,
        }
    }
}

/// What happens at an effect – an op of a pass, an address, announcement or probe of an election –, counted over all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The agent is killed, or the kernel refuses the effect.
    Agent(Misfortune),
    /// The node loses power right after it, and with it the ledger in /run.
    PowerLost(u64),
}

struct Agent {
    passes: Passes,
    elections: SimulatedElections,
    /// What the agent observed last.
    report: Option<PeerState>,
    /// The report that other agents read.
    published: Option<PeerState>,
    /// When its runner would run a pass even if nothing has happened since the last one.
    due: Duration,
    /// Whether something has.
    news: bool,
}

/// A site with an agent per node.
pub struct Cluster {
    pub lan: FakeLan,
    pub snapshot: Snapshot,
    pub safety: Safety,
    talk: Talk,
    agents: BTreeMap<&'static str, Agent>,
    dir: TempDir,
    power_loss: bool,
    /// What every agent did, for the message of a failed test.
    pub story: Story,
}

/// The timers of the elections: the defaults, but for those that would only make the tests long.
fn timing() -> Timing {
    Timing {
        ask: Duration::from_millis(150),
        hold_down: Duration::from_secs(3),
        retry: Duration::from_secs(1),
        refresh: Duration::from_secs(3600),
        ..Timing::default()
    }
}

fn agent(lan: &FakeLan, name: &str, run_dir: &Path) -> (Passes, SimulatedElections) {
    let (simulated, elections) = SimulatedElections::new(lan, name, timing(), Some(LIFETIME));
    (Passes::new(name.into(), run_dir, elections), simulated)
}

/// How soon the runner runs the next pass.
fn next(next: NextPass) -> Duration {
    let longest = Intervals::default().max;
    match next.deadline {
        _ if next.failed => Duration::ZERO,
        Some(deadline) => deadline.min(longest),
        None => longest,
    }
}

impl Cluster {
    pub fn new(talk: Talk) -> Self {
        let lan = site::lan();
        let story = Story::default();
        let safety = Safety::watch(&lan, talk, &story);
        let dir = run_dirs();
        let agents = NODES
            .into_iter()
            .map(|name| {
                let (passes, elections) = agent(&lan, name, &dir.path().join(name));
                let agent = Agent {
                    passes,
                    elections,
                    report: None,
                    published: None,
                    due: Duration::ZERO,
                    news: true,
                };
                (name, agent)
            })
            .collect();
        Self {
            lan,
            snapshot: Snapshot {
                virtual_services: BTreeMap::new(),
                nodes: site::nodes(),
                peers: match talk {
                    Talk::Wire => Peers::Silent,
                    Talk::Reports => Peers::Reported(BTreeMap::new()),
                },
                undo: None,
                endpoints: BTreeMap::new(),
            },
            safety,
            talk,
            agents,
            dir,
            power_loss: false,
            story,
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

    pub fn expect(&mut self, fault: Fault) {
        self.power_loss = matches!(fault, Fault::PowerLost(_));
        self.safety.expect_fault();
        self.lan.expect(Some(match fault {
            Fault::Agent(misfortune) => misfortune,
            Fault::PowerLost(at) => Misfortune::KilledAfter(at),
        }));
    }

    pub fn observe(&self, name: &str) -> Observed {
        self.lan.observe(name).unwrap()
    }

    /// The directors whose NIC carries `vip`.
    pub fn holders(&self, vip: &str) -> Vec<&'static str> {
        let claim = AddressKey::new(site::dev("eth0"), site::ip(vip));
        let holds = |name: &&str| self.observe(name).net.addresses.contains_key(&claim);
        DIRECTORS.into_iter().filter(holds).collect()
    }

    /// What every node's kernel shows.
    pub fn state(&self) -> State {
        NODES
            .into_iter()
            .map(|name| {
                let mut observed = self.observe(name);
                for link in observed.links.values_mut() {
                    // A device that is created again gets another index.
                    link.index = 0;
                }
                (name, observed)
            })
            .collect()
    }

    /// Lets time pass; the elections run meanwhile.
    pub fn wait(&mut self, time: Duration) {
        let agents = self.agents.values_mut().map(|agent| &mut agent.elections);
        pass_time(&self.lan, time, agents);
        self.bury_the_dead();
    }

    /// The same while the agent of `sleeper` stands still.
    pub fn wait_without(&mut self, sleeper: &str, time: Duration) {
        let others = self.agents.iter_mut().filter(|(name, _)| **name != sleeper);
        pass_time(
            &self.lan,
            time,
            others.map(|(_, agent)| &mut agent.elections),
        );
    }

    /// One pass of one node, and its report.
    pub fn pass(&mut self, name: &'static str) {
        self.silent_pass(name);
        self.publish(name);
    }

    /// Publishes the report of a node's last pass.
    pub fn publish(&mut self, name: &'static str) {
        let agent = self.agents.get_mut(name).unwrap();
        if agent.published == agent.report {
            return;
        }
        agent.published.clone_from(&agent.report);
        if let Peers::Reported(peers) = &mut self.snapshot.peers
            && let Some(report) = &agent.published
        {
            peers.insert(name.into(), report.clone());
        }
        for agent in self.agents.values_mut() {
            agent.news = true;
        }
    }

    /// One pass of one node, whose report is not published yet.
    pub fn silent_pass(&mut self, name: &'static str) {
        let mut kernel = self.lan.kernel(name);
        let agent = self.agents.get_mut(name).unwrap();
        let input = PassInput {
            snapshot: &self.snapshot,
            complete: true,
            fresh: true,
        };
        let now = self.lan.now();
        agent.news = false;
        agent.elections.ask_for_pass();
        let end = agent.passes.run(&mut kernel, input, now);
        agent.due = now + next(end.next);
        for (op, result) in end.outcome.done() {
            match result {
                OpResult::Applied => {}
                OpResult::Failed(error) => {
                    self.story
                        .add(&self.lan, name, &format!("{op}   ✗ {error}"))
                }
                OpResult::Skipped => self.story.add(&self.lan, name, &format!("{op}   skipped")),
            }
        }
        if let Some(error) = &end.error {
            self.story.add(&self.lan, name, &format!("✗ {error}"));
        }
        if !self.lan.is_killed(name)
            && let Some(state) = &end.state
        {
            agent.report = Some(peer_state(state));
        }
        drop(end);
        self.wait(Duration::ZERO);
    }

    /// Restarts the agents that were killed.
    fn bury_the_dead(&mut self) {
        for name in NODES {
            if !self.lan.is_killed(name) {
                continue;
            }
            self.story.add(&self.lan, name, "† killed");
            self.lan.expect(None);
            if self.power_loss {
                self.lan.power_off(name);
                self.lan.power_on(name);
                let _ = std::fs::remove_dir_all(self.dir.path().join(name));
            }
            self.restart(name);
        }
    }

    /// Restarts the agent; its published report stays.
    pub fn restart(&mut self, name: &'static str) {
        let path = self.dir.path().join(name);
        self.lan.revive(name);
        let slot = self.agents.get_mut(name).unwrap();
        // Dropping the old agent releases its lock on the run directory, which the new one needs.
        (slot.passes, slot.elections) = agent(&self.lan, name, &self.dir.path().join("nowhere"));
        (slot.passes, slot.elections) = agent(&self.lan, name, &path);
        slot.news = true;
    }

    /// A pass of every node, then a second of waiting. Returns the number of effects.
    pub fn round(&mut self) -> u64 {
        self.round_of(|_| true)
    }

    /// The same with passes of those nodes only whose runner would run one.
    fn calm_round(&mut self) -> u64 {
        let now = self.lan.now();
        self.round_of(|agent| agent.elections.ask_for_pass() || agent.news || agent.due <= now)
    }

    fn round_of(&mut self, runs: impl Fn(&Agent) -> bool) -> u64 {
        let before = self.lan.effects();
        for name in NODES {
            if runs(&self.agents[name]) {
                self.pass(name);
            }
        }
        self.wait(ROUND);
        self.lan.effects() - before
    }

    /// Runs rounds until the cluster is at rest. Returns the number of effects. Between the first round without an effect
    /// and the last one nodes run passes only when they have a reason to.
    pub fn settle(&mut self) -> u64 {
        let before = self.lan.effects();
        let mut calm = 0;
        for _ in 0..300 {
            let between = 0 < calm && calm + 1 < self.talk.calm();
            let effects = if between {
                self.calm_round()
            } else {
                self.round()
            };
            calm = if effects == 0 { calm + 1 } else { 0 };
            if calm == self.talk.calm() {
                return self.lan.effects() - before;
            }
        }
        panic!("no rest after 300 rounds:\n{}", self.story);
    }

    /// Opens `count` connections from the client; returns how often each real server answered.
    pub fn answers(&self, vip: &str, port: u16, protocol: Protocol, count: usize) -> Answers {
        let mut answers = BTreeMap::new();
        for _ in 0..count {
            let trace = self.lan.send(site::CLIENT, site::ip(vip), port, protocol);
            self.lan.close(trace.flow);
            let answer = match &trace.delivery {
                Delivery::Answered { by } => by.clone(),
                Delivery::Refused { .. } | Delivery::Lost { .. } => trace.to_string(),
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

/// Run directories in memory if possible, because ledgers are synced to disk at every change.
fn run_dirs() -> TempDir {
    let timers = Path::new("/dev/shm");
    if timers.is_dir() {
        TempDir::new_in(timers).unwrap()
    } else {
        TempDir::new().unwrap()
    }
}
