//! Starts the billing service: settings, telemetry, run.

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = billing::config::Config::parse();
    service::telemetry::init("billing");
    service::metrics::init();
    billing::run(config).await
}
