use std::str::FromStr;

use super::words;

words! {
    /// A setting of the node's IPVS (`net.ipv4.vs.NAME`) that directway sets if it is configured.
    ///
    /// Only settings that can help direct routing and that affect nothing but IPVS: see the kernel's
    /// Documentation/networking/ipvs-sysctl.rst. They apply to foreign services too, so directway sets none by default.
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
