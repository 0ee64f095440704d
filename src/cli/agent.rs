//! `directway agent`: the agent of one node.

use std::{
    collections::BTreeMap, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration,
};

use crate::{
    agent::{self, AgentConfig, Intervals},
    cluster::{SourceConfig, UndoSwitch},
    desired::NodeOptions,
    election::{Timer, Timing},
    kernel::linux::IPVS_SETTINGS,
    model::{
        DEFAULT_TCP_TIMEOUT, Dev, DevicePattern, IpvsSetting, NodeName, SyncDaemon,
        UnknownIpvsSetting, VipDevices,
    },
};

use super::{
    CommandResult, DEFAULT_AGENT_ADDRESS, Failure, kubernetes::block_on, log::LogArgs,
    run_dir::RunDirArgs,
};

/// Options of `agent`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  In a cluster, following the Kubernetes API:
    directway agent --node-name node-a
  On a plain host, following manifests in a directory:
    directway agent --node-name host-a --source dir:/etc/directway

Needs CAP_NET_ADMIN and CAP_NET_RAW. SIGTERM and SIGINT end it and leave the
data path as it is; to take everything back, remove the node's labels or run
directway cleanup here, or directway undo for all nodes. The admin endpoint serves /healthz, /readyz, /metrics and
/state.

Exit status: 0 ended by a signal; 1 it could not start or go on;
64 wrong command line.")]
pub struct Args {
    /// This node's name, as in kubectl get nodes or in its manifest
    #[arg(long, visible_alias = "node", env = "NODE_NAME", value_name = "NAME")]
    node_name: String,
    /// Where manifests come from: kubernetes or dir:PATH
    #[arg(long, default_value_t = SourceConfig::Kubernetes, value_name = "SOURCE")]
    source: SourceConfig,
    /// ConfigMap by which directway undo has every agent undo its node; only with kubernetes
    #[arg(long, value_name = "NAMESPACE/NAME")]
    undo_switch: Option<UndoSwitch>,
    /// Namespace of the Lease that shows the controller that the agent works [default: the pod's, or the kubeconfig's]
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAME")]
    lease_namespace: Option<String>,
    #[command(flatten)]
    run_dir: RunDirArgs,
    /// Where the admin endpoint listens
    #[arg(long, default_value_t = DEFAULT_AGENT_ADDRESS, value_name = "HOST:PORT")]
    admin_address: SocketAddr,
    /// At least this often, look for changes that the kernel does not report
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    max_interval: u64,
    /// Pause between two passes in a storm of changes
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 50, value_parser = clap::value_parser!(u64).range(10..=10_000))]
    min_interval: u64,
    /// Where another director could take over, have the kernel take a VIP off the NIC this long after the agent is gone
    /// for good; 0 = never
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = vip_lifetime)]
    vip_lifetime: u64,
    /// Change a timer of the election of directors: milliseconds or a count; may be repeated, and has to be the same on
    /// all directors (docs/failover.md)
    #[arg(long = "failover-timer", value_name = "NAME=VALUE", value_parser = failover_timer)]
    failover_timers: Vec<Timer>,
    /// Set net.ipv4.vs.NAME while this node directs, and restore it afterwards; may be repeated
    #[arg(long = "ipvs-setting", value_name = "NAME=VALUE", value_parser = ipvs_setting)]
    ipvs: Vec<(IpvsSetting, u32)>,
    /// Where the settings of --ipvs-setting can be written
    #[arg(long, value_name = "DIRECTORY", default_value = IPVS_SETTINGS)]
    ipvs_settings_dir: PathBuf,
    /// Let VIPs be bound on this device, which is made if it is not there; may be repeated, and * at the end stands for all
    /// names that begin so. lo is always allowed [default: directway*, dummy*, vip*]
    #[arg(long = "vip-device", value_name = "NAME")]
    vip_devices: Vec<DevicePattern>,
    /// Exchange IPVS connections with other directors on this interface while this node directs. Any host that can send
    /// on its segment can add connections: use a segment that you trust
    #[arg(long, value_name = "DEV")]
    sync_interface: Option<Dev>,
    /// Exchange connections only with directors that use the same number: every group of directors needs its own
    #[arg(long, value_name = "NUMBER", default_value_t = 215, value_parser = clap::value_parser!(u32).range(1..=255))]
    sync_id: u32,
    #[command(flatten)]
    log: LogArgs,
}

fn vip_lifetime(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(seconds) if seconds == 0 || (10..=86_400).contains(&seconds) => Ok(seconds),
        _ => Err("use 0 for no limit, or 10 to 86400 seconds".to_owned()),
    }
}

/// Parses NAME=VALUE; the error shows `example`.
fn name_and_value<'a>(text: &'a str, example: &str) -> Result<(&'a str, u32), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("use NAME=VALUE, as in {example}"))?;
    let number = value.parse();
    Ok((name, number.map_err(|_| format!("{value:?} is no number"))?))
}

fn failover_timer(text: &str) -> Result<Timer, String> {
    let (name, value) = name_and_value(text, "ask=100")?;
    Timer::new(name, value).map_err(|error| error.to_string())
}

fn ipvs_setting(text: &str) -> Result<(IpvsSetting, u32), String> {
    let (name, value) = name_and_value(text, "expire_nodest_conn=1")?;
    let setting = name.parse();
    let setting: IpvsSetting = setting.map_err(|error: UnknownIpvsSetting| error.to_string())?;
    setting.check(value).map(|()| (setting, value))
}

/// The settings that are `given`, and the default timeout; without those that stay as they are.
fn ipvs_settings(given: &[(IpvsSetting, u32)]) -> BTreeMap<IpvsSetting, u32> {
    let mut settings = BTreeMap::from([(IpvsSetting::TcpTimeout, DEFAULT_TCP_TIMEOUT)]);
    settings.extend(given.iter().copied());
    settings.retain(|setting, value| *value > 0 || !setting.is_timeout());
    settings
}

pub(super) fn run(args: &Args) -> CommandResult {
    if let (Some(_), SourceConfig::Directory(path)) = (&args.undo_switch, &args.source) {
        return Err(Failure::Usage(format!(
            "--undo-switch needs an API server, and --source is dir:{}: leave one of them out",
            path.display()
        )));
    }
    let timing = Timing::with(&args.failover_timers)
        .map_err(|error| Failure::Usage(format!("--failover-timer: {error}")))?;
    args.log.init()?;
    let config = AgentConfig {
        node_name: NodeName(args.node_name.clone()),
        source: args.source.clone(),
        undo_switch: args.undo_switch.clone(),
        lease_namespace: args.lease_namespace.clone(),
        run_dir: args.run_dir.run_dir.clone(),
        admin_address: args.admin_address,
        intervals: Intervals {
            max: Duration::from_secs(args.max_interval),
            min: Duration::from_millis(args.min_interval),
            ..Intervals::default()
        },
        timing,
        vip_lifetime: (args.vip_lifetime > 0).then(|| Duration::from_secs(args.vip_lifetime)),
        options: NodeOptions {
            ipvs: ipvs_settings(&args.ipvs),
            sync: args.sync_interface.clone().map(|dev| SyncDaemon {
                dev,
                id: args.sync_id,
            }),
            vip_devices: if args.vip_devices.is_empty() {
                VipDevices::default()
            } else {
                VipDevices(args.vip_devices.clone())
            },
        },
        ipvs_settings_dir: args.ipvs_settings_dir.clone(),
    };
    block_on(agent::run(config))?.map_err(|error| Failure::Failed(error.to_string()))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn parse(options: &[&str]) -> Result<Args, clap::Error> {
        let words = ["agent", "--node-name", "a"].iter().chain(options);
        Cli::try_parse_from(words).map(|cli| cli.args)
    }

    #[test]
    fn the_intervals_defaults_are_those_of_the_runner() {
        let (args, intervals) = (parse(&[]).unwrap(), Intervals::default());
        assert_eq!(Duration::from_secs(args.max_interval), intervals.max);
        assert_eq!(Duration::from_millis(args.min_interval), intervals.min);
        for wrong in [["--max-interval", "0"], ["--min-interval", "1"]] {
            assert!(parse(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_lifetime_is_none_or_long_enough_to_be_renewed() {
        let error = parse(&["--failover-timer", "pauze=1"]).unwrap_err();
        assert!(
            error.to_string().contains("there are ask, misses"),
            "{error}"
        );
        assert_eq!(parse(&[]).unwrap().vip_lifetime, 600);
        assert_eq!(parse(&["--vip-lifetime", "0"]).unwrap().vip_lifetime, 0);
        for wrong in ["9", "86401", "-1", "soon"] {
            assert!(parse(&["--vip-lifetime", wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn settings_are_named_as_the_kernel_names_them() {
        let args = parse(&["--ipvs-setting", "schedule_icmp=1"]).unwrap();
        assert_eq!(args.ipvs, [(IpvsSetting::ScheduleIcmp, 1)]);
        for wrong in [
            "schedule_icmp",
            "schedule_icmp=on",
            "conntrack=1",
            "udp_timeout=2147484",
        ] {
            assert!(parse(&["--ipvs-setting", wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn connections_without_traffic_are_kept_longer_than_tcp_needs_to_keep_them_alive() {
        let settings = |args: &[&str]| ipvs_settings(&parse(args).unwrap().ipvs);
        let only = |seconds| BTreeMap::from([(IpvsSetting::TcpTimeout, seconds)]);
        assert_eq!(settings(&[]), only(8000));
        assert_eq!(settings(&["--ipvs-setting", "tcp_timeout=900"]), only(900));
        let left = ["--ipvs-setting", "tcp_timeout=0"];
        assert_eq!(settings(&left), BTreeMap::new());
        let zero = ["--ipvs-setting", "sloppy_tcp=0"];
        assert_eq!(settings(&zero)[&IpvsSetting::SloppyTcp], 0);
    }

    #[test]
    fn connections_are_exchanged_only_where_it_is_said() {
        assert_eq!(parse(&[]).unwrap().sync_interface, None);
        let args = parse(&["--sync-interface", "eth1"]).unwrap();
        assert_eq!(
            (args.sync_interface, args.sync_id),
            ("eth1".parse().ok(), 215)
        );
        for wrong in [
            ["--sync-interface", "a/b"],
            ["--sync-id", "0"],
            ["--sync-id", "256"],
        ] {
            assert!(parse(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_switch_needs_an_api_server() {
        let args = parse(&["--undo-switch", "a/b", "--source", "dir:/x"]).unwrap();
        let error = run(&args).unwrap_err();
        assert!(error.to_string().contains("dir:/x"), "{error}");
        assert!(parse(&["--undo-switch", "a"]).is_err());
    }

    #[test]
    fn the_chart_knows_every_failover_timer_and_its_default() {
        let schema = include_str!("../../charts/directway/values.schema.json");
        let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
        let timers = &schema["properties"]["agent"]["properties"]["failoverTimers"]["properties"];
        let mut named: Vec<&str> = timers
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let mut known = Timer::NAMES;
        named.sort_unstable();
        known.sort_unstable();
        assert_eq!(named, known);
        let default = |name: &&str| {
            let value = timers[*name]["default"].as_u64().unwrap();
            Timer::new(name, u32::try_from(value).unwrap()).unwrap()
        };
        let defaults: Vec<Timer> = named.iter().map(default).collect();
        assert_eq!(Timing::with(&defaults).unwrap(), Timing::default());
    }
}
