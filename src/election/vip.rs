//! The states of one VIP on one director, and which of them hears what.

use std::time::Duration;

use super::{
    DirectorId, GiveCause, TakeCause,
    claiming::Claiming,
    context::Context,
    holding::Holding,
    moving::Moving,
    news::{Host, News},
    peers::Change,
    probing::Probing,
    standby::Standby,
    yielding::Yielding,
};

/// What a VIP is to this director.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    /// Not here, and nothing to be done about it now.
    Standby(Standby),
    /// Vacant, as far as known: everybody is asked.
    Probing(Probing),
    /// It should move here: its holder is asked to agree.
    Moving(Moving),
    /// On its way to the NIC.
    Claiming(Claiming),
    /// On the NIC.
    Holding(Holding),
    /// On its way from the NIC.
    Yielding(Yielding),
    /// Neither here nor wanted.
    Gone,
}

/// The state that follows; `None` = the same.
pub(super) type Next = Option<Phase>;

/// One VIP on one director.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Vip {
    pub phase: Phase,
}

impl Vip {
    /// When it wants to be looked at.
    pub fn next(&self) -> Option<Duration> {
        match &self.phase {
            Phase::Standby(standby) => standby.next(),
            Phase::Probing(probing) => Some(probing.next()),
            Phase::Moving(moving) => Some(moving.next()),
            Phase::Claiming(claiming) => Some(claiming.next()),
            Phase::Holding(holding) => Some(holding.next()),
            Phase::Yielding(yielding) => Some(yielding.next()),
            Phase::Gone => None,
        }
    }

    fn go(&mut self, next: Next) {
        if let Some(phase) = next {
            self.phase = phase;
        }
    }

    /// Its time has come.
    pub fn due(&mut self, cx: &mut Context<'_>) {
        if cx.conflict_ends().is_some_and(|end| cx.now >= end) {
            cx.conflict_over();
        }
        let next = match &mut self.phase {
            Phase::Standby(standby) => standby.due(cx),
            Phase::Probing(probing) => probing.due(cx),
            Phase::Moving(moving) => moving.due(cx),
            Phase::Claiming(claiming) => claiming.due(cx),
            Phase::Holding(holding) => holding.due(cx),
            Phase::Yielding(yielding) => yielding.due(cx),
            Phase::Gone => None,
        };
        self.go(next);
    }

    /// A frame about it.
    pub fn heard(&mut self, host: Host, news: News, cx: &mut Context<'_>) {
        let next = match (host.director, &mut self.phase) {
            (Some(director), Phase::Standby(standby)) => standby.heard(director, news, cx),
            (Some(director), Phase::Probing(probing)) => {
                probing.heard(director, host.mac, news, cx)
            }
            (Some(director), Phase::Moving(moving)) => moving.heard(director, news, cx),
            (Some(_), Phase::Claiming(claiming)) => claiming.heard(news),
            (Some(director), Phase::Holding(holding)) => {
                holding.heard(director, host.mac, news, cx)
            }
            (_, Phase::Yielding(_) | Phase::Gone) => None,
            (None, phase) => stranger(phase, host, news, cx),
        };
        self.go(next);
    }

    /// A peer came or went.
    pub fn peer(&mut self, change: Change, cx: &mut Context<'_>) {
        let next = match &mut self.phase {
            Phase::Standby(standby) => standby.peer(change, cx.now),
            Phase::Moving(moving) => moving.peer(change, cx),
            Phase::Holding(holding) => holding.peer(change, cx.now),
            Phase::Probing(_) | Phase::Claiming(_) | Phase::Yielding(_) | Phase::Gone => None,
        };
        self.go(next);
    }

    /// It is on the NIC, or it is not.
    pub fn nic(&mut self, present: bool, cx: &mut Context<'_>) {
        let next = match (&mut self.phase, present) {
            (Phase::Claiming(claiming), _) => Some(claiming.done(present, cx)),
            (Phase::Yielding(yielding), false) => Some(yielding.done(cx)),
            (Phase::Yielding(_) | Phase::Holding(_), true) => None,
            // Somebody else took it from the NIC.
            (Phase::Holding(_), false) => Some(Standby::vacant(cx.now, None, TakeCause::Vacant)),
            // Somebody else put it there, or a claim took longer than was waited for.
            (Phase::Standby(_) | Phase::Probing(_) | Phase::Moving(_) | Phase::Gone, true) => {
                Some(Holding::adopted(cx))
            }
            (Phase::Standby(_) | Phase::Probing(_) | Phase::Moving(_) | Phase::Gone, false) => None,
        };
        self.go(next);
    }

    /// The NIC lost its carrier, or has it again.
    pub fn carrier(&mut self, up: bool, cx: &mut Context<'_>) {
        cx.lasting.steady = cx.now + cx.timing.hold_down;
        let next = match &self.phase {
            Phase::Holding(_) | Phase::Claiming(_) if !up => {
                Some(Yielding::start(None, GiveCause::CarrierLost, cx))
            }
            Phase::Standby(_) | Phase::Probing(_) | Phase::Moving(_) => {
                Some(Standby::vacant(cx.now, None, TakeCause::Vacant))
            }
            Phase::Holding(_) | Phase::Claiming(_) | Phase::Yielding(_) | Phase::Gone => None,
        };
        self.go(next);
    }

    /// Something was not heard: nothing that rests on silence counts any more.
    pub fn doubt(&mut self, cx: &mut Context<'_>) {
        let next = match &mut self.phase {
            Phase::Standby(standby) => {
                standby.doubt(cx);
                None
            }
            // Whoever stood still lets others go first; they may not be standing still.
            Phase::Probing(probing) => Some(probing.again(cx.now + cx.timing.turn)),
            Phase::Moving(moving) => Some(moving.abandon(cx)),
            Phase::Claiming(claiming) => {
                claiming.doubt();
                None
            }
            Phase::Holding(holding) => {
                holding.doubt(cx.now);
                None
            }
            Phase::Yielding(_) | Phase::Gone => None,
        };
        self.go(next);
    }

    /// The sources say something else.
    pub fn view(&mut self, cx: &mut Context<'_>) {
        let ready = cx.me().is_some_and(|me| me.ready);
        if ready && !cx.lasting.ready && !matches!(self.phase, Phase::Holding(_)) {
            cx.lasting.steady = cx.lasting.steady.max(cx.now + cx.timing.hold_down);
        }
        cx.lasting.ready = ready;
        let next = match &mut self.phase {
            Phase::Standby(_) | Phase::Probing(_) | Phase::Moving(_) if !cx.is_wanted() => {
                Some(Phase::Gone)
            }
            Phase::Standby(standby) => {
                standby.look(cx.now);
                None
            }
            Phase::Holding(holding) => {
                holding.look(cx.now);
                None
            }
            Phase::Claiming(_) if !cx.is_wanted() => {
                Some(Yielding::start(None, GiveCause::NotWanted, cx))
            }
            Phase::Probing(_)
            | Phase::Moving(_)
            | Phase::Claiming(_)
            | Phase::Yielding(_)
            | Phase::Gone => None,
        };
        self.go(next);
    }
}

/// A host that is no director says that it has the VIP.
fn stranger(phase: &mut Phase, host: Host, news: News, cx: &mut Context<'_>) -> Next {
    match news {
        News::Announced | News::Answered | News::Confirmed => {}
        // Whoever only asks has nothing: `arping -D`, or a host that will hear our answer before it takes the address.
        News::Probed | News::Asked => return None,
    }
    // Until all peers were asked, it may be one of them.
    if cx.peers.settled() {
        cx.conflict(host);
    }
    match phase {
        Phase::Holding(holding) => {
            holding.defend_against_stranger(cx);
            None
        }
        Phase::Standby(standby) => {
            standby.stranger(cx);
            None
        }
        Phase::Probing(_) => Some(Standby::blocked(cx)),
        Phase::Moving(moving) => Some(moving.abandon(cx)),
        Phase::Claiming(_) | Phase::Yielding(_) | Phase::Gone => None,
    }
}

/// Who is known to hold a VIP after this director did, or instead of it.
pub(super) fn behind(director: Option<DirectorId>, cx: &mut Context<'_>) -> Phase {
    match director {
        Some(director) => Standby::behind(director, cx),
        None => Standby::vacant(cx.now, None, TakeCause::Vacant),
    }
}
