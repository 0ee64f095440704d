use std::time::Duration;

use super::{InvalidTiming, Timing};

/// The names of all timers, as people set them: milliseconds, or counts.
pub const TIMERS: [&str; 20] = [
    "ask",
    "misses",
    "askDown",
    "probe",
    "probes",
    "turn",
    "patience",
    "contest",
    "pause",
    "check",
    "refresh",
    "defend",
    "stranger",
    "holdDown",
    "retry",
    "retire",
    "urgentCount",
    "urgentEvery",
    "backgroundCount",
    "backgroundEvery",
];

/// A timer that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no failover timer {0:?}; there are {all}", all = TIMERS.join(", "))]
pub struct UnknownTimer(String);

/// A timer and its value: milliseconds, or a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    name: &'static str,
    value: u32,
}

impl Timer {
    /// # Errors
    /// There is none of that name.
    pub fn new(name: &str, value: u32) -> Result<Self, UnknownTimer> {
        let known = TIMERS.into_iter().find(|known| *known == name);
        let name = known.ok_or_else(|| UnknownTimer(name.to_owned()))?;
        Ok(Self { name, value })
    }
}

impl Timing {
    /// The defaults with some timers changed.
    ///
    /// # Errors
    /// The protocol would not be safe or not be useful with them.
    pub fn with(timers: &[Timer]) -> Result<Self, InvalidTiming> {
        let mut timing = Self::default();
        for timer in timers {
            timing.set(*timer);
        }
        timing.check().map(|()| timing)
    }

    fn set(&mut self, Timer { name, value }: Timer) {
        let time = Duration::from_millis(value.into());
        let field = match name {
            "misses" => return self.misses = value,
            "probes" => return self.probes = value,
            "urgentCount" => return self.urgent.count = value,
            "backgroundCount" => return self.background.count = value,
            "ask" => &mut self.ask,
            "askDown" => &mut self.ask_down,
            "probe" => &mut self.probe,
            "turn" => &mut self.turn,
            "patience" => &mut self.patience,
            "contest" => &mut self.contest,
            "pause" => &mut self.pause,
            "check" => &mut self.check,
            "refresh" => &mut self.refresh,
            "defend" => &mut self.defend,
            "stranger" => &mut self.stranger,
            "holdDown" => &mut self.hold_down,
            "retry" => &mut self.retry,
            "retire" => &mut self.retire,
            "urgentEvery" => &mut self.urgent.every,
            "backgroundEvery" => &mut self.background.every,
            _ => return,
        };
        *field = time;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_sets_a_timer_of_its_own() {
        let mut changed = vec![Timing::default()];
        for name in TIMERS {
            let mut timing = Timing::default();
            timing.set(Timer::new(name, 12_345).unwrap());
            assert!(!changed.contains(&timing), "{name}");
            changed.push(timing);
        }
    }

    #[test]
    fn what_is_not_safe_is_refused_by_name() {
        let timer = |name, value| Timer::new(name, value).unwrap();
        let slow = [timer("ask", 500), timer("askDown", 2000)];
        assert_eq!(Timing::with(&slow).unwrap().ask, Duration::from_millis(500));
        let error = Timing::with(&[timer("turn", 10)]).unwrap_err();
        assert_eq!(error.field, "turn");
        let error = Timer::new("pauze", 1).unwrap_err().to_string();
        assert!(
            error.contains("\"pauze\"; there are ask, misses"),
            "{error}"
        );
    }
}
