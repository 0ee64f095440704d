use std::{fmt, sync::Arc, time::Duration};

use super::{Protocol, words};

/// How the directors find out whether a real server serves its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Whether the way of the clients' packets is checked: a SYN for the VIP is sent to the real server's MAC. TCP only.
    pub direct_path: bool,
    /// What the application is asked besides, at the real server's own address.
    pub application: Option<ApplicationCheck>,
    /// How often, and how many results count.
    pub timers: CheckTimers,
}

impl HealthCheck {
    /// No check at all.
    pub const NONE: Self = Self {
        direct_path: false,
        application: None,
        timers: CheckTimers::DEFAULT,
    };
}

/// A question to an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplicationCheck {
    /// The port; `None` = each port of the VirtualService that has one of [`CheckType::protocols`].
    pub port: Option<u16>,
    /// What is asked.
    pub request: ApplicationRequest,
}

/// What an application is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ApplicationRequest {
    /// To accept a TCP connection.
    Tcp,
    /// To answer an HTTP request.
    Http(Arc<HttpRequest>),
    /// To answer one inside TLS.
    Https(Arc<HttpsRequest>),
    /// To answer a DNS query for this name by UDP.
    Dns(Arc<str>),
}

impl ApplicationRequest {
    /// What it is called in `spec.healthCheck.type`.
    pub fn kind(&self) -> CheckType {
        match self {
            Self::Tcp => CheckType::Tcp,
            Self::Http(_) => CheckType::Http,
            Self::Https(_) => CheckType::Https,
            Self::Dns(_) => CheckType::Dns,
        }
    }
}

words! {
    /// The kinds of requests, as in `spec.healthCheck.type`.
    pub enum CheckType {
        /// The application is not asked.
        None = "None",
        /// It accepts a connection.
        Tcp = "TCP",
        /// It answers an HTTP request.
        Http = "HTTP",
        /// It answers one inside TLS.
        Https = "HTTPS",
        /// It answers a DNS query.
        Dns = "DNS",
    }
}

impl CheckType {
    /// Of ports with these protocols, it is the same port that is asked.
    pub fn protocols(self) -> &'static [Protocol] {
        match self {
            Self::None => &[],
            Self::Tcp | Self::Http | Self::Https => &[Protocol::Tcp],
            // Name servers answer on one port by both.
            Self::Dns => &[Protocol::Tcp, Protocol::Udp],
        }
    }
}

words! {
    /// The method of a request.
    pub enum HttpMethod {
        /// The body is sent.
        Get = "GET",
        /// It is not.
        Head = "HEAD",
    }
}

/// An HTTP/1.1 request and the answer that it should get.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HttpRequest {
    /// GET or HEAD.
    pub method: HttpMethod,
    /// Path and query, from `/` on.
    pub path: String,
    /// The Host header; `None` = the real server's address and port.
    pub host: Option<String>,
    /// The good status codes, as ranges with both ends.
    pub statuses: Vec<(u16, u16)>,
    /// What the first [`Self::MAX_BODY`] bytes of the body must contain; `None` = anything.
    pub body: Option<String>,
}

impl HttpRequest {
    /// How many bytes of a body are read.
    pub const MAX_BODY: usize = 64 * 1024;

    /// Whether an answer with this status is a good one.
    pub fn accepts(&self, status: u16) -> bool {
        let mut ranges = self.statuses.iter();
        ranges.any(|(first, last)| (*first..=*last).contains(&status))
    }
}

/// An HTTP request inside TLS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HttpsRequest {
    /// What is asked.
    pub http: HttpRequest,
    /// The name that the certificate must have; `None` = see [`Self::name`].
    pub server_name: Option<String>,
    /// How the certificate is verified. It can be long, so it is compared last.
    pub verification: Verification,
}

impl HttpsRequest {
    /// The name that the certificate must have: the one that was chosen, or that of the Host header; `None` = the real
    /// server's address.
    pub fn name(&self) -> Option<&str> {
        let host = self.http.host.as_deref();
        let of_host = host.map(|host| host.split_once(':').map_or(host, |(name, _)| name));
        self.server_name.as_deref().or(of_host)
    }
}

/// How the certificate of a real server is verified.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verification {
    /// It is not.
    Off,
    /// One of these CAs has signed it: their certificates in PEM.
    ByCa(Arc<str>),
}

/// When checks are made, and how many results in a row count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CheckTimers {
    /// From the beginning of one check to the next, in milliseconds. Where there are too many checks, it becomes longer.
    pub interval_ms: u32,
    /// How long an answer may take, in milliseconds.
    pub timeout_ms: u32,
    /// Passed checks after which a real server that failed gets connections again.
    pub rise: u8,
    /// Failed checks after which a real server gets none.
    pub fall: u8,
}

impl CheckTimers {
    /// Those of a VirtualService that names none.
    pub const DEFAULT: Self = Self {
        interval_ms: 2000,
        timeout_ms: 1000,
        rise: 2,
        fall: 3,
    };

    /// From the beginning of one check to the next.
    pub fn interval(self) -> Duration {
        Duration::from_millis(self.interval_ms.into())
    }

    /// How long an answer may take.
    pub fn timeout(self) -> Duration {
        Duration::from_millis(self.timeout_ms.into())
    }
}

impl fmt::Display for ApplicationRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp => f.write_str("TCP"),
            Self::Http(http) => write!(f, "HTTP {} {}", http.method, http.path),
            Self::Dns(name) => write!(f, "DNS {name}"),
            Self::Https(https) => write!(f, "HTTPS {} {}", https.http.method, https.http.path),
        }
    }
}
