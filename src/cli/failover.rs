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
    desired::{directors, may_hold},
    model::{self, NodeName, Snapshot},
};

use super::{
    CommandResult, Failure,
    kubernetes::{KubeArgs, block_on, failed},
    output::print,
    snapshot::cluster,
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
    kube: KubeArgs,
}

pub(super) fn run(args: &Args) -> CommandResult {
    let before = cluster(&args.kube)?;
    let snapshot = before.snapshot();
    let wanted = services_with(args.vip, snapshot)?;
    let target = match (&args.to, args.back) {
        (_, true) => None,
        (to, false) => Some(target(args.vip, to.as_deref(), &wanted, snapshot)?),
    };
    let from = holders(args.vip, snapshot);
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
        let now = holders(args.vip, after.snapshot());
        let took = started.elapsed();
        if now == [&target] {
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
                names_or("nobody", &now),
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

/// The director to move to: the one that `to` names, if it is ready, or the first ready one that does not hold the VIP.
fn target(
    vip: IpAddr,
    to: Option<&str>,
    wanted: &[&model::VirtualService],
    snapshot: &Snapshot,
) -> Result<NodeName, Failure> {
    let may: Vec<&NodeName> = directors(wanted[0], snapshot)
        .filter(|name| wanted.iter().all(|it| may_hold(it, name, snapshot)))
        .collect();
    let holders = holders(vip, snapshot);
    let ready: Vec<&NodeName> = may
        .iter()
        .filter(|name| holders.contains(name) || is_ready(name, vip, snapshot))
        .copied()
        .collect();
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
    if !ready.contains(&&to) {
        return Err(Failure::Failed(format!(
            "--to {to}: it is not ready to take {vip}, so the VIP would stay where it is; ready: {}",
            names_or("none", &ready)
        )));
    }
    Ok(to)
}

fn holders(vip: IpAddr, snapshot: &Snapshot) -> Vec<&NodeName> {
    let holding = snapshot
        .peers
        .reports()
        .filter(|(_, peer)| peer.held.contains(vip));
    holding.map(|(name, _)| name).collect()
}

fn is_ready(name: &NodeName, vip: IpAddr, snapshot: &Snapshot) -> bool {
    let node = snapshot.nodes.get(name);
    let is_backend = node.is_some_and(model::Node::is_backend);
    let report = snapshot.peers.report(name);
    report.is_some_and(|report| report.stands_by(vip, is_backend))
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
    use crate::model::{DIRECTOR_LABEL, Directing, Node, PeerState, Peers};

    const VIP: &str = "10.0.0.100";

    fn vip() -> IpAddr {
        VIP.parse().unwrap()
    }

    /// Directors a (holds), b (ready) and c (not ready).
    fn snapshot() -> Snapshot {
        let manifest = format!(
            "apiVersion: directway.dev/v1alpha1\nkind: VirtualService\nmetadata: {{name: web}}\n\
             spec: {{vips: [{VIP}], ports: [{{port: 80}}], realServers: {{nodeSelector: {{}}}}}}\n"
        );
        let mut snapshot = Snapshot::default();
        for one in crate::api::parse_manifests("test.yaml", &manifest) {
            let crate::api::Manifest::VirtualService(admitted) = one.unwrap() else {
                panic!("no VirtualService");
            };
            snapshot
                .virtual_services
                .insert(admitted.key, admitted.parsed);
        }
        for name in ["a", "b", "c"] {
            let node = Node {
                labels: [(DIRECTOR_LABEL.to_owned(), String::new())].into(),
                ..Node::default()
            };
            snapshot.nodes.insert(name.into(), node);
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
        snapshot.peers =
            Peers::Reported([("a".into(), a), ("b".into(), b), ("c".into(), c)].into());
        snapshot
    }

    fn chosen(to: Option<&str>) -> Result<String, String> {
        let snapshot = snapshot();
        let wanted = services_with(vip(), &snapshot).unwrap();
        let target = target(vip(), to, &wanted, &snapshot);
        target.map(|name| name.0).map_err(|error| error.to_string())
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
    fn an_unknown_vip_is_told_with_those_that_are_known() {
        let snapshot = snapshot();
        let other = "10.0.0.9".parse().unwrap();
        let refused = services_with(other, &snapshot).unwrap_err().to_string();
        assert!(refused.contains(VIP), "{refused}");
    }
}
