use std::{collections::BTreeMap, time::Duration};

use crate::model::Mac;

use super::{
    DirectorId,
    claiming::Claiming,
    context::Context,
    frame_kind::FrameKind,
    peers::{Liveness, PeerChange},
    standby::{Standby, Vacancy},
    vip::{NextState, State},
};

/// How many hosts besides the peers are asked by unicast in one probing. More that claim the VIP are forged, or a fault of
/// the segment that asking does not mend.
const STRANGERS: usize = 8;

/// Probes are sent by broadcast, and directors are asked by unicast, too; silence allows a claim.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Probing {
    vacancy: Vacancy,
    rounds: u32,
    at: Duration,
    /// MACs of hosts that may have the VIP: directors, and those that announced it or answered a broadcast. Such frames may
    /// be forged, old or a switch's, so only their answers to unicast questions count.
    suspects: BTreeMap<Mac, Suspect>,
    /// Other directors that probe too, and when that was first heard.
    rivals: BTreeMap<DirectorId, Duration>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Suspect {
    /// Whether it, or a switch in its place, answered a broadcast or announced the VIP.
    answered: bool,
    /// How often it was asked by unicast.
    asked: u32,
}

impl Probing {
    pub fn start(vacancy: Vacancy, cx: &mut Context<'_>) -> State {
        let last = vacancy.last.and_then(|last| cx.peers.mac(last));
        let known = last
            .into_iter()
            .chain(cx.common.conflict.map(|conflict| conflict.mac));
        let mut probing = Self {
            vacancy,
            rounds: 0,
            at: cx.now,
            suspects: known.map(|mac| (mac, Suspect::default())).collect(),
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
        for mac in cx.may_have() {
            self.suspects.entry(mac).or_default();
        }
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
            FrameKind::Confirmed => Some(Standby::behind(director, cx)),
            FrameKind::Announced if cx.believes(director) => Some(Standby::behind(director, cx)),
            FrameKind::Announced | FrameKind::Answered => {
                self.suspect(mac, cx);
                None
            }
            FrameKind::Probed => {
                let is_news = !self.rivals.contains_key(&director);
                if is_news && self.vacancy.last == Some(director) {
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
                let may_wait = self.vacancy.deferred < Vacancy::DEFERRALS;
                (is_better && may_wait).then(|| self.wait(cx))
            }
            FrameKind::Asked => None,
        }
    }

    /// A peer that is up again could not hear the probes before.
    pub fn peer(&mut self, (peer, liveness): PeerChange, cx: &mut Context<'_>) {
        if let Some(mac) = cx.peers.mac(peer).filter(|_| liveness == Liveness::Up) {
            self.suspects.remove(&mac);
            self.suspect(mac, cx);
        }
    }

    /// A frame of a host that is no director, and claims the VIP.
    pub fn stranger(&mut self, mac: Mac, kind: FrameKind, cx: &mut Context<'_>) -> NextState {
        let was_asked = self.suspects.get(&mac).is_some_and(|it| it.asked > 0);
        if kind == FrameKind::Confirmed && was_asked {
            return Some(Standby::blocked(cx));
        }
        self.suspect(mac, cx);
        None
    }

    /// The host with this MAC may have the VIP, so it is asked by unicast.
    fn suspect(&mut self, mac: Mac, cx: &mut Context<'_>) {
        let room = cx.config.peers.len() + STRANGERS;
        if !self.suspects.contains_key(&mac) && self.suspects.len() >= room {
            return;
        }
        let suspect = self.suspects.entry(mac).or_default();
        suspect.answered = true;
        if suspect.asked == 0 {
            suspect.asked = 1;
            cx.confirm(mac);
        }
    }

    /// Backs off.
    fn wait(&self, cx: &Context<'_>) -> State {
        Standby::vacancy(Vacancy {
            from: cx.now + cx.wire_turn(),
            deferred: self.vacancy.deferred + 1,
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
