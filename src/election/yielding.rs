use std::time::Duration;

use super::{
    DirectorId, GiveCause,
    context::Context,
    vip::{NextState, State, behind},
};

/// After this time a VIP that is still on the NIC is taken from it again.
const RETRY: Duration = Duration::from_millis(200);

/// The VIP is being taken from the NIC.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Yielding {
    to: Option<DirectorId>,
    at: Duration,
}

impl Yielding {
    pub fn start(to: Option<DirectorId>, cause: GiveCause, cx: &mut Context<'_>) -> State {
        cx.gave(to, cause);
        State::Yielding(Self {
            to,
            at: cx.now + RETRY,
        })
    }

    pub fn next(&self) -> Duration {
        self.at
    }

    pub fn due(&mut self, cx: &mut Context<'_>) -> NextState {
        if cx.now >= self.at {
            self.at = cx.now + RETRY;
            cx.out.yields.insert(cx.vip);
        }
        None
    }

    /// It is gone from the NIC.
    pub fn done(&mut self, cx: &mut Context<'_>) -> State {
        if cx.is_wanted() {
            behind(self.to, cx)
        } else {
            State::Gone
        }
    }
}
