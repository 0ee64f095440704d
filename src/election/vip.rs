//! The states of one VIP on one director, and which of them handles which event.

use std::time::Duration;

use super::{
    DirectorId, GiveCause, TakeCause,
    claiming::Claiming,
    context::Context,
    frame_kind::{FrameKind, Host},
    holding::Holding,
    moving::Moving,
    peers::PeerChange,
    probing::Probing,
    standby::Standby,
    yielding::Yielding,
};

/// What a VIP is to this director.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum State {
    /// Not on the NIC: another host has it, or it is not this director's turn to take it.
    Standby(Standby),
    /// Vacant, as far as known: this director probes for it.
    Probing(Probing),
    /// It should move here: its holder is asked to agree.
    Moving(Moving),
    /// Being added to the NIC.
    Claiming(Claiming),
    /// On the NIC.
    Holding(Holding),
    /// Being taken from the NIC.
    Yielding(Yielding),
    /// Neither on the NIC nor wanted, so the election forgets it.
    Gone,
}

/// The state that follows; `None` = the same.
pub(super) type NextState = Option<State>;

/// One VIP on one director.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Vip {
    pub state: State,
}

impl Vip {
    /// When it is due.
    pub fn next(&self) -> Option<Duration> {
        match &self.state {
            State::Standby(standby) => standby.next(),
            State::Probing(probing) => Some(probing.next()),
            State::Moving(moving) => Some(moving.next()),
            State::Claiming(claiming) => Some(claiming.next()),
            State::Holding(holding) => Some(holding.next()),
            State::Yielding(yielding) => Some(yielding.next()),
            State::Gone => None,
        }
    }

    fn go(&mut self, next: NextState) {
        if let Some(state) = next {
            self.state = state;
        }
    }

    /// Does what is due by now.
    pub fn due(&mut self, cx: &mut Context<'_>) {
        if cx.common.conflict_ends().is_some_and(|end| cx.now >= end) {
            cx.conflict_over();
        }
        let next = match &mut self.state {
            State::Standby(standby) => standby.due(cx),
            State::Probing(probing) => probing.due(cx),
            State::Moving(moving) => moving.due(cx),
            State::Claiming(claiming) => claiming.due(cx),
            State::Holding(holding) => holding.due(cx),
            State::Yielding(yielding) => yielding.due(cx),
            State::Gone => None,
        };
        self.go(next);
    }

    /// A frame about it.
    pub fn heard(&mut self, host: Host, kind: FrameKind, cx: &mut Context<'_>) {
        let next = match (host.director, &mut self.state) {
            (Some(director), State::Standby(standby)) => standby.heard(director, kind, cx),
            (Some(director), State::Probing(probing)) => {
                probing.heard(director, host.mac, kind, cx)
            }
            (Some(director), State::Moving(moving)) => moving.heard(director, kind, cx),
            (Some(_), State::Claiming(claiming)) => claiming.heard(kind),
            (Some(director), State::Holding(holding)) => {
                holding.heard(director, host.mac, kind, cx)
            }
            (_, State::Yielding(_) | State::Gone) => None,
            (None, state) => stranger(state, host, kind, cx),
        };
        self.go(next);
    }

    /// A peer's liveness changed.
    pub fn peer(&mut self, change: PeerChange, cx: &mut Context<'_>) {
        let next = match &mut self.state {
            State::Standby(standby) => standby.peer(change, cx.now),
            State::Moving(moving) => moving.peer(change, cx),
            State::Holding(holding) => holding.peer(change, cx.now),
            State::Probing(probing) => {
                probing.peer(change, cx);
                None
            }
            State::Claiming(_) | State::Yielding(_) | State::Gone => None,
        };
        self.go(next);
    }

    /// It is on the NIC, or it is not.
    pub fn nic(&mut self, present: bool, cx: &mut Context<'_>) {
        let next = match (&mut self.state, present) {
            (State::Claiming(claiming), _) => Some(claiming.done(present, cx)),
            (State::Yielding(yielding), false) => Some(yielding.done(cx)),
            (State::Yielding(_) | State::Holding(_), true) => None,
            // Another program took it from the NIC.
            (State::Holding(_), false) => Some(Standby::vacant(cx.now, None, TakeCause::Vacant)),
            // Another program put it there, or a claim took longer than its time limit.
            (State::Standby(_) | State::Probing(_) | State::Moving(_) | State::Gone, true) => {
                Some(Holding::adopted(cx))
            }
            (State::Standby(_) | State::Probing(_) | State::Moving(_) | State::Gone, false) => None,
        };
        self.go(next);
    }

    /// The NIC lost its carrier, or has it again.
    pub fn carrier(&mut self, up: bool, cx: &mut Context<'_>) {
        cx.common.steady = cx.now + cx.timing.hold_down;
        let next = match &self.state {
            State::Holding(_) | State::Claiming(_) if !up => {
                Some(Yielding::start(None, GiveCause::CarrierLost, cx))
            }
            State::Standby(_) | State::Probing(_) | State::Moving(_) => {
                Some(Standby::vacant(cx.now, None, TakeCause::Vacant))
            }
            State::Holding(_) | State::Claiming(_) | State::Yielding(_) | State::Gone => None,
        };
        self.go(next);
    }

    /// Frames were missed, so nothing that rests on silence counts any more.
    pub fn doubt(&mut self, cx: &mut Context<'_>) {
        let next = match &mut self.state {
            State::Standby(standby) => {
                standby.doubt(cx);
                None
            }
            // A director that stood still lets the others go first; they may have gone on.
            State::Probing(probing) => Some(probing.again(cx.now + cx.timing.turn)),
            State::Moving(moving) => Some(moving.abandon(cx)),
            State::Claiming(claiming) => {
                claiming.doubt();
                None
            }
            State::Holding(holding) => {
                holding.doubt(cx.now);
                None
            }
            State::Yielding(_) | State::Gone => None,
        };
        self.go(next);
    }

    /// The configuration has changed.
    pub fn config(&mut self, cx: &mut Context<'_>) {
        let ready = cx.me().is_some_and(|me| me.ready);
        if ready && !cx.common.ready && !matches!(self.state, State::Holding(_)) {
            cx.common.steady = cx.common.steady.max(cx.now + cx.timing.hold_down);
        }
        cx.common.ready = ready;
        let next = match &mut self.state {
            State::Standby(_) | State::Probing(_) | State::Moving(_) if !cx.is_wanted() => {
                Some(State::Gone)
            }
            State::Standby(standby) => {
                standby.look(cx.now);
                None
            }
            State::Holding(holding) => {
                holding.look(cx.now);
                None
            }
            State::Claiming(_) if !cx.is_wanted() => {
                Some(Yielding::start(None, GiveCause::NotWanted, cx))
            }
            State::Probing(_)
            | State::Moving(_)
            | State::Claiming(_)
            | State::Yielding(_)
            | State::Gone => None,
        };
        self.go(next);
    }
}

/// A frame about the VIP from a host that is no director.
fn stranger(state: &mut State, host: Host, kind: FrameKind, cx: &mut Context<'_>) -> NextState {
    match kind {
        FrameKind::Announced | FrameKind::Answered | FrameKind::Confirmed => {}
        // A host that only asks does not have the VIP: `arping -D`, or one that hears our answer before it takes the
        // address.
        FrameKind::Probed | FrameKind::Asked => return None,
    }
    // Until each peer is known to be up or down, it may be one of them.
    if cx.peers.settled() {
        cx.conflict(host);
    }
    match state {
        State::Holding(holding) => {
            holding.defend_against_stranger(cx);
            None
        }
        State::Probing(probing) => probing.stranger(host.mac, kind, cx),
        // Its holder is asked, or every host that was heard is asked before a claim.
        State::Standby(_)
        | State::Moving(_)
        | State::Claiming(_)
        | State::Yielding(_)
        | State::Gone => None,
    }
}

/// The state after this director gave the VIP up, or did not get it.
pub(super) fn behind(director: Option<DirectorId>, cx: &mut Context<'_>) -> State {
    match director {
        Some(director) => Standby::behind(director, cx),
        None => Standby::vacant(cx.now, None, TakeCause::Vacant),
    }
}
