use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
};

use crate::model::{ApplicationRequest, CheckTimers};

/// A check of one real server. VirtualServices that ask for the same check share it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Check {
    /// The real server's own address.
    pub address: IpAddr,
    /// What is checked there.
    pub target: Target,
    /// How often, and how many results count.
    pub timers: CheckTimers,
}

/// What is checked at a real server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The way of a client's packets: a SYN for the VIP, sent to the real server's MAC, is answered.
    Path {
        /// The VIP.
        vip: IpAddr,
        /// A TCP port of it.
        port: u16,
    },
    /// The application, at the real server's own address.
    Application {
        /// Its port.
        port: u16,
        /// What it is asked.
        request: ApplicationRequest,
    },
}

impl Check {
    /// The same check whatever the VIP and the port.
    pub(super) fn in_general(&self) -> Self {
        let target = match &self.target {
            Target::Path { .. } => Target::Path {
                vip: Ipv4Addr::UNSPECIFIED.into(),
                port: 0,
            },
            Target::Application { request, .. } => Target::Application {
                port: 0,
                request: request.clone(),
            },
        };
        Self {
            target,
            ..self.clone()
        }
    }

    /// None of the checks of `address` sorts before this one.
    pub(super) fn first_of(address: IpAddr) -> Self {
        Self {
            address,
            target: Target::Path {
                vip: Ipv4Addr::UNSPECIFIED.into(),
                port: 0,
            },
            timers: CheckTimers {
                interval_ms: 0,
                timeout_ms: 0,
                rise: 0,
                fall: 0,
            },
        }
    }
}

/// Without VIP and port, so that reports of many VIPs and ports have the same words.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Path { .. } => f.write_str("the check of the direct path"),
            Target::Application { request, .. } => write!(f, "the check {request}"),
        }
    }
}
