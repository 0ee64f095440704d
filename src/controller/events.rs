//! Which transitions and moves become Events, and when: at most one per object and condition in ten seconds.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::events::{Event, EventType};

use crate::{
    api::{ConditionStatus, ConditionType},
    cluster::Store,
    model::{Move, NodeName, VirtualService, VsKey},
};

/// The least time between two Events about the same condition, or the holder, of an object.
pub const PAUSE: Duration = Duration::from_secs(10);

/// What an Event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    Condition(ConditionType),
    /// Who holds the VIPs.
    Holder,
}

type Id = (VsKey, Topic);

/// The last Event: status and reason, or which director took the VIP and when.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LastEvent {
    what: (String, String),
    at: Option<Duration>,
}

/// Remembers which Events were sent; times on our monotonic clock.
#[derive(Debug, Default)]
pub struct EventFilter {
    told: BTreeMap<Id, LastEvent>,
    /// When the first Event that was held back may be sent.
    due: Option<Duration>,
}

impl EventFilter {
    /// Counts present conditions and moves as sent, so that a restart of the controller sends no Events.
    pub fn begin(cluster: &Store) -> Self {
        let mut event_filter = Self::default();
        for (key, object) in cluster.objects() {
            if let Some(Ok(virtual_service)) = cluster.snapshot().virtual_services.get(key)
                && let Some(last) = last_move(virtual_service, cluster)
            {
                let told = LastEvent {
                    what: moved(last),
                    at: None,
                };
                event_filter.told.insert((key.clone(), Topic::Holder), told);
            }
            let conditions = object.status.iter().flat_map(|status| &status.conditions);
            for (kind, condition) in conditions.filter_map(known) {
                let what = what(condition);
                let told = LastEvent { what, at: None };
                event_filter
                    .told
                    .insert((key.clone(), Topic::Condition(kind)), told);
            }
        }
        event_filter
    }

    /// Events for conditions that have changed. Those that must wait are returned by a later call, if still true then.
    pub fn events(&mut self, key: &VsKey, conditions: &[Condition], now: Duration) -> Vec<Event> {
        let mut events = Vec::new();
        for (kind, condition) in conditions.iter().filter_map(known) {
            let id = (key.clone(), Topic::Condition(kind));
            let is_first = !self.told.contains_key(&id);
            if self.is_news(id, what(condition), now) && is_worth_telling(kind, condition, is_first)
            {
                events.push(event(kind, condition));
            }
        }
        events
    }

    /// An Event if a director took one of the VIPs of `virtual_service`. Of several moves only the last has one.
    pub fn holder(
        &mut self,
        virtual_service: &VirtualService,
        cluster: &Store,
        now: Duration,
    ) -> Option<Event> {
        let last = last_move(virtual_service, cluster)?;
        let id = (virtual_service.key.clone(), Topic::Holder);
        self.is_news(id, moved(last), now).then(|| move_event(last))
    }

    /// Whether an Event for this was not sent yet, and may be sent now; then it counts as sent.
    fn is_news(&mut self, id: Id, what: (String, String), now: Duration) -> bool {
        let told = self.told.get(&id);
        if told.is_some_and(|told| told.what == what) {
            return false;
        }
        let again = told.and_then(|told| told.at).map(|at| at + PAUSE);
        if let Some(again) = again.filter(|again| now < *again) {
            self.due = Some(self.due.map_or(again, |due| due.min(again)));
            return false;
        }
        let at = Some(now);
        self.told.insert(id, LastEvent { what, at });
        true
    }

    /// Before a pass over all objects: forgets those that are gone, and Events that were held back.
    pub fn retain(&mut self, is_there: impl Fn(&VsKey) -> bool) {
        self.told.retain(|(key, _), _| is_there(key));
        self.due = None;
    }

    /// After a pass over all objects: how long until an Event that was held back may be sent; `None` = there is none.
    pub fn wait(&self, now: Duration) -> Option<Duration> {
        self.due.map(|due| due.saturating_sub(now))
    }
}

/// The last move of one of the VIPs, and to whom.
fn last_move<'a>(
    virtual_service: &VirtualService,
    cluster: &'a Store,
) -> Option<(&'a NodeName, &'a Move)> {
    let moves = cluster.readable();
    let moves = moves.flat_map(|(name, report)| report.moves.iter().map(move |it| (name, it)));
    let vips = &virtual_service.vips;
    moves
        .filter(|(_, it)| vips.iter().any(|vip| it.vips.contains(*vip)))
        .max_by_key(|(name, it)| (it.at, *name))
}

fn moved((to, last): (&NodeName, &Move)) -> (String, String) {
    (to.to_string(), last.at.to_string())
}

fn move_event((to, last): (&NodeName, &Move)) -> Event {
    let from = last.from.as_ref();
    let from = from.map_or(String::new(), |from| format!(" from {from}"));
    let note = format!(
        "{to} took {}{from}: {}, after {} ms",
        last.vips.to_strings().join(", "),
        last.cause,
        last.after.as_millis()
    );
    Event {
        type_: if last.cause.is_failover() {
            EventType::Warning
        } else {
            EventType::Normal
        },
        reason: "VIPMoved".to_owned(),
        note: Some(limited(&note)),
        action: "Holder".to_owned(),
        secondary: None,
    }
}

/// The API's limit for a note is 1 kB.
fn limited(note: &str) -> String {
    note.chars().take(1_000).collect()
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

/// Skips Events that are no news: that a new object is in no conflict, and that Accepted or Ready is unknown.
fn is_worth_telling(kind: ConditionType, condition: &Condition, is_first: bool) -> bool {
    match kind {
        ConditionType::VipConflict | ConditionType::KubeProxyConflict => {
            condition.status != ConditionStatus::False.name() || !is_first
        }
        ConditionType::Accepted | ConditionType::Ready => {
            condition.status != ConditionStatus::Unknown.name()
        }
        // Ready covers Programmed.
        ConditionType::Programmed => false,
    }
}

fn event(kind: ConditionType, condition: &Condition) -> Event {
    let well = match kind {
        ConditionType::VipConflict | ConditionType::KubeProxyConflict => ConditionStatus::False,
        ConditionType::Accepted | ConditionType::Programmed | ConditionType::Ready => {
            ConditionStatus::True
        }
    };
    Event {
        type_: if condition.status == well.name() {
            EventType::Normal
        } else {
            EventType::Warning
        },
        reason: condition.reason.clone(),
        note: Some(limited(&condition.message)),
        action: kind.name().to_owned(),
        secondary: None,
    }
}
