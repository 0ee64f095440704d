//! What health checks cost: makes the checks of ten real servers for a while and counts. Run by `benches/health.py`, which
//! sets up the host that answers.
//!
//! Usage: health KIND SECONDS INDEX MAC SOURCE TO: KIND is path, tcp or http; TO is the MAC of all real servers.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use directway::{
    agent::{HealthChecks, make_health_checks},
    desired::Desired,
    health::{Check, Path, Target},
    metrics::Metrics,
    model::{ApplicationRequest, CheckTimers, HttpMethod, HttpRequest},
};

const SERVERS: u8 = 10;
/// VIPs or ports of each.
const EACH: u8 = 200;

fn main() {
    // `cargo test --benches` runs this with other arguments.
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [kind, seconds, index, from, source, to] = args.as_slice() else {
        println!("see benches/health.py");
        return;
    };
    let path = Path {
        index: index.parse().expect("INDEX"),
        from: from.parse().expect("MAC"),
        to: to.parse().expect("TO"),
        source: source.parse().expect("SOURCE"),
    };
    let mut desired = Desired::default();
    for server in 0..SERVERS {
        let address = IpAddr::from([10, 77, 0, 201 + server]);
        desired.paths.insert(address, path);
        for number in 0..EACH {
            let check = Check {
                address,
                target: target(kind, number),
                timers: CheckTimers::DEFAULT,
            };
            desired.checks.insert(check, true);
        }
    }
    measure(
        desired,
        Duration::from_secs(seconds.parse().expect("SECONDS")),
    );
}

fn target(kind: &str, number: u8) -> Target {
    let port = 8000 + u16::from(number);
    match kind {
        "path" => Target::Path {
            vip: Ipv4Addr::from([10, 77, 1, number]).into(),
            port: 80,
        },
        "tcp" => Target::Application {
            port,
            request: ApplicationRequest::Tcp,
        },
        _ => Target::Application {
            port,
            request: ApplicationRequest::Http(Arc::new(HttpRequest {
                method: HttpMethod::Get,
                path: "/".to_owned(),
                host: None,
                statuses: vec![(200, 399)],
                body: None,
            })),
        },
    }
}

/// Makes the checks for this time, and prints what that took.
fn measure(mut desired: Desired, time: Duration) {
    let health = Arc::new(HealthChecks::new(1));
    let metrics = Arc::new(Metrics::default());
    let checks = desired.checks.len();
    health.want(&mut desired);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let make = make_health_checks(Arc::clone(&health), Arc::clone(&metrics), || {});
    let _ = runtime.block_on(async { tokio::time::timeout(time, make).await });
    let text = metrics.encode();
    let count = |result: &str| -> f64 {
        let lines = text.lines().filter(|line| line.contains(result));
        let counts = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        counts.sum()
    };
    println!(
        "{{\"checks\": {}, \"passed\": {}, \"failed\": {}, \"seconds\": {}, \"cpu_ticks\": {}, \"peak_kib\": {}}}",
        checks,
        count("result=\"passed\""),
        count("result=\"failed\""),
        time.as_secs(),
        cpu_ticks(),
        peak(),
    );
}

/// Time of this process in user and system mode, in hundredths of a second (proc_pid_stat(5)).
fn cpu_ticks() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("/proc/self/stat");
    let (_, rest) = stat.rsplit_once(") ").expect("a command in parentheses");
    let fields: Vec<u64> = rest
        .split(' ')
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    fields[11] + fields[12]
}

/// The most memory that this process had, in KiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("/proc/self/status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number
        .and_then(|number| number.parse().ok())
        .expect("VmHWM")
}
