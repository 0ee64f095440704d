//! Which transitions become Events, and when: at most one per object, condition and ten seconds.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::events::{Event, EventType};

use super::cluster::Object;
use crate::{
    api::{ConditionType, Truth},
    model::VsKey,
};

/// A condition that goes back and forth is told about this often.
pub const PAUSE: Duration = Duration::from_secs(10);

type Id = (VsKey, ConditionType);

/// What was told last: status and reason.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    what: (String, String),
    at: Option<Duration>,
}

/// Remembers what was told; times on our monotonic clock.
#[derive(Debug, Default)]
pub struct Journal {
    told: BTreeMap<Id, Told>,
    /// When the first of the news that [`Self::events`] held back may be told.
    due: Option<Duration>,
}

impl Journal {
    /// Takes what is written there already as told: a restart is no news.
    pub fn begin<'a>(objects: impl IntoIterator<Item = (&'a VsKey, &'a Object)>) -> Self {
        let mut journal = Self::default();
        for (key, object) in objects {
            let conditions = object.status.iter().flat_map(|status| &status.conditions);
            for (kind, condition) in conditions.filter_map(known) {
                let what = what(condition);
                let told = Told { what, at: None };
                journal.told.insert((key.clone(), kind), told);
            }
        }
        journal
    }

    /// Events for what is different now. Those that must wait come with a later call, if they are still true then.
    pub fn events(&mut self, key: &VsKey, conditions: &[Condition], now: Duration) -> Vec<Event> {
        let mut events = Vec::new();
        for (kind, condition) in conditions.iter().filter_map(known) {
            let what = what(condition);
            let told = self.told.get(&(key.clone(), kind));
            if told.is_some_and(|told| told.what == what) {
                continue;
            }
            let again = told.and_then(|told| told.at).map(|at| at + PAUSE);
            if let Some(again) = again.filter(|again| now < *again) {
                self.due = Some(self.due.map_or(again, |due| due.min(again)));
                continue;
            }
            let is_first = told.is_none();
            self.told.insert(
                (key.clone(), kind),
                Told {
                    what,
                    at: Some(now),
                },
            );
            if is_worth_telling(kind, condition, is_first) {
                events.push(event(kind, condition));
            }
        }
        events
    }

    /// Before a pass over all objects: forgets those that are gone, and what was held back.
    pub fn retain(&mut self, is_there: impl Fn(&VsKey) -> bool) {
        self.told.retain(|(key, _), _| is_there(key));
        self.due = None;
    }

    /// After a pass over all objects: how long until news that was held back may be told; `None` = there is none.
    pub fn wait(&self, now: Duration) -> Option<Duration> {
        self.due.map(|due| due.saturating_sub(now))
    }
}

fn known(condition: &Condition) -> Option<(ConditionType, &Condition)> {
    let mut kinds = ConditionType::ALL.into_iter();
    Some((
        kinds.find(|kind| kind.name() == condition.type_)?,
        condition,
    ))
}

fn what(condition: &Condition) -> (String, String) {
    (condition.status.clone(), condition.reason.clone())
}

/// Nobody waits for the news that a new object is in no conflict, or that nothing is known of it yet.
fn is_worth_telling(kind: ConditionType, condition: &Condition, is_first: bool) -> bool {
    match kind {
        ConditionType::VipConflict | ConditionType::KubeProxyConflict => {
            condition.status != Truth::False.name() || !is_first
        }
        ConditionType::Accepted | ConditionType::Ready => condition.status != Truth::Unknown.name(),
        // Ready says the same, and more.
        ConditionType::Programmed => false,
    }
}

fn event(kind: ConditionType, condition: &Condition) -> Event {
    let well = match kind {
        ConditionType::VipConflict | ConditionType::KubeProxyConflict => Truth::False,
        ConditionType::Accepted | ConditionType::Programmed | ConditionType::Ready => Truth::True,
    };
    // The API's limit for a note is 1 kB.
    let note = condition.message.chars().take(1_000).collect();
    Event {
        type_: if condition.status == well.name() {
            EventType::Normal
        } else {
            EventType::Warning
        },
        reason: condition.reason.clone(),
        note: Some(note),
        action: kind.name().to_owned(),
        secondary: None,
    }
}
