//! Starts the billing service: settings, telemetry, run.

use clap::Parser;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = billing::config::Config::parse();
    service::telemetry::init("billing");
    billing::run(config).await
}
