use std::time::Duration;

use super::{
    DirectorId, Notice, TakeCause,
    claiming::Claiming,
    context::Context,
    frame_kind::FrameKind,
    peers::{Liveness, PeerChange},
    standby::Standby,
    vip::{NextState, State},
};

/// After this many requests without an agreement this director does not ask the holder again for the time `retry`.
const TRIES: u32 = 5;

/// This director asks the holder, by a unicast probe, to agree that the VIP moves here. The holder's kernel answers
/// that it has the VIP; its agent agrees by sending the same probe back. If the agent is dead, or has not read the
/// same objects, it does not agree, and the VIP stays.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Moving {
    holder: DirectorId,
    since: Duration,
    tries: u32,
    /// Whether the holder's kernel answered that it has the VIP. If not, a probe from it is a request, not an
    /// agreement: it takes this director for the holder.
    has: bool,
    at: Duration,
}

impl Moving {
    pub fn start(holder: DirectorId, cx: &mut Context<'_>) -> State {
        let mut moving = Self {
            holder,
            since: cx.now,
            tries: 0,
            has: false,
            at: cx.now,
        };
        moving.due(cx).unwrap_or(State::Moving(moving))
    }

    pub fn next(&self) -> Duration {
        self.at
    }

    pub fn due(&mut self, cx: &mut Context<'_>) -> NextState {
        if cx.now < self.at {
            return None;
        }
        let mac = cx
            .peers
            .mac(self.holder)
            .filter(|_| cx.carrier && cx.is_target(self.holder));
        let Some(mac) = mac else {
            return Some(self.abandon(cx));
        };
        if self.tries >= TRIES {
            cx.common.ask_again = cx.now + cx.timing.retry;
            cx.out.notices.push(Notice::MoveRefused {
                vip: cx.vip,
                holder: self.holder,
            });
            return Some(self.abandon(cx));
        }
        self.tries += 1;
        self.at = cx.now + cx.timing.ask * 2;
        cx.ask_alone(mac);
        None
    }

    /// Leaves the VIP at its holder, without restarting its hold-down there.
    pub fn abandon(&self, cx: &mut Context<'_>) -> State {
        let settled = cx.common.settled;
        let state = Standby::behind(self.holder, cx);
        cx.common.settled = settled;
        state
    }

    pub fn heard(
        &mut self,
        director: DirectorId,
        kind: FrameKind,
        cx: &mut Context<'_>,
    ) -> NextState {
        match kind {
            FrameKind::Announced if !cx.believes(director) => None,
            FrameKind::Announced | FrameKind::Confirmed if director != self.holder => {
                Some(Standby::behind(director, cx))
            }
            FrameKind::Answered if director == self.holder => {
                self.has = true;
                None
            }
            FrameKind::Asked if director == self.holder && self.has && cx.is_target(director) => {
                Some(Claiming::planned(director, self.since, cx))
            }
            FrameKind::Announced
            | FrameKind::Confirmed
            | FrameKind::Answered
            | FrameKind::Probed
            | FrameKind::Asked => None,
        }
    }

    pub fn peer(&mut self, (peer, liveness): PeerChange, cx: &mut Context<'_>) -> NextState {
        (peer == self.holder && liveness == Liveness::Down)
            .then(|| Standby::vacant(cx.now, Some(peer), TakeCause::HolderDown))
    }
}
