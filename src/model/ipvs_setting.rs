use std::str::FromStr;

use super::words;

words! {
    /// A setting of the node's IPVS that directway sets if it is configured: `net.ipv4.vs.NAME`, or one of the timeouts of
    /// `ipvsadm --set`.
    ///
    /// Only settings that can help direct routing and that affect nothing but IPVS: see the kernel's
    /// Documentation/networking/ipvs-sysctl.rst. They apply to foreign services too, so directway sets only one by default:
    /// [`DEFAULT_TCP_TIMEOUT`].
    pub enum IpvsSetting {
        /// A client that comes again from the same port is scheduled anew (2, 3), or sent where it was before (0, 1).
        ConnReuseMode = "conn_reuse_mode",
        /// A connection whose destination is gone ends at its next packet, instead of being dropped silently; and a client that
        /// comes again from the same port is scheduled anew if its destination is gone or has no weight.
        ExpireNodestConn = "expire_nodest_conn",
        /// A persistent client leaves a real server that has lost its weight.
        ExpireQuiescentTemplate = "expire_quiescent_template",
        /// ICMP errors find their real server although no connection is known: path MTU discovery after a takeover.
        ScheduleIcmp = "schedule_icmp",
        /// Any segment but a RST makes a connection entry: connections outlive their director.
        SloppyTcp = "sloppy_tcp",
        /// The packet at which a connection is first sent to the other directors; it is sent again after every so many
        /// more. The kernel keeps both numbers here; directway sets the first alone (`proc_do_sync_threshold`).
        SyncThreshold = "sync_threshold",
        /// After how many seconds without a packet an established TCP connection is forgotten.
        TcpTimeout = "tcp_timeout",
        /// The same after a FIN.
        TcpfinTimeout = "tcpfin_timeout",
        /// After how many seconds without a datagram a client's port is forgotten.
        UdpTimeout = "udp_timeout",
    }
}

/// In seconds. The kernel's 900 are less than what a connection without traffic needs to be kept alive: by default, TCP
/// sends the first probe after 7200 s and the last one 9 × 75 s later (net/ipv4/tcp.h).
pub const DEFAULT_TCP_TIMEOUT: u32 = 8000;
/// In seconds (`ip_vs_set_timeout`, net/netfilter/ipvs/ip_vs_ctl.c, with 1000 ticks a second).
const MAX_TIMEOUT: u32 = 2_147_483;

impl IpvsSetting {
    /// Whether it is one of the timeouts, which are set over netlink. 0 stands for "as it is".
    pub fn is_timeout(self) -> bool {
        match self {
            Self::TcpTimeout | Self::TcpfinTimeout | Self::UdpTimeout => true,
            Self::ConnReuseMode
            | Self::ExpireNodestConn
            | Self::ExpireQuiescentTemplate
            | Self::ScheduleIcmp
            | Self::SloppyTcp
            | Self::SyncThreshold => false,
        }
    }

    /// Whether the kernel accepts `value`; if not, what to use.
    pub fn check(self, value: u32) -> Result<(), String> {
        if self.is_timeout() && value > MAX_TIMEOUT {
            return Err(format!(
                "{self}={value}: use at most {MAX_TIMEOUT} seconds, or 0 to leave it as it is"
            ));
        }
        Ok(())
    }
}

/// A name that is none of [`IpvsSetting::ALL`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no setting that directway sets; use one of {all}", all = IpvsSetting::ALL.map(IpvsSetting::name).join(" "))]
pub struct UnknownIpvsSetting(String);

impl FromStr for IpvsSetting {
    type Err = UnknownIpvsSetting;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::from_name(name).ok_or_else(|| UnknownIpvsSetting(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_known_by_its_name() {
        for setting in IpvsSetting::ALL {
            assert_eq!(setting.to_string().parse(), Ok(setting));
        }
        let error = "conntrack".parse::<IpvsSetting>().unwrap_err().to_string();
        assert!(
            error.contains("conntrack") && error.contains("sloppy_tcp"),
            "{error}"
        );
    }
}
