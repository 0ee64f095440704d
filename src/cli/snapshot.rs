//! One complete look at a source, for subcommands that run once.

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    agent::{SourceConfig, SourceName, Store, source::directory::Files},
    model::Snapshot,
};

use super::{
    Failure,
    kubernetes::{Cluster, KubeArgs},
};

/// How long a directory may take to be read completely: files that are being written settle within a second.
const PATIENCE: Duration = Duration::from_secs(5);

/// The option `--source`.
#[derive(Clone, Debug, clap::Args)]
pub struct SourceArgs {
    /// Where manifests come from: kubernetes or dir:PATH
    #[arg(long, default_value_t = SourceConfig::Kubernetes, value_name = "SOURCE")]
    pub source: SourceConfig,
}

/// What a source says now.
#[derive(Debug)]
pub(super) struct Read {
    pub snapshot: Snapshot,
    /// What is wrong with it.
    pub troubles: Vec<String>,
}

impl SourceArgs {
    /// Reads the source once, completely.
    pub(super) fn read(&self, kube: &KubeArgs) -> Result<Read, Failure> {
        match &self.source {
            SourceConfig::Directory(path) => directory(path),
            SourceConfig::Kubernetes => {
                Ok(Cluster::fetch_with_endpoints(kube, &BTreeSet::new())?.read())
            }
        }
    }
}

fn directory(path: &Path) -> Result<Read, Failure> {
    let start = Instant::now();
    let mut files = Files::new(path);
    let mut store = Store::new(&[SourceName::Directory]);
    loop {
        let look = files.look(start.elapsed());
        let unreadable = look.unreadable;
        store.apply(look.changes);
        let troubles = || store.troubles().values().cloned();
        if unreadable {
            let troubles: Vec<String> = troubles().collect();
            return Err(Failure::Usage(format!(
                "--source dir:{}: {}",
                path.display(),
                troubles.join("; ")
            )));
        }
        match look.again {
            Some(wait) if start.elapsed() < PATIENCE => std::thread::sleep(wait),
            _ if store.is_synced() => {
                return Ok(Read {
                    troubles: troubles().collect(),
                    snapshot: store.snapshot().clone(),
                });
            }
            Some(_) | None => {
                return Err(Failure::Failed(format!(
                    "--source dir:{}: not all files could be read; they keep changing",
                    path.display()
                )));
            }
        }
    }
}
