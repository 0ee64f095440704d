//! What is known of the nodes of a cluster from their agents' reports.

use std::collections::BTreeMap;

use ipnet::IpNet;

use crate::{
    api::{Report, ReportedNic},
    cli::{liveness::Liveness, snapshot::holders_by_status},
    cluster::Store,
    forecast::{Assumed, EvidenceSource, ForecastCluster, ForecastNode},
    model::{
        ArpSettings, Dev, Ipvs, Ledger, Link, LinkKind, Mac, Node, NodeName, Observed,
        PreflightCheck, Reason, VipDevices,
    },
};

/// Every node whose agent reports, as if nothing of directway's were there yet: the forecast adds that from the
/// present VirtualServices.
pub(super) fn world(cluster: &Store) -> ForecastCluster {
    let nodes = cluster.readable().filter_map(|(name, report)| {
        let node = cluster.snapshot().nodes.get(name)?;
        Some((name.clone(), world_node(node, report)))
    });
    ForecastCluster {
        nodes: nodes.collect(),
        lately: holders_by_status(cluster),
    }
}

/// A network with the node's own address in it, if its agent reports one.
fn with_host(net: &IpNet, nic: &ReportedNic) -> IpNet {
    let own = nic.addresses.iter().find(|ip| net.contains(*ip));
    let host = own.and_then(|ip| IpNet::new(*ip, net.prefix_len()).ok());
    host.unwrap_or(*net)
}

fn world_node(node: &Node, report: &Report) -> ForecastNode {
    let mut observed = Observed {
        ipvs: ipvs(report),
        arp_all: report.arp_all,
        ..Observed::default()
    };
    let loopback = link(1, Dev::lo(), LinkKind::Loopback);
    observed.links.insert(Dev::lo(), loopback);
    for (dev, nic) in &report.networks {
        let mut link = link(nic.index, dev.clone(), LinkKind::Other);
        link.addresses = nic.subnets.iter().map(|net| with_host(net, nic)).collect();
        link.arp = nic.arp;
        link.carrier = !nic.down;
        observed.net.arp.insert(dev.clone(), link.arp);
        observed.links.insert(dev.clone(), link);
    }
    let mut out_of_reach = BTreeMap::new();
    for group in &report.peer.directing {
        for (address, refusal) in &group.unready {
            if matches!(refusal.reason, Reason::NotOnSegment | Reason::Unreachable) {
                out_of_reach.insert(*address, refusal.reason);
            }
        }
    }
    let mut assumed = Assumed {
        own: node.addresses.iter().copied().collect(),
        out_of_reach,
        answers: BTreeMap::new(),
    };
    for ((vip, _), conflict) in &report.conflicts {
        let answers = assumed.answers.entry(*vip).or_default();
        answers.extend(conflict.rivals.keys());
    }
    ForecastNode {
        observed,
        ledger: Ledger::default(),
        timers: Default::default(),
        reserved: report.peer.reserved.clone(),
        wire: EvidenceSource::Assumed(assumed),
        vip_devices: report.vip_devices.clone().unwrap_or_else(VipDevices::any),
        incomplete: report.peer.incomplete.clone(),
    }
}

fn ipvs(report: &Report) -> Ipvs {
    let missing = report
        .preflight
        .iter()
        .find(|entry| entry.check == PreflightCheck::Needs(Reason::IpvsMissing));
    match missing {
        Some(entry) => Ipvs::Missing(format!("{}; {}", entry.message, entry.fix)),
        None => Ipvs::Present,
    }
}

fn link(index: u32, dev: Dev, kind: LinkKind) -> Link {
    let ethernet = kind == LinkKind::Other;
    Link {
        index,
        dev,
        mac: ethernet.then_some(Mac([2, 0, 0, 0, 0, 0])),
        kind,
        up: true,
        carrier: true,
        arp_capable: ethernet,
        enslaved: false,
        addresses: Vec::new(),
        arp: ArpSettings::default(),
    }
}

/// A note for each labelled node whose agent would do nothing: one without a report that can be parsed, or that is silent.
/// Also one if that is not known.
pub(super) fn doubts(cluster: &Store, liveness: &Liveness) -> Vec<String> {
    let labelled = |node: &Node| node.is_director() || node.is_backend();
    let snapshot = cluster.snapshot();
    let nodes = snapshot.nodes.iter().filter(|(_, node)| labelled(node));
    let reports = |name: &NodeName| matches!(cluster.reports().get(name), Some(Ok(_)));
    let (reporting, others): (Vec<&NodeName>, Vec<&NodeName>) =
        nodes.map(|(name, _)| name).partition(|name| reports(name));
    let others = others.into_iter().map(|name| {
        format!("{name} is labelled, but its agent has not reported (no NodeState); what would happen there is not known")
    });
    let silent = reporting.iter().filter_map(|name| {
        let silence = liveness.silence(name, snapshot)?;
        Some(format!(
            "{name}: {silence}; what is planned there happens when it runs again"
        ))
    });
    let unknown = liveness.doubt(reporting.iter().copied());
    others.chain(silent).chain(unknown).collect()
}
