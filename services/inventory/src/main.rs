//! Reads the settings, starts telemetry, runs the service.

use clap::Parser;
use inventory::config::Config;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    service::telemetry::init("inventory");
    service::metrics::init();
    inventory::run(config).await
}
