//! `directway drain` and `undrain`: take a node out of use as a real server, and back.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    api::Report,
    cluster::Store,
    model::{DRAIN_ANNOTATION, Drain, IpRanges, NodeName, Snapshot},
};

use super::{
    CommandResult, Failure,
    kubernetes::{KubeArgs, block_on, failed},
    output::{print, short},
    snapshot::{cluster, recent_directors},
};

/// How often to look what is left.
const LOOK: Duration = Duration::from_millis(500);
/// The field manager that writes the annotation.
const MANAGER: &str = "directway-drain";

/// Options of `drain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  Before a real server is rebooted or its application replaced:
    directway drain node-b --wait
  And afterwards:
    directway undrain node-b

Sets the annotation directway.dev/drain of the Node. Directors then send it no
new connections; open ones go on until they end, but for spec.drainSeconds at
most. Then the destinations are deleted, and last the node gives up its VIPs.
VIPs that the node holds as a director stay: kubectl cordon moves those.

Exit status: 0 done; 1 it is not drained yet, or nothing could be changed;
64 wrong command line.")]
pub struct DrainArgs {
    /// The node
    #[arg(value_name = "NODE")]
    node: String,
    /// Wait until no director sends it packets; its VIPs leave it some seconds later
    #[arg(long)]
    wait: bool,
    /// How long to wait
    #[arg(long, value_name = "SECONDS", default_value_t = 600, requires = "wait", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    #[command(flatten)]
    kube: KubeArgs,
}

/// Options of `undrain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  directway undrain node-b

Takes the annotation directway.dev/drain from the Node. Directors send it new
connections as soon as its agent reports the VIPs bound.

Exit status: 0 done; 1 nothing could be changed; 64 wrong command line.")]
pub struct UndrainArgs {
    /// The node
    #[arg(value_name = "NODE")]
    node: String,
    #[command(flatten)]
    kube: KubeArgs,
}

pub(super) fn drain(args: &DrainArgs) -> CommandResult {
    let node = NodeName(args.node.clone());
    let before = cluster(&args.kube)?;
    let started = Instant::now();
    block_on(annotate(&args.kube, &node, Some("true")))??;
    if !is_backend(&node, before.snapshot()) {
        print(&format!(
            "note: {node} is no real server now (label directway.dev/backend), so there is nothing to drain yet"
        ))?;
    }
    print(&format!("{node}: gets no new connections"))?;
    if !args.wait {
        return Ok(ExitCode::SUCCESS);
    }
    let timeout = Duration::from_secs(args.timeout);
    let mut told = Left::default();
    loop {
        let store = cluster(&args.kube)?;
        let left = Left::of(&node, &store);
        let took = started.elapsed();
        if left.is_nothing() {
            print(&format!(
                "{node}: drained after {:.1} s",
                took.as_secs_f64()
            ))?;
            return Ok(ExitCode::SUCCESS);
        }
        if took >= timeout {
            return Err(Failure::Failed(format!(
                "{node} is not drained after {} s: {}; connections keep it so for spec.drainSeconds at most, and a director whose agent is gone until its Node is deleted: see directway status",
                timeout.as_secs(),
                left.text(Timestamp::now())
            )));
        }
        // That time passes is no news.
        if left != told {
            print(&format!("{node}: {}", left.text(Timestamp::now())))?;
            told = left;
        }
        // tokio's timers need a running runtime.
        block_on(async { sleep(LOOK).await })?;
    }
}

pub(super) fn undrain(args: &UndrainArgs) -> CommandResult {
    let node = NodeName(args.node.clone());
    block_on(annotate(&args.kube, &node, None))??;
    print(&format!("{node}: may be a real server again"))?;
    Ok(ExitCode::SUCCESS)
}

async fn annotate(kube: &KubeArgs, node: &NodeName, value: Option<&str>) -> Result<(), Failure> {
    let api = Api::<Node>::all(kube.client().await?);
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = json!({"metadata": {"annotations": {DRAIN_ANNOTATION: value}}});
    match api.patch(&node.0, &params, &Patch::Merge(&patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Err(Failure::Failed(format!(
            "there is no node {node}: kubectl get nodes lists them"
        ))),
        Err(error) => Err(failed(&format!("annotate node {node}"), &error)),
    }
}

fn is_backend(node: &NodeName, snapshot: &Snapshot) -> bool {
    let node = snapshot.nodes.get(node);
    node.is_some_and(|node| node.is_backend())
}

/// What is left of a real server that is drained.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Left {
    /// Directors that may still send it packets.
    directors: BTreeMap<NodeName, Destination>,
    /// The VIPs that it reports as bound, which do not leave yet. One that is a director, too, goes on having them.
    bound: IpRanges,
}

/// A real server on one director.
#[derive(Debug, PartialEq)]
struct Destination {
    /// Of these VIPs.
    vips: IpRanges,
    /// What keeps it there; `None` if the director does not report that.
    drain: Option<Drain>,
}

impl Left {
    /// By the reports of directors and of the node itself.
    pub fn of(node: &NodeName, store: &Store) -> Self {
        let snapshot = store.snapshot();
        let directors = recent_directors(store);
        let own: Vec<_> = snapshot.addresses_of(node).collect();
        let objects = snapshot.virtual_services.values().flatten();
        let vips: Vec<_> = objects.flat_map(|it| it.vips.iter().copied()).collect();
        let reports: BTreeMap<&NodeName, &Report> = store.readable().collect();
        let mut left = Self::default();
        for (name, report) in directors.weigh(snapshot.peers.reports()) {
            let may_send = |vip: &_| own.iter().any(|own| report.may_direct(*vip, *own));
            let vips: IpRanges = vips.iter().copied().filter(may_send).collect();
            if vips.is_empty() {
                continue;
            }
            let drains = reports.get(name).map(|report| &report.drains);
            let drains = drains.into_iter().flatten();
            let drains = drains.filter(|(address, _)| own.contains(address));
            let drain = drains.map(|(_, drain)| *drain).reduce(Drain::and);
            let destination = Destination { vips, drain };
            left.directors.insert(name.clone(), destination);
        }
        let is_director = snapshot.nodes.get(node).is_some_and(|it| it.is_director());
        if let Some(report) = snapshot.peers.report(node).filter(|_| !is_director) {
            left.bound = report.bound.clone();
        }
        left
    }

    pub fn is_nothing(&self) -> bool {
        self.directors.is_empty() && self.bound.is_empty()
    }

    /// What is left at `now`, for people.
    pub fn text(&self, now: Timestamp) -> String {
        let vips = |vips: &IpRanges| short(&vips.to_strings());
        if self.directors.is_empty() {
            return format!("still has {} bound", vips(&self.bound));
        }
        let directors = self.directors.iter();
        let each: Vec<String> = directors
            .map(|(name, of)| {
                let drain = of.drain.map(|drain| keeping(drain, now));
                let drain = drain.unwrap_or_default();
                format!("of {name} for {}{drain}", vips(&of.vips))
            })
            .collect();
        format!("still a destination {}", each.join(", "))
    }
}

/// How many connections keep a destination, and for how long at most.
fn keeping(drain: Drain, now: Timestamp) -> String {
    let plural = if drain.connections == 1 { "" } else { "s" };
    format!(
        " ({} connection{plural}, {} s at most)",
        drain.connections,
        drain.seconds_left(now)
    )
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::{
        cluster::{Change, Wanted},
        model::{BACKEND_LABEL, DIRECTOR_LABEL, Directing, Node},
    };

    const VIP: &str = "10.0.0.100";

    const NOW: &str = "2026-11-25T20:00:00Z";

    /// The director d sends packets for the VIP to r, which has it bound; b, a backend, says that it does, too.
    fn store(directing: Directing, bound: bool) -> Store {
        let manifest = format!(
            "apiVersion: directway.dev/v1alpha1\nkind: VirtualService\nmetadata: {{name: web}}\n\
             spec: {{vips: [{VIP}], ports: [{{port: 80}}], realServers: {{nodeSelector: {{}}}}}}\n"
        );
        let mut store = Store::new(&Wanted::all().sources());
        store.apply(Change::of(&manifest));
        for (name, label, last) in [
            ("d", DIRECTOR_LABEL, 10),
            ("b", BACKEND_LABEL, 12),
            ("r", BACKEND_LABEL, 11),
        ] {
            let node = Node {
                labels: [(label.to_owned(), String::new())].into(),
                addresses: vec![[10, 0, 0, last].into()],
                ..Node::default()
            };
            store.apply([Change::Node(name.into(), node)]);
        }
        let vip: IpAddr = VIP.parse().unwrap();
        let mut directs = Report::default();
        if !directing.draining.is_empty() {
            let drain = Drain {
                connections: 1,
                until: "2026-11-25T20:00:41Z".parse().unwrap(),
            };
            let server: IpAddr = [10, 0, 0, 11].into();
            directs.drains.insert(server, drain);
        }
        directs.peer.directing = vec![directing];
        let mut has = Report::default();
        has.peer.bound = bound.then_some(vip).into_iter().collect();
        for (name, report) in [("d", directs.clone()), ("b", directs), ("r", has)] {
            store.apply([Change::Report(name.into(), Box::new(Ok(report)))]);
        }
        store
    }

    fn directing(ready: bool, draining: bool) -> Directing {
        let server = |is: bool| is.then_some([10, 0, 0, 11].into()).into_iter().collect();
        Directing {
            vips: [VIP.parse().unwrap()].into_iter().collect(),
            ready: server(ready),
            draining: server(draining),
            ..Directing::default()
        }
    }

    #[test]
    fn a_node_is_drained_when_no_director_sends_it_packets_and_its_vips_leave() {
        let left = |ready, draining, bound| {
            Left::of(&"r".into(), &store(directing(ready, draining), bound))
        };
        let now = NOW.parse().unwrap();
        let kept = " (1 connection, 41 s at most)";
        for (ready, draining, kept) in [(true, false, ""), (false, true, kept)] {
            let text = left(ready, draining, true).text(now);
            let of_d = "still a destination of d for 10.0.0.100";
            assert_eq!(text, format!("{of_d}{kept}"), "b is no director");
        }
        let bound = left(false, false, true);
        assert_eq!(bound.text(now), "still has 10.0.0.100 bound");
        assert!(!bound.is_nothing());
        assert!(left(false, false, false).is_nothing());
    }
}
