//! What was found → the condition to write, with a transition time that changes only with its status.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::{
    api::{ConditionReason, ConditionStatus, ConditionType},
    model::{Reason, Refusal},
};

/// What was found out about a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ConditionValue {
    /// The condition has this value.
    Known {
        /// Whether the condition holds.
        status: ConditionStatus,
        /// In one word.
        reason: ConditionReason,
        /// In a sentence.
        message: String,
    },
    /// The agent that would know has not reported on the object's present generation yet.
    Lagging(String),
}

impl ConditionValue {
    pub(super) fn known(holds: bool, reason: impl Into<ConditionReason>, message: String) -> Self {
        Self::Known {
            status: holds.into(),
            reason: reason.into(),
            message,
        }
    }

    pub(super) fn unknown(message: String) -> Self {
        Self::Known {
            status: ConditionStatus::Unknown,
            reason: Reason::Pending.into(),
            message,
        }
    }

    /// What was reported last may be no longer so.
    pub(super) fn stale(message: String) -> Self {
        Self::Known {
            status: ConditionStatus::Unknown,
            reason: Reason::ReportStale.into(),
            message,
        }
    }

    /// A certain no weighs most, then unknown, then a late report, then yes.
    fn weight(&self) -> u8 {
        match self {
            Self::Known {
                status: ConditionStatus::False,
                ..
            } => 3,
            Self::Known {
                status: ConditionStatus::Unknown,
                ..
            } => 2,
            Self::Lagging(_) => 1,
            Self::Known {
                status: ConditionStatus::True,
                ..
            } => 0,
        }
    }

    /// The first of those with the greatest weight.
    pub(super) fn worst(values: Vec<Self>) -> Option<Self> {
        values.into_iter().rev().max_by_key(Self::weight)
    }
}

/// The conditions of an object that is not served.
pub(super) fn not_accepted(refusal: &Refusal) -> Vec<(ConditionType, ConditionValue)> {
    let no = || ConditionValue::known(false, refusal.reason, refusal.message.clone());
    vec![
        (ConditionType::Accepted, no()),
        (ConditionType::Programmed, no()),
        (ConditionType::Ready, no()),
        (ConditionType::VipConflict, not_asked()),
        (ConditionType::KubeProxyConflict, not_asked()),
        (ConditionType::NodeConflict, not_asked()),
    ]
}

fn not_asked() -> ConditionValue {
    ConditionValue::unknown("it is not served, so no director looks for conflicts".to_owned())
}

/// The condition to write, where `before` are the object's present ones.
pub(super) fn condition(
    kind: ConditionType,
    value: ConditionValue,
    generation: i64,
    before: &[Condition],
    now: Timestamp,
) -> Condition {
    let before = before
        .iter()
        .find(|condition| condition.type_ == kind.name());
    let (status, reason, message) = match value {
        ConditionValue::Known {
            status,
            reason,
            message,
        } => (status, reason, message),
        ConditionValue::Lagging(message) => {
            if let Some(kept) =
                before.filter(|before| before.observed_generation == Some(generation))
            {
                return kept.clone();
            }
            (ConditionStatus::Unknown, Reason::Pending.into(), message)
        }
    };
    let kept = before.filter(|before| before.status == status.name());
    // The API keeps whole seconds: a finer time would look like a change in every pass.
    let second = Timestamp::from_second(now.as_second()).unwrap_or(now);
    Condition {
        type_: kind.name().to_owned(),
        status: status.name().to_owned(),
        reason: reason.name().to_owned(),
        message: limited(message),
        observed_generation: Some(generation),
        last_transition_time: kept.map_or(Time(second), |kept| kept.last_transition_time.clone()),
    }
}

/// The API's limit is 32,768 characters.
fn limited(message: String) -> String {
    const LIMIT: usize = 2_000;
    if message.chars().count() <= LIMIT {
        return message;
    }
    let head: String = message.chars().take(LIMIT).collect();
    format!("{head}…")
}
