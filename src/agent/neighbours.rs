//! What is known of the wire, and when it is asked again.
//!
//! Asking takes the time of an answer that doesn't come, so answers are kept. One lost frame is no reason to take a
//! real server's weight: a neighbour is given up only after several questions in a row.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use crate::{
    desired::Questions,
    kernel::{Kernel, KernelError},
    model::{AddressKey, Answer, Dev, Reach, WireEvidence},
};

/// How long a good answer is believed.
const FRESH: Duration = Duration::from_secs(30);
/// How soon a neighbour that did not answer is asked again.
const DOUBT: Duration = Duration::from_secs(1);
/// Questions without an answer, in a row, after which a neighbour is gone.
const GIVE_UP: u32 = 3;
/// How often somebody that should not answer, or should but doesn't, is asked again.
const TROUBLE: Duration = Duration::from_secs(5);
/// How long to wait for answers before asking again.
const LOST: Duration = Duration::from_secs(10);

/// What was heard so far.
#[derive(Debug, Default)]
pub struct NeighbourCache {
    reach: BTreeMap<IpAddr, CacheEntry<Reach>>,
    answers: BTreeMap<AddressKey, CacheEntry<Answer>>,
}

#[derive(Debug)]
struct CacheEntry<T> {
    value: T,
    /// When to ask again.
    due: Duration,
    /// Questions without an answer since the last one that had one.
    unanswered: u32,
}

/// Questions for the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NeighbourQueries {
    /// How is each of these addresses reached?
    pub reach: BTreeSet<IpAddr>,
    /// Who else answers for these VIPs?
    pub probes: BTreeSet<AddressKey>,
}

/// Answers from the wire.
#[derive(Debug, Default)]
pub struct NeighbourAnswers {
    /// How addresses are reached.
    pub reach: BTreeMap<IpAddr, Reach>,
    /// Who else answers for VIPs.
    pub answers: BTreeMap<AddressKey, Answer>,
}

impl NeighbourQueries {
    /// Whether there is nothing to ask.
    pub fn is_empty(&self) -> bool {
        self.reach.is_empty() && self.probes.is_empty()
    }

    /// Adds other questions.
    pub fn extend(&mut self, other: Self) {
        self.reach.extend(other.reach);
        self.probes.extend(other.probes);
    }

    /// Asks; takes the time of an answer that doesn't come. What could not be asked is missing in the answers, and
    /// the first reason is told.
    pub fn ask(self, kernel: &mut dyn Kernel) -> (NeighbourAnswers, Result<(), KernelError>) {
        let mut told = NeighbourAnswers::default();
        let mut result = Ok(());
        if !self.reach.is_empty() {
            match kernel.resolve(&self.reach) {
                Ok(reach) => told.reach = reach,
                Err(error) => result = Err(error),
            }
        }
        // An interface that is down must not keep the others from being asked.
        let mut by_dev: BTreeMap<Dev, BTreeSet<AddressKey>> = BTreeMap::new();
        for key in self.probes {
            by_dev.entry(key.dev.clone()).or_default().insert(key);
        }
        for targets in by_dev.into_values() {
            match kernel.probe(&targets) {
                Ok(answers) => told.answers.extend(answers),
                Err(error) => result = result.and(Err(error)),
            }
        }
        (told, result)
    }
}

impl NeighbourCache {
    /// What is to be asked: first what is not known at all, then what is due to be asked again. Forgets what nobody
    /// wants to know any more.
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

    /// Takes answers; tells whether they are worth a pass: something is different, or in doubt and to be asked again
    /// soon.
    pub fn hear(&mut self, told: NeighbourAnswers, now: Duration) -> bool {
        let mut news = false;
        for (address, reach) in told.reach {
            let before = self.reach.get(&address).map(|heard| heard.value.clone());
            news |= before.as_ref() != Some(&reach);
            self.heard_reach(address, reach, now);
        }
        for (key, answer) in told.answers {
            let before = self.answers.get(&key).map(|heard| &heard.value);
            news |= before != Some(&answer);
            self.heard_answer(key, answer, now);
        }
        news
    }

    fn heard_reach(&mut self, address: IpAddr, reach: Reach, now: Duration) {
        let unanswered = match (&reach, self.reach.get(&address)) {
            (Reach::Silent { dev }, Some(before)) => match &before.value {
                Reach::Neighbour { dev: known, .. } if known == dev => before.unanswered + 1,
                Reach::Neighbour { .. }
                | Reach::Local
                | Reach::Silent { .. }
                | Reach::NotOnLink => GIVE_UP,
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
            value: reach,
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
            value: answer,
            due: now + wait,
            unanswered: 0,
        };
        self.answers.insert(key, heard);
    }

    /// All of it, for the decision.
    pub fn evidence(&self) -> WireEvidence {
        let mut answers: BTreeMap<IpAddr, Answer> = BTreeMap::new();
        for (key, heard) in &self.answers {
            answers
                .entry(key.ip)
                .or_default()
                .macs
                .extend(&heard.value.macs);
        }
        WireEvidence {
            reach: self
                .reach
                .iter()
                .map(|(address, heard)| (*address, heard.value.clone()))
                .collect(),
            answers,
        }
    }

    /// When the first of the answers is to be asked for again.
    pub fn next_due(&self) -> Option<Duration> {
        let reach = self.reach.values().map(|heard| heard.due);
        let answers = self.answers.values().map(|heard| heard.due);
        reach.chain(answers).min()
    }
}
