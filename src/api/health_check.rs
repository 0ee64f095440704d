//! `spec.healthCheck` as it is written by people, and as the model has it.

use std::sync::Arc;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{convert::collect, lists, rules, virtual_service::Port};
use crate::model::{
    self, ApplicationCheck, ApplicationRequest, CheckTimers, CheckType, HttpMethod, HttpRequest,
    Protocol,
};

/// How real servers are checked.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::timeout_is_shorter_than_interval())]
#[x_kube(validation = rules::http_belongs_to_its_type())]
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
    /// The port of that question. Default: every TCP port of the VirtualService.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i64>,
    /// The request of type HTTP, and the answer that is expected. Default: GET / and any status from 200 to 399.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCheck>,
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

/// An HTTP/1.1 request. Redirects are not followed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::a_body_needs_get())]
pub struct HttpCheck {
    /// Path and query.
    #[serde(default = "default_path")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = rules::is_path())]
    pub path: String,
    /// The Host header. Default: the real server's address and the port.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::is_host())]
    pub host: Option<String>,
    /// The request's method.
    #[serde(default = "default_method")]
    #[schemars(extend("enum" = lists::http_methods()))]
    pub method: String,
    /// Status codes of a good answer: single ones, or the first and the last of several, such as 200-299. Default: 200-399.
    #[serde(default = "default_statuses")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 3, max = 7)))]
    #[x_kube(validation = rules::are_statuses())]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub expected_statuses: Vec<String>,
    /// A text that the first 64 KiB of the body must contain. Default: anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub expected_body: Option<String>,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            direct_path: default_true(),
            type_: default_check(),
            port: None,
            http: None,
            interval_seconds: default_interval(),
            timeout_seconds: default_timeout(),
            rise: default_rise(),
            fall: default_fall(),
        }
    }
}

impl Default for HttpCheck {
    fn default() -> Self {
        Self {
            path: default_path(),
            host: None,
            method: default_method(),
            expected_statuses: default_statuses(),
            expected_body: None,
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

fn default_path() -> String {
    "/".to_owned()
}

fn default_method() -> String {
    model::HttpMethod::Get.name().to_owned()
}

fn default_statuses() -> Vec<String> {
    vec!["200-399".to_owned()]
}

/// Checks what the schema cannot express. `None` comes with at least one entry in `problems`.
pub(super) fn health_check(
    api: &HealthCheck,
    ports: &[Port],
    problems: &mut Vec<String>,
) -> Option<model::HealthCheck> {
    let before = problems.len();
    let has_tcp = ports
        .iter()
        .any(|port| port.protocol == Protocol::Tcp.name());
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
    };
    if api.http.is_some() && kind != CheckType::Http.name() {
        problems.push(format!(
            "spec.healthCheck.http: does not belong to type {kind}: use type HTTP, or remove it"
        ));
    }
    match api.port {
        Some(port) if kind == CheckType::None.name() => problems.push(format!(
            "spec.healthCheck.port: {port} has nothing to check with type None: use type TCP or HTTP, or remove it"
        )),
        None if kind != CheckType::None.name() && !has_tcp => problems.push(format!(
            "spec.healthCheck.type: {kind} needs a TCP port, and spec.ports has none: name one in spec.healthCheck.port, or use None"
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

fn http_request(api: Option<&HttpCheck>, problems: &mut Vec<String>) -> Option<HttpRequest> {
    let default = HttpCheck::default();
    let api = api.unwrap_or(&default);
    let before = problems.len();
    let HttpCheck {
        path,
        host,
        method,
        expected_statuses,
        expected_body,
    } = api;
    if !is_path(path) {
        problems.push(format!(
            "spec.healthCheck.http.path: \"{path}\" is not the path of a URL: begin with \"/\", and write other characters than letters, digits and punctuation as %XX"
        ));
    }
    if let Some(host) = host.as_ref().filter(|host| !is_host(host)) {
        problems.push(format!(
            "spec.healthCheck.http.host: \"{host}\" is not a host name: use letters, digits, \".\", \"-\" and, before a port, \":\""
        ));
    }
    let statuses = expected_statuses.iter().filter_map(|text| {
        let range = statuses(text);
        if range.is_none() {
            problems.push(format!(
                "spec.healthCheck.http.expectedStatuses: \"{text}\" is not a status code or a range of them: write 200 or 200-299, from 100 to 599"
            ));
        }
        range
    });
    let statuses = statuses.collect();
    let Some(method) = HttpMethod::from_name(method) else {
        problems.push(format!(
            "spec.healthCheck.http.method: \"{method}\" is none"
        ));
        return None;
    };
    if expected_body.is_some() && method != HttpMethod::Get {
        problems.push(format!(
            "spec.healthCheck.http.expectedBody: method {method} gets no body: use GET, or remove it"
        ));
    }
    (problems.len() == before).then(|| HttpRequest {
        method,
        path: path.clone(),
        host: host.clone(),
        statuses,
        body: expected_body.clone(),
    })
}

/// RFC 3986 3.3 and 3.4.
fn is_path(text: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!$&'()*+,-./:;=?@_~%".contains(&byte);
    text.starts_with('/') && text.bytes().all(allowed)
}

/// RFC 9110 7.2.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    let is_port = |port: &str| {
        (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit())
    };
    !name.is_empty() && name.bytes().all(in_name) && port.is_none_or(is_port)
}

/// `200` or `200-299`.
fn statuses(text: &str) -> Option<(u16, u16)> {
    let code = |text: &str| {
        let is_number = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        let code = text.parse().ok().filter(|_| is_number)?;
        (100..=599).contains(&code).then_some(code)
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (code(first)?, code(last)?);
    (first <= last).then_some((first, last))
}

/// The object that [`health_check`] reads as `check`.
pub(super) fn api_of(check: &model::HealthCheck) -> HealthCheck {
    let model::HealthCheck {
        direct_path,
        application,
        timers,
    } = check;
    let kind = match application.as_ref().map(|it| &it.request) {
        None => CheckType::None,
        Some(ApplicationRequest::Tcp) => CheckType::Tcp,
        Some(ApplicationRequest::Http(_)) => CheckType::Http,
    };
    let http = application.as_ref().and_then(|it| match &it.request {
        ApplicationRequest::Tcp => None,
        ApplicationRequest::Http(http) => Some(http_of(http)),
    });
    HealthCheck {
        direct_path: *direct_path,
        type_: kind.name().to_owned(),
        port: application.as_ref().and_then(|it| it.port).map(i64::from),
        http,
        interval_seconds: i64::from(timers.interval_ms / 1000),
        timeout_seconds: i64::from(timers.timeout_ms / 1000),
        rise: timers.rise.into(),
        fall: timers.fall.into(),
    }
}

fn http_of(request: &HttpRequest) -> HttpCheck {
    let statuses = request.statuses.iter();
    let statuses = statuses.map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    HttpCheck {
        path: request.path.clone(),
        host: request.host.clone(),
        method: request.method.name().to_owned(),
        expected_statuses: statuses.collect(),
        expected_body: request.body.clone(),
    }
}
