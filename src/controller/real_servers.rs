//! Which real servers of a VirtualService get new connections, and why the others don't.

use std::net::IpAddr;

use crate::{
    api::Report,
    desired::{RealServerId, Viewpoint, real_servers},
    model::{
        Directing, NodeName, Port, PreflightCheck, Reason, Refusal, ServiceKey, Snapshot,
        VirtualService, VsKey,
    },
};

/// How many causes a message spells out.
const SPELT_OUT: usize = 3;

/// The real servers of one VIP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RealServerCounts {
    /// How many get new connections.
    pub ready: usize,
    /// How many there are.
    pub total: usize,
    /// Those that get no new connections, by name or address, and why.
    pub unready: Vec<(String, Refusal)>,
    /// Of those that get new connections: nodes that refuse a device and keep the VIP on another one, and real servers that
    /// fail their health checks as all others do; and why.
    pub troubled: Vec<(String, Refusal)>,
    /// Of those that get new connections: nodes whose agents are silent, so that nobody sees whether the VIP is still
    /// bound there.
    pub silent: Vec<NodeName>,
    /// How many selected nodes are not counted in `total`, because no endpoint of the Service runs there.
    pub absent: usize,
}

impl RealServerCounts {
    /// Of the counts for each VIP of an object, those of the VIP with the fewest ready real servers: they stand for the
    /// object.
    pub fn worst(of_vips: impl IntoIterator<Item = Self>) -> Self {
        let all = of_vips.into_iter();
        all.min_by_key(|counts| counts.ready).unwrap_or_default()
    }

    /// The causes as one text.
    pub(super) fn why(&self) -> String {
        let all = || self.unready.iter().chain(&self.troubled);
        let spelt = all().take(SPELT_OUT);
        let mut causes: Vec<_> = spelt
            .map(|(who, refusal)| format!("{who}: {refusal}"))
            .collect();
        let more = all().count().saturating_sub(SPELT_OUT);
        if more > 0 {
            causes.push(format!("and {more} more"));
        }
        causes.join("; ")
    }
}

/// The reports by node, as far as they can be read.
pub type Reports<'a> = dyn Fn(&NodeName) -> Option<&'a Report> + 'a;

/// Counts the real servers by the report of `director`, the VIP's holder, if there is one. A real server is ready if every
/// service of the object on the VIP sends it new connections.
pub fn count_real_servers(
    virtual_service: &VirtualService,
    vip: IpAddr,
    snapshot: &Snapshot,
    reports: &Reports<'_>,
    director: Option<(&NodeName, &Report)>,
    is_silent: impl Fn(&NodeName) -> bool,
) -> RealServerCounts {
    // By the addresses to which the director sends packets.
    let viewpoint =
        director.map(|(node, report)| Viewpoint::reported(node, report.subnets(), &report.peer));
    let real_servers = real_servers(virtual_service, vip, snapshot, viewpoint.as_ref());
    // One per service of this object, whatever other objects on the VIP have.
    let keys: Vec<ServiceKey> = virtual_service.services_of(vip).collect();
    let groups = keys.iter();
    let groups: Vec<Option<&Directing>> = groups
        .map(|key| director.and_then(|(_, report)| report.peer.directing(*key)))
        .collect();
    let is_ready = |group: &Option<&Directing>, address: IpAddr| {
        group.is_some_and(|group| group.ready.contains(address))
    };
    let follows_service = virtual_service.real_servers.service.is_some();
    let mut counts = RealServerCounts::default();
    for (address, real_server) in &real_servers.by_address {
        let mut of_services = keys.iter().zip(&groups);
        let told = of_services.find_map(|(key, group)| {
            let refusal = group.as_ref()?.unready.get(address)?;
            Some(with_port(refusal, *key, keys.len()))
        });
        if !groups.is_empty() && groups.iter().all(|group| is_ready(group, *address)) {
            counts.ready += 1;
            let who = format!("{} ({address})", real_server.id);
            counts.troubled.extend(told.map(|it| (who, it)));
            if let RealServerId::Node(name) = &real_server.id {
                if is_silent(name) {
                    counts.silent.push(name.clone());
                }
                let refusal = own_refusal(name, &virtual_service.key, reports);
                let refusal = refusal.filter(is_refused_edit);
                counts
                    .troubled
                    .extend(refusal.map(|it| (name.to_string(), it)));
            }
            continue;
        }
        // The director only knows that the node has not reported the VIP; the node's own report has the reason.
        let told = match (&real_server.id, told) {
            (RealServerId::Node(name), Some(told)) if told.reason == Reason::NotBound => {
                own_words(name, &virtual_service.key, reports).or(Some(told))
            }
            (RealServerId::Node(_) | RealServerId::External, told) => told,
        };
        if told.is_none() && follows_service && real_server.id != RealServerId::External {
            // Directors do not report nodes without an endpoint, because those are most nodes of most Services.
            counts.absent += 1;
            continue;
        }
        let refusal = told.unwrap_or_else(|| {
            let message = match director {
                Some((_, report)) if report.left_out > 0 => {
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

/// Directors leave the port out of what checks say, so that reports of many ports stay small.
fn with_port(refusal: &Refusal, key: ServiceKey, ports: usize) -> Refusal {
    if refusal.reason != Reason::HealthCheckFailed || ports < 2 {
        return refusal.clone();
    }
    let port = Port::from(key);
    Refusal::new(refusal.reason, format!("{port}: {}", refusal.message))
}

/// Whether the refusal concerns a device to which the VIP would have moved, while it stays where it is bound.
pub(super) fn is_refused_edit(refusal: &Refusal) -> bool {
    matches!(
        refusal.reason,
        Reason::DeviceNotAllowed | Reason::DeviceInUse
    )
}

fn own_refusal(name: &NodeName, key: &VsKey, reports: &Reports<'_>) -> Option<Refusal> {
    let report = reports(name)?;
    report.refused.get(key).cloned()
}

/// What keeps a node from being a real server, by its own report.
fn own_words(name: &NodeName, key: &VsKey, reports: &Reports<'_>) -> Option<Refusal> {
    let report = reports(name)?;
    let hindrance = || {
        // IPVS is needed on directors only.
        report.preflight.iter().find_map(|entry| match entry.check {
            PreflightCheck::Needs(Reason::IpvsMissing) => None,
            PreflightCheck::Needs(reason) => Some(Refusal::new(reason, entry.message.clone())),
            PreflightCheck::ConnectionSync
            | PreflightCheck::ExpireNodestConn
            | PreflightCheck::ExpireQuiescentTemplate
            | PreflightCheck::Source
            | PreflightCheck::NodeName
            | PreflightCheck::UnreadManifest
            | PreflightCheck::ReportSize
            | PreflightCheck::Other(_) => None,
        })
    };
    own_refusal(name, key, reports).or_else(hindrance)
}
