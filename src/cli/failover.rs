//! `directway failover`: moves a VIP to another director, and waits until it is there.

use std::{net::IpAddr, process::ExitCode, time::Duration};

use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    api::VirtualService,
    cluster::Store,
    desired::{RecentDirectors, directors, may_hold, stands_by},
    model::{self, NodeName, Snapshot},
};

use super::{
    CommandResult, Failure,
    kubernetes::{KubeArgs, block_on, failed},
    liveness::{LeaseArgs, Liveness},
    output::print,
    snapshot::{cluster, recent_directors},
};

/// How often to look whether it has moved.
const LOOK: Duration = Duration::from_millis(200);
/// The field manager that writes `spec.directors.preferred`.
const MANAGER: &str = "directway-failover";

/// Options of `failover`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  Before a director is rebooted, have another one take the VIP:
    directway failover 192.168.188.120
  The same, to a certain one:
    directway failover 192.168.188.120 --to node-b
  Let the VIP be where directway puts it by itself:
    directway failover 192.168.188.120 --back

Sets spec.directors.preferred of every VirtualService with that VIP, and waits
until the director has it. The successor takes the VIP before the holder gives
it up: no connection is lost. To move all VIPs of a node: kubectl cordon NODE.

Exit status: 0 the VIP is there; 1 it is not, or nothing could be changed;
64 wrong command line.")]
pub struct Args {
    /// The VIP
    #[arg(value_name = "VIP")]
    vip: IpAddr,
    /// The director that shall hold it [default: a ready one that does not hold it now]
    #[arg(long, value_name = "NODE", conflicts_with = "back")]
    to: Option<String>,
    /// Prefer no director any more, and do not wait for a move
    #[arg(long)]
    back: bool,
    /// How long to wait for the move
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    #[command(flatten)]
    leases: LeaseArgs,
    #[command(flatten)]
    kube: KubeArgs,
}

pub(super) fn run(args: &Args) -> CommandResult {
    let before = cluster(&args.kube)?;
    let liveness = args.leases.look(&args.kube)?;
    let snapshot = before.snapshot();
    let wanted = services_with(args.vip, snapshot)?;
    let view = VipView::new(args.vip, &before, &liveness);
    let target = match (&args.to, args.back) {
        (_, true) => None,
        (to, false) => Some(target(&view, to.as_deref(), &wanted)?),
    };
    if target.is_some()
        && let Some(doubt) = liveness.doubt(directors(wanted[0], snapshot))
    {
        print(&format!("note: {doubt}"))?;
    }
    let from = view.holders();
    let started = Instant::now();
    block_on(prefer(args, &wanted, target.as_ref()))??;
    let Some(target) = target else {
        print(&format!("{}: no director is preferred any more", args.vip))?;
        return Ok(ExitCode::SUCCESS);
    };
    let from = names_or("nobody", &from);
    print(&format!("{}: {from} → {target}", args.vip))?;
    let timeout = Duration::from_secs(args.timeout);
    loop {
        let after = cluster(&args.kube)?;
        let view = VipView::new(args.vip, &after, &liveness);
        let took = started.elapsed();
        if view.is_held_by(&target) {
            print(&format!(
                "{target} holds it, after {:.1} s",
                took.as_secs_f64()
            ))?;
            return Ok(ExitCode::SUCCESS);
        }
        if took >= timeout {
            return Err(Failure::Failed(format!(
                "{} is held by {} after {} s, not by {target}: see the agents' logs there (kubectl logs), and \
                 directway status; the preference stays, --back takes it away",
                args.vip,
                names_or("nobody", &view.holders()),
                timeout.as_secs()
            )));
        }
        // tokio's timers need a running runtime.
        block_on(async { sleep(LOOK).await })?;
    }
}

/// Every accepted VirtualService with this VIP.
fn services_with(vip: IpAddr, snapshot: &Snapshot) -> Result<Vec<&model::VirtualService>, Failure> {
    let accepted = snapshot.virtual_services.values().flatten();
    let all: Vec<&model::VirtualService> = accepted.map(AsRef::as_ref).collect();
    let with: Vec<&model::VirtualService> = all
        .iter()
        .filter(|it| it.vips.contains(&vip))
        .copied()
        .collect();
    if with.is_empty() {
        let vips: Vec<String> = all
            .iter()
            .flat_map(|it| it.vips.iter().map(ToString::to_string))
            .collect();
        return Err(Failure::Failed(if vips.is_empty() {
            format!("{vip}: there is no VirtualService with it, nor any other")
        } else {
            format!(
                "{vip}: no VirtualService has it; there are {}",
                vips.join(", ")
            )
        }));
    }
    Ok(with)
}

/// A VIP and those that hold it or could.
struct VipView<'a> {
    vip: IpAddr,
    /// Of the VirtualService with the VIP.
    on_cordon: model::CordonPolicy,
    snapshot: &'a Snapshot,
    /// Whose reports count.
    directors: RecentDirectors,
    liveness: &'a Liveness,
}

impl<'a> VipView<'a> {
    fn new(vip: IpAddr, store: &'a Store, liveness: &'a Liveness) -> Self {
        let snapshot = store.snapshot();
        let mut objects = snapshot.virtual_services.values().flatten();
        let object = objects.find(|it| it.vips.contains(&vip));
        Self {
            vip,
            on_cordon: object.map_or(model::CordonPolicy::Ignore, |it| it.real_servers.cordon),
            snapshot,
            directors: recent_directors(store),
            liveness,
        }
    }

    fn holders(&self) -> Vec<&NodeName> {
        let holders = self.directors.holders(self.vip, &self.snapshot.peers);
        holders.collect()
    }

    fn is_silent(&self, name: &NodeName) -> bool {
        self.liveness.silence(name, self.snapshot).is_some()
    }

    /// Whether `target` alone has the VIP. A silent node goes on saying that it holds what it held: `target` claims nothing
    /// for which another host answers.
    fn is_held_by(&self, target: &NodeName) -> bool {
        let holders = self.holders();
        let mut others = holders.iter().filter(|name| **name != target);
        holders.contains(&target) && others.all(|name| self.is_silent(name))
    }

    /// Whether this director could take the VIP, or has it.
    fn is_ready(&self, name: &NodeName) -> bool {
        let stands_by =
            stands_by(name, self.vip, self.on_cordon, self.snapshot) && !self.is_silent(name);
        stands_by || self.holders().contains(&name)
    }
}

/// The director to move to: the one that `to` names, if it is ready, or the first ready one that does not hold the VIP.
fn target(
    view: &VipView<'_>,
    to: Option<&str>,
    wanted: &[&model::VirtualService],
) -> Result<NodeName, Failure> {
    let VipView { vip, snapshot, .. } = *view;
    let may: Vec<&NodeName> = directors(wanted[0], snapshot)
        .filter(|name| wanted.iter().all(|it| may_hold(it, name, snapshot)))
        .collect();
    let holders = view.holders();
    let is_incomplete = |name: &&NodeName| snapshot.is_incomplete(name, vip);
    // No preference brings the VIP to a director that serves less than another one.
    let serves_less = |name: &&NodeName| is_incomplete(name) && !may.iter().all(is_incomplete);
    let ready = may.iter().copied();
    let ready = ready.filter(|name| view.is_ready(name) && !serves_less(name));
    let ready: Vec<&NodeName> = ready.collect();
    let Some(to) = to else {
        let other = ready.iter().find(|name| !holders.contains(name));
        return other.map(|name| (*name).clone()).ok_or_else(|| {
            Failure::Failed(format!(
                "{vip}: no director but {} is ready to take it: label another node directway.dev/director, or see directway status",
                names_or("none", &holders)
            ))
        });
    };
    let to = NodeName(to.to_owned());
    if !may.contains(&&to) {
        return Err(Failure::Failed(format!(
            "--to {to}: not a director of {vip}; use one of {}",
            names(&may)
        )));
    }
    if !ready.contains(&&to) && serves_less(&&to) {
        return Err(Failure::Failed(format!(
            "--to {to}: it does not serve everything behind {vip}, so the VIP would stay where it is: see what is wrong on {to} in directway status; ready: {}",
            names_or("none", &ready)
        )));
    }
    if !ready.contains(&&to) {
        return Err(Failure::Failed(format!(
            "--to {to}: it is not ready to take {vip}, so the VIP would stay where it is; ready: {}",
            names_or("none", &ready)
        )));
    }
    Ok(to)
}

fn names_or(none: &str, some: &[&NodeName]) -> String {
    if some.is_empty() {
        none.to_owned()
    } else {
        names(some)
    }
}

fn names(names: &[&NodeName]) -> String {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    names.join(", ")
}

async fn prefer(
    args: &Args,
    wanted: &[&model::VirtualService],
    target: Option<&NodeName>,
) -> Result<(), Failure> {
    let client = args.kube.client().await?;
    let preferred = target.map(|name| name.0.clone());
    let patch = json!({"spec": {"directors": {"preferred": preferred}}});
    // VirtualServices that share a VIP need equal directors, so none is changed unless all can be.
    for dry_run in [true, false] {
        let params = PatchParams {
            dry_run,
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        for virtual_service in wanted {
            let key = &virtual_service.key;
            let api = Api::<VirtualService>::namespaced(client.clone(), &key.namespace);
            api.patch(&key.name, &params, &Patch::Merge(&patch))
                .await
                .map_err(|error| failed(&format!("change VirtualService {key}"), &error))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{Holder, VirtualServiceStatus},
        cluster::{Change, Object, Wanted},
        model::{BACKEND_LABEL, DIRECTOR_LABEL, Directing, Node, PeerState, VsKey},
    };

    const VIP: &str = "10.0.0.100";

    fn vip() -> IpAddr {
        VIP.parse().unwrap()
    }

    /// Directors a (holds), b (ready) and c (not ready), and the backend r.
    fn store() -> Store {
        let manifest = format!(
            "apiVersion: directway.dev/v1alpha1\nkind: VirtualService\nmetadata: {{name: web}}\n\
             spec: {{vips: [{VIP}], ports: [{{port: 80}}], realServers: {{nodeSelector: {{}}}}}}\n"
        );
        let mut store = Store::new(&Wanted::all().sources());
        store.apply(Change::of(&manifest));
        for (name, label) in [
            ("a", DIRECTOR_LABEL),
            ("b", DIRECTOR_LABEL),
            ("c", DIRECTOR_LABEL),
            ("r", BACKEND_LABEL),
        ] {
            let node = Node {
                labels: [(label.to_owned(), String::new())].into(),
                ..Node::default()
            };
            store.apply([Change::Node(name.into(), node)]);
        }
        let directs = || Directing {
            vips: [vip()].into_iter().collect(),
            ready: ["10.0.0.11".parse().unwrap()].into(),
            ..Directing::default()
        };
        let a = PeerState {
            held: [vip()].into_iter().collect(),
            directing: vec![directs()],
            ..PeerState::default()
        };
        let b = PeerState {
            directing: vec![directs()],
            ..PeerState::default()
        };
        let c = PeerState::default();
        for (name, report) in [("a", a), ("b", b), ("c", c)] {
            store.apply([Change::Peer(name.into(), report)]);
        }
        store
    }

    fn says(store: &mut Store, name: &str, held: bool) {
        let mut report = store.snapshot().peers.report(&"b".into()).unwrap().clone();
        report.held = held.then(vip).into_iter().collect();
        store.apply([Change::Peer(name.into(), report)]);
    }

    /// All agents run but `dead`.
    fn without(dead: &[&str]) -> Liveness {
        let age = |name: &str| match dead.contains(&name) {
            true => Duration::from_secs(300),
            false => Duration::ZERO,
        };
        let ages = ["a", "b", "c", "r"].map(|name| (name.into(), Some(age(name))));
        Liveness::new("ns", Ok(ages.into()))
    }

    fn chosen_of(store: &Store, to: Option<&str>, dead: &[&str]) -> Result<String, String> {
        let wanted = services_with(vip(), store.snapshot()).unwrap();
        let liveness = without(dead);
        let target = target(&VipView::new(vip(), store, &liveness), to, &wanted);
        target.map(|name| name.0).map_err(|error| error.to_string())
    }

    fn chosen(to: Option<&str>) -> Result<String, String> {
        chosen_of(&store(), to, &[])
    }

    fn arrived(store: &Store, dead: &[&str]) -> bool {
        let liveness = without(dead);
        VipView::new(vip(), store, &liveness).is_held_by(&"b".into())
    }

    #[test]
    fn a_backend_that_says_it_holds_the_vip_neither_stops_nor_misleads_a_move() {
        let mut store = store();
        says(&mut store, "r", true);
        let liveness = without(&[]);
        let view = VipView::new(vip(), &store, &liveness);
        assert_eq!(view.holders(), [&NodeName::from("a")]);
        assert!(!arrived(&store, &[]), "a has it");
        says(&mut store, "a", false);
        says(&mut store, "b", true);
        assert!(arrived(&store, &[]));
    }

    #[test]
    fn a_director_that_was_unlabelled_just_now_counts_as_long_as_the_controller_names_it() {
        let mut store = store();
        says(&mut store, "b", true);
        store.apply([Change::Node("a".into(), Node::default())]);
        let holder = |node: &str| {
            let status = VirtualServiceStatus {
                holders: vec![Holder {
                    vip: VIP.to_owned(),
                    node: node.to_owned(),
                }],
                ..VirtualServiceStatus::default()
            };
            let object = Object {
                status: Some(status),
                ..Object::default()
            };
            Change::Object(VsKey::new("default", "web"), Box::new(object))
        };
        store.apply([holder("a")]);
        assert!(!arrived(&store, &[]));
        store.apply([holder("b")]);
        assert!(arrived(&store, &[]));
    }

    #[test]
    fn a_director_whose_agent_is_dead_gets_no_vip_and_keeps_none() {
        let refused = chosen_of(&store(), Some("b"), &["b"]).unwrap_err();
        assert!(refused.contains("not ready"), "{refused}");
        assert!(chosen_of(&store(), None, &["b"]).is_err());
        let mut store = store();
        says(&mut store, "b", true);
        assert!(!arrived(&store, &[]));
        assert!(arrived(&store, &["a"]), "its report is old");
    }

    #[test]
    fn a_ready_director_is_chosen_and_an_unready_one_refused() {
        assert_eq!(chosen(None).unwrap(), "b");
        assert_eq!(chosen(Some("a")).unwrap(), "a", "it may stay where it is");
        let refused = chosen(Some("c")).unwrap_err();
        assert!(
            refused.contains("not ready") && refused.contains("a, b"),
            "{refused}"
        );
        let refused = chosen(Some("x")).unwrap_err();
        assert!(refused.contains("a, b, c"), "{refused}");
    }

    #[test]
    fn a_director_that_would_not_get_the_vip_is_refused() {
        let mut store = store();
        let incomplete = |store: &mut Store, name: &str| {
            let peers = &store.snapshot().peers;
            let mut report = peers.report(&name.into()).unwrap().clone();
            report.incomplete = [vip()].into();
            store.apply([Change::Peer(name.into(), report)]);
        };
        incomplete(&mut store, "b");
        let refused = chosen_of(&store, Some("b"), &[]).unwrap_err();
        assert!(refused.contains("does not serve everything"), "{refused}");
        let refused = chosen_of(&store, None, &[]).unwrap_err();
        assert!(refused.contains("no director but a"), "{refused}");
        incomplete(&mut store, "a");
        incomplete(&mut store, "c");
        assert_eq!(chosen_of(&store, None, &[]).unwrap(), "b", "none is better");
    }

    #[test]
    fn an_unknown_vip_is_told_with_those_that_are_known() {
        let store = store();
        let other = "10.0.0.9".parse().unwrap();
        let refused = services_with(other, store.snapshot())
            .unwrap_err()
            .to_string();
        assert!(refused.contains(VIP), "{refused}");
    }
}
