//! What is known of neighbours, and when they are queried again.
//!
//! A query without an answer takes its whole timeout, so answers are cached. One lost frame must not cost a real
//! server its weight: a neighbour is given up only after several queries in a row without an answer.

mod asker;
mod query_queue;
#[cfg(test)]
mod tests;

pub use asker::{Asker, AskerThread, asker};

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use crate::{
    desired::Questions,
    kernel::{Kernel, KernelError},
    model::{AddressKey, Answer, Reach, WireEvidence},
};

/// How soon a query with a good result (reached, or no other host answers for the VIP) is repeated.
const FRESH: Duration = Duration::from_secs(30);
/// How soon a neighbour that did not answer is queried again.
const DOUBT: Duration = Duration::from_secs(1);
/// Queries without an answer, in a row, after which a neighbour counts as gone.
const GIVE_UP: u32 = 3;
/// How often a host that answers but should not, or should answer but doesn't, is queried again.
const TROUBLE: Duration = Duration::from_secs(5);
/// How long to wait for an answer, and for the query's turn, before it is repeated.
const LOST: Duration = Duration::from_secs(10);

/// The answers so far.
#[derive(Debug, Default)]
pub struct NeighbourCache {
    reach: BTreeMap<IpAddr, CacheEntry<Reach>>,
    answers: BTreeMap<AddressKey, CacheEntry<Answer>>,
}

#[derive(Debug)]
struct CacheEntry<T> {
    /// `None` before the first answer.
    value: Option<T>,
    /// When to query again.
    due: Duration,
    /// Queries without an answer since the last answer.
    unanswered: u32,
}

/// Queries to neighbours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NeighbourQueries {
    /// How is each of these addresses reached?
    pub reach: BTreeSet<IpAddr>,
    /// Which other hosts answer for these VIPs?
    pub probes: BTreeSet<AddressKey>,
}

/// Answers to [`NeighbourQueries`].
#[derive(Debug, Default)]
pub struct NeighbourAnswers {
    /// How addresses are reached.
    pub reach: BTreeMap<IpAddr, Reach>,
    /// Which other hosts answer for VIPs.
    pub answers: BTreeMap<AddressKey, Answer>,
}

impl NeighbourQueries {
    /// Whether there is nothing to ask.
    pub fn is_empty(&self) -> bool {
        self.reach.is_empty() && self.probes.is_empty()
    }

    /// Adds other queries.
    pub fn extend(&mut self, other: Self) {
        self.reach.extend(other.reach);
        self.probes.extend(other.probes);
    }

    /// Sends the queries; one without an answer takes its whole timeout. Queries that could not be sent are missing in
    /// the answers, and the first error is returned.
    pub fn ask(&self, kernel: &mut dyn Kernel) -> (NeighbourAnswers, Result<(), KernelError>) {
        let mut told = NeighbourAnswers::default();
        let mut result = Ok(());
        if !self.reach.is_empty() {
            for (address, reach) in kernel.resolve(&self.reach) {
                match reach {
                    Ok(reach) => drop(told.reach.insert(address, reach)),
                    Err(error) => result = result.and(Err(error)),
                }
            }
        }
        if !self.probes.is_empty() {
            for (key, answer) in kernel.probe(&self.probes) {
                match answer {
                    Ok(answer) => drop(told.answers.insert(key, answer)),
                    Err(error) => result = result.and(Err(error)),
                }
            }
        }
        (told, result)
    }
}

impl<T> CacheEntry<T> {
    fn asked(now: Duration) -> Self {
        Self {
            value: None,
            due: now + LOST,
            unanswered: 0,
        }
    }
}

impl NeighbourCache {
    /// The queries to send: first new ones, then those due again. Forgets the answers that `questions` no longer needs.
    pub fn questions(
        &mut self,
        questions: &Questions,
        now: Duration,
    ) -> (NeighbourQueries, NeighbourQueries) {
        let targets = &questions.silence;
        self.reach
            .retain(|address, _| questions.reach.contains(address));
        self.answers.retain(|key, _| targets.contains(key));
        let mut new = NeighbourQueries::default();
        let mut due = NeighbourQueries::default();
        for address in &questions.reach {
            match self.reach.get_mut(address) {
                None => {
                    self.reach.insert(*address, CacheEntry::asked(now));
                    new.reach.insert(*address);
                }
                Some(heard) if heard.due <= now => {
                    heard.due = now + LOST;
                    due.reach.insert(*address);
                }
                Some(_) => {}
            }
        }
        for key in targets {
            match self.answers.get_mut(key) {
                None => {
                    self.answers.insert(key.clone(), CacheEntry::asked(now));
                    new.probes.insert(key.clone());
                }
                Some(heard) if heard.due <= now => {
                    heard.due = now + LOST;
                    due.probes.insert(key.clone());
                }
                Some(_) => {}
            }
        }
        (new, due)
    }

    /// Stores answers. Returns whether they need a pass: one differs from the answer before, or a neighbour is in doubt
    /// and must be queried again soon.
    pub fn hear(&mut self, told: NeighbourAnswers, now: Duration) -> bool {
        let mut news = false;
        for (address, reach) in told.reach {
            let before = self.reach.get(&address);
            news |= before.and_then(|heard| heard.value.as_ref()) != Some(&reach);
            self.heard_reach(address, reach, now);
        }
        for (key, answer) in told.answers {
            let before = self.answers.get(&key);
            news |= before.and_then(|heard| heard.value.as_ref()) != Some(&answer);
            self.heard_answer(key, answer, now);
        }
        news
    }

    /// Asks soon again how `addresses` are reached.
    pub fn doubt(&mut self, addresses: &BTreeSet<IpAddr>, now: Duration) {
        for address in addresses {
            if let Some(entry) = self.reach.get_mut(address) {
                entry.due = entry.due.min(now + TROUBLE);
            }
        }
    }

    /// Those of `asked` without any answer so far are new again.
    pub fn could_not_ask(&mut self, asked: &NeighbourQueries) {
        self.reach
            .retain(|address, entry| entry.value.is_some() || !asked.reach.contains(address));
        self.answers
            .retain(|key, entry| entry.value.is_some() || !asked.probes.contains(key));
    }

    fn heard_reach(&mut self, address: IpAddr, reach: Reach, now: Duration) {
        let unanswered = match (&reach, self.reach.get(&address)) {
            (Reach::Silent { dev }, Some(before)) => match &before.value {
                Some(Reach::Neighbour { dev: known, .. }) if known == dev => before.unanswered + 1,
                Some(
                    Reach::Neighbour { .. }
                    | Reach::Local
                    | Reach::Silent { .. }
                    | Reach::NotOnLink,
                )
                | None => GIVE_UP,
            },
            (Reach::Silent { .. }, None) => GIVE_UP,
            (Reach::Local | Reach::Neighbour { .. } | Reach::NotOnLink, _) => 0,
        };
        if (1..GIVE_UP).contains(&unanswered) {
            if let Some(before) = self.reach.get_mut(&address) {
                before.unanswered = unanswered;
                before.due = now + DOUBT;
            }
            return;
        }
        let wait = match reach {
            Reach::Local | Reach::Neighbour { .. } => FRESH,
            Reach::Silent { .. } | Reach::NotOnLink => TROUBLE,
        };
        let heard = CacheEntry {
            value: Some(reach),
            due: now + wait,
            unanswered: 0,
        };
        self.reach.insert(address, heard);
    }

    fn heard_answer(&mut self, key: AddressKey, answer: Answer, now: Duration) {
        let wait = if answer.macs.is_empty() {
            FRESH
        } else {
            TROUBLE
        };
        let heard = CacheEntry {
            value: Some(answer),
            due: now + wait,
            unanswered: 0,
        };
        self.answers.insert(key, heard);
    }

    /// All answers, for the decision.
    pub fn evidence(&self) -> WireEvidence {
        let mut answers: BTreeMap<IpAddr, Answer> = BTreeMap::new();
        for (key, heard) in &self.answers {
            if let Some(answer) = &heard.value {
                let macs = &mut answers.entry(key.ip).or_default().macs;
                macs.extend(&answer.macs);
            }
        }
        WireEvidence {
            reach: self
                .reach
                .iter()
                .filter_map(|(address, heard)| Some((*address, heard.value.clone()?)))
                .collect(),
            answers,
        }
    }

    /// When the first query is due again.
    pub fn next_due(&self) -> Option<Duration> {
        let reach = self.reach.values().map(|heard| heard.due);
        let answers = self.answers.values().map(|heard| heard.due);
        reach.chain(answers).min()
    }
}
