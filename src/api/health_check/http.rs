//! `spec.healthCheck.http`.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{
    super::{lists, rules},
    is_certificate_name,
};
use crate::model::{self, HttpMethod, HttpRequest};

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

fn default_path() -> String {
    "/".to_owned()
}

fn default_method() -> String {
    model::HttpMethod::Get.name().to_owned()
}

fn default_statuses() -> Vec<String> {
    vec!["200-399".to_owned()]
}

pub fn http_request(api: Option<&HttpCheck>, problems: &mut Vec<String>) -> Option<HttpRequest> {
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
            "spec.healthCheck.http.host: \"{host}\" is neither a host name nor an IPv4 address: write it as in shop.example or 192.0.2.10, with a port as in shop.example:8080"
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

/// RFC 9110 7.2. With type HTTPS it is the name that the certificate must have, too.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let is_port = |port: &str| {
        (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit())
    };
    is_certificate_name(name) && port.is_none_or(is_port)
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

pub fn http_of(request: &HttpRequest) -> HttpCheck {
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
