//! The ledger on disk: it survives the agent, so that the next one knows what is ours.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    net::IpAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::atomic_file;
use crate::model::{
    AddressKey, Arp, Dev, IpvsSetting, Ledger, Protocol, ServiceKey, SettingChange, SyncDaemon,
    SyncHalf, UnknownIpvsSetting,
};

/// The only format so far. A reader refuses any other, because it might delete what is not ours or leave ours behind.
const VERSION: u32 = 1;

/// The ledger cannot be read or written, so nothing may be changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The directory or file cannot be used.
    #[error("{path}: {cause}; give the agent a writable directory that outlives it (--run-dir)")]
    Unusable {
        /// What was accessed.
        path: String,
        /// The system's error.
        cause: String,
    },
    /// The file is not what directway wrote.
    #[error(
        "{path} is damaged ({cause}): what directway added earlier cannot be told from what others did; \
         restore the file, or undo by hand what `directway observe` shows and then delete it"
    )]
    Corrupt {
        /// The file.
        path: String,
        /// What is wrong with it.
        cause: String,
    },
}

impl LedgerError {
    pub(super) fn unusable(path: &Path, cause: &io::Error) -> Self {
        Self::Unusable {
            path: path.display().to_string(),
            cause: cause.to_string(),
        }
    }

    fn corrupt(path: &Path, cause: impl ToString) -> Self {
        Self::Corrupt {
            path: path.display().to_string(),
            cause: cause.to_string(),
        }
    }
}

/// Its name in the run directory.
pub(super) const NAME: &str = "ledger.json";

/// Where a ledger is kept.
#[derive(Clone, Debug)]
pub struct LedgerFile {
    path: PathBuf,
}

impl LedgerFile {
    /// The ledger in this run directory.
    pub fn in_dir(run_dir: &Path) -> Self {
        Self {
            path: run_dir.join(NAME),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The ledger that was last written; `None` if there is no file.
    pub fn load(&self) -> Result<Option<Ledger>, LedgerError> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LedgerError::unusable(&self.path, &error)),
        };
        let version: Version =
            serde_json::from_slice(&bytes).map_err(|e| LedgerError::corrupt(&self.path, e))?;
        if version.version != VERSION {
            let cause = format!("version {}, this program knows {VERSION}", version.version);
            return Err(LedgerError::corrupt(&self.path, cause));
        }
        let stored: Stored =
            serde_json::from_slice(&bytes).map_err(|e| LedgerError::corrupt(&self.path, e))?;
        Ledger::try_from(stored)
            .map(Some)
            .map_err(|cause| LedgerError::corrupt(&self.path, cause))
    }

    /// Replaces the file; after a power loss either the old or the new content is there, never a part.
    pub fn save(&self, ledger: &Ledger) -> Result<(), LedgerError> {
        let written = atomic_file::replace(&self.path, |file| {
            serde_json::to_writer(&mut *file, &Stored::from(ledger))?;
            file.write_all(b"\n")
        });
        written.map_err(|error| LedgerError::unusable(&self.path, &error))
    }
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    #[serde(default)]
    services: Vec<StoredService>,
    #[serde(default)]
    addresses: Vec<StoredAddress>,
    #[serde(default)]
    routes: Vec<StoredAddress>,
    #[serde(default)]
    dummies: Vec<String>,
    #[serde(default)]
    arp: Vec<StoredArp>,
    #[serde(default)]
    ipvs: Vec<StoredIpvs>,
    #[serde(default)]
    sync: Vec<StoredDaemon>,
    #[serde(default)]
    indexes: BTreeMap<String, u32>,
}

#[derive(Serialize, Deserialize)]
struct StoredService {
    vip: IpAddr,
    port: u16,
    protocol: String,
}

#[derive(Serialize, Deserialize)]
struct StoredAddress {
    dev: String,
    ip: IpAddr,
}

#[derive(Serialize, Deserialize)]
struct StoredArp {
    dev: String,
    setting: StoredSetting,
    before: u32,
    set: u32,
}

#[derive(Serialize, Deserialize)]
struct StoredIpvs {
    setting: String,
    before: u32,
    set: u32,
}

#[derive(Serialize, Deserialize)]
struct StoredDaemon {
    half: StoredHalf,
    dev: String,
    id: u32,
    #[serde(default)]
    index: Option<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoredHalf {
    Master,
    Backup,
}

#[derive(Serialize, Deserialize)]
enum StoredSetting {
    #[serde(rename = "arp_ignore")]
    Ignore,
    #[serde(rename = "arp_announce")]
    Announce,
}

impl From<&Ledger> for Stored {
    fn from(ledger: &Ledger) -> Self {
        let address = |key: &AddressKey| StoredAddress {
            dev: key.dev.to_string(),
            ip: key.ip,
        };
        Self {
            version: VERSION,
            services: ledger
                .services
                .iter()
                .map(|key| StoredService {
                    vip: key.vip,
                    port: key.port,
                    protocol: key.protocol.name().to_owned(),
                })
                .collect(),
            addresses: ledger.addresses.iter().map(address).collect(),
            routes: ledger.routes.iter().map(address).collect(),
            dummies: ledger.dummies.iter().map(Dev::to_string).collect(),
            arp: ledger
                .arp
                .iter()
                .map(|((dev, which), change)| StoredArp {
                    dev: dev.to_string(),
                    setting: match which {
                        Arp::Ignore => StoredSetting::Ignore,
                        Arp::Announce => StoredSetting::Announce,
                    },
                    before: change.before,
                    set: change.set,
                })
                .collect(),
            ipvs: ledger
                .ipvs
                .iter()
                .map(|(setting, change)| StoredIpvs {
                    setting: setting.name().to_owned(),
                    before: change.before,
                    set: change.set,
                })
                .collect(),
            sync: ledger
                .sync
                .iter()
                .map(|((half, daemon), index)| StoredDaemon {
                    half: match half {
                        SyncHalf::Master => StoredHalf::Master,
                        SyncHalf::Backup => StoredHalf::Backup,
                    },
                    dev: daemon.dev.to_string(),
                    id: daemon.id,
                    index: *index,
                })
                .collect(),
            indexes: ledger
                .indexes
                .iter()
                .map(|(dev, index)| (dev.to_string(), *index))
                .collect(),
        }
    }
}

impl TryFrom<Stored> for Ledger {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        let dev = |name: String| name.parse::<Dev>().map_err(|error| error.to_string());
        let address =
            |stored: StoredAddress| Ok::<_, String>(AddressKey::new(dev(stored.dev)?, stored.ip));
        Ok(Self {
            services: stored
                .services
                .into_iter()
                .map(|service| {
                    let protocol: Protocol = service
                        .protocol
                        .parse()
                        .map_err(|error: crate::model::ParseProtocolError| error.to_string())?;
                    Ok(ServiceKey {
                        vip: service.vip,
                        port: service.port,
                        protocol,
                    })
                })
                .collect::<Result<_, String>>()?,
            addresses: stored
                .addresses
                .into_iter()
                .map(address)
                .collect::<Result<_, _>>()?,
            routes: stored
                .routes
                .into_iter()
                .map(address)
                .collect::<Result<_, _>>()?,
            dummies: stored
                .dummies
                .into_iter()
                .map(dev)
                .collect::<Result<_, _>>()?,
            arp: stored
                .arp
                .into_iter()
                .map(|stored| {
                    let which = match stored.setting {
                        StoredSetting::Ignore => Arp::Ignore,
                        StoredSetting::Announce => Arp::Announce,
                    };
                    let change = SettingChange {
                        before: stored.before,
                        set: stored.set,
                    };
                    Ok(((dev(stored.dev)?, which), change))
                })
                .collect::<Result<_, String>>()?,
            ipvs: stored
                .ipvs
                .into_iter()
                .map(|stored| {
                    let setting: IpvsSetting = stored
                        .setting
                        .parse()
                        .map_err(|error: UnknownIpvsSetting| error.to_string())?;
                    let change = SettingChange {
                        before: stored.before,
                        set: stored.set,
                    };
                    Ok((setting, change))
                })
                .collect::<Result<_, String>>()?,
            sync: stored
                .sync
                .into_iter()
                .map(|stored| {
                    let half = match stored.half {
                        StoredHalf::Master => SyncHalf::Master,
                        StoredHalf::Backup => SyncHalf::Backup,
                    };
                    let (dev, id) = (dev(stored.dev)?, stored.id);
                    Ok(((half, SyncDaemon { dev, id }), stored.index))
                })
                .collect::<Result<_, String>>()?,
            indexes: stored
                .indexes
                .into_iter()
                .map(|(name, index)| Ok((dev(name)?, index)))
                .collect::<Result<_, String>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn full() -> Ledger {
        let ip: IpAddr = "10.0.0.1".parse().unwrap();
        let dev: Dev = "eth0".parse().unwrap();
        let mut ledger = Ledger::default();
        for protocol in Protocol::ALL {
            ledger.services.insert(ServiceKey {
                vip: ip,
                port: 80,
                protocol,
            });
        }
        ledger.addresses.insert(AddressKey::new(Dev::lo(), ip));
        ledger
            .routes
            .insert(AddressKey::new(dev.clone(), "fd00::1".parse().unwrap()));
        ledger.dummies.insert("vip0".parse().unwrap());
        for (which, before) in [(Arp::Ignore, 0), (Arp::Announce, 1)] {
            ledger
                .arp
                .insert((dev.clone(), which), SettingChange { before, set: 2 });
        }
        let change = SettingChange { before: 0, set: 1 };
        ledger.ipvs.insert(IpvsSetting::SloppyTcp, change);
        for (half, id) in [(SyncHalf::Master, 215), (SyncHalf::Backup, 1)] {
            let daemon = SyncDaemon {
                dev: "eth1".parse().unwrap(),
                id,
            };
            ledger.sync.insert((half, daemon), (id == 1).then_some(3));
        }
        ledger.indexes.insert(dev, 2);
        ledger
    }

    #[test]
    fn what_was_saved_is_loaded() {
        let dir = TempDir::new().unwrap();
        let file = LedgerFile::in_dir(dir.path());
        assert_eq!(file.load(), Ok(None));
        file.save(&full()).unwrap();
        assert_eq!(file.load(), Ok(Some(full())));
        let names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names, ["ledger.json"], "nothing else is left behind");
    }

    #[test]
    fn a_damaged_ledger_is_an_error_and_never_an_empty_one() {
        let dir = TempDir::new().unwrap();
        let file = LedgerFile::in_dir(dir.path());
        file.save(&full()).unwrap();
        let good = fs::read_to_string(file.path()).unwrap();
        for bad in [
            String::new(),
            good[..good.len() / 2].to_owned(),
            "{}".to_owned(),
            good.replace("\"version\":1", "\"version\":2"),
            good.replace("TCP", "ICMP"),
            good.replace("eth0", "no/device"),
            good.replace("sloppy_tcp", "conntrack"),
        ] {
            fs::write(file.path(), &bad).unwrap();
            let error = file.load().unwrap_err();
            assert!(
                matches!(error, LedgerError::Corrupt { .. }),
                "{bad:?}: {error}"
            );
            assert_eq!(
                fs::read_to_string(file.path()).unwrap(),
                bad,
                "it was changed"
            );
        }
    }

    #[test]
    fn fields_of_later_versions_are_passed_over() {
        let dir = TempDir::new().unwrap();
        let file = LedgerFile::in_dir(dir.path());
        fs::write(
            file.path(),
            r#"{"version":1,"dummies":["vip0"],"later":[1,2]}"#,
        )
        .unwrap();
        assert_eq!(file.load().unwrap().unwrap().dummies.len(), 1);
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let dir = TempDir::new().unwrap();
        let file = LedgerFile::in_dir(&dir.path().join("gone"));
        let error = file.save(&full()).unwrap_err();
        assert!(
            error.to_string().contains("gone/ledger.json")
                && error.to_string().contains("--run-dir"),
            "{error}"
        );
    }
}
