use std::time::Duration;

use super::{DirectorId, context::Context};

/// After this many questions without an answer, the rival no longer has the VIP.
const SILENT: u32 = 3;

/// Another director, the rival, seems to hold the VIP too. This director asks it by unicast until it is silent, or
/// yields itself. Normally both agree who is better, and the other one yields at once. If they disagree, or the
/// rival's agent is dead and cannot yield, the addresses decide after some time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Contest {
    rival: DirectorId,
    /// A third director that seems to have the VIP. It is asked when the rival has yielded.
    third: Option<DirectorId>,
    since: Duration,
    /// Questions since its last answer.
    silent: u32,
    /// Whether it ever answered.
    real: bool,
    /// Whether it agreed to yield before this director claimed.
    expected: bool,
    /// The director whose agent announced the VIP last: it is sure of it.
    announced: Option<DirectorId>,
    /// Whether the answers from before an announcement were forgotten. That is done once, because a flood of forged
    /// announcements would keep the contest open.
    restarted: bool,
    next: Duration,
    /// When this director last announced the VIP against the rival.
    defended: Option<Duration>,
}

/// Whether a contest goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContestState {
    Open,
    Over,
}

impl Contest {
    /// The rival agreed to yield to this director.
    pub fn expected(rival: DirectorId, now: Duration) -> Self {
        Self {
            rival,
            third: None,
            since: now,
            silent: 0,
            real: true,
            expected: true,
            announced: None,
            restarted: false,
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

    /// The director to ask when the rival has yielded.
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

    /// Whether to report the contest as a conflict.
    pub fn is_disputed(&self, cx: &Context<'_>) -> bool {
        !self.expected || cx.now >= self.since + cx.timing.contest
    }

    /// The agent of `by` announces the VIP, so it is sure of it: an agent in doubt announces nothing.
    pub fn announced(&mut self, by: DirectorId, now: Duration) {
        if !self.real {
            self.rival = by;
        }
        self.announced = Some(by);
        if !std::mem::replace(&mut self.restarted, true) {
            self.ask_again(now);
        }
    }

    /// The director that announced the VIP, but did not answer.
    pub fn unanswered(&self) -> Option<DirectorId> {
        self.announced.filter(|_| !self.real)
    }

    /// Whether `by` will keep the VIP: its agent announced it, or has had enough time to yield.
    pub fn is_firm(&self, by: DirectorId, cx: &Context<'_>) -> bool {
        self.announced == Some(by) || cx.now >= self.since + cx.timing.probe * 2
    }

    /// Forgets the answers so far and asks again.
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
        // The director with the lower address waits longer, so of two live agents the other one yields.
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
