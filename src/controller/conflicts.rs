//! The conditions `VIPConflict`, `KubeProxyConflict` and `NodeConflict`: what endangers a VIP, by what nodes report.

use std::collections::BTreeSet;

use super::{
    conditions::ConditionValue,
    summary::{Directed, Summariser},
};
use crate::{
    api::{ConditionReason, ConditionStatus},
    desired::directors,
    model::{NodeName, Reason},
};

/// The warnings about kube-proxy in agents' reports, and the condition's status for each.
const PROXY_CONFLICTS: [(Reason, ConditionStatus); 3] = [
    (Reason::KubeProxyUnknown, ConditionStatus::Unknown),
    (Reason::KubeProxyIpvs, ConditionStatus::True),
    (Reason::KubeProxyDeletes, ConditionStatus::True),
];

impl Summariser<'_> {
    /// Holders look for rivals all the time, and others before they claim. Where nobody holds a VIP, nobody may have asked.
    pub(super) fn conflict(&self, directed: &[Directed<'_>]) -> ConditionValue {
        let told = self.context.up_to_date().flat_map(|(name, report)| {
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
            if let Some(silence) = self.context.silence(name) {
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

    /// The gravest of several warnings, by the order of [`Reason`].
    pub(super) fn proxy_conflict(&self) -> ConditionValue {
        let warnings = self.context.up_to_date().flat_map(|(name, report)| {
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

    /// Of what other programs undo, directors and the real servers themselves know, each of its own node.
    pub(super) fn node_conflict(&self) -> ConditionValue {
        let directors = self.context.up_to_date();
        let real_servers = self.real_server_nodes();
        let real_servers = real_servers.iter().filter_map(|name| {
            let is_heard = self.context.silence(name).is_none();
            Some((*name, self.context.report(name).filter(|_| is_heard)?))
        });
        let mut is_known = false;
        for (name, report) in directors.chain(real_servers) {
            is_known = true;
            for (warning, vips) in &report.warnings {
                let mut ours = self.virtual_service.vips.iter();
                if warning.reason == Reason::Overwritten
                    && let Some(vip) = ours.find(|vip| vips.contains(**vip))
                {
                    let message = format!("{vip} on {name}: {}", warning.message);
                    return ConditionValue::known(true, Reason::Overwritten, message);
                }
            }
        }
        if is_known {
            let message = "no node says that another program undoes what directway sets up";
            return ConditionValue::known(false, ConditionReason::NoConflict, message.to_owned());
        }
        ConditionValue::unknown("nothing is heard of the nodes that would see it".to_owned())
    }

    /// The nodes that are real servers of this VirtualService.
    fn real_server_nodes(&self) -> BTreeSet<&NodeName> {
        let nodes = self.context.cluster.snapshot().nodes.iter();
        let selector = self.virtual_service.real_servers.selector.as_ref();
        nodes
            .filter(|(_, node)| node.is_backend())
            .filter(|(_, node)| selector.is_some_and(|it| it.matches(&node.labels)))
            .map(|(name, _)| name)
            .collect()
    }

    fn no_proxy_conflict(&self) -> ConditionValue {
        let snapshot = self.context.cluster.snapshot();
        let mut all = directors(self.virtual_service, snapshot);
        if all
            .any(|name| self.context.report(name).is_some() && self.context.silence(name).is_none())
        {
            let message = "no director says that kube-proxy endangers the VIP's services";
            return ConditionValue::known(false, ConditionReason::NoConflict, message.to_owned());
        }
        ConditionValue::unknown(
            "nothing is heard of a director that would see kube-proxy".to_owned(),
        )
    }
}
