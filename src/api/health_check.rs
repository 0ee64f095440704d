//! `spec.healthCheck` → model, and back.

use std::sync::Arc;

use super::{
    convert::collect,
    virtual_service::{HealthCheck, HttpCheck, Port},
};
use crate::model::{
    self, ApplicationCheck, ApplicationRequest, CheckTimers, CheckType, HttpMethod, HttpRequest,
    Protocol,
};

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
