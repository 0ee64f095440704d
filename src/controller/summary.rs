//! The cluster as seen → one VirtualService's status. Pure.
//!
//! A status follows from the nodes' reports. A report counts for an object only if the node had read the object's
//! present generation. Until then a condition that already speaks of this generation stays as it is, so that it
//! does not change back and forth while a report is late.

use std::{collections::BTreeMap, net::IpAddr};

use jiff::Timestamp;

use super::{
    conditions::{ConditionValue, condition, not_accepted},
    double_holders::DoubleHolders,
    heartbeats::{AgentState, Heartbeats},
    passed_over,
    real_servers::{RealServerCounts, count_real_servers, is_refused_edit},
};
use crate::{
    api::{
        ConditionReason, ConditionStatus, ConditionType, Count, GenerationMatch, Holder, Report,
        Summary, VirtualServiceStatus,
    },
    cluster::{NoReport, Object, Store},
    desired::{Admission, FormerDirectors, directors, no_endpoints},
    election::Placement,
    model::{NodeName, PreflightCheck, Reason, Refusal, VirtualService, VsKey},
};

/// The warnings about kube-proxy in agents' reports, and the condition's status for each.
const PROXY_CONFLICTS: [(Reason, ConditionStatus); 3] = [
    (Reason::KubeProxyUnknown, ConditionStatus::Unknown),
    (Reason::KubeProxyIpvs, ConditionStatus::True),
    (Reason::KubeProxyDeletes, ConditionStatus::True),
];

/// What the statuses of all VirtualServices are made from.
pub struct Context<'a> {
    /// The cluster.
    pub cluster: &'a Store,
    /// Which VirtualServices are accepted.
    pub admission: &'a Admission<'a>,
    /// Which director should hold each VIP.
    pub placement: &'a Placement<'a>,
    /// Nodes that are directors, or were lately. Only their reports count where a VIP's holder or rivals are concerned.
    pub directors: &'a FormerDirectors,
    /// VIPs that several of them report as held.
    pub double_holders: &'a DoubleHolders,
    /// For which objects each node's report counts.
    pub agreements: &'a BTreeMap<NodeName, GenerationMatch>,
    /// Which agents are silent.
    pub heartbeats: &'a Heartbeats,
    /// The time of a transition.
    pub now: Timestamp,
}

/// For which VirtualServices each node's report counts: those whose present generation the node had read.
pub(super) fn agreements(cluster: &Store) -> BTreeMap<NodeName, GenerationMatch> {
    let seen = cluster.seen();
    let readable = cluster.readable();
    readable
        .map(|(name, report)| (name.clone(), seen.compare(&report.observed)))
        .collect()
}

/// The status that `key` should have.
pub fn summarise(key: &VsKey, object: &Object, context: &Context<'_>) -> VirtualServiceStatus {
    let mut status = VirtualServiceStatus {
        observed_generation: Some(object.generation),
        ..VirtualServiceStatus::default()
    };
    let parsed = context.cluster.snapshot().virtual_services.get(key);
    if let Some(Ok(virtual_service)) = parsed {
        status.vips = virtual_service
            .vips
            .iter()
            .map(ToString::to_string)
            .collect();
        let ports = virtual_service.ports.iter();
        let ports: Vec<_> = ports.map(ToString::to_string).collect();
        status.summary = Some(Summary {
            ports: ports.join(","),
            ..Summary::default()
        });
    }
    let values = match context.admission.accepted.get(key) {
        Some(virtual_service) => Summariser {
            object,
            virtual_service,
            context,
        }
        .judge(&mut status),
        None => {
            let unknown = Refusal::new(Reason::Pending, "not read yet");
            not_accepted(context.admission.refused.get(key).unwrap_or(&unknown))
        }
    };
    let before = object
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    status.conditions = values
        .into_iter()
        .map(|(kind, value)| condition(kind, value, object.generation, before, context.now))
        .collect();
    status
}

/// What is known of a VIP: the director that holds it (`true`), or that should.
type Directed<'a> = (IpAddr, Option<(&'a NodeName, bool)>);

/// One accepted VirtualService.
struct Summariser<'a> {
    object: &'a Object,
    virtual_service: &'a VirtualService,
    context: &'a Context<'a>,
}

impl<'a> Summariser<'a> {
    fn judge(&self, status: &mut VirtualServiceStatus) -> Vec<(ConditionType, ConditionValue)> {
        let vips = &self.virtual_service.vips;
        let mut nodes: Vec<String> = Vec::new();
        let mut worst: Option<RealServerCounts> = None;
        let mut programmed = Vec::new();
        let directed: Vec<Directed<'_>> =
            vips.iter().map(|vip| (*vip, self.director(*vip))).collect();
        for &(vip, director) in &directed {
            if let Some((name, true)) = director {
                status.holders.push(Holder {
                    vip: vip.to_string(),
                    node: name.to_string(),
                });
                nodes.push(name.to_string());
            }
            let report = director
                .filter(|(_, holds)| *holds)
                .and_then(|(name, _)| Some((name, self.report(name)?)));
            programmed.push(self.programmed(vip, director));
            let cluster = self.context.cluster;
            let is_silent = |name: &NodeName| self.silence(name).is_some();
            let counts = count_real_servers(self.virtual_service, vip, cluster, report, is_silent);
            if worst
                .as_ref()
                .is_none_or(|worst| counts.ready < worst.ready)
            {
                worst = Some(counts);
            }
        }
        nodes.dedup();
        let nodes = nodes.join(",");
        let counts = worst.unwrap_or_default();
        let directors = self.directors();
        status.directors = Some(directors);
        status.real_servers = Some(Count::of(counts.ready, counts.total));
        if let Some(summary) = &mut status.summary {
            summary.real_servers = format!("{}/{}", counts.ready, counts.total);
            summary.holders.clone_from(&nodes);
            summary.directors = format!("{}/{}", directors.ready, directors.total);
        }
        let programmed = ConditionValue::worst(programmed).unwrap_or(ConditionValue::known(
            false,
            Reason::Pending,
            "no VIP yet".to_owned(),
        ));
        let ready = self.ready(&programmed, &counts, &nodes);
        vec![
            (ConditionType::Accepted, self.accepted()),
            (ConditionType::Programmed, programmed),
            (ConditionType::Ready, ready),
            (ConditionType::VipConflict, self.conflict(&directed)),
            (ConditionType::KubeProxyConflict, self.proxy_conflict()),
        ]
    }

    fn accepted(&self) -> ConditionValue {
        match self
            .context
            .admission
            .refused
            .get(&self.virtual_service.key)
        {
            Some(refusal) => {
                let message = format!("{}; everything else is served", refusal.message);
                ConditionValue::known(false, refusal.reason, message)
            }
            None => {
                let message = "the spec is valid and collides with no other".to_owned();
                ConditionValue::known(true, ConditionReason::Valid, message)
            }
        }
    }

    fn report(&self, name: &NodeName) -> Option<&'a Report> {
        self.context.cluster.reports().get(name)?.as_ref().ok()
    }

    /// Whether this node's report counts for the object's present generation.
    fn is_current(&self, name: &NodeName) -> bool {
        let agreement = self.context.agreements.get(name);
        agreement.is_some_and(|agreement| agreement.covers(&self.object.uid))
    }

    /// The director that holds `vip` (`true`), or that should. Two report it as held during a move, or after one lost
    /// its power with the VIP. One whose kubelet reports comes first, then the one to which the VIP came last, then one
    /// that has read the present generation, then the one that should hold it.
    fn director(&self, vip: IpAddr) -> Option<(&'a NodeName, bool)> {
        let wanted = self.context.placement.first(vip);
        let readable = self.context.cluster.readable();
        let holding =
            readable.filter(|(name, report)| self.counts(name) && report.peer.held.contains(vip));
        holding
            .map(|(name, _)| name)
            .max_by_key(|name| {
                let came = self.report(name).and_then(|report| last_move(report, vip));
                (
                    !self.is_kubelet_silent(name),
                    came,
                    self.is_current(name),
                    Some(*name) == wanted,
                )
            })
            .map(|name| (name, true))
            .or(wanted.map(|name| (name, false)))
    }

    fn counts(&self, name: &NodeName) -> bool {
        self.context.directors.contains_key(name)
    }

    fn is_kubelet_silent(&self, name: &NodeName) -> bool {
        let node = self.context.cluster.snapshot().nodes.get(name);
        node.is_some_and(|node| node.silent)
    }

    /// Why what `name` reported last may be no longer so; `None` if its report is up to date.
    fn silence(&self, name: &NodeName) -> Option<&'static str> {
        if self.is_kubelet_silent(name) {
            return Some("its kubelet is silent: is the machine up?");
        }
        (self.context.heartbeats.of(name) == AgentState::Silent)
            .then_some("its agent is silent: does its pod run? The kernel goes on with what it has")
    }

    /// Whether a condition that says that a report is out of date stays so, because nothing was heard of the agent since
    /// this controller leads.
    fn may_still_be_silent(&self, name: &NodeName) -> bool {
        let conditions = self.object.status.iter().flat_map(|it| &it.conditions);
        let mut reasons = conditions.map(|it| it.reason.as_str());
        self.context.heartbeats.of(name) == AgentState::Unheard
            && reasons.any(|reason| reason == Reason::ReportStale.name())
    }

    /// Reports of nodes of which something was heard lately.
    fn up_to_date(&self) -> impl Iterator<Item = (&'a NodeName, &'a Report)> {
        let readable = self.context.cluster.readable();
        readable.filter(|(name, _)| self.silence(name).is_none())
    }

    /// Why a node does not do its part. A conflict and a device that is refused do not count for a holder, because it
    /// goes on serving.
    fn refusal(&self, name: &NodeName, holds: bool) -> Option<&'a Refusal> {
        let refusal = self.report(name)?.refused.get(&self.virtual_service.key)?;
        let goes_on = refusal.reason == Reason::VipConflict || is_refused_edit(refusal);
        (!(holds && goes_on)).then_some(refusal)
    }

    fn programmed(&self, vip: IpAddr, director: Option<(&NodeName, bool)>) -> ConditionValue {
        let Some((name, holds)) = director else {
            let message = "no node is labelled directway.dev/director and selected by spec.directors.nodeSelector: label one";
            return ConditionValue::known(false, Reason::NoDirector, message.to_owned());
        };
        match self.context.cluster.reports().get(name) {
            None | Some(Err(NoReport::NotYet)) => {
                ConditionValue::unknown(format!("the agent of {name} has not reported yet"))
            }
            Some(Err(NoReport::Garbled(error))) => {
                ConditionValue::unknown(format!("the report of {name} cannot be read: {error}"))
            }
            Some(Ok(_))
                if let Some(silence) = self.silence(name)
                    && holds =>
            {
                let message = format!("{name} held {vip} when it was last heard of; {silence}");
                ConditionValue::stale(message)
            }
            Some(Ok(_)) if holds && self.may_still_be_silent(name) => {
                ConditionValue::Lagging(format!("nothing was heard of the agent of {name} yet"))
            }
            Some(Ok(_)) if !self.is_current(name) => ConditionValue::Lagging(format!(
                "the agent of {name} has not reported on generation {} yet",
                self.object.generation
            )),
            Some(Ok(report)) => match self.refusal(name, holds) {
                Some(refusal) => ConditionValue::known(
                    false,
                    refusal.reason,
                    format!("{name}: {}", refusal.message),
                ),
                None if holds => {
                    ConditionValue::known(true, ConditionReason::Programmed, self.held(vip, name))
                }
                None if report.left_out > 0 => ConditionValue::known(
                    false,
                    ConditionReason::NotHeld,
                    format!(
                        "{name} does not hold {vip}; its report is too long to say why, see its /state"
                    ),
                ),
                None => {
                    let silence = self.silence(name).map(|it| format!("; {it}"));
                    let silence = silence.unwrap_or_default();
                    ConditionValue::known(
                        false,
                        ConditionReason::NotHeld,
                        format!("{name} does not hold {vip} yet{silence}"),
                    )
                }
            },
        }
    }

    /// That `holder` holds `vip`, and not a director that serves less.
    fn held(&self, vip: IpAddr, holder: &NodeName) -> String {
        let order = self.context.placement.order(vip);
        let why = |name: &NodeName| self.refusal(name, false);
        passed_over::held(vip, holder, order, self.context.cluster.snapshot(), why)
    }

    fn ready(
        &self,
        programmed: &ConditionValue,
        counts: &RealServerCounts,
        holders: &str,
    ) -> ConditionValue {
        let ConditionValue::Known {
            status: ConditionStatus::True,
            ..
        } = programmed
        else {
            return programmed.clone();
        };
        let silent = match counts.silent.as_slice() {
            [] => String::new(),
            [name] => format!("; nothing is heard of {name}"),
            [name, more @ ..] => format!("; nothing is heard of {name} and {} more", more.len()),
        };
        let counted = format!(
            "{} of {} real servers get new connections through {}{silent}",
            counts.ready, counts.total, holders
        );
        let why = counts.why();
        let service = &self.virtual_service.real_servers.service;
        match (counts.ready, counts.unready.first().or(counts.refusing.first())) {
            (0, None) if let Some(service) = service && counts.absent > 0 => {
                let refusal = no_endpoints(service);
                ConditionValue::known(false, refusal.reason, refusal.message)
            }
            (0, None) => ConditionValue::known(
                false,
                Reason::NoRealServers,
                "no node is labelled directway.dev/backend and selected by spec.realServers.nodeSelector, and no external host is listed: label one".to_owned(),
            ),
            (0, Some((_, refusal))) => ConditionValue::known(false, refusal.reason, format!("{counted}: {why}")),
            (_, None) => ConditionValue::known(true, ConditionReason::Serving, counted),
            (_, Some(_)) => ConditionValue::known(true, ConditionReason::Degraded, format!("{counted}: {why}")),
        }
    }

    fn directors(&self) -> Count {
        let all: Vec<_> =
            directors(self.virtual_service, self.context.cluster.snapshot()).collect();
        let able = all.iter().filter(|name| {
            let ipvs = PreflightCheck::Needs(Reason::IpvsMissing);
            self.silence(name).is_none()
                && self.refusal(name, true).is_none()
                && self
                    .report(name)
                    .is_some_and(|report| report.preflight.iter().all(|entry| entry.check != ipvs))
        });
        Count::of(able.count(), all.len())
    }

    /// Holders look for rivals all the time, and others before they claim. Where nobody holds a VIP, nobody may have asked.
    fn conflict(&self, directed: &[Directed<'_>]) -> ConditionValue {
        let reports = self.up_to_date();
        let reports = reports.filter(|(name, _)| self.counts(name));
        let told = reports.flat_map(|(name, report)| {
            let conflicts = report.conflicts.iter();
            conflicts.map(move |((vip, dev), conflict)| (name, vip, dev, conflict))
        });
        let ours = told.filter(|(_, vip, _, _)| self.virtual_service.vips.contains(vip));
        // Of several reports, the holder's comes first, because it has both MACs.
        let Some((name, vip, dev, conflict)) =
            ours.min_by_key(|(name, .., conflict)| (conflict.own.is_none(), *name))
        else {
            let held_twice = self.held_twice();
            return held_twice.unwrap_or_else(|| self.no_conflict(directed));
        };
        let seen = match conflict.own {
            Some(own) => format!("and by {name} at {own}, on {dev}"),
            None => format!("seen by {name} on {dev}"),
        };
        let message = format!(
            "{vip} is answered by {conflict} {seen}: take the address from that host, or use another VIP"
        );
        ConditionValue::known(true, Reason::VipConflict, message)
    }

    /// A conflict that no director has found on the wire.
    fn held_twice(&self) -> Option<ConditionValue> {
        let mut vips = self.virtual_service.vips.iter();
        let (vip, names) =
            vips.find_map(|vip| Some((vip, self.context.double_holders.of(*vip)?)))?;
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let message = format!(
            "{vip} is reported as held by {} for longer than a move takes: check that ARP passes between their interfaces in both directions, and that the agent on each of them runs",
            names.join(" and ")
        );
        Some(ConditionValue::known(true, Reason::VipConflict, message))
    }

    fn no_conflict(&self, directed: &[Directed<'_>]) -> ConditionValue {
        let mut asked = Vec::new();
        for (vip, director) in directed {
            let Some((name, true)) = director else {
                return ConditionValue::unknown(format!(
                    "nobody holds {vip}, so nobody asks all the time who else answers for it"
                ));
            };
            if let Some(silence) = self.silence(name) {
                let message = format!("{name} asked who else answers for {vip}; {silence}");
                return ConditionValue::stale(message);
            }
            if self.may_still_be_silent(name) {
                let message = format!("nothing was heard of the agent of {name} yet");
                return ConditionValue::Lagging(message);
            }
            asked.push(format!("{name} asks, and nobody else answers for {vip}"));
        }
        ConditionValue::known(false, ConditionReason::NoConflict, asked.join("; "))
    }

    fn no_proxy_conflict(&self) -> ConditionValue {
        let snapshot = self.context.cluster.snapshot();
        let mut all = directors(self.virtual_service, snapshot);
        if all.any(|name| self.report(name).is_some() && self.silence(name).is_none()) {
            let message = "no director says that kube-proxy endangers the VIP's services";
            return ConditionValue::known(false, ConditionReason::NoConflict, message.to_owned());
        }
        ConditionValue::unknown(
            "nothing is heard of a director that would see kube-proxy".to_owned(),
        )
    }

    /// The gravest of several warnings, by the order of [`Reason`].
    fn proxy_conflict(&self) -> ConditionValue {
        let warnings = self.up_to_date().flat_map(|(name, report)| {
            let warnings = report.warnings.iter();
            warnings.map(move |(warning, vips)| (name, warning, vips))
        });
        let ours = warnings.filter_map(|(name, warning, vips)| {
            // Other warnings, of newer agents, are skipped.
            let (_, status) = PROXY_CONFLICTS
                .iter()
                .find(|(reason, _)| *reason == warning.reason)?;
            let mut ours = self.virtual_service.vips.iter();
            let vip = ours.find(|vip| vips.contains(**vip))?;
            Some((
                warning,
                *status,
                format!("{vip} on {name}: {}", warning.message),
            ))
        });
        match ours.max_by_key(|(warning, ..)| warning.reason) {
            Some((warning, status, message)) => ConditionValue::Known {
                status,
                reason: warning.reason.into(),
                message,
            },
            None => self.no_proxy_conflict(),
        }
    }
}

/// When `vip` came to the node, if its report still contains that move.
fn last_move(report: &Report, vip: IpAddr) -> Option<Timestamp> {
    let moves = report.moves.iter();
    moves
        .filter(|it| it.vips.contains(vip))
        .map(|it| it.at)
        .max()
}
