use std::{sync::Arc, time::Duration};

use crate::model::CheckTimers;

use super::Failure;

/// A real server that fails again sooner than this after its return has to pass more checks the next time.
const STEADY: Duration = Duration::from_secs(60);
/// How often the number of checks to pass is doubled at most.
const MOST_DOUBLINGS: u8 = 3;

/// What is known by a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was not passed yet, and has not failed often enough.
    Unknown,
    /// The real server passes.
    Up,
    /// It fails.
    Down(Arc<Down>),
}

/// That a check fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down {
    /// Why, when it began to.
    pub failure: Failure,
    /// Since when, in seconds since the epoch.
    pub since: i64,
}

/// The results of one check, counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    verdict: Verdict,
    /// Results in a row that speak against the verdict.
    against: u32,
    /// When it came up last, on the agent's monotonic clock; `None` if it never did.
    up_since: Option<Duration>,
    /// How often the number of checks to pass is doubled.
    doublings: u8,
}

impl State {
    pub fn new() -> Self {
        Self {
            verdict: Verdict::Unknown,
            against: 0,
            up_since: None,
            doublings: 0,
        }
    }

    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Counts a result that came at `now`. `since` is the time, in seconds since the epoch, that is noted with a failure. Returns whether
    /// the verdict changed.
    ///
    /// The first check that a real server ever passes is enough, so that neither an agent's start takes time nor an application's
    /// that is slower than `fall` checks.
    pub fn count(
        &mut self,
        result: Result<(), Failure>,
        timers: CheckTimers,
        now: Duration,
        since: i64,
    ) -> bool {
        match (&self.verdict, result) {
            (Verdict::Up, Ok(())) | (Verdict::Down(_), Err(_)) => {
                self.against = 0;
                false
            }
            (Verdict::Unknown, Ok(())) => self.rise(now),
            (Verdict::Down(_), Ok(())) => {
                self.against += 1;
                let is_first = self.up_since.is_none();
                let enough = u32::from(timers.rise) << self.doublings;
                (is_first || self.against >= enough) && self.rise(now)
            }
            (Verdict::Unknown | Verdict::Up, Err(failure)) => {
                self.against += 1;
                if self.against < u32::from(timers.fall) {
                    return false;
                }
                if self.verdict == Verdict::Up
                    && let Some(up_since) = self.up_since
                {
                    let steady = now.saturating_sub(up_since) >= STEADY;
                    self.doublings = match steady {
                        true => 0,
                        false => (self.doublings + 1).min(MOST_DOUBLINGS),
                    };
                }
                self.verdict = Verdict::Down(Arc::new(Down { failure, since }));
                self.against = 0;
                true
            }
        }
    }

    fn rise(&mut self, now: Duration) -> bool {
        self.verdict = Verdict::Up;
        self.against = 0;
        self.up_since = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts results, one a second from `from` on; returns for each whether the real server is up then.
    fn after(state: &mut State, from: u64, results: &str) -> String {
        let up = results.chars().zip(from..).map(|(result, second)| {
            let result = match result {
                '+' => Ok(()),
                _ => Err(Failure::Closed),
            };
            let now = Duration::from_secs(second);
            state.count(result, CheckTimers::DEFAULT, now, 1_000);
            match state.verdict() {
                Verdict::Unknown => '?',
                Verdict::Up => '+',
                Verdict::Down(_) => '-',
            }
        });
        up.collect()
    }

    #[test]
    fn one_pass_is_enough_at_first_and_several_failures_in_a_row_take_it_back() {
        let mut state = State::new();
        assert_eq!(after(&mut state, 0, "--+"), "??+");
        assert_eq!(after(&mut state, 10, "--+--+---"), "++++++++-");
        let Verdict::Down(down) = state.verdict() else {
            panic!("{state:?}");
        };
        assert_eq!((&down.failure, down.since), (&Failure::Closed, 1_000));
    }

    #[test]
    fn who_never_passed_a_check_needs_one_only_however_often_it_failed() {
        assert_eq!(after(&mut State::new(), 0, "-----+--"), "??---+++");
    }

    #[test]
    fn who_was_steady_returns_after_two_passes_in_a_row() {
        let mut state = State::new();
        after(&mut state, 0, "+");
        assert_eq!(after(&mut state, 100, "---+-++"), "++----+");
    }

    #[test]
    fn who_fails_again_and_again_has_to_pass_ever_more_checks_up_to_a_bound() {
        let mut state = State::new();
        after(&mut state, 0, "+");
        let mut passes = Vec::new();
        let mut second = 100;
        for _ in 0..6 {
            after(&mut state, second, "---");
            second += 3;
            let before = second;
            while after(&mut state, second, "+") == "-" {
                second += 1;
            }
            second += 1;
            passes.push(second - before);
        }
        assert_eq!(passes, [2, 4, 8, 16, 16, 16]);
        assert_eq!(after(&mut state, second + 60, "---++"), "++--+", "forgiven");
    }
}
