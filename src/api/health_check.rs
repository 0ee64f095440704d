//! `spec.healthCheck` as it is written by people, and as the model has it: `http`, `tls` and `dns` are parts of it.

mod dns;
mod http;
mod tls;

use std::{net::IpAddr, sync::Arc};

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use self::{
    dns::{DnsCheck, dns_name},
    http::{HttpCheck, http_of, http_request},
    tls::{TlsCheck, https_request, tls_of},
};
use super::{convert::collect, lists, rules, virtual_service::Port};
use crate::model::{
    self, ApplicationCheck, ApplicationRequest, CheckTimers, CheckType, Protocol, listed,
};

pub use self::tls::{InvalidCa, authorities};

/// How real servers are checked.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::timeout_is_shorter_than_interval())]
#[x_kube(validation = rules::http_belongs_to_its_types())]
#[x_kube(validation = rules::tls_belongs_to_its_type())]
#[x_kube(validation = rules::dns_belongs_to_its_type())]
#[x_kube(validation = rules::https_needs_a_ca())]
#[x_kube(validation = rules::dns_needs_a_name())]
#[x_kube(validation = rules::a_check_port_has_a_check())]
pub struct HealthCheck {
    /// Whether each director sends a SYN for every TCP port of the VIP to the real server's MAC, as a client's packet would
    /// come. That shows that the VIP is bound there, that an application listens and that no firewall drops the packet.
    #[serde(default = "default_true")]
    pub direct_path: bool,
    /// What each director asks the application besides, at the real server's own address.
    #[serde(rename = "type", default = "default_check")]
    #[schemars(description = lists::check_type(), extend("enum" = lists::check_types()))]
    pub type_: String,
    /// The port of that question. Default: every TCP port of the VirtualService; for type DNS, every UDP port, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i64>,
    /// The request of types HTTP and HTTPS, and the answer that is expected. Default: GET / and any status from 200 to 399.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCheck>,
    /// How type HTTPS verifies the real server's certificate. It does so by the CAs that are named here alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsCheck>,
    /// The query of type DNS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsCheck>,
    /// The seconds from one check to the next. With more than 2,000 checks a second they become more.
    #[serde(default = "default_interval")]
    #[schemars(range(min = 1, max = 3600))]
    pub interval_seconds: i64,
    /// For how many seconds an answer is waited.
    #[serde(default = "default_timeout")]
    #[schemars(range(min = 1, max = 60))]
    pub timeout_seconds: i64,
    /// How many checks in a row a real server that failed has to pass before it gets connections again: twice, four or
    /// eight times as many if it fails again within a minute.
    #[serde(default = "default_rise")]
    #[schemars(range(min = 1, max = 16))]
    pub rise: i64,
    /// How many checks in a row a real server has to fail before it gets no new connections.
    #[serde(default = "default_fall")]
    #[schemars(range(min = 1, max = 16))]
    pub fall: i64,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            direct_path: default_true(),
            type_: default_check(),
            port: None,
            http: None,
            tls: None,
            dns: None,
            interval_seconds: default_interval(),
            timeout_seconds: default_timeout(),
            rise: default_rise(),
            fall: default_fall(),
        }
    }
}

fn default_true() -> bool {
    true
}

fn default_check() -> String {
    model::CheckType::None.name().to_owned()
}

fn default_interval() -> i64 {
    i64::from(model::CheckTimers::DEFAULT.interval_ms / 1000)
}

fn default_timeout() -> i64 {
    i64::from(model::CheckTimers::DEFAULT.timeout_ms / 1000)
}

fn default_rise() -> i64 {
    model::CheckTimers::DEFAULT.rise.into()
}

fn default_fall() -> i64 {
    model::CheckTimers::DEFAULT.fall.into()
}

/// Checks what the schema cannot express. `None` comes with at least one entry in `problems`.
pub(super) fn health_check(
    api: &HealthCheck,
    ports: &[Port],
    problems: &mut Vec<String>,
) -> Option<model::HealthCheck> {
    let before = problems.len();
    let kind = &api.type_;
    if api.timeout_seconds > api.interval_seconds {
        problems.push(format!(
            "spec.healthCheck.timeoutSeconds: {} is longer than intervalSeconds, {}: use that or less",
            api.timeout_seconds, api.interval_seconds
        ));
    }
    let request = match CheckType::from_name(kind) {
        // The schema has refused it already.
        None => {
            problems.push(format!("spec.healthCheck.type: \"{kind}\" is no type"));
            None
        }
        Some(CheckType::None) => None,
        Some(CheckType::Tcp) => Some(ApplicationRequest::Tcp),
        Some(CheckType::Http) => http_request(api.http.as_ref(), problems)
            .map(|request| ApplicationRequest::Http(Arc::new(request))),
        Some(CheckType::Https) => https_request(api.http.as_ref(), api.tls.as_ref(), problems)
            .map(|request| ApplicationRequest::Https(Arc::new(request))),
        Some(CheckType::Dns) => dns_name(api.dns.as_ref(), problems).map(ApplicationRequest::Dns),
    };
    for (field, given, types) in [
        ("http", api.http.is_some(), lists::http_types()),
        ("tls", api.tls.is_some(), lists::tls_types()),
        ("dns", api.dns.is_some(), lists::dns_types()),
    ] {
        if given && !types.contains(&kind.as_str()) {
            problems.push(format!(
                "spec.healthCheck.{field}: does not belong to type {kind}: use type {}, or remove it",
                listed(&types, "or")
            ));
        }
    }
    let protocols = CheckType::from_name(kind).map_or(&[] as &[Protocol], CheckType::protocols);
    let protocols: Vec<&str> = protocols.iter().map(|it| it.name()).collect();
    let fits = |port: &Port| protocols.contains(&port.protocol.as_str());
    match api.port {
        Some(port) if kind == CheckType::None.name() => problems.push(format!(
            "spec.healthCheck.port: {port} has nothing to check with type None: use type {}, or remove it",
            listed(&lists::asking_types(), "or")
        )),
        None if !protocols.is_empty() && !ports.iter().any(fits) => problems.push(format!(
            "spec.healthCheck.type: {kind} needs a {} port, and spec.ports has none: name one in spec.healthCheck.port, or use None",
            listed(&protocols, "or")
        )),
        Some(_) | None => {}
    }
    let mut field = |name: &str, value: i64| {
        let field = format!("spec.healthCheck.{name}");
        collect(u16::try_from(value), &field, problems)
    };
    let port = api.port.map(|port| field("port", port));
    let interval = field("intervalSeconds", api.interval_seconds)?;
    let timeout = field("timeoutSeconds", api.timeout_seconds)?;
    let rise = field("rise", api.rise)?;
    let fall = field("fall", api.fall)?;
    let timers = CheckTimers {
        interval_ms: u32::from(interval) * 1000,
        timeout_ms: u32::from(timeout) * 1000,
        rise: collect(u8::try_from(rise), "spec.healthCheck.rise", problems)?,
        fall: collect(u8::try_from(fall), "spec.healthCheck.fall", problems)?,
    };
    let port = match port {
        Some(port) => Some(port?),
        None => None,
    };
    let application = request.map(|request| ApplicationCheck { port, request });
    (problems.len() == before).then_some(model::HealthCheck {
        direct_path: api.direct_path,
        application,
        timers,
    })
}

/// The object that [`health_check`] reads as `check`.
pub(super) fn api_of(check: &model::HealthCheck) -> HealthCheck {
    let model::HealthCheck {
        direct_path,
        application,
        timers,
    } = check;
    let request = application.as_ref().map(|it| &it.request);
    let kind = request.map_or(CheckType::None, ApplicationRequest::kind);
    let (http, tls, dns) = match request {
        None | Some(ApplicationRequest::Tcp) => (None, None, None),
        Some(ApplicationRequest::Http(http)) => (Some(http_of(http)), None, None),
        Some(ApplicationRequest::Https(https)) => {
            (Some(http_of(&https.http)), Some(tls_of(https)), None)
        }
        Some(ApplicationRequest::Dns(name)) => {
            let name = name.to_string();
            (None, None, Some(DnsCheck { name }))
        }
    };
    HealthCheck {
        direct_path: *direct_path,
        type_: kind.name().to_owned(),
        port: application.as_ref().and_then(|it| it.port).map(i64::from),
        http,
        tls,
        dns,
        interval_seconds: i64::from(timers.interval_ms / 1000),
        timeout_seconds: i64::from(timers.timeout_ms / 1000),
        rise: timers.rise.into(),
        fall: timers.fall.into(),
    }
}

/// Whether this is the name of a host or a domain (RFC 1035 2.3.1; with `_`, which is in names of services).
fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

/// Whether a certificate can have this name: a host's, or an address.
fn is_certificate_name(text: &str) -> bool {
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    let is_numeric = text.rsplit('.').next().is_some_and(is_number);
    text.parse::<IpAddr>().is_ok() || (is_name(text) && !is_numeric)
}
