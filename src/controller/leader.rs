//! The effects of the leader election: reads and writes the Lease, and publishes whether we lead.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use tokio::{sync::watch, time::Instant};

use super::lease::{Action, DEADLINE, DURATION, LeaderElection, LeaseRecord, TIMEOUT};

/// The Lease's name; the chart grants rights to it alone.
pub const LEASE: &str = "directway-controller";

/// Whether we lead. Check it before every write, because the lease expires with time.
#[derive(Clone, Debug)]
pub struct Leadership {
    until: watch::Receiver<Option<Instant>>,
    was_ours: bool,
}

impl Leadership {
    /// Whether we may write now.
    pub fn is_ours(&self) -> bool {
        self.until
            .borrow()
            .is_some_and(|until| Instant::now() < until)
    }

    /// Waits until we begin or cease to lead.
    pub async fn changed(&mut self) {
        loop {
            if self.until.changed().await.is_err() {
                // The election has ended, and with it the process.
                std::future::pending::<()>().await;
            }
            let is_ours = self.is_ours();
            if std::mem::replace(&mut self.was_ours, is_ours) != is_ours {
                return;
            }
        }
    }
}

/// Takes part in the election until `stop`, then releases the lease.
pub struct LeaderElector {
    leases: Api<Lease>,
    election: LeaderElection,
    until: watch::Sender<Option<Instant>>,
    start: Instant,
    /// `resourceVersion` and transitions of our last write.
    written: Option<(String, i32)>,
    follows: Option<String>,
}

impl LeaderElector {
    /// A candidate with the unique name `identity`, and what it publishes.
    pub fn new(client: Client, namespace: &str, identity: &str) -> (Self, Leadership) {
        let (until, receiver) = watch::channel(None);
        let candidate = Self {
            leases: Api::namespaced(client, namespace),
            election: LeaderElection::new(identity),
            until,
            start: Instant::now(),
            written: None,
            follows: None,
        };
        let leadership = Leadership {
            until: receiver,
            was_ours: false,
        };
        (candidate, leadership)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Takes part until `stop` ends, then releases the lease. A future that is dropped does not release it.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        loop {
            let round = tokio::time::timeout(TIMEOUT, self.round());
            let outcome = tokio::select! {
                outcome = round => outcome,
                () = &mut stop => break,
            };
            let succeeded = matches!(outcome, Ok(Ok(true)));
            match outcome {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::warn!("lease {LEASE}: {error}"),
                Err(_) => tracing::warn!("lease {LEASE}: no answer within {TIMEOUT:?}"),
            }
            let now = self.now();
            if !self.election.leads(now) && self.until.send_replace(None).is_some() {
                tracing::warn!("no longer the leader");
            }
            let pause = self.election.pause(succeeded, now);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = &mut stop => break,
            }
        }
        self.release().await;
    }

    /// Reads the lease, and takes or renews it if it is ours to take; returns whether nothing came in between.
    async fn round(&mut self) -> Result<bool, kube::Error> {
        let lease = self.leases.get_opt(LEASE).await?;
        let record = lease.as_ref().map(record);
        let (replaces, transitions) = match self.election.decide(record, self.now()) {
            Action::Take {
                replaces,
                transitions,
            } => (replaces, transitions),
            Action::Follow { leader } => {
                self.election.lost();
                if self.follows.as_ref() != Some(&leader) {
                    tracing::info!(leader, "following");
                    self.follows = Some(leader);
                }
                return Ok(true);
            }
        };
        let begun = self.now();
        let renews = self.election.leads(begun);
        let acquired = lease
            .filter(|_| renews)
            .and_then(|lease| lease.spec?.acquire_time);
        let holder = self.election.identity().to_owned();
        let wanted = self.lease(replaces.clone(), &holder, transitions, acquired);
        let result = match replaces {
            None => self.leases.create(&PostParams::default(), &wanted).await,
            Some(_) => {
                self.leases
                    .replace(LEASE, &PostParams::default(), &wanted)
                    .await
            }
        };
        match result {
            Ok(written) => {
                self.election.taken(begun);
                self.follows = None;
                self.written = written
                    .metadata
                    .resource_version
                    .map(|version| (version, transitions));
                if self
                    .until
                    .send_replace(Some(self.start + begun + DEADLINE))
                    .is_none()
                {
                    tracing::info!(identity = holder, "leading");
                }
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {
                // Another controller wrote in between, or our own write that timed out arrived: the next round reads which.
                // Until then our last renewal counts, and nobody else can lead before it has run out.
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn lease(
        &self,
        replaces: Option<String>,
        holder: &str,
        transitions: i32,
        acquired: Option<MicroTime>,
    ) -> Lease {
        let now = MicroTime(jiff::Timestamp::now());
        Lease {
            metadata: ObjectMeta {
                name: Some(LEASE.to_owned()),
                resource_version: replaces,
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
                acquire_time: Some(acquired.unwrap_or_else(|| now.clone())),
                renew_time: Some(now),
                lease_transitions: Some(transitions),
                ..LeaseSpec::default()
            }),
        }
    }

    /// Releases the lease, so that another controller can lead at once.
    async fn release(&mut self) {
        let leads = self.election.leads(self.now());
        self.until.send_replace(None);
        let Some((version, transitions)) = self.written.take().filter(|_| leads) else {
            return;
        };
        let released = self.lease(Some(version), "", transitions, None);
        let params = PostParams::default();
        let write = self.leases.replace(LEASE, &params, &released);
        match tokio::time::timeout(TIMEOUT, write).await {
            Ok(Ok(_)) => tracing::info!("lease {LEASE} released"),
            Ok(Err(error)) => tracing::warn!("lease {LEASE} not released: {error}"),
            Err(_) => tracing::warn!("lease {LEASE} not released: no answer within {TIMEOUT:?}"),
        }
    }
}

fn record(lease: &Lease) -> LeaseRecord {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.unwrap_or_default();
    LeaseRecord {
        holder: spec.holder_identity.unwrap_or_default(),
        duration: Duration::from_secs(u64::try_from(seconds).unwrap_or_default()),
        transitions: spec.lease_transitions.unwrap_or_default(),
        resource_version: lease.metadata.resource_version.clone().unwrap_or_default(),
    }
}
