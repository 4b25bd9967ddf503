//! Starts the order service: settings, telemetry, run.

use clap::Parser;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = order::config::Config::parse();
    service::telemetry::init("order");
    order::run(config).await
}
