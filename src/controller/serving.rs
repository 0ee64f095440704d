//! The conditions `Programmed` and `Ready`: whether the VIP is held, and real servers get new connections.

use std::net::IpAddr;

use super::{
    conditions::ConditionValue, passed_over, real_servers::RealServerCounts, summary::Summariser,
};
use crate::{
    api::{ConditionReason, ConditionStatus},
    cluster::NoReport,
    desired::no_endpoints,
    model::{NodeName, Reason},
};

impl Summariser<'_> {
    pub(super) fn programmed(
        &self,
        vip: IpAddr,
        director: Option<(&NodeName, bool)>,
    ) -> ConditionValue {
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
                if let Some(silence) = self.context.silence(name)
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
                    let silence = self.context.silence(name).map(|it| format!("; {it}"));
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

    pub(super) fn ready(
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
        match (counts.ready, counts.unready.first().or(counts.troubled.first())) {
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
}
