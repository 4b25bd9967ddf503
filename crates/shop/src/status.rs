//! What runs, as a table.

use std::{path::Path, time::Duration};

use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use reqwest::Client;

use crate::{Service, State, metrics::Metrics, process::Processes, state::PartState};

/// How long a service may take to say that it is ready.
const PATIENCE: Duration = Duration::from_secs(2);

/// What of a service's metrics an operator looks at first.
pub(crate) const MEASURED: [&str; 6] =
    ["to read", "parked keys", "WAL kept", "open sagas", "parked sagas", "parked payments"];

/// Every process of the shop in `folder`: what, process id, port, health, uptime, memory, restarts; and of each service
/// how many messages it has yet to read, how many keys are parked, how much of the log is kept for its relay, how many
/// sagas are open or parked, and how many payments wait for an operator.
pub async fn table(state: &State, folder: &Path) -> Table {
    let processes = Processes::now();
    let client = Client::new();
    let mut table = plain_table(columns("pid"));
    let mut total = 0;
    for part in &state.parts {
        let pid = part.pid.filter(|pid| processes.get(*pid).is_some());
        let memory = pid.map_or(0, |pid| processes.memory(pid));
        total += memory;
        let [to_read, parked_keys, kept, open, parked, payments] = match pid {
            Some(_) if is_service(part) => measured(Metrics::of(state, folder, &part.name).await.ok()),
            _ => Default::default(),
        };
        table.add_row([
            part.shown.clone(),
            pid.map_or("-".into(), |pid| pid.to_string()),
            part.port.to_string(),
            health(&client, part, pid).await,
            pid.and_then(|pid| processes.uptime(pid)).map_or("-".into(), uptime),
            megabytes(memory),
            part.restarts.to_string(),
            to_read,
            parked_keys,
            kept,
            open,
            parked,
            payments,
        ]);
    }
    table.add_row(["all", "", "", "", "", megabytes(total).as_str()]);
    table
}

/// The head of the table; `id` is what a part is found by.
pub(crate) fn columns(id: &str) -> [&str; 7 + MEASURED.len()] {
    let [to_read, parked_keys, kept, open, parked, payments] = MEASURED;
    ["", id, "port", "health", "uptime", "memory", "restarts", to_read, parked_keys, kept, open, parked, payments]
}

/// What a service measures; `?` if it does not tell.
pub(crate) fn measured(metrics: Option<Metrics>) -> [String; MEASURED.len()] {
    let Some(metrics) = metrics else { return [(); MEASURED.len()].map(|()| "?".to_owned()) };
    let count = |name| metrics.sum(name).map(|value| format!("{value:.0}")).unwrap_or_default();
    // A relay that stands by keeps no log.
    let kept = metrics.sum("messaging_retained_wal_bytes").map(|bytes| megabytes(bytes as u64)).unwrap_or_default();
    [
        count("messaging_lag"),
        count("messaging_parked_keys"),
        kept,
        count("orders_sagas_open"),
        count("orders_sagas_parked"),
        count("billing_payments_parked"),
    ]
}

fn is_service(part: &PartState) -> bool {
    Service::ALL.iter().any(|service| part.name.split('-').next() == Some(service.name()))
}

/// Where the shop is found: URLs, and how to get a token.
pub fn urls(state: &State) -> Table {
    let mut table = plain_table(["", "where"]);
    for service in Service::ALL {
        let urls = state.services.get(&service).map(Vec::as_slice).unwrap_or_default();
        table.add_row([service.name(), &urls.join("\n")]);
    }
    table.add_row(["Kafka", &state.stores.brokers]);
    table.add_row(["payment provider", &state.stores.provider]);
    table.add_row(["tokens", "cargo shop token --customer new\ncargo shop token --operator"]);
    table.add_row(["databases", "their URLs, with passwords, are in shop.json in the shop's folder"]);
    table
}

/// A table as all of our commands draw it.
pub(crate) fn plain_table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    table
}

async fn health(client: &Client, part: &PartState, pid: Option<u32>) -> String {
    if pid.is_none() {
        return "down".into();
    }
    if !is_service(part) {
        let connected = tokio::net::TcpStream::connect(("127.0.0.1", part.port)).await;
        return if connected.is_ok() { "up" } else { "silent" }.into();
    }
    let request = client.get(format!("http://127.0.0.1:{}/health/ready", part.port)).timeout(PATIENCE);
    match request.send().await {
        Ok(answer) if answer.status().is_success() => "ready".into(),
        Ok(answer) => format!("not ready: {}", detail(answer).await),
        Err(_) => "silent".into(),
    }
}

/// What the problem says that is the answer of a service.
pub(crate) async fn detail(answer: reqwest::Response) -> String {
    let problem: Option<serde_json::Value> = answer.json().await.ok();
    let detail = problem.and_then(|problem| Some(problem["detail"].as_str()?.to_owned()));
    detail.unwrap_or_else(|| "it does not say why".into())
}

pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes / 1_000_000)
}

pub(crate) fn uptime(uptime: Duration) -> String {
    let seconds = uptime.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uptime_has_two_units_at_most() {
        assert_eq!(uptime(Duration::from_secs(59)), "59 s");
        assert_eq!(uptime(Duration::from_secs(61)), "1 min 1 s");
        assert_eq!(uptime(Duration::from_secs(7384)), "2 h 3 min");
    }
}
