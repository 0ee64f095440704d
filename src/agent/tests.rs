//! Whole agents on simulated kernels.

mod elections;
mod faults;
mod ipvs;
mod kube_proxy;
mod large;
mod nics;
mod shared_vip;
mod sync;
mod undo;

use std::{fs, net::IpAddr, path::Path, time::Duration};

use tempfile::TempDir;

use super::{
    NextPass, PassError, PassInput, PassResult, Passes, RunDirError, SimulatedElections, pass_time,
    report,
};
use crate::{
    api::{Manifest, Report, parse_manifests},
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

fn changes(manifests: &str) -> Vec<Change> {
    parse_manifests("test.yaml", manifests)
        .into_iter()
        .map(|manifest| match manifest.unwrap() {
            Manifest::VirtualService(admitted) => Change::VirtualService(admitted),
            Manifest::Node(name, node) => Change::Node(name, node),
            Manifest::Other(other) => panic!("{other}"),
        })
        .collect()
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
                store.apply(changes(&format!("{SERVICE}{}", node_manifests())));
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

#[test]
fn agents_bring_a_virtual_service_up_and_take_it_away_without_a_trace() {
    for reported in [false, true] {
        let mut world = World::new(reported);
        let before: Vec<Observed> = NODES.iter().map(|(name, ..)| world.look(name)).collect();
        world.settle();
        let mut answers = world.answers();
        answers.sort();
        assert_eq!(answers, ["b1", "b1", "b2", "b2"], "reported: {reported}");
        assert_eq!(world.lan.claimants(VIP), ["d".to_owned()].into());
        world.delete();
        world.settle();
        for ((name, ..), before) in NODES.iter().zip(before) {
            assert_eq!(world.look(name), before, "{name} is not as it was");
            let ledger = &world.agent(name).run_dir;
            let text = fs::read_to_string(ledger.path().join("ledger.json")).unwrap();
            assert!(
                !text.contains("10.0.0.100") && !text.contains("arp_ignore"),
                "{text}"
            );
        }
    }
}

#[test]
fn a_real_server_gets_weight_only_after_its_agent_has_reported() {
    let mut world = World::new(true);
    world.pass("d");
    let (end, report) = world.pass("d");
    assert!(end.ops.is_empty(), "{:?}", end.ops);
    let peer = report.unwrap().peer;
    let directing = &peer.directing[0];
    assert!(directing.ready.is_empty());
    assert!(
        directing
            .unready
            .values()
            .all(|refusal| refusal.reason == Reason::NotBound),
        "{directing:?}"
    );
    let (_, report) = world.pass("b1");
    let nothing = report.unwrap().peer.bound;
    assert!(
        nothing.is_empty(),
        "no director has reported that it can serve"
    );
    let change = vec![Change::Peer("d".into(), peer)];
    world.agent("b1").store.apply(change);
    let (_, report) = world.pass("b1");
    let peer = report.unwrap().peer;
    assert!(peer.bound.contains(VIP));
    world
        .agent("d")
        .store
        .apply(vec![Change::Peer("b1".into(), peer)]);
    let (end, report) = world.pass("d");
    assert_eq!(
        end.ops,
        ["ipvsadm -a -t 10.0.0.100:80 -r 10.0.0.11:80 -g -w 1"]
    );
    assert_eq!(
        report.unwrap().peer.directing[0].ready,
        [IpAddr::from([10, 0, 0, 11])].into()
    );
}

#[test]
fn a_pass_without_news_writes_nothing() {
    let mut world = World::new(false);
    world.settle();
    for (name, ..) in NODES {
        let ledger = world.agent(name).run_dir.path().join("ledger.json");
        fs::remove_file(&ledger).unwrap();
        let ops = world.lan.ops(name);
        let (end, first) = world.pass(name);
        let (_, second) = world.pass(name);
        assert!(end.ops.is_empty() && end.error.is_none(), "{end:?}");
        assert_eq!(world.lan.ops(name), ops);
        assert!(!ledger.exists(), "the ledger was written");
        assert_eq!(first, second, "a report without news");
    }
}

#[test]
fn an_agent_killed_after_any_op_is_followed_by_one_that_finishes_and_can_undo_all() {
    for name in ["d", "b1"] {
        let mut world = World::new(false);
        let ops = {
            world.settle();
            world.lan.ops(name)
        };
        for after in 0..ops {
            let mut world = World::new(false);
            let pristine = world.look(name);
            let others: Vec<_> = NODES
                .iter()
                .map(|(other, ..)| *other)
                .filter(|other| *other != name)
                .collect();
            for other in others {
                world.pass(other);
            }
            // As many passes as it takes until the kill.
            let doomed = world.lan.effects() + after + 1;
            world.lan.expect(Some(Misfortune::KilledBefore(doomed)));
            for _ in 0..6 {
                world.pass(name);
                world.now += Duration::from_secs(1);
            }
            world.lan.expect(None);
            let run_dir = world.agent(name).run_dir.path().to_owned();
            world.restart(name, &run_dir);
            world.settle();
            assert_eq!(
                world.answers().iter().filter(|by| *by == "b1").count(),
                2,
                "{name} after {after} ops"
            );
            world.delete();
            world.settle();
            assert_eq!(world.look(name), pristine, "{name} after {after} ops");
        }
    }
}

#[test]
fn what_somebody_else_changed_is_put_right_and_counted() {
    let mut world = World::new(false);
    world.settle();
    let key = *world.look("d").net.services.keys().next().unwrap();
    let mut intruder = world.lan.kernel("d");
    let results = intruder.apply(&[crate::plan::Op::DelDestination(key, [10, 0, 0, 11].into())]);
    assert!(results.iter().all(Result::is_ok));
    let (end, _) = world.pass("d");
    assert_eq!((end.ops.len(), end.drift), (1, 1), "{:?}", end.ops);
    let (end, _) = world.pass("d");
    assert_eq!((end.ops.len(), end.drift), (0, 0));
    let other = "10.0.0.12:8080".parse().unwrap();
    world.lan.on("d", |machine| {
        machine.add_foreign_destination(key, other, Destination::direct(5));
    });
    let (end, _) = world.pass("d");
    assert_eq!(end.ops, ["ipvsadm -d -t 10.0.0.100:80 -r 10.0.0.12:8080"]);
    assert_eq!(end.drift, 1);
    assert!(world.look("d").foreign_destinations.is_empty());
    // A change of the VirtualService is no drift.
    world.change(|| changes(&SERVICE.replace("rr", "wrr")));
    let (end, _) = world.pass("d");
    assert_eq!((end.ops.len(), end.drift), (1, 0), "{:?}", end.ops);
}

#[test]
fn without_a_ledger_nothing_is_changed_and_the_report_says_so() {
    let mut world = World::new(true);
    world.settle();
    let (_, before) = world.pass("b1");
    for broken in ["", "{", r#"{"version":9}"#] {
        let file = world.agent("b1").run_dir.path().join("ledger.json");
        fs::write(&file, broken).unwrap();
        let run_dir = world.agent("b1").run_dir.path().to_owned();
        world.restart("b1", &run_dir);
        let there = world.look("b1");
        world.delete();
        let (end, report) = world.pass("b1");
        assert!(
            matches!(end.error, Some(PassError::RunDir(RunDirError::Ledger(_)))),
            "{end:?}"
        );
        assert!(end.next.failed, "{:?}", end.next);
        assert_eq!(world.look("b1"), there, "something was changed");
        assert_eq!(fs::read_to_string(&file).unwrap(), broken);
        let check = &report.unwrap().preflight[0].check;
        assert_eq!(*check, PreflightCheck::Needs(Reason::LedgerUnwritable));
        world.change(|| changes(SERVICE));
        let (_, report) = world.pass("b1");
        assert_eq!(
            report.unwrap().peer,
            before.clone().unwrap().peer,
            "others would act on it"
        );
    }
}

#[test]
fn a_run_dir_that_cannot_be_written_stops_changes_only() {
    let mut world = World::new(false);
    let file = world.agent("d").run_dir.path().join("file");
    fs::write(&file, "").unwrap();
    world.restart("d", &file.join("run"));
    let (end, report) = world.pass("d");
    assert!(
        matches!(end.error, Some(PassError::RunDir(RunDirError::Ledger(_)))),
        "{end:?}"
    );
    assert_eq!(world.lan.ops("d"), 0);
    let check = &report.unwrap().preflight[0].check;
    assert_eq!(*check, PreflightCheck::Needs(Reason::LedgerUnwritable));
}

#[test]
fn a_vip_that_a_stranger_has_is_not_claimed_until_the_stranger_is_gone() {
    let mut world = World::new(false);
    let net = format!("{VIP}/24").parse().unwrap();
    world
        .lan
        .add("stranger", Machine::new().nic(&eth0(), "lan", [net]));
    let mac = world
        .lan
        .on("stranger", |machine| machine.mac(&eth0()))
        .flatten()
        .unwrap();
    world.pass("d");
    for _ in 0..4 {
        world.now += Duration::from_secs(2);
        let (_, report) = world.pass("d");
        let report = report.unwrap();
        let refusal = report.refused.values().next().unwrap();
        assert_eq!(refusal.reason, Reason::VipConflict, "{refusal}");
        assert!(refusal.message.contains(&mac.to_string()), "{refusal}");
        let conflict = Conflict {
            own: None,
            rivals: [(mac, None)].into(),
        };
        assert_eq!(report.conflicts.values().next(), Some(&conflict));
        assert!(report.peer.held.is_empty() && !world.lan.claimants(VIP).contains("d"));
    }
    world.lan.power_off("stranger");
    world.settle();
    let (_, report) = world.pass("d");
    assert!(report.unwrap().peer.held.contains(VIP));
}

#[test]
fn an_incomplete_view_takes_nothing_away() {
    let mut world = World::new(false);
    world.settle();
    let before = world.look("d");
    let held = AddressKey::new(eth0(), VIP);
    assert!(before.net.addresses.contains_key(&held));
    world.delete();
    world
        .agent("d")
        .store
        .apply(vec![Change::Unread(["web.yaml".to_owned()].into())]);
    let (end, report) = world.pass("d");
    assert!(end.ops.is_empty(), "{:?}", end.ops);
    assert_eq!(world.look("d"), before);
    let entry = &report.unwrap().preflight[0];
    assert_eq!(entry.check, PreflightCheck::UnreadManifest);
    assert!(
        entry.message.contains("web.yaml") && entry.message.ends_with("10.0.0.100 stays"),
        "{entry:?}"
    );
    world
        .agent("d")
        .store
        .apply(vec![Change::Unread([].into())]);
    // The VIP leaves the NIC before its services are removed.
    let (end, _) = world.pass("d");
    assert!(end.ops.is_empty(), "{:?}", end.ops);
    assert!(!world.look("d").net.addresses.contains_key(&held));
    let (end, _) = world.pass("d");
    assert!(!end.ops.is_empty());
}

#[test]
fn an_agent_of_an_unknown_node_says_so_and_names_the_one_that_was_meant() {
    let mut world = World::new(false);
    let nodes = changes(&node_manifests().replace("name: d,", "name: D,"));
    let gone = Change::Gone(Key::Node("d".into()));
    let store = &mut world.agent("d").store;
    store.apply([gone].into_iter().chain(nodes));
    let (_, report) = world.pass("d");
    let entry = &report.unwrap().preflight[0];
    assert_eq!(entry.check, PreflightCheck::NodeName);
    assert!(
        entry.message.contains("no Node is named d") && entry.message.ends_with("there is D"),
        "{entry:?}"
    );
    let (_, report) = world.pass("b1");
    assert!(report.unwrap().preflight.is_empty());
}

#[test]
fn the_report_of_ten_thousand_virtual_services_is_small() {
    let size = |report: &Report| serde_json::to_vec(&report.to_status()).unwrap().len();
    let (waiting, serving) = large::reports(10_000, 10);
    assert!(
        serving.refused.is_empty(),
        "{:?}",
        serving.refused.values().next()
    );
    assert_eq!((serving.services, serving.destinations), (10_000, 100_000));
    assert_eq!(serving.warnings.values().next().unwrap().len(), 10_000);
    for (what, report) in [("waiting", waiting), ("serving", serving)] {
        let size = size(&report);
        assert!(size < 256 * 1024, "{what}: {size} bytes");
    }
}
