//! Asks the node's kube-proxy for its configuration: /configz of its metrics address, which an agent in the node's network
//! reaches without any rights. Whoever listens there may say what it likes: it is only ever told, never acted on.

use std::{net::SocketAddr, time::Duration};

use serde::Deserialize;
use tokio::{sync::watch, time::Instant};

use super::Trigger;
use crate::{
    http,
    model::{KubeProxy, ProxyAnswer},
};

/// The default of `metricsBindAddress`, by family; one for all addresses is reached here too.
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
/// Real ones have 3 KiB.
const LIMIT: u64 = 64 << 10;
const TIMEOUT: Duration = Duration::from_secs(2);
/// How often it is asked: it may come back with another configuration.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long its last answer counts while it says nothing, as during a restart.
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
            // One that cannot be read excludes nothing.
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

/// What kube-proxy on this node says of itself.
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

/// Asks again and again while there is `reason` to; another answer is worth a pass. Ends with who gives the reason.
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
