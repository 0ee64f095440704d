use std::{fmt, str::FromStr};

/// A scheduler of the kernel's IPVS, by the name ipvsadm knows.
///
/// `Other` holds what a foreign service may use; the API offers the named ones only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheduler {
    /// Round robin.
    Rr,
    /// Weighted round robin.
    Wrr,
    /// Least connections.
    Lc,
    /// Weighted least connections.
    Wlc,
    /// Locality-based least connections.
    Lblc,
    /// The same with replication.
    Lblcr,
    /// Destination hashing.
    Dh,
    /// Source hashing.
    Sh,
    /// Shortest expected delay.
    Sed,
    /// Never queue.
    Nq,
    /// Weighted fail over.
    Fo,
    /// Weighted overflow.
    Ovf,
    /// Maglev hashing: the same table on every director.
    Mh,
    /// A scheduler that only foreign services use.
    Other(String),
}

/// A name that is no scheduler the API offers.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a scheduler: use one of rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh")]
pub struct UnknownScheduler(pub String);

impl Scheduler {
    /// Those the API offers, in the order of the documentation.
    pub const ALL: [Self; 13] = [
        Self::Rr,
        Self::Wrr,
        Self::Lc,
        Self::Wlc,
        Self::Lblc,
        Self::Lblcr,
        Self::Dh,
        Self::Sh,
        Self::Sed,
        Self::Nq,
        Self::Fo,
        Self::Ovf,
        Self::Mh,
    ];

    /// ipvsadm's name; the module is `ip_vs_NAME`.
    pub fn name(&self) -> &str {
        match self {
            Self::Rr => "rr",
            Self::Wrr => "wrr",
            Self::Lc => "lc",
            Self::Wlc => "wlc",
            Self::Lblc => "lblc",
            Self::Lblcr => "lblcr",
            Self::Dh => "dh",
            Self::Sh => "sh",
            Self::Sed => "sed",
            Self::Nq => "nq",
            Self::Fo => "fo",
            Self::Ovf => "ovf",
            Self::Mh => "mh",
            Self::Other(name) => name,
        }
    }

    /// The scheduler that the kernel calls `name`, known to the API or not.
    pub fn from_kernel(name: &str) -> Self {
        name.parse()
            .unwrap_or_else(|UnknownScheduler(name)| Self::Other(name))
    }
}

impl FromStr for Scheduler {
    type Err = UnknownScheduler;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|scheduler| scheduler.name() == name)
            .ok_or_else(|| UnknownScheduler(name.to_owned()))
    }
}

impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A flag of a service. The kernel has three bits whose meaning depends on the scheduler
/// (`IP_VS_SVC_F_SCHED1..3`, include/uapi/linux/ip_vs.h); sh and mh use the first two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flag {
    /// `sh-fallback`, `mh-fallback`: take the next real server while the hashed one has weight 0.
    Fallback,
    /// `sh-port`, `mh-port`: hash the client's port too.
    Port,
    /// The third bit, which no scheduler the API offers uses.
    Third,
    /// One-packet scheduling (`ipvsadm -o`); foreign services only.
    OnePacket,
}

impl Flag {
    /// The bit in `IPVS_SVC_ATTR_FLAGS`.
    pub fn bit(self) -> u32 {
        match self {
            Self::OnePacket => 0x04,
            Self::Fallback => 0x08,
            Self::Port => 0x10,
            Self::Third => 0x20,
        }
    }

    /// All of them.
    pub const ALL: [Self; 4] = [Self::Fallback, Self::Port, Self::Third, Self::OnePacket];

    /// ipvsadm's name with this scheduler, as in `-b mh-port`.
    pub fn name(self, scheduler: &Scheduler) -> String {
        match (self, scheduler) {
            (Self::Fallback, Scheduler::Mh | Scheduler::Sh) => format!("{scheduler}-fallback"),
            (Self::Port, Scheduler::Mh | Scheduler::Sh) => format!("{scheduler}-port"),
            (Self::Fallback, _) => "flag-1".to_owned(),
            (Self::Port, _) => "flag-2".to_owned(),
            (Self::Third, _) => "flag-3".to_owned(),
            (Self::OnePacket, _) => "ops".to_owned(),
        }
    }

    /// The flag that the API calls `name`, if it belongs to this scheduler.
    pub fn of_scheduler(name: &str, scheduler: &Scheduler) -> Option<Self> {
        if !matches!(scheduler, Scheduler::Mh | Scheduler::Sh) {
            return None;
        }
        [Self::Fallback, Self::Port]
            .into_iter()
            .find(|flag| flag.name(scheduler) == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_belongs_to_its_scheduler_alone() {
        assert_eq!(
            Flag::of_scheduler("mh-port", &Scheduler::Mh),
            Some(Flag::Port)
        );
        assert_eq!(
            Flag::of_scheduler("sh-fallback", &Scheduler::Sh),
            Some(Flag::Fallback)
        );
        assert_eq!(Flag::of_scheduler("mh-port", &Scheduler::Sh), None);
        assert_eq!(Flag::of_scheduler("flag-2", &Scheduler::Rr), None);
    }

    #[test]
    fn every_scheduler_is_found_by_its_name() {
        for scheduler in Scheduler::ALL {
            assert_eq!(scheduler.name().parse(), Ok(scheduler));
        }
        assert_eq!(
            Scheduler::from_kernel("twos"),
            Scheduler::Other("twos".to_owned())
        );
    }
}
