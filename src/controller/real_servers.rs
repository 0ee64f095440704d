//! Which real servers of a VirtualService get new connections, and why the others don't.

use std::net::IpAddr;

use crate::{
    api::Report,
    cluster::Store,
    desired::{RealServerId, Viewpoint, real_servers},
    model::{NodeName, PreflightCheck, Reason, Refusal, VirtualService, VsKey},
};

/// How many causes a message spells out.
const SPELT_OUT: usize = 3;

/// The real servers of one VIP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RealServerCounts {
    /// How many get new connections.
    pub ready: usize,
    /// How many there are.
    pub total: usize,
    /// Those that get no new connections, by name or address, and why.
    pub unready: Vec<(String, Refusal)>,
    /// How many selected nodes are not counted in `total`, because no endpoint of the Service runs there.
    pub absent: usize,
}

impl RealServerCounts {
    /// The causes as one text.
    pub(super) fn why(&self) -> String {
        let spelt = self.unready.iter().take(SPELT_OUT);
        let mut causes: Vec<_> = spelt
            .map(|(who, refusal)| format!("{who}: {refusal}"))
            .collect();
        let more = self.unready.len().saturating_sub(SPELT_OUT);
        if more > 0 {
            causes.push(format!("and {more} more"));
        }
        causes.join("; ")
    }
}

/// Counts the real servers by the report of the VIP's holder, if there is one.
pub(super) fn count_real_servers(
    virtual_service: &VirtualService,
    vip: IpAddr,
    cluster: &Store,
    holder: Option<(&NodeName, &Report)>,
) -> RealServerCounts {
    // By the addresses to which the holder sends packets.
    let viewpoint = holder.map(|(node, report)| Viewpoint {
        node,
        networks: report.subnets(),
        addresses: report.peer.addresses.clone(),
    });
    let real_servers = real_servers(virtual_service, vip, cluster.snapshot(), viewpoint.as_ref());
    let group = holder.and_then(|(_, report)| {
        let mut groups = report.peer.directing.iter();
        groups.find(|group| group.vips.contains(vip))
    });
    let follows_service = virtual_service.real_servers.service.is_some();
    let mut counts = RealServerCounts::default();
    for (address, real_server) in &real_servers.by_address {
        if group.is_some_and(|group| group.ready.contains(*address)) {
            counts.ready += 1;
            continue;
        }
        let told = group.and_then(|group| group.unready.get(address)).cloned();
        // The director only knows that the node has not reported the VIP; the node's own report has the reason.
        let told = match (&real_server.id, told) {
            (RealServerId::Node(name), Some(told)) if told.reason == Reason::NotBound => {
                own_words(name, &virtual_service.key, cluster).or(Some(told))
            }
            (RealServerId::Node(_) | RealServerId::External, told) => told,
        };
        if told.is_none() && follows_service && real_server.id != RealServerId::External {
            // Directors do not report nodes without an endpoint, because those are most nodes of most Services.
            counts.absent += 1;
            continue;
        }
        let refusal = told.unwrap_or_else(|| {
            let message = match holder {
                Some(report) if report.left_out > 0 => {
                    "the holder's report is too long to say why: see /state of its agent".to_owned()
                }
                Some(_) | None => format!("no director sends {vip} to it yet"),
            };
            Refusal::new(Reason::Pending, message)
        });
        counts
            .unready
            .push((format!("{} ({address})", real_server.id), refusal));
    }
    let refused = real_servers.refused.into_iter();
    counts
        .unready
        .extend(refused.map(|(name, refusal)| (name.to_string(), refusal)));
    counts.total = counts.ready + counts.unready.len();
    counts
}

/// What keeps a node from being a real server, by its own report.
fn own_words(name: &NodeName, key: &VsKey, cluster: &Store) -> Option<Refusal> {
    let report = cluster.reports().get(name)?.as_ref().ok()?;
    let hindrance = || {
        // IPVS is needed on directors only.
        report.preflight.iter().find_map(|entry| match entry.check {
            PreflightCheck::Needs(Reason::IpvsMissing) => None,
            PreflightCheck::Needs(reason) => Some(Refusal::new(reason, entry.message.clone())),
            PreflightCheck::ConnectionSync
            | PreflightCheck::ExpireNodestConn
            | PreflightCheck::Source
            | PreflightCheck::NodeName
            | PreflightCheck::UnreadManifest
            | PreflightCheck::ReportSize
            | PreflightCheck::Other(_) => None,
        })
    };
    report.refused.get(key).cloned().or_else(hindrance)
}
