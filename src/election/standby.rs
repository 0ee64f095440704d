use std::time::Duration;

use super::{
    DirectorId, TakeCause,
    context::Context,
    frame_kind::FrameKind,
    moving::Moving,
    peers::{Liveness, PeerChange},
    probing::Probing,
    vip::{NextState, State},
};

/// The VIP is not on this director's NIC.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Standby {
    holder: CurrentHolder,
    at: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum CurrentHolder {
    /// No host, as far as known.
    Vacant(Vacancy),
    /// A director.
    Director(DirectorId, HolderCheck),
    /// A stranger. This director leaves the VIP alone until this time.
    Stranger(Duration),
}

/// A VIP that no host has, as far as known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Vacancy {
    /// Since when.
    pub since: Duration,
    /// The time from which the candidates' turns count.
    pub from: Duration,
    /// Its last holder.
    pub last: Option<DirectorId>,
    /// Why it is vacant.
    pub cause: TakeCause,
    /// How often this director let another one go first that then did not claim the VIP.
    pub deferred: u32,
}

impl Vacancy {
    /// So often a director lets others go first that probe. Forged probes must not keep the VIP vacant.
    pub const DEFERRALS: u32 = 8;

    /// A better director probes, so this one leaves it a turn. Further probes of the same probing are no news.
    fn defer(&mut self, cx: &Context<'_>) {
        let until = cx.now + cx.timing.turn;
        if self.deferred < Self::DEFERRALS && until >= self.from + cx.timing.probe / 2 {
            self.deferred += 1;
            self.from = until;
        }
    }
}

/// A standby asks the holder from time to time whether it still has the VIP. The holder's kernel may be up without
/// the address: an administrator deleted it, or its lifetime ended after the agent died.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct HolderCheck {
    /// Questions without an answer.
    asked: u32,
    /// Whether it ever answered. If not, an announcement is all that is known.
    confirmed: bool,
    next: Duration,
}

impl Standby {
    fn state(holder: CurrentHolder, at: Duration) -> State {
        let at = Some(at);
        State::Standby(Self { holder, at })
    }

    /// The VIP is vacant from `now` on.
    pub fn vacant(now: Duration, last: Option<DirectorId>, cause: TakeCause) -> State {
        let vacancy = Vacancy {
            since: now,
            from: now,
            last,
            cause,
            deferred: 0,
        };
        Self::vacancy(vacancy)
    }

    /// The same, with the details.
    pub fn vacancy(vacancy: Vacancy) -> State {
        Self::state(CurrentHolder::Vacant(vacancy), vacancy.from)
    }

    /// `director` has it.
    pub fn behind(director: DirectorId, cx: &mut Context<'_>) -> State {
        cx.common.settled = cx.now + cx.timing.hold_down;
        let watch = HolderCheck {
            asked: 0,
            confirmed: false,
            next: cx.now + cx.timing.ask * 2,
        };
        Self::state(CurrentHolder::Director(director, watch), cx.now)
    }

    /// A stranger has it. Until each peer is known to be up or down, it may be one of them: waits for a turn only.
    pub fn blocked(cx: &Context<'_>) -> State {
        let until = cx.now
            + if cx.peers.settled() {
                cx.timing.stranger
            } else {
                cx.timing.turn
            };
        Self::state(CurrentHolder::Stranger(until), until)
    }

    pub fn holder(&self) -> &CurrentHolder {
        &self.holder
    }

    pub fn next(&self) -> Option<Duration> {
        self.at
    }

    /// Something changed that this state depends on, so it is due at `now`.
    pub fn look(&mut self, now: Duration) {
        self.at = Some(now);
    }

    pub fn due(&mut self, cx: &mut Context<'_>) -> NextState {
        self.at = None;
        if !cx.carrier || cx.me().is_none() {
            return None;
        }
        match &mut self.holder {
            CurrentHolder::Vacant(vacancy) => {
                let vacancy = *vacancy;
                self.take_turn(vacancy, cx)
            }
            CurrentHolder::Stranger(until) if cx.now < *until => {
                self.at = Some(*until);
                None
            }
            CurrentHolder::Stranger(_) => Some(Self::vacant(cx.now, None, TakeCause::Vacant)),
            CurrentHolder::Director(director, _) => {
                let director = *director;
                if cx.is_target(director) {
                    let from = cx.may_move_from(director);
                    if cx.now >= from {
                        match cx.background_turn() {
                            Ok(()) => return Some(Moving::start(director, cx)),
                            Err(at) => self.at = Some(at),
                        }
                    } else {
                        self.at = Some(from);
                    }
                }
                self.watch(cx)
            }
        }
    }

    fn take_turn(&mut self, vacancy: Vacancy, cx: &mut Context<'_>) -> NextState {
        let start = vacancy.from + cx.turn()?;
        if cx.now < start {
            self.at = Some(start);
            return None;
        }
        if !cx.peers.settled() {
            // The change of a peer's liveness makes this VIP due again.
            return None;
        }
        match cx.urgent_turn() {
            Ok(()) => Some(Probing::start(vacancy, cx)),
            Err(at) => {
                self.at = Some(at);
                None
            }
        }
    }

    fn watch(&mut self, cx: &mut Context<'_>) -> NextState {
        let CurrentHolder::Director(director, watch) = &mut self.holder else {
            return None;
        };
        let director = *director;
        if cx.now >= watch.next {
            // A holder that is no peer any more cannot be asked by unicast, so the VIP is probed.
            let is_known = cx.config.peers.contains_key(&director);
            if !is_known || watch.asked >= cx.timing.misses {
                if !watch.confirmed {
                    cx.believes_less();
                }
                return Some(Self::vacant(
                    cx.now,
                    Some(director),
                    TakeCause::HolderSilent,
                ));
            }
            let may = match watch.asked {
                0 => cx.background_turn(),
                _ => Ok(()),
            };
            watch.next = match (may, cx.peers.mac(director)) {
                (Ok(()), Some(mac)) => {
                    watch.asked += 1;
                    cx.confirm(mac);
                    cx.now + cx.timing.ask
                }
                // Its MAC is not known, so it cannot be asked yet.
                (Ok(()), None) => cx.now + cx.check_interval(),
                (Err(at), _) => at,
            };
        }
        self.at = Some(self.at.map_or(watch.next, |at| at.min(watch.next)));
        None
    }

    pub fn heard(
        &mut self,
        director: DirectorId,
        kind: FrameKind,
        cx: &mut Context<'_>,
    ) -> NextState {
        match kind {
            FrameKind::Announced if !cx.believes(director) => None,
            FrameKind::Confirmed | FrameKind::Announced => {
                let CurrentHolder::Director(known, watch) = &mut self.holder else {
                    return Some(Self::behind(director, cx));
                };
                if *known != director {
                    return Some(Self::behind(director, cx));
                }
                if kind == FrameKind::Confirmed {
                    watch.confirmed = true;
                    // The first successor asks more often than those after it.
                    let ahead = cx.ahead(Some(director));
                    watch.asked = 0;
                    watch.next =
                        cx.now + cx.check_interval().saturating_mul(ahead.saturating_add(1));
                    self.at = Some(cx.now);
                }
                None
            }
            FrameKind::Probed => {
                if let CurrentHolder::Vacant(vacancy) = &mut self.holder
                    && cx.is_outranked_by(director)
                {
                    vacancy.defer(cx);
                }
                None
            }
            // A switch may have answered the broadcast for a dead host.
            FrameKind::Answered | FrameKind::Asked => None,
        }
    }

    pub fn peer(&mut self, (peer, liveness): PeerChange, now: Duration) -> NextState {
        self.look(now);
        match self.holder {
            CurrentHolder::Director(director, _)
                if director == peer && liveness == Liveness::Down =>
            {
                Some(Self::vacant(now, Some(peer), TakeCause::HolderDown))
            }
            CurrentHolder::Vacant(_) | CurrentHolder::Director(..) | CurrentHolder::Stranger(_) => {
                None
            }
        }
    }

    pub fn doubt(&mut self, cx: &Context<'_>) {
        match &mut self.holder {
            // A director that stood still lets the others go first.
            CurrentHolder::Vacant(vacancy) => {
                vacancy.from = vacancy.from.max(cx.now + cx.timing.turn)
            }
            CurrentHolder::Director(_, watch) => {
                watch.asked = 0;
                watch.next = cx.now;
            }
            CurrentHolder::Stranger(_) => {}
        }
        self.look(cx.now);
    }
}
