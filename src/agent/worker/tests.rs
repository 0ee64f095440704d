use std::{net::IpAddr, path::Path};

use tempfile::TempDir;

use super::*;
use crate::{
    admin::Admin,
    agent::{
        SimulatedElections,
        snapshot_writer::{self, SnapshotWriter},
    },
    cluster::{ChangeSender, Key},
    election::Timing,
    kernel::fake::{FakeLan, Machine},
    metrics::Metrics,
    model::{AddressKey, Dev, PeerState, Role, VsKey},
    plan::Op,
};

const SOURCES: [SourceName; 3] = [
    SourceName::VirtualServices,
    SourceName::Nodes,
    SourceName::NodeStates,
];

const MANIFESTS: &str = "
apiVersion: directway.dev/v1alpha1
kind: VirtualService
metadata: {name: web}
spec: {vips: [10.0.0.100], ports: [{port: 80}], realServers: {nodeSelector: {}}}
---
apiVersion: v1
kind: Node
metadata: {name: b1, labels: {directway.dev/backend: \"\"}}
status: {addresses: [{type: InternalIP, address: 10.0.0.11}]}
---
apiVersion: v1
kind: Node
metadata: {name: d, labels: {directway.dev/director: \"\"}}
status: {addresses: [{type: InternalIP, address: 10.0.0.1}]}
";

const TIME: Cause = Cause {
    source: false,
    kernel: false,
    time: true,
};

/// One agent's process on the machine `b1`.
struct Process {
    worker: Worker,
    /// What its thread of the snapshot's file would run.
    writer: SnapshotWriter,
    feed: ChangeSender,
    journal: Journal,
}

fn process(lan: &FakeLan, run_dir: &Path) -> Process {
    let node = NodeName::from("b1");
    let metrics = Arc::new(Metrics::default());
    let (_, elections) = SimulatedElections::new(lan, "b1", Timing::default(), None);
    let (feed, changes) = ChangeSender::new(|| ());
    let snapshot_file = SnapshotFile::new(run_dir, "kubernetes".to_owned());
    let (snapshots, writer) = snapshot_writer::channel(snapshot_file.clone());
    let worker = Worker {
        passes: Passes::new(node.clone(), run_dir, elections),
        node: node.clone(),
        kernel: Box::new(lan.kernel("b1")),
        store: Store::new(&SOURCES),
        fallback: Fallback::Untried,
        snapshot_file,
        snapshots,
        changes,
        shared: Arc::new(Shared::new(node, &SOURCES, metrics)),
        trigger: Trigger::default(),
        reports: watch::Sender::new(None),
        services: watch::Sender::new(BTreeSet::new()),
        asks_kube_proxy: watch::Sender::new(false),
        kube_proxy: watch::Sender::new(ProxyAnswer::NotAsked).subscribe(),
        api_servers: watch::Sender::new(BTreeSet::new()).subscribe(),
    };
    Process {
        worker,
        writer,
        feed,
        journal: Journal::default(),
    }
}

impl Process {
    fn read(&self, changes: Vec<Change>) {
        let listed = SOURCES.map(Change::Listed);
        let all = changes.into_iter().chain(listed);
        self.feed.send_blocking(all.collect()).unwrap();
    }

    /// Has the snapshot that the passes have sent on disk.
    fn write(&mut self) {
        self.writer.write_next(Some(Duration::ZERO));
    }

    fn pass(&mut self, now: Duration) -> Option<NextPass> {
        self.worker.pass(TIME, now, &mut self.journal, &mut 0)
    }
}

/// A VirtualService, its real server, and a director that can serve it.
fn objects() -> Vec<Change> {
    let director = PeerState {
        bound: [vip().ip].into_iter().collect(),
        ..PeerState::default()
    };
    let director = Change::Peer("d".into(), director);
    Change::of(MANIFESTS)
        .into_iter()
        .chain([director])
        .collect()
}

/// A segment with the machine.
fn lan() -> FakeLan {
    let lan = FakeLan::new();
    let network = "10.0.0.11/24".parse().unwrap();
    let nic = "eth0".parse().unwrap();
    lan.add("b1", Machine::new().nic(&nic, "lan", [network]));
    lan
}

fn vip() -> AddressKey {
    AddressKey::new(Dev::lo(), IpAddr::from([10, 0, 0, 100]))
}

fn has_vip(lan: &FakeLan) -> bool {
    let observed = lan.observe("b1").unwrap();
    observed.net.addresses.contains_key(&vip())
}

#[test]
fn an_agent_that_cannot_read_its_sources_serves_what_was_known_last() {
    let (lan, dir) = (lan(), TempDir::new().unwrap());
    let mut first = process(&lan, dir.path());
    first.read(objects());
    first.pass(Duration::ZERO);
    assert!(has_vip(&lan));
    first.write();
    drop(first);
    let taken = lan
        .kernel("b1")
        .apply(&[Op::DelAddress(vip(), Role::Quiet)]);
    assert_eq!(taken, [Ok(())]);

    let mut second = process(&lan, dir.path());
    let next = second.pass(Duration::ZERO);
    assert_eq!(next, Some(NextPass::within(PATIENCE)));
    assert!(!has_vip(&lan), "the sources have a little time");
    second.pass(PATIENCE);
    assert!(has_vip(&lan));
    let report = second.worker.reports.borrow().clone().unwrap();
    assert!(
        report.is_backend
            && report.preflight[0]
                .message
                .contains("serving what was known at"),
        "{:?}",
        report.preflight
    );
    let missing = second.worker.shared.missing();
    assert_eq!(missing.len(), 4, "{missing:?}");
    assert!(missing[3].contains("serves what was known at"));

    // The VirtualService was deleted meanwhile, and so was its director: the VIP goes when that can be read.
    second.read(vec![objects().swap_remove(1)]);
    second.pass(PATIENCE * 2);
    assert!(!has_vip(&lan));
    assert!(second.worker.shared.missing().is_empty());
    let report = second.worker.reports.borrow().clone().unwrap();
    assert!(report.preflight.is_empty(), "{:?}", report.preflight);
}

#[test]
fn what_is_on_disk_removes_nothing() {
    let (lan, dir) = (lan(), TempDir::new().unwrap());
    let mut first = process(&lan, dir.path());
    first.read(objects().split_off(1));
    first.pass(Duration::ZERO);
    first.write();
    // Served, but not on disk yet.
    first.feed.send_blocking(objects()).unwrap();
    first.pass(Duration::from_secs(1));
    assert!(has_vip(&lan));
    drop(first);
    let mut second = process(&lan, dir.path());
    second.pass(PATIENCE);
    let known = second.worker.fallback.last_known().unwrap();
    assert!(known.store.snapshot().virtual_services.is_empty());
    assert!(has_vip(&lan));
    let gone = Change::Gone(Key::VirtualService(VsKey::new("default", "web")));
    second.read(vec![gone]);
    second.pass(PATIENCE * 2);
    assert!(!has_vip(&lan));
}

#[test]
fn passes_write_no_snapshot() {
    let (lan, dir) = (lan(), TempDir::new().unwrap());
    let mut agent = process(&lan, dir.path());
    let file = agent.worker.snapshot_file.clone();
    agent.read(objects());
    agent.pass(Duration::ZERO);
    assert!(file.load(&SOURCES).is_none());
    agent.write();
    assert!(file.load(&SOURCES).is_some());
}

#[test]
fn an_agent_that_ends_saves_what_it_knows() {
    let (lan, dir) = (FakeLan::new(), TempDir::new().unwrap());
    lan.add("b1", Machine::new());
    let mut agent = process(&lan, dir.path());
    agent.read(objects().split_off(1));
    agent.pass(Duration::ZERO);
    agent.feed.send_blocking(objects()).unwrap();
    agent.pass(Duration::from_secs(1));
    let (jobs, todo) = mpsc::channel();
    jobs.send(Job::Stop).unwrap();
    let file = agent.worker.snapshot_file.clone();
    let writer = agent.writer;
    let writer = std::thread::spawn(|| writer.run());
    agent.worker.run(todo, writer);
    // The writer has ended with the worker, so nothing is waited for.
    let known = file.load(&SOURCES).unwrap();
    assert_eq!(known.store.snapshot().virtual_services.len(), 1);
}
