//! Asks the node's kube-proxy for its configuration: /configz of its metrics address, for which an agent in the node's
//! network needs no rights. Any program may listen there, so the answer is only reported, never acted on.

use std::{net::SocketAddr, time::Duration};

use serde::Deserialize;
use tokio::{sync::watch, time::Instant};

use super::Trigger;
use crate::{
    http,
    model::{KubeProxy, ProxyAnswer},
};

/// The default of `metricsBindAddress`, by family; these also reach a kube-proxy that listens on all addresses.
const ADDRESSES: [SocketAddr; 2] = [
    SocketAddr::new(
        std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        DEFAULT_PORT,
    ),
    SocketAddr::new(
        std::net::IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        DEFAULT_PORT,
    ),
];
const DEFAULT_PORT: u16 = 10249;
const PATH: &str = "/configz";
/// In bytes; real answers have 3 KiB.
const LIMIT: u64 = 64 << 10;
const TIMEOUT: Duration = Duration::from_secs(2);
/// How often kube-proxy is asked, because it may restart with another configuration.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long kube-proxy's last answer counts while it does not answer, as during a restart.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The answer to `/configz`: configurations by group.
#[derive(Deserialize)]
struct Configz {
    #[serde(rename = "kubeproxy.config.k8s.io")]
    kube_proxy: Config,
}

/// As in `kubeproxy.config.k8s.io/v1alpha1`; before Kubernetes 1.36, /configz used the names of Go's fields
/// (kubernetes#137426).
#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    #[serde(alias = "Mode")]
    mode: String,
    #[serde(alias = "IPVS")]
    ipvs: ConfigIpvs,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ConfigIpvs {
    #[serde(rename = "excludeCIDRs", alias = "ExcludeCIDRs")]
    exclude_cidrs: Option<Vec<String>>,
}

impl From<Config> for KubeProxy {
    fn from(config: Config) -> Self {
        let cidrs = config.ipvs.exclude_cidrs.unwrap_or_default();
        Self {
            mode: config.mode,
            // A CIDR that cannot be parsed excludes nothing.
            exclude_cidrs: cidrs.iter().filter_map(|cidr| cidr.parse().ok()).collect(),
        }
    }
}

/// Reads a configuration file of kube-proxy.
pub fn parse_config(text: &str) -> Option<KubeProxy> {
    serde_saphyr::from_str::<Config>(text).ok().map(Into::into)
}

fn parse_configz(text: &str) -> Option<KubeProxy> {
    let answer: Configz = serde_json::from_str(text).ok()?;
    Some(answer.kube_proxy.into())
}

/// Asks kube-proxy on this node for its configuration.
pub async fn ask() -> ProxyAnswer {
    for address in ADDRESSES {
        let answer = http::get(address, PATH, LIMIT, TIMEOUT).await;
        if let Ok(answer) = answer
            && answer.is_ok()
            && let Some(config) = parse_configz(&answer.body)
        {
            return ProxyAnswer::Config(config);
        }
    }
    ProxyAnswer::Silence
}

/// Asks every `INTERVAL` while `reason` is true; a new answer triggers a pass. Ends when `reason` has no sender left.
pub async fn follow(
    mut reason: watch::Receiver<bool>,
    answers: watch::Sender<ProxyAnswer>,
    trigger: Trigger,
) {
    let mut heard: Option<Instant> = None;
    loop {
        let answer = if *reason.borrow_and_update() {
            ask().await
        } else {
            ProxyAnswer::NotAsked
        };
        if let ProxyAnswer::Config(_) = answer {
            heard = Some(Instant::now());
        }
        let keeps = answer == ProxyAnswer::Silence
            && heard.is_some_and(|heard| heard.elapsed() < REMEMBERED);
        let is_news = !keeps
            && answers.send_if_modified(|last| {
                let other = *last != answer;
                *last = answer.clone();
                other
            });
        if is_news {
            trigger.kernel();
        }
        let asking = answer != ProxyAnswer::NotAsked;
        tokio::select! {
            () = tokio::time::sleep(INTERVAL), if asking => {}
            changed = reason.changed() => if changed.is_err() { return },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_its_configuration_is_understood() {
        let expected = KubeProxy {
            mode: "ipvs".to_owned(),
            exclude_cidrs: vec!["10.0.0.0/24".parse().unwrap()],
        };
        let file = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nmode: ipvs\nipvs:\n  excludeCIDRs: [10.0.0.0/24, nonsense]\n  strictARP: true\n";
        assert_eq!(parse_config(file).unwrap(), expected);
        let answer = r#"{"kubeproxy.config.k8s.io":{"kind":"KubeProxyConfiguration","mode":"ipvs","iptables":{"masqueradeBit":14},"ipvs":{"syncPeriod":"30s","excludeCIDRs":["10.0.0.0/24"],"strictARP":false}}}"#;
        assert_eq!(parse_configz(answer).unwrap(), expected);
        let before = r#"{"kubeproxy.config.k8s.io":{"FeatureGates":{},"Mode":"ipvs","IPVS":{"Scheduler":"","ExcludeCIDRs":["10.0.0.0/24"]}}}"#;
        assert_eq!(parse_configz(before).unwrap(), expected);
        let empty = r#"{"kubeproxy.config.k8s.io":{"mode":"","ipvs":{"excludeCIDRs":null}}}"#;
        assert_eq!(parse_configz(empty), Some(KubeProxy::default()));
        for other in [
            "",
            "{}",
            "[]",
            r#"{"kubeletconfig":{}}"#,
            r#"{"kubeproxy.config.k8s.io":{"mode":7}}"#,
        ] {
            assert_eq!(parse_configz(other), None, "{other}");
        }
    }
}
