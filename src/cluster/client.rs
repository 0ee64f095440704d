//! Connections to the API server as watches need them: a dead one is noticed soon.

use std::time::Duration;

use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::legacy::{Builder, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::{
    Client, Config,
    client::{ClientBuilder, ConfigExt, retry::RetryPolicy},
};
use tower::{BoxError, ServiceBuilder, retry::RetryLayer};

use super::{Pace, proxy};

/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// A watch is silent while nothing changes. After this time TCP sends a keepalive probe. Otherwise a node that was cut
/// off would not notice that the server has closed the connection meanwhile.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Between keepalive probes without an answer.
const AGAIN: Duration = Duration::from_secs(5);
/// How many such probes end the connection.
const RETRIES: u32 = 3;
/// How long what was sent may stay unacknowledged (`TCP_USER_TIMEOUT`, RFC 5482).
const UNACKNOWLEDGED: Duration = Duration::from_secs(25);

/// A client for the cluster that this process runs in, or the one that the kubeconfig names, and the host of the API
/// server's URL. `fix` is the part of the error message that says what else to do if neither exists.
///
/// # Errors
/// No API server is configured, its credentials or certificates cannot be used, or a proxy is asked for.
pub async fn client(pace: Pace, fix: &str) -> Result<(Client, String), String> {
    let config = Config::infer().await;
    let config = config.map_err(|error| {
        format!("no Kubernetes API server is configured: {error}; run in a pod with a service account, {fix}")
    })?;
    // An IPv6 address is in brackets there (RFC 3986 3.2.2).
    let host = config.cluster_url.host().unwrap_or_default();
    let host = host.trim_matches(['[', ']']).to_owned();
    Ok((connect(config, pace)?, host))
}

/// A client for the cluster that `config` describes.
///
/// # Errors
/// Its credentials or certificates cannot be used, or it asks for a proxy.
pub fn connect(mut config: Config, pace: Pace) -> Result<Client, String> {
    proxy::check(&mut config, |name| std::env::var(name).ok())?;
    build(config, pace.silence()).map_err(|error| format!("Kubernetes client: {error}"))
}

/// A connection on which nothing arrives for `silence` is given up.
fn build(mut config: Config, silence: Duration) -> kube::Result<Client> {
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(silence);
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_keepalive(Some(KEEPALIVE));
    http.set_keepalive_interval(Some(AGAIN));
    http.set_keepalive_retries(Some(RETRIES));
    http.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    let https = config.rustls_https_connector_with_connector(http)?;
    let mut connector = TimeoutConnector::new(https);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    let retries = RetryLayer::new(RetryPolicy::server_retry());
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(retries)
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(Builder::new(TokioExecutor::new()).build(connector));
    Ok(ClientBuilder::new(service, config.default_namespace).build())
}
