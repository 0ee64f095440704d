use std::str::FromStr;

use super::words;

words! {
    /// A scheduler of the kernel's IPVS, by the name ipvsadm knows; the module is `ip_vs_NAME`.
    ///
    /// The API offers those of the table, in the order of the documentation.
    pub enum Scheduler {
        /// Round robin.
        Rr = "rr",
        /// Weighted round robin.
        Wrr = "wrr",
        /// Least connections.
        Lc = "lc",
        /// Weighted least connections.
        Wlc = "wlc",
        /// Locality-based least connections.
        Lblc = "lblc",
        /// The same with replication.
        Lblcr = "lblcr",
        /// Destination hashing.
        Dh = "dh",
        /// Source hashing.
        Sh = "sh",
        /// Shortest expected delay.
        Sed = "sed",
        /// Never queue.
        Nq = "nq",
        /// Weighted fail over.
        Fo = "fo",
        /// Weighted overflow.
        Ovf = "ovf",
        /// Maglev hashing: the same table on every director.
        Mh = "mh",
        ;
        /// A scheduler that only foreign services use.
        Other(String)
    }
}

/// A name that is no scheduler the API offers.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a scheduler: use one of {all}", all = Scheduler::ALL.map(|it| it.to_string()).join(" "))]
pub struct UnknownScheduler(pub String);

impl Scheduler {
    /// The scheduler of a VirtualService that names none.
    pub const DEFAULT: Self = Self::Mh;

    /// The scheduler that the kernel calls `name`, known to the API or not.
    pub fn from_kernel(name: &str) -> Self {
        Self::from_name(name).unwrap_or_else(|| Self::Other(name.to_owned()))
    }

    /// The flags that the scheduler has, each with whether the API sets it by default.
    ///
    /// Without its fallback flag a hashing scheduler refuses connections whose real server has weight 0
    /// (net/netfilter/ipvs/ip_vs_mh.c, ip_vs_sh.c), and weight 0 is how real servers leave and drain here.
    pub fn flags(&self) -> &'static [(Flag, bool)] {
        match self {
            Self::Mh => &[(Flag::Port, true), (Flag::Fallback, true)],
            Self::Sh => &[(Flag::Port, false), (Flag::Fallback, true)],
            Self::Rr
            | Self::Wrr
            | Self::Lc
            | Self::Wlc
            | Self::Lblc
            | Self::Lblcr
            | Self::Dh
            | Self::Sed
            | Self::Nq
            | Self::Fo
            | Self::Ovf
            | Self::Other(_) => &[],
        }
    }

    fn has(&self, flag: Flag) -> bool {
        self.flags().iter().any(|(its, _)| *its == flag)
    }
}

impl FromStr for Scheduler {
    type Err = UnknownScheduler;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::from_name(name).ok_or_else(|| UnknownScheduler(name.to_owned()))
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

    /// The end of its name, as in `mh-port`; `None` where no scheduler the API offers has it.
    pub fn suffix(self) -> Option<&'static str> {
        match self {
            Self::Fallback => Some("fallback"),
            Self::Port => Some("port"),
            Self::Third | Self::OnePacket => None,
        }
    }

    /// ipvsadm's name with this scheduler, as in `-b mh-port`.
    pub fn name(self, scheduler: &Scheduler) -> String {
        if let Some(suffix) = self.suffix().filter(|_| scheduler.has(self)) {
            return format!("{scheduler}-{suffix}");
        }
        match self {
            Self::Fallback => "flag-1".to_owned(),
            Self::Port => "flag-2".to_owned(),
            Self::Third => "flag-3".to_owned(),
            Self::OnePacket => "ops".to_owned(),
        }
    }

    /// The flag that the API calls `name`, if it belongs to this scheduler.
    pub fn of_scheduler(name: &str, scheduler: &Scheduler) -> Option<Self> {
        let flags = scheduler.flags().iter().map(|(flag, _)| *flag);
        flags.into_iter().find(|flag| flag.name(scheduler) == name)
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
