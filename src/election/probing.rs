use std::{collections::BTreeMap, time::Duration};

use crate::model::Mac;

use super::{
    DirectorId,
    claiming::Claiming,
    context::Context,
    frame_kind::FrameKind,
    standby::{Standby, Vacancy},
    vip::{NextState, State},
};

/// Probes are sent by broadcast; silence allows a claim.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Probing {
    vacancy: Vacancy,
    rounds: u32,
    at: Duration,
    /// MACs of directors that answered a broadcast, or had the VIP before. A switch may have answered for them, so
    /// only their answers to unicast questions count.
    suspects: BTreeMap<Mac, Suspect>,
    /// Other directors that probe too, and when that was first heard.
    rivals: BTreeMap<DirectorId, Duration>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Suspect {
    /// Whether it, or a switch in its place, answered a broadcast.
    answered: bool,
    /// How often it was asked by unicast.
    asked: u32,
}

impl Probing {
    pub fn start(vacancy: Vacancy, cx: &mut Context<'_>) -> State {
        let last = vacancy.last.and_then(|last| cx.peers.mac(last));
        let mut probing = Self {
            vacancy,
            rounds: 0,
            at: cx.now,
            suspects: last
                .map(|mac| (mac, Suspect::default()))
                .into_iter()
                .collect(),
            rivals: BTreeMap::new(),
        };
        probing.round(cx);
        State::Probing(probing)
    }

    pub fn next(&self) -> Duration {
        self.at
    }

    fn round(&mut self, cx: &mut Context<'_>) {
        self.rounds += 1;
        self.at = cx.now + cx.timing.probe;
        cx.probe();
        for (mac, suspect) in &mut self.suspects {
            suspect.asked += 1;
            cx.confirm(*mac);
        }
    }

    pub fn due(&mut self, cx: &mut Context<'_>) -> NextState {
        if cx.now < self.at {
            return None;
        }
        if !cx.carrier || cx.me().is_none() {
            return Some(self.again(cx.now));
        }
        let is_open = |suspect: &Suspect| suspect.answered && suspect.asked < cx.timing.probes;
        if self.rounds < cx.timing.probes || self.suspects.values().any(is_open) {
            self.round(cx);
            return None;
        }
        Some(Claiming::vacant(self.vacancy, cx))
    }

    pub fn heard(
        &mut self,
        director: DirectorId,
        mac: Mac,
        kind: FrameKind,
        cx: &mut Context<'_>,
    ) -> NextState {
        match kind {
            FrameKind::Announced | FrameKind::Confirmed => Some(Standby::behind(director, cx)),
            FrameKind::Answered => {
                let suspect = self.suspects.entry(mac).or_default();
                suspect.answered = true;
                if suspect.asked == 0 {
                    suspect.asked = 1;
                    cx.confirm(mac);
                }
                None
            }
            FrameKind::Probed => {
                if self.vacancy.last == Some(director) {
                    // The last holder is back. It was silent before, so it is asked again.
                    self.suspects.insert(
                        mac,
                        Suspect {
                            answered: true,
                            asked: 0,
                        },
                    );
                }
                let first = *self.rivals.entry(director).or_insert(cx.now);
                // The other one heard our probes and goes on, so it takes itself for the better one. Then the
                // lower address decides, because both agree on that.
                let insists = cx.now >= first + cx.timing.probe / 2;
                let is_better = if insists && !cx.is_outranked_by(director) {
                    director < cx.config.me
                } else {
                    cx.is_outranked_by(director)
                };
                is_better.then(|| self.wait(cx))
            }
            FrameKind::Asked => None,
        }
    }

    /// Backs off.
    fn wait(&self, cx: &Context<'_>) -> State {
        Standby::vacancy(Vacancy {
            from: cx.now + cx.wire_turn(),
            ..self.vacancy
        })
    }

    /// Starts again and forgets the answers so far.
    pub fn again(&self, now: Duration) -> State {
        Standby::vacancy(Vacancy {
            from: now,
            ..self.vacancy
        })
    }
}
