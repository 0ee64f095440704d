use std::time::Duration;

use super::{InvalidTiming, Timing};

/// What a timer's value is.
enum Field<'a> {
    /// Milliseconds.
    Time(&'a mut Duration),
    /// A number.
    Count(&'a mut u32),
}

type Select = fn(&mut Timing) -> Field<'_>;

/// All timers by the names that users set.
const TIMERS: [(&str, Select); 20] = [
    ("ask", |it| Field::Time(&mut it.ask)),
    ("misses", |it| Field::Count(&mut it.misses)),
    ("askDown", |it| Field::Time(&mut it.ask_down)),
    ("probe", |it| Field::Time(&mut it.probe)),
    ("probes", |it| Field::Count(&mut it.probes)),
    ("turn", |it| Field::Time(&mut it.turn)),
    ("patience", |it| Field::Time(&mut it.patience)),
    ("contest", |it| Field::Time(&mut it.contest)),
    ("pause", |it| Field::Time(&mut it.pause)),
    ("check", |it| Field::Time(&mut it.check)),
    ("refresh", |it| Field::Time(&mut it.refresh)),
    ("defend", |it| Field::Time(&mut it.defend)),
    ("stranger", |it| Field::Time(&mut it.stranger)),
    ("holdDown", |it| Field::Time(&mut it.hold_down)),
    ("retry", |it| Field::Time(&mut it.retry)),
    ("retire", |it| Field::Time(&mut it.retire)),
    ("urgentCount", |it| Field::Count(&mut it.urgent.count)),
    ("urgentEvery", |it| Field::Time(&mut it.urgent.every)),
    ("backgroundCount", |it| {
        Field::Count(&mut it.background.count)
    }),
    ("backgroundEvery", |it| {
        Field::Time(&mut it.background.every)
    }),
];

/// A timer that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no failover timer {0:?}; there are {all}", all = Timer::NAMES.join(", "))]
pub struct UnknownTimer(String);

/// A timer and its value: milliseconds, or a count.
#[derive(Clone, Copy, Debug)]
pub struct Timer {
    select: Select,
    value: u32,
}

impl Timer {
    /// The names of all timers.
    pub const NAMES: [&str; TIMERS.len()] = {
        let mut names = [""; TIMERS.len()];
        let mut at = 0;
        while at < names.len() {
            names[at] = TIMERS[at].0;
            at += 1;
        }
        names
    };

    /// # Errors
    /// No timer has that name.
    pub fn new(name: &str, value: u32) -> Result<Self, UnknownTimer> {
        let known = TIMERS.into_iter().find(|(known, _)| *known == name);
        let (_, select) = known.ok_or_else(|| UnknownTimer(name.to_owned()))?;
        Ok(Self { select, value })
    }
}

impl Timing {
    /// The defaults with some timers changed.
    ///
    /// # Errors
    /// A value is outside its bounds.
    pub fn with(timers: &[Timer]) -> Result<Self, InvalidTiming> {
        let mut timing = Self::default();
        for timer in timers {
            timing.set(*timer);
        }
        timing.check().map(|()| timing)
    }

    fn set(&mut self, Timer { select, value }: Timer) {
        match select(self) {
            Field::Time(time) => *time = Duration::from_millis(value.into()),
            Field::Count(count) => *count = value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_sets_a_timer_of_its_own() {
        let mut changed = vec![Timing::default()];
        for name in Timer::NAMES {
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
