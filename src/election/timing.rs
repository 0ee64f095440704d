use std::time::Duration;

/// All timers. The defaults take over from a dead holder in [`Timing::takeover`] = 290 ms at most.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Timing {
    /// How often each peer's kernel is asked whether it is there.
    pub ask: Duration,
    /// Unanswered questions in a row after which a peer counts as down, or a holder as without its VIP.
    pub misses: u32,
    /// How often a peer that is down is asked.
    pub ask_down: Duration,
    /// How long to wait for answers to a probe.
    pub probe: Duration,
    /// Probes without an answer before a claim.
    pub probes: u32,
    /// The head start that each better candidate has at a vacant VIP: enough for it to claim and be heard.
    pub turn: Duration,
    /// How much longer a director that is not ready leaves a vacant VIP to those that are.
    pub patience: Duration,
    /// How long two holders may disagree about who yields before their addresses decide.
    pub contest: Duration,
    /// How late an event may be before everything has to be checked again: the agent or its machine stood still.
    pub pause: Duration,
    /// How often a holder looks for rivals of each VIP, and a standby whether its holder still has it.
    pub check: Duration,
    /// Between announcements of a VIP that is held undisturbed.
    pub refresh: Duration,
    /// Between defences against a stranger (RFC 5227 section 2.4: 10 s).
    pub defend: Duration,
    /// How long a stranger's VIP is left alone before it is probed again, and how long after a stranger was last heard
    /// the conflict is over.
    pub stranger: Duration,
    /// How long a director must be steady, and a VIP at its holder, before the VIP moves for mere preference.
    pub hold_down: Duration,
    /// How long to wait before asking again for a move that the holder did not agree to, or repeating a failed claim.
    pub retry: Duration,
    /// How long a director that may no longer hold a VIP keeps it when it has no successor.
    pub retire: Duration,
    /// Frames that decide where a VIP is: probes of vacant VIPs and checks after a fault. The first one of a VIP is
    /// followed by up to five more. As many VIPs are announced, each by the frames of its family's announcement: two for
    /// IPv4. And as many queries to neighbours are begun, up to three frames each.
    pub urgent: Rate,
    /// Checks of VIPs that are in order, and planned moves.
    pub background: Rate,
}

/// A number of VIPs per interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In what time.
    pub every: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self {
            ask: ms(50),
            misses: 3,
            ask_down: ms(200),
            probe: ms(30),
            probes: 3,
            turn: ms(120),
            patience: ms(2000),
            contest: ms(300),
            pause: ms(180),
            check: ms(1000),
            refresh: ms(30_000),
            defend: ms(10_000),
            stranger: ms(5000),
            hold_down: ms(10_000),
            retry: ms(5000),
            retire: ms(10_000),
            urgent: Rate {
                count: 64,
                every: ms(20),
            },
            background: Rate {
                count: 4,
                every: ms(20),
            },
        }
    }
}

impl Timing {
    /// From the death of a holder to the claim of the first successor, at most; later ones take a turn longer each.
    pub fn takeover(&self) -> Duration {
        self.ask + self.ask * self.misses + self.silence()
    }

    /// How long a VIP is probed before it is claimed.
    pub fn silence(&self) -> Duration {
        self.probe * self.probes
    }

    /// Refuses values with which the protocol is not safe or not useful; says which, and what to set instead.
    pub fn check(&self) -> Result<(), InvalidTiming> {
        let ms = Duration::from_millis;
        let second = |seconds| Duration::from_secs(seconds);
        let ranges = [
            ("ask", self.ask, ms(10), second(10)),
            ("askDown", self.ask_down, self.ask, second(60)),
            ("probe", self.probe, ms(10), second(5)),
            // A candidate whose turn comes while a better one still probes must not claim first.
            ("turn", self.turn, self.silence() + self.probe, second(60)),
            ("patience", self.patience, Duration::ZERO, second(600)),
            ("contest", self.contest, self.probe * 4, second(60)),
            // A director must notice that it stood still for as long as the shortest takeover takes.
            (
                "pause",
                self.pause,
                ms(20),
                self.ask * self.misses.saturating_sub(1) + self.silence(),
            ),
            ("check", self.check, self.probe * 4, second(60)),
            ("refresh", self.refresh, second(10), second(60)),
            ("defend", self.defend, second(10), second(3600)),
            ("stranger", self.stranger, self.check * 2, second(600)),
            ("holdDown", self.hold_down, Duration::ZERO, second(86_400)),
            ("retry", self.retry, ms(100), second(600)),
            ("retire", self.retire, second(1), second(600)),
            ("urgentEvery", self.urgent.every, ms(1), second(10)),
            ("backgroundEvery", self.background.every, ms(1), second(1)),
        ];
        for (field, value, least, most) in ranges {
            if value < least || value > most {
                return Err(InvalidTiming::new(field, &value, &least, &most));
            }
        }
        let counts = [
            ("misses", self.misses, 2, 20),
            ("probes", self.probes, 2, 10),
            ("urgentCount", self.urgent.count, 1, 10_000),
            ("backgroundCount", self.background.count, 1, 10_000),
        ];
        for (field, value, least, most) in counts {
            if value < least || value > most {
                return Err(InvalidTiming::new(field, &value, &least, &most));
            }
        }
        Ok(())
    }
}

/// A timer outside its bounds, some of which depend on other timers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failover timer {field} is {value}: set it to {least} or more and {most} or less")]
pub struct InvalidTiming {
    /// The timer's name.
    pub field: &'static str,
    value: String,
    least: String,
    most: String,
}

impl InvalidTiming {
    fn new<T: std::fmt::Debug>(field: &'static str, value: &T, least: &T, most: &T) -> Self {
        Self {
            field,
            value: format!("{value:?}"),
            least: format!("{least:?}"),
            most: format!("{most:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_within_their_bounds_and_quick_enough() {
        let timing = Timing::default();
        assert_eq!(timing.check(), Ok(()));
        assert_eq!(timing.takeover(), Duration::from_millis(290));
    }

    #[test]
    fn a_refusal_names_field_value_and_fix() {
        let timing = Timing {
            pause: Duration::from_millis(191),
            ..Timing::default()
        };
        assert_eq!(
            timing.check().unwrap_err().to_string(),
            "failover timer pause is 191ms: set it to 20ms or more and 190ms or less"
        );
        let timing = Timing {
            misses: 1,
            pause: Duration::from_millis(80),
            ..Timing::default()
        };
        assert_eq!(
            timing.check().unwrap_err().to_string(),
            "failover timer misses is 1: set it to 2 or more and 20 or less"
        );
    }
}
