//! Which directors could take a VirtualService over, and why the others could not.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    api::Report,
    controller::Silence,
    desired::{directors, stands_by},
    model::{NodeName, Reason, Refusal, Snapshot, VirtualService},
};

/// A director that neither holds all VIPs nor could take them over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UnreadyStandby {
    pub director: String,
    pub reason: String,
    pub message: String,
}

/// All directors of `object` but the holders: those that could take all of its VIPs over, and those that could not.
pub(super) fn standbys(
    object: &VirtualService,
    holders: &BTreeSet<&str>,
    reports: &BTreeMap<&NodeName, &Report>,
    snapshot: &Snapshot,
    silence: impl Fn(&NodeName) -> Option<Silence>,
) -> (Vec<String>, Vec<UnreadyStandby>) {
    let (mut ready, mut others) = (Vec::new(), Vec::new());
    for name in directors(object, snapshot).filter(|name| !holders.contains(name.0.as_str())) {
        let report = reports.get(name).copied();
        let silence = silence(name);
        let why = holds_too(object, report)
            .filter(|_| silence.is_none() && !holders.is_empty())
            .or_else(|| why_not(object, name, report, snapshot, silence));
        match why {
            None => ready.push(name.to_string()),
            Some(refusal) => others.push(UnreadyStandby {
                director: name.to_string(),
                reason: refusal.reason.name().to_owned(),
                message: refusal.message,
            }),
        }
    }
    (ready, others)
}

/// That this director holds a VIP of which another one is named as the holder.
fn holds_too(object: &VirtualService, report: Option<&Report>) -> Option<Refusal> {
    let held = &report?.peer.held;
    let vip = object.vips.iter().find(|vip| held.contains(**vip))?;
    let message = format!("it reports {vip} as held, too");
    Some(Refusal::new(Reason::VipConflict, message))
}

/// Why `name` could not take over all VIPs of `object`, by the rule by which directors choose their successors. Without an
/// agent that runs, it would claim nothing, whatever its kernel has.
fn why_not(
    object: &VirtualService,
    name: &NodeName,
    report: Option<&Report>,
    snapshot: &Snapshot,
    silence: Option<Silence>,
) -> Option<Refusal> {
    let pending = |message: &str| Some(Refusal::new(Reason::Pending, message));
    let Some(report) = report else {
        return pending("its agent has not reported; is it running there?");
    };
    if let Some(silence) = silence {
        return Some(Refusal::new(Reason::ReportStale, silence.to_string()));
    }
    let refusal = report.refused.get(&object.key);
    let is_able = refusal.is_none_or(|refusal| !keeps_from_claiming(refusal.reason));
    let mut vips = object.vips.iter();
    let on_cordon = object.real_servers.cordon;
    if is_able && vips.all(|vip| stands_by(name, *vip, on_cordon, snapshot)) {
        return None;
    }
    if let Some(refusal) = refusal {
        return Some(refusal.clone());
    }
    let is_programmed = |key| report.peer.directing(key).is_some();
    if object.services().any(is_programmed) {
        let message = "none of the real servers is ready for it";
        return Some(Refusal::new(Reason::NoRealServers, message));
    }
    pending("its agent has not programmed the services yet")
}

/// Whether a director that is refused for `reason` claims no VIP although its kernel has the services. One whose services
/// are refused in part serves what it has.
fn keeps_from_claiming(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::NoInterface | Reason::CannotAnswer | Reason::VipConflict
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        api::parse_virtual_service,
        model::{DIRECTOR_LABEL, Directing, Node, PeerState, Peers},
    };

    #[test]
    fn each_director_stands_by_or_says_why_not() {
        let node = Node {
            labels: [(DIRECTOR_LABEL.to_owned(), String::new())].into(),
            ..Node::default()
        };
        let mut snapshot = Snapshot::default();
        for name in [
            "dead",
            "holder",
            "holds-too",
            "idle",
            "in-part",
            "mute",
            "new",
            "refuses",
            "silenced",
            "stands-by",
        ] {
            snapshot.nodes.insert(name.into(), node.clone());
        }
        let object = serde_json::json!({
            "apiVersion": "directway.dev/v1alpha1", "kind": "VirtualService", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"vips": ["10.0.0.100"], "ports": [{"port": 80}], "realServers": {"nodeSelector": {}}},
        });
        let object = parse_virtual_service(&serde_json::from_value(object).unwrap());
        let object = object.parsed.unwrap();
        let directs = |ready: &[[u8; 4]]| Report {
            is_director: true,
            peer: PeerState {
                directing: vec![Directing {
                    vips: object.vips.iter().copied().collect(),
                    ready: ready.iter().map(|ip| (*ip).into()).collect(),
                    ..Directing::default()
                }],
                ..PeerState::default()
            },
            ..Report::default()
        };
        let (idle, new, stands_by) = (directs(&[]), Report::default(), directs(&[[10, 0, 0, 1]]));
        let mut refuses = Report::default();
        let refusal = |reason| (object.key.clone(), Refusal::new(reason, "no"));
        refuses.refused.extend([refusal(Reason::NoInterface)]);
        let (mut silenced, mut in_part) = (stands_by.clone(), stands_by.clone());
        silenced.refused.extend([refusal(Reason::CannotAnswer)]);
        in_part.refused.extend([refusal(Reason::SchedulerMissing)]);
        let mut holds_too = stands_by.clone();
        holds_too.peer.held = object.vips.iter().copied().collect();
        let reports = [
            ("dead", &stands_by),
            ("holds-too", &holds_too),
            ("idle", &idle),
            ("in-part", &in_part),
            ("new", &new),
            ("refuses", &refuses),
            ("silenced", &silenced),
            ("stands-by", &stands_by),
        ];
        let names: Vec<NodeName> = reports.map(|(name, _)| name.into()).into();
        let reports = reports.map(|(_, report)| report);
        let reports: BTreeMap<_, _> = names.iter().zip(reports).collect();
        let peers = reports.iter();
        let peers = peers.map(|(name, report)| ((*name).clone(), report.peer.clone()));
        snapshot.peers = Peers::Reported(peers.collect());
        let holders = ["holder"].into();
        let dead = |name: &NodeName| {
            let unchanged = Some(Duration::from_secs(312));
            (name.0 == "dead").then_some(Silence::Agent(unchanged))
        };
        let (ready, others) = standbys(&object, &holders, &reports, &snapshot, dead);
        assert_eq!(ready, ["in-part", "stands-by"]);
        assert!(others[0].message.contains("no heartbeat for 312 s"));
        let others: Vec<_> = others
            .iter()
            .map(|it| (it.director.as_str(), it.reason.as_str()))
            .collect();
        assert_eq!(
            others,
            [
                ("dead", "ReportStale"),
                ("holds-too", "VIPConflict"),
                ("idle", "NoRealServers"),
                ("mute", "Pending"),
                ("new", "Pending"),
                ("refuses", "NoInterface"),
                ("silenced", "CannotAnswerARP"),
            ]
        );
    }
}
