//! The cluster as seen → one VirtualService's status. Pure.
//!
//! A status follows from the nodes' reports. A report counts for an object only if the node had read the object's
//! present generation. Until then a condition that already speaks of this generation stays as it is, so that it
//! does not change back and forth while a report is late.

use std::net::IpAddr;

use super::{
    conditions::{ConditionValue, condition, not_accepted},
    context::Context,
    heartbeats::AgentState,
    real_servers::{RealServerCounts, count_real_servers, is_refused_edit},
};
use crate::{
    api::{ConditionReason, ConditionType, Count, Holder, Summary, VirtualServiceStatus},
    cluster::Object,
    desired::directors,
    model::{NodeName, PreflightCheck, Reason, Refusal, VirtualService, VsKey},
};

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
pub(super) type Directed<'a> = (IpAddr, Option<(&'a NodeName, bool)>);

/// One accepted VirtualService.
pub(super) struct Summariser<'a> {
    pub object: &'a Object,
    pub virtual_service: &'a VirtualService,
    pub context: &'a Context<'a>,
}

impl<'a> Summariser<'a> {
    fn judge(&self, status: &mut VirtualServiceStatus) -> Vec<(ConditionType, ConditionValue)> {
        let vips = &self.virtual_service.vips;
        let mut nodes: Vec<String> = Vec::new();
        let mut counts = Vec::new();
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
                .and_then(|(name, _)| Some((name, self.context.report(name)?)));
            programmed.push(self.programmed(vip, director));
            let is_silent = |name: &NodeName| self.context.silence(name).is_some();
            counts.push(count_real_servers(
                self.virtual_service,
                vip,
                self.context.cluster.snapshot(),
                &|name| self.context.report(name),
                report,
                is_silent,
            ));
        }
        nodes.dedup();
        let nodes = nodes.join(",");
        let counts = RealServerCounts::worst(counts);
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
            (ConditionType::NodeConflict, self.node_conflict()),
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

    /// Whether a condition that says that a report is out of date stays so, because nothing was heard of the agent since
    /// this controller leads.
    pub(super) fn may_still_be_silent(&self, name: &NodeName) -> bool {
        let conditions = self.object.status.iter().flat_map(|it| &it.conditions);
        let mut reasons = conditions.map(|it| it.reason.as_str());
        self.context.heartbeats.of(name) == AgentState::Unheard
            && reasons.any(|reason| reason == Reason::ReportStale.name())
    }

    /// Why a node does not do its part. A conflict and a device that is refused do not count for a holder, because it
    /// goes on serving.
    pub(super) fn refusal(&self, name: &NodeName, holds: bool) -> Option<&'a Refusal> {
        let refusal = self
            .context
            .report(name)?
            .refused
            .get(&self.virtual_service.key)?;
        let goes_on = refusal.reason == Reason::VipConflict || is_refused_edit(refusal);
        (!(holds && goes_on)).then_some(refusal)
    }

    fn directors(&self) -> Count {
        let all: Vec<_> =
            directors(self.virtual_service, self.context.cluster.snapshot()).collect();
        let able = all.iter().filter(|name| {
            let ipvs = PreflightCheck::Needs(Reason::IpvsMissing);
            self.context.silence(name).is_none()
                && self.refusal(name, true).is_none()
                && self
                    .context
                    .report(name)
                    .is_some_and(|report| report.preflight.iter().all(|entry| entry.check != ipvs))
        });
        Count::of(able.count(), all.len())
    }
}
