//! Which transitions and moves become Events, and when: at most one per object and condition in ten seconds.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::events::{Event, EventType};

use super::{event_rate::EventRate, passed_over::why_moved};
use crate::{
    api::{ConditionStatus, ConditionType},
    cluster::Store,
    desired::RecentDirectors,
    model::{Move, NodeName, Reason, VirtualService, VsKey},
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

/// Of how many VirtualServices that moved together each has an Event of its own.
const MOVED_ALONE: usize = 10;

/// VIPs that a director took together: to whom and when.
type MoveId = (NodeName, Timestamp);

/// What was told of VIPs that moved together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ToldMove {
    /// How many VirtualServices have an Event of their own.
    alone: usize,
    /// How many VIPs the last Event about the others named, and when.
    together: Option<(u128, Duration)>,
    /// Whether there are others.
    has_others: bool,
}

/// Remembers which Events were sent; times on our monotonic clock.
#[derive(Debug, Default)]
pub struct EventFilter {
    told: BTreeMap<Id, LastEvent>,
    moves: BTreeMap<MoveId, ToldMove>,
    rate: EventRate,
    /// When the first Event that was held back may be sent.
    due: Option<Duration>,
}

impl EventFilter {
    /// Counts present conditions and moves as sent, so that a restart of the controller sends no Events.
    pub fn begin(cluster: &Store, directors: &RecentDirectors) -> Self {
        let mut event_filter = Self::default();
        for (key, object) in cluster.objects() {
            if let Some(Ok(virtual_service)) = cluster.snapshot().virtual_services.get(key)
                && let Some(last) = last_move(virtual_service, cluster, directors)
            {
                let told = LastEvent {
                    what: moved(last),
                    at: None,
                };
                event_filter.told.insert((key.clone(), Topic::Holder), told);
            }
            let conditions = object.status.iter().flat_map(|status| &status.conditions);
            let conditions = conditions.filter_map(known);
            for (kind, condition) in conditions.filter(|(kind, it)| is_known(*kind, it)) {
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
            if !is_known(kind, condition) {
                continue;
            }
            let id = (key.clone(), Topic::Condition(kind));
            let is_first = !self.told.contains_key(&id);
            if self.is_news(id, what(condition), now)
                && is_worth_telling(kind, condition, is_first)
                && self.rate.allows(key, now)
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
        directors: &RecentDirectors,
        now: Duration,
    ) -> Option<Event> {
        let last = last_move(virtual_service, cluster, directors)?;
        let id = (virtual_service.key.clone(), Topic::Holder);
        if !self.is_news(id, moved(last), now) {
            return None;
        }
        let (to, last_move) = last;
        let told = self.moves.entry((to.clone(), last_move.at)).or_default();
        if told.alone == MOVED_ALONE {
            told.has_others = true;
            return None;
        }
        told.alone += 1;
        let allowed = self.rate.allows(&virtual_service.key, now);
        allowed.then(|| move_event(last, cluster))
    }

    /// After a pass over all objects: an Event for each node that took more VIPs at once than have Events of their own.
    pub fn moved_together(&mut self, cluster: &Store, now: Duration) -> Vec<(NodeName, Event)> {
        let mut events = Vec::new();
        for ((to, at), told) in self.moves.iter_mut().filter(|(_, told)| told.has_others) {
            let report = cluster.reports().get(to).and_then(|it| it.as_ref().ok());
            let mut moves = report.into_iter().flat_map(|report| &report.moves);
            let Some(last) = moves.find(|it| it.at == *at) else {
                continue;
            };
            let count = last.vips.len();
            match told.together {
                Some((told, _)) if told == count => continue,
                // More VIPs come with the same move while their claims are paced.
                Some((_, at)) if now < at + PAUSE => {
                    let again = at + PAUSE;
                    self.due = Some(self.due.map_or(again, |due| due.min(again)));
                    continue;
                }
                Some(_) | None => {}
            }
            told.together = Some((count, now));
            events.push((to.clone(), move_event((to, last), cluster)));
        }
        events
    }

    /// After a pass over all objects: an Event about those that were left out, because there were too many.
    pub fn left_out(&mut self, now: Duration) -> Option<Event> {
        let count = self.rate.report(now)?;
        let note = format!(
            "{count} Events about VirtualServices were left out, because there were too many: see kubectl get dvs --all-namespaces"
        );
        Some(Event {
            type_: EventType::Normal,
            reason: "EventsLeftOut".to_owned(),
            note: Some(note),
            action: "Events".to_owned(),
            secondary: None,
        })
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
    pub fn retain(&mut self, cluster: &Store, now: Duration) {
        let objects = cluster.objects();
        self.told.retain(|(key, _), _| objects.contains_key(key));
        self.moves.retain(|(to, at), _| {
            let report = cluster.reports().get(to).and_then(|it| it.as_ref().ok());
            report.is_some_and(|report| report.moves.iter().any(|it| it.at == *at))
        });
        self.rate.retain(now);
        self.due = None;
    }

    /// After a pass over all objects: how long until an Event that was held back may be sent; `None` = there is none.
    pub fn wait(&self, now: Duration) -> Option<Duration> {
        let due = self.due.map(|due| due.saturating_sub(now));
        due.into_iter().chain(self.rate.wait(now)).min()
    }
}

/// The last move of one of the VIPs, and to whom, by what directors report.
fn last_move<'a>(
    virtual_service: &VirtualService,
    cluster: &'a Store,
    directors: &'a RecentDirectors,
) -> Option<(&'a NodeName, &'a Move)> {
    let moves = directors.weigh(cluster.readable());
    let moves = moves.flat_map(|(name, report)| report.moves.iter().map(move |it| (name, it)));
    let vips = &virtual_service.vips;
    moves
        .filter(|(_, it)| vips.iter().any(|vip| it.vips.contains(*vip)))
        .max_by_key(|(name, it)| (it.at, *name))
}

fn moved((to, last): (&NodeName, &Move)) -> (String, String) {
    (to.to_string(), last.at.to_string())
}

fn move_event((to, last): (&NodeName, &Move), cluster: &Store) -> Event {
    let from = last.from.as_ref();
    let from = from.map_or(String::new(), |from| format!(" from {from}"));
    let vips = match last.vips.len() {
        count if count > MOVED_ALONE as u128 => format!("{count} VIPs, {}", last.vips),
        _ => last.vips.to_string(),
    };
    let note = format!(
        "{to} took {vips}{from}: {}{}, after {} ms",
        last.cause,
        why_moved(last, cluster.snapshot()),
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

/// Whether the condition says something. Otherwise what was told before is compared with what will be known. That a
/// holder is silent is told of Ready alone.
fn is_known(kind: ConditionType, condition: &Condition) -> bool {
    let reasons: &[Reason] = match kind {
        ConditionType::VipConflict
        | ConditionType::KubeProxyConflict
        | ConditionType::NodeConflict => &[Reason::Pending, Reason::ReportStale],
        ConditionType::Accepted | ConditionType::Programmed | ConditionType::Ready => {
            &[Reason::Pending]
        }
    };
    condition.status != ConditionStatus::Unknown.name()
        || reasons.iter().all(|it| it.name() != condition.reason)
}

/// Skips Events that are no news: that a new object is in no conflict, and what Ready covers.
fn is_worth_telling(kind: ConditionType, condition: &Condition, is_first: bool) -> bool {
    match kind {
        ConditionType::VipConflict
        | ConditionType::KubeProxyConflict
        | ConditionType::NodeConflict => {
            condition.status != ConditionStatus::False.name() || !is_first
        }
        ConditionType::Accepted | ConditionType::Ready => true,
        // Ready covers Programmed.
        ConditionType::Programmed => false,
    }
}

fn event(kind: ConditionType, condition: &Condition) -> Event {
    let well = match kind {
        ConditionType::VipConflict
        | ConditionType::KubeProxyConflict
        | ConditionType::NodeConflict => ConditionStatus::False,
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
