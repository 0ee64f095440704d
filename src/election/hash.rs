use std::net::IpAddr;

use crate::model::NodeName;

/// How well a director suits a VIP: rendezvous hashing gives the VIP to the one that scores highest.
///
/// A hash that stays the same over releases and machines: FNV-1a over the address (an IPv4 one as its mapped IPv6 address)
/// and the name, finished with splitmix64 because FNV alone leaves the high bits of short inputs alike.
pub fn score(vip: IpAddr, name: &NodeName) -> u64 {
    let vip = match vip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let bytes = vip.octets().into_iter().chain(name.0.bytes());
    let fnv = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Directors of different releases must agree, so these numbers never change.
    #[test]
    fn scores_stay_the_same_over_releases() {
        let of = |vip: &str, name: &str| score(vip.parse().unwrap(), &name.into());
        assert_eq!(of("192.168.188.120", "node-a"), 0x4b28_1c71_e514_2c6c);
        assert_eq!(of("192.168.188.120", "node-b"), 0xdd22_74f6_b3a3_d5d7);
        assert_eq!(of("2001:db8::1", "node-a"), 0xe99c_6139_9d90_b36f);
    }
}
