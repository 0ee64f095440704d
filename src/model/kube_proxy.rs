//! kube-proxy in ipvs mode deletes IPVS services that are not its own, unless their addresses are in its excludeCIDRs
//! (`cleanLegacyService`, pkg/proxy/ipvs/proxier.go). This module decides whether it endangers a VIP.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Observed, Reason, Refusal};

/// The device that kube-proxy makes in ipvs mode, at its first sync (`defaultDummyDevice`).
const DEVICE: &str = "kube-ipvs0";
/// kube-proxy's name for this mode.
const IPVS: &str = "ipvs";
/// How many ranges a message names at most.
const NAMED: usize = 8;

/// What a user can do about the danger.
pub const PROXY_FIX: &str = "set ipvs.excludeCIDRs in kube-proxy's configuration to a range that holds all VIPs and restart it, or use its nftables or iptables mode";

/// kube-proxy's configuration, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KubeProxy {
    /// `mode`.
    pub mode: String,
    /// `ipvs.excludeCIDRs`.
    pub exclude_cidrs: Vec<IpNet>,
}

/// What kube-proxy on this node answers when asked for its configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ProxyAnswer {
    /// It has not been asked.
    #[default]
    NotAsked,
    /// No answer, or none that can be parsed.
    Silence,
    /// Its configuration.
    Config(KubeProxy),
}

/// How kube-proxy endangers a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProxyDanger {
    /// It is in ipvs mode; whether the VIP is excluded is unknown.
    Possible,
    /// It is in ipvs mode, and the VIP is not excluded: kube-proxy's next sync deletes its services.
    Certain,
    /// The VIP's services were deleted lately.
    Happening,
}

/// Whether the device of kube-proxy in ipvs mode exists: it runs in that mode, or did.
pub fn has_proxy_device(observed: &Observed) -> bool {
    observed.links.keys().any(|dev| dev.as_str() == DEVICE)
}

impl KubeProxy {
    /// Whether it leaves the services of `vip` alone.
    fn spares(&self, vip: IpAddr) -> bool {
        self.mode != IPVS || self.exclude_cidrs.iter().any(|net| net.contains(&vip))
    }

    /// Its `excludeCIDRs` as a list.
    pub fn excluded(&self) -> String {
        let named = self.exclude_cidrs.iter().take(NAMED);
        let mut texts: Vec<String> = named.map(ToString::to_string).collect();
        match self.exclude_cidrs.len().saturating_sub(NAMED) {
            0 if texts.is_empty() => texts.push("(none)".to_owned()),
            0 => {}
            more => texts.push(format!("{more} more")),
        }
        texts.join(", ")
    }
}

impl ProxyAnswer {
    /// Whether kube-proxy is in ipvs mode here. Its answer outranks the device, which outlasts a change of mode.
    pub fn is_ipvs(&self, device: bool) -> bool {
        match self {
            Self::NotAsked | Self::Silence => device,
            Self::Config(config) => config.mode == IPVS,
        }
    }

    /// How kube-proxy endangers `vip`. `device`: [`has_proxy_device`]. `vanished`: services of `vip` were found deleted
    /// lately, and not by directway.
    pub fn danger(&self, device: bool, vip: IpAddr, vanished: bool) -> Option<ProxyDanger> {
        let known = match self {
            // No guess, because the answer may refute it a moment later.
            Self::NotAsked => return None,
            Self::Silence if !device => return None,
            Self::Silence => ProxyDanger::Possible,
            Self::Config(config) if config.spares(vip) => return None,
            Self::Config(_) => ProxyDanger::Certain,
        };
        Some(if vanished {
            ProxyDanger::Happening
        } else {
            known
        })
    }

    /// The danger as a text for users; `danger` from [`Self::danger`].
    pub fn found(&self, danger: ProxyDanger) -> String {
        let excluded = match self {
            Self::NotAsked | Self::Silence => {
                "does not tell its excludeCIDRs on 127.0.0.1:10249/configz".to_owned()
            }
            Self::Config(config) => format!("has excludeCIDRs {}", config.excluded()),
        };
        let what = match danger {
            ProxyDanger::Possible => {
                "it deletes the IPVS services of every VIP that is not in them"
            }
            ProxyDanger::Certain => "at its next sync it deletes the VIP's IPVS services",
            ProxyDanger::Happening => {
                "the VIP's IPVS services were deleted, and put back by the agent"
            }
        };
        format!("kube-proxy is in ipvs mode and {excluded}: {what}")
    }

    /// The danger as a refusal, with what to do.
    pub fn explain(&self, danger: ProxyDanger) -> Refusal {
        let reason = match danger {
            ProxyDanger::Possible => Reason::KubeProxyUnknown,
            ProxyDanger::Certain => Reason::KubeProxyIpvs,
            ProxyDanger::Happening => Reason::KubeProxyDeletes,
        };
        Refusal::new(reason, format!("{}; {PROXY_FIX}", self.found(danger)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 100));

    fn says(mode: &str, cidrs: &[&str]) -> ProxyAnswer {
        ProxyAnswer::Config(KubeProxy {
            mode: mode.to_owned(),
            exclude_cidrs: cidrs.iter().map(|cidr| cidr.parse().unwrap()).collect(),
        })
    }

    #[test]
    fn what_kube_proxy_says_counts_more_than_the_device() {
        use ProxyDanger::{Certain, Happening, Possible};
        let (silence, not_asked) = (ProxyAnswer::Silence, ProxyAnswer::NotAsked);
        for (answer, device, vanished, expected) in [
            (&not_asked, true, false, None),
            (&silence, false, true, None),
            (&silence, true, false, Some(Possible)),
            (&silence, true, true, Some(Happening)),
            // A leftover of an earlier mode.
            (&says("iptables", &[]), true, true, None),
            (&says("nftables", &[]), true, false, None),
            (&says("ipvs", &[]), true, false, Some(Certain)),
            (&says("ipvs", &[]), true, true, Some(Happening)),
            // It has started, and not made its device yet.
            (&says("ipvs", &[]), false, false, Some(Certain)),
            (&says("ipvs", &["10.0.0.0/24"]), true, false, None),
            (&says("ipvs", &["10.0.0.100/32"]), true, true, None),
            (&says("ipvs", &["10.0.1.0/24"]), true, false, Some(Certain)),
            (&says("ipvs", &["::/0"]), true, false, Some(Certain)),
        ] {
            let found = answer.danger(device, VIP, vanished);
            assert_eq!(found, expected, "{answer:?} {device} {vanished}");
        }
    }

    #[test]
    fn every_danger_has_a_reason_of_its_own_and_a_fix() {
        let answer = says("ipvs", &["10.9.0.0/24"]);
        for (danger, reason) in [
            (ProxyDanger::Possible, "KubeProxyUnknown"),
            (ProxyDanger::Certain, "KubeProxyIPVS"),
            (ProxyDanger::Happening, "KubeProxyDeletes"),
        ] {
            let told = answer.explain(danger);
            assert_eq!(told.reason.name(), reason);
            let message = told.message;
            assert!(message.contains("10.9.0.0/24"), "{message}");
            assert!(message.contains("set ipvs.excludeCIDRs"), "{message}");
        }
        let many: Vec<String> = (0..9).map(|net| format!("10.{net}.0.0/16")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let told = says("ipvs", &many).explain(ProxyDanger::Certain).message;
        assert!(told.contains("10.7.0.0/16, 1 more:"), "{told}");
    }
}
