//! Reads the settings, starts telemetry, runs the service.

use std::process::ExitCode;

use clap::Parser;
use inventory::config::Config;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let config = Config::parse();
    service::telemetry::init("inventory");
    service::metrics::init();
    service::telemetry::ended(inventory::run(config).await)
}
