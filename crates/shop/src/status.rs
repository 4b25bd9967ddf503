//! What runs, as a table.

use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use reqwest::Client;

use crate::{Service, State, process::Processes, state::PartState};

/// How long a service may take to say that it is ready.
const PATIENCE: Duration = Duration::from_secs(2);

/// Every process: what, process id, port, health, uptime, memory, restarts.
pub async fn table(state: &State) -> Table {
    let processes = Processes::now();
    let client = Client::new();
    let mut table = plain_table(["", "pid", "port", "health", "uptime", "memory", "restarts"]);
    let mut total = 0;
    for part in &state.parts {
        let pid = part.pid.filter(|pid| processes.get(*pid).is_some());
        let memory = pid.map_or(0, |pid| processes.memory(pid));
        total += memory;
        table.add_row([
            part.shown.clone(),
            pid.map_or("-".into(), |pid| pid.to_string()),
            part.port.to_string(),
            health(&client, part, pid).await,
            pid.and_then(|pid| processes.uptime(pid)).map_or("-".into(), uptime),
            megabytes(memory),
            part.restarts.to_string(),
        ]);
    }
    table.add_row(["all", "", "", "", "", megabytes(total).as_str(), ""]);
    table
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
    let is_service = Service::ALL.iter().any(|service| part.name.split('-').next() == Some(service.name()));
    if !is_service {
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

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes / 1_000_000)
}

fn uptime(uptime: Duration) -> String {
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
