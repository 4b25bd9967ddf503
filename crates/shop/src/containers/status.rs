//! What runs in containers, as a table.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use comfy_table::Table;
use jiff::Timestamp;

use super::{
    Contained,
    docker::{Container, said},
};
use crate::{
    Service, ShopError,
    metrics::Metrics,
    status::{MEASURED, columns, measured, megabytes, plain_table, uptime},
};

impl Contained {
    /// Every container of the shop: id, port, health, uptime, memory, restarts; of services also what they measure.
    ///
    /// # Errors
    /// docker cannot be asked.
    pub async fn status(&self) -> Result<Table, ShopError> {
        let containers = self.containers().await?;
        let memory = self.memory().await?;
        let token = self.operator().await?;
        let mut table = plain_table(columns("container"));
        let mut total = 0;
        // What has run to its end has nothing more to tell.
        for container in containers.iter().filter(|it| it.runs() || it.exit_code != 0) {
            let used = memory.get(&container.id[..12.min(container.id.len())]).copied().unwrap_or_default();
            total += used;
            let port = self.port(&container.service);
            let row = [
                container.service.clone(),
                container.id.chars().take(12).collect(),
                port.map_or("-".into(), |port| port.to_string()),
                health(container),
                since(container).map_or("-".into(), uptime),
                megabytes(used),
                container.restarts.to_string(),
            ];
            let measured = match port.filter(|_| container.runs()) {
                Some(port) => measured(Metrics::at(&container.service, port, &token).await.ok()),
                None => <[String; MEASURED.len()]>::default(),
            };
            table.add_row(row.into_iter().chain(measured));
        }
        table.add_row(["all", "", "", "", "", megabytes(total).as_str()]);
        Ok(table)
    }

    /// Where the shop is found: URLs, and how to get a token.
    pub fn urls(&self) -> Table {
        let mut table = plain_table(["", "where"]);
        for service in Service::ALL {
            let port = self.port(service.name()).unwrap_or_default();
            table.add_row([service.name(), &format!("http://127.0.0.1:{port}")]);
        }
        table.add_row(["tokens", "cargo shop token --customer new\ncargo shop token --operator"]);
        table.add_row(["databases, Kafka", "reached by the containers alone"]);
        table
    }

    /// The published port of a service.
    fn port(&self, service: &str) -> Option<u16> {
        self.variables.get(&format!("{}_PORT", service.to_uppercase()))?.parse().ok()
    }

    /// A token that reads metrics. The key for it is in a volume.
    async fn operator(&self) -> Result<String, ShopError> {
        let mut token =
            self.compose(["run", "--rm", "--no-TTY", "--no-deps", "shop", "token", "--operator", "--ttl", "1"]);
        Ok(said(&mut token, "making a token").await?.trim().to_owned())
    }

    /// What each container has in memory, by the short form of its id. Unit: bytes.
    async fn memory(&self) -> Result<BTreeMap<String, u64>, ShopError> {
        let shown = "{{.ID}} {{.MemUsage}}";
        let text = said(self.docker().args(["stats", "--no-stream", "--format", shown]), "measuring memory").await?;
        Ok(text
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(id, used)| (id.to_owned(), bytes(used)))
            .collect())
    }
}

/// What `docker stats` writes, such as `27.3MiB / 256MiB`.
#[expect(clippy::float_arithmetic, reason = "a figure for people, not money")]
fn bytes(used: &str) -> u64 {
    let used = used.split(' ').next().unwrap_or_default();
    let digits = used.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(used.len());
    let (number, unit) = used.split_at(digits);
    let scale = match unit {
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        _ => 1.0,
    };
    (number.parse::<f64>().unwrap_or_default() * scale) as u64
}

fn health(container: &Container) -> String {
    match (container.runs(), container.health.as_str()) {
        (true, "healthy") => "ready".into(),
        (true, "none") => "up".into(),
        (true, other) => other.into(),
        (false, _) => format!("down: {}, status {}", container.status, container.exit_code),
    }
}

fn since(container: &Container) -> Option<Duration> {
    let started: Timestamp = container.started.parse().ok().filter(|_| container.runs())?;
    SystemTime::now().duration_since(started.into()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_docker_writes_it() {
        assert_eq!(["27.5MiB / 256MiB", "1GiB / 2GiB", "12B / 1GiB", ""].map(bytes), [28_835_840, 1 << 30, 12, 0]);
    }
}
