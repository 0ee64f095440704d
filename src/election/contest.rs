use std::time::Duration;

use super::{DirectorId, context::Context};

/// Questions without an answer after which the other has it no longer.
const SILENT: u32 = 3;

/// Another director seems to hold the VIP too. It is asked, it alone, until it is silent: either it yields, or this director
/// does. Both know who is better and the other yields at once. Where they disagree about that, or the other's agent is
/// gone and cannot yield, time and the wire's own order decide.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Contest {
    rival: DirectorId,
    /// A third that seems to have it, to be asked when this one has gone.
    third: Option<DirectorId>,
    since: Duration,
    /// Questions since its last answer.
    silent: u32,
    /// Whether it ever answered.
    real: bool,
    /// Whether it agreed to yield before this director claimed.
    expected: bool,
    /// Whose agent said last that it is sure of the VIP.
    announced: Option<DirectorId>,
    next: Duration,
    /// When the VIP was last announced against it.
    defended: Option<Duration>,
}

/// How a contest stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContestState {
    Open,
    Over,
}

impl Contest {
    /// The holder agreed to yield, and will.
    pub fn expected(rival: DirectorId, now: Duration) -> Self {
        Self {
            rival,
            third: None,
            since: now,
            silent: 0,
            real: true,
            expected: true,
            announced: None,
            next: now,
            defended: None,
        }
    }

    /// A frame says that `rival` has it.
    pub fn suspected(rival: DirectorId, cx: &Context<'_>) -> Self {
        Self {
            real: false,
            expected: false,
            ..Self::expected(rival, cx.now)
        }
    }

    /// A frame says that `director` has it, too.
    pub fn suspect(&mut self, director: DirectorId) {
        if director != self.rival {
            self.third = Some(director);
        }
    }

    /// Whom to ask when the rival has gone.
    pub fn third(&self) -> Option<DirectorId> {
        self.third
    }

    pub fn next(&self) -> Duration {
        self.next
    }

    /// Whether a question is on its way.
    pub fn has_asked(&self) -> bool {
        self.silent > 0
    }

    pub fn was_real(&self) -> bool {
        self.real
    }

    /// Whether it is worth telling people.
    pub fn is_disputed(&self, cx: &Context<'_>) -> bool {
        !self.expected || cx.now >= self.since + cx.timing.contest
    }

    /// The agent of `by` announces the VIP, which one in doubt does not.
    pub fn announced(&mut self, by: DirectorId, now: Duration) {
        if !self.real {
            self.rival = by;
        }
        self.announced = Some(by);
        self.ask_again(now);
    }

    /// Whether `by` means to keep the VIP: its agent says so, or it had time enough to give it up.
    pub fn is_firm(&self, by: DirectorId, cx: &Context<'_>) -> bool {
        self.announced == Some(by) || cx.now >= self.since + cx.timing.probe * 2
    }

    /// Whatever was answered so far counts for nothing.
    pub fn ask_again(&mut self, now: Duration) {
        self.silent = 0;
        self.next = now;
    }

    /// Asks again; over when the rival is silent.
    pub fn due(&mut self, cx: &mut Context<'_>) -> ContestState {
        if cx.now < self.next {
            return ContestState::Open;
        }
        let Some(mac) = cx.peers.mac(self.rival).filter(|_| self.silent < SILENT) else {
            return ContestState::Over;
        };
        self.silent += 1;
        self.next = cx.now + cx.timing.probe;
        cx.confirm(mac);
        ContestState::Open
    }

    /// The rival has it; over when this director has to yield.
    pub fn confirmed(&mut self, by: DirectorId, cx: &mut Context<'_>) -> ContestState {
        let before = std::mem::replace(&mut self.rival, by);
        if before != by {
            self.third = Some(before).filter(|_| self.real);
        }
        self.real = true;
        self.silent = 1;
        // The one with the lower address has more patience: if the other's agent lives, it gives up first.
        let patience = if cx.config.me < by {
            cx.timing.contest * 2
        } else {
            cx.timing.contest
        };
        if cx.now >= self.since + patience {
            return ContestState::Over;
        }
        if self
            .defended
            .is_none_or(|last| cx.now >= last + cx.timing.probe)
        {
            self.defended = Some(cx.now);
            cx.announce();
        }
        ContestState::Open
    }
}
