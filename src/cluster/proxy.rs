//! Whether the API server would be reached through a proxy, which directway does not do.
//!
//! The rules are those of kubectl: `proxy-url` of the kubeconfig counts for itself, and the variable `HTTPS_PROXY` unless
//! `NO_PROXY` names the server. In a pod none of them counts.

use std::net::IpAddr;

use kube::Config;

/// Removes a proxy that does not apply.
///
/// # Errors
/// One applies.
pub(super) fn check(
    config: &mut Config,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(), String> {
    let Some(proxy) = config.proxy_url.take() else {
        return Ok(());
    };
    let either = |upper: &str, lower: &str| variable(upper).or_else(|| variable(lower));
    let server = &config.cluster_url;
    let https_proxy = either("HTTPS_PROXY", "https_proxy").and_then(|it| it.parse().ok());
    if https_proxy.as_ref() != Some(&proxy) {
        return Err(format!(
            "the kubeconfig's proxy-url is {proxy}, and directway uses no proxies: use a kubeconfig without it where the API server can be reached directly, or `kubectl proxy`"
        ));
    }
    let host = server.host().unwrap_or_default();
    let no_proxy = either("NO_PROXY", "no_proxy").unwrap_or_default();
    let port = server.port_u16().unwrap_or(443);
    if is_exempt(host.trim_matches(['[', ']']), port, &no_proxy) {
        return Ok(());
    }
    Err(format!(
        "HTTPS_PROXY is {proxy}, and directway uses no proxies: name {host} in NO_PROXY if it can be reached directly"
    ))
}

/// Whether a server is reached directly according to `NO_PROXY`, by the rules of Go's `httpproxy`: names with their
/// subdomains, addresses, networks, each with or without a port; `*` is every server, and this host always is.
fn is_exempt(host: &str, port: u16, no_proxy: &str) -> bool {
    let address: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    let entries = no_proxy.split(',').map(str::trim);
    entries.filter(|entry| !entry.is_empty()).any(|entry| {
        if entry == "*" {
            return true;
        }
        if let (Some(address), Some(network)) = (address, network(entry)) {
            return is_in(address, network);
        }
        let (name, only) = match entry.rsplit_once(':') {
            Some((name, only)) if !name.contains(':') || name.ends_with(']') => (name, Some(only)),
            Some(_) | None => (entry, None),
        };
        if only.is_some_and(|only| only.parse() != Ok(port)) {
            return false;
        }
        let name = name.trim_matches(['[', ']']);
        match address {
            Some(address) => name.parse() == Ok(address),
            None => {
                let (host, name) = (host.to_ascii_lowercase(), name.to_ascii_lowercase());
                let domain = name.trim_start_matches("*.").trim_start_matches('.');
                let is_below = host
                    .strip_suffix(domain)
                    .is_some_and(|it| it.ends_with('.'));
                is_below || (host == domain && !name.starts_with('.'))
            }
        }
    })
}

fn network(entry: &str) -> Option<(IpAddr, u32)> {
    let (address, length) = entry.split_once('/')?;
    Some((address.parse().ok()?, length.parse().ok()?))
}

fn is_in(address: IpAddr, (network, length): (IpAddr, u32)) -> bool {
    let equal_bits = match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    equal_bits >= length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_names_hosts_domains_addresses_and_networks() {
        for (host, no_proxy, exempt) in [
            ("api.example.com", "", false),
            ("api.example.com", "*", true),
            ("api.example.com", "other.org, example.com", true),
            ("api.example.com", ".example.com", true),
            ("api.example.com", "*.example.com", true),
            ("API.example.com", "api.EXAMPLE.com:6443", true),
            ("api.example.com", "api.example.com:443", false),
            ("api.badexample.com", "example.com", false),
            ("example.com", ".example.com", false),
            ("10.0.0.1", "10.0.0.0/8", true),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.1:6443", true),
            ("10.0.0.1", "10.0.0.10, 11.0.0.0/8, fd00::/8", false),
            ("fd00::1", "fd00::/8", true),
            ("fd00::1", "[fd00::1]:6443", true),
            ("127.0.0.1", "", true),
            ("localhost", "", true),
        ] {
            assert_eq!(is_exempt(host, 6443, no_proxy), exempt, "{host} {no_proxy}");
        }
    }

    #[test]
    fn a_proxy_that_applies_is_refused_by_its_name() {
        let checked = |proxy: Option<&str>, variables: &[(&str, &str)]| {
            let mut config = Config::new("https://10.0.0.1:6443".parse().unwrap());
            config.proxy_url = proxy.map(|it| it.parse().unwrap());
            let variable = |name: &str| {
                let mut found = variables.iter().filter(|(known, _)| *known == name);
                found.next().map(|(_, value)| (*value).to_owned())
            };
            check(&mut config, variable).map(|()| assert!(config.proxy_url.is_none()))
        };
        let proxy = "http://proxy:3128";
        assert_eq!(checked(None, &[("HTTPS_PROXY", proxy)]), Ok(()));
        let both = [("HTTPS_PROXY", proxy), ("NO_PROXY", "10.0.0.0/8")];
        assert_eq!(checked(Some(proxy), &both), Ok(()));
        let error = checked(Some(proxy), &both[..1]).unwrap_err();
        assert!(error.contains("name 10.0.0.1 in NO_PROXY"), "{error}");
        let error = checked(Some("socks5://other:1080"), &both).unwrap_err();
        assert!(
            error.contains("proxy-url is socks5://other:1080"),
            "{error}"
        );
    }
}
