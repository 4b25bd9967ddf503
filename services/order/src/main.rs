//! Starts the order service: settings, telemetry, run.

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = order::config::Config::parse();
    service::telemetry::init("order");
    service::metrics::init();
    order::run(config).await
}
