//! Reads the settings, starts telemetry, runs the service.

use clap::Parser;
use inventory::config::Config;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    service::telemetry::init("inventory");
    inventory::run(config).await
}
