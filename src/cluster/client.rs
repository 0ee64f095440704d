//! Connections to the API server as watches need them: one that died without a word is noticed soon.

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

use super::Pace;

/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// A watch is silent while nothing changes. After this time TCP itself asks whether the other end is still there: if a node
/// was cut off and the server has closed the connection meanwhile, nobody else would tell.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// How soon it asks again, if there is no answer.
const AGAIN: Duration = Duration::from_secs(5);
/// How often.
const RETRIES: u32 = 3;
/// How long what was sent may stay unacknowledged (`TCP_USER_TIMEOUT`, RFC 5482).
const UNACKNOWLEDGED: Duration = Duration::from_secs(25);

/// A client for the cluster that this process runs in, or the one that the kubeconfig names; `fix` says what else can be
/// done if there is none.
///
/// # Errors
/// There is none, or credentials, certificates or a proxy that cannot be used.
pub async fn client(pace: Pace, fix: &str) -> Result<Client, String> {
    let config = Config::infer().await;
    let config = config.map_err(|error| {
        format!("no Kubernetes API server is configured: {error}; run in a pod with a service account, {fix}")
    })?;
    connect(config, pace.silence()).map_err(|error| format!("Kubernetes client: {error}"))
}

/// An answer, or a watch, that says nothing for `silence` is given up.
fn connect(mut config: Config, silence: Duration) -> kube::Result<Client> {
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(silence);
    if config.proxy_url.is_some() {
        // It says what is not supported.
        return Client::try_from(config);
    }
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
