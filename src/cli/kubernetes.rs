//! The cluster that a subcommand reads, and the messages for requests that it refuses.

use std::{future::Future, path::PathBuf};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::cluster::{ListError, Pace, connect};

use super::Failure;

/// Which cluster is meant.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct KubeArgs {
    /// Kubeconfig to use [default: $KUBECONFIG, ~/.kube/config, or the pod's service account]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig to use [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

/// Runs a future to its end on a runtime of its own.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime =
        runtime.map_err(|error| Failure::Failed(format!("cannot start a runtime: {error}")))?;
    Ok(runtime.block_on(future))
}

impl KubeArgs {
    /// A client for the cluster that the options select.
    pub(super) async fn client(&self) -> Result<Client, Failure> {
        let config = self.config().await.map_err(|error| {
            Failure::Failed(format!(
                "no cluster: {error}; give a kubeconfig with --kubeconfig FILE or $KUBECONFIG, or read manifests with --source dir:PATH"
            ))
        })?;
        connect(config, Pace::CONTROLLER).map_err(Failure::Failed)
    }

    async fn config(&self) -> Result<Config, String> {
        let kubeconfig = match &self.kubeconfig {
            Some(path) => Kubeconfig::read_from(path)
                .map_err(|error| format!("--kubeconfig {}: {}", path.display(), causes(&error)))?,
            None => match (Kubeconfig::read(), Config::incluster()) {
                (Ok(kubeconfig), _) => kubeconfig,
                (Err(_), Ok(in_pod)) if self.context.is_none() => return Ok(in_pod),
                (Err(error), _) => return Err(causes(&error)),
            },
        };
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        config.map_err(|error| match &self.context {
            Some(context) => format!("--context {context}: {}", causes(&error)),
            None => causes(&error),
        })
    }
}

/// An error with everything that caused it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// The failure of a request: what was not done, why, and what to do.
pub(super) fn failed(doing: &str, error: &kube::Error) -> Failure {
    let kube::Error::Api(status) = error else {
        return Failure::Failed(format!("{doing}: {}", causes(error)));
    };
    let hint = match status.code {
        404 => {
            "; is directway installed in this cluster? (helm install; or the definitions alone: directway crd | kubectl apply --server-side -f -)"
        }
        401 | 403 => "; use a kubeconfig that may do that",
        _ => "",
    };
    Failure::Failed(format!("{doing}: {}{hint}", status.message))
}

/// The failure of a list.
pub(super) fn not_listed(error: &ListError) -> Failure {
    failed(&format!("list {}", error.what), &error.error)
}

/// Whether the API server does not know the kind, or the object.
pub(super) fn is_missing(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}
