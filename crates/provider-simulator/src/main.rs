//! Starts the simulator: settings, telemetry, run.

use clap::Parser;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = provider_simulator::Config::parse();
    service::telemetry::init("provider-simulator");
    provider_simulator::run(config).await
}
